//! The reader: the part of CHICKEN's syntax that nearly all messages consist of, exactly as the reader in Python has it.
//!
//! It never reports an error. What is not plainly right, or rare, or near a limit, is [`Odd`]: the caller reads the
//! same bytes again with the reader in Python, which knows all of the syntax and every error. So there is one place
//! that says why bytes do not read, and what is accepted here is accepted there, as the same value.
//!
//! A single odd token is given to [`Builder::token`], which may know it.

use crate::bytes::{is, skip, unescape, DELIMITER, DIGIT, NAME, NAME_START, WHITE};

/// The bytes are for the reader in Python.
#[derive(Debug, PartialEq)]
pub struct Odd;

/// The symbols that one or two characters stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Prefix {
    Quote,
    Quasiquote,
    Unquote,
    UnquoteSplicing,
}

/// Makes values. Making a name, a string or a tail can only fail with [`Odd`].
pub trait Builder {
    type Value;
    fn fixnum(&mut self, value: i64) -> Result<Self::Value, Odd>;
    fn flonum(&mut self, value: f64) -> Result<Self::Value, Odd>;
    fn boolean(&mut self, value: bool) -> Result<Self::Value, Odd>;
    /// A character from `!` to `~`.
    fn character(&mut self, byte: u8) -> Result<Self::Value, Odd>;
    fn string(&mut self, bytes: &[u8]) -> Result<Self::Value, Odd>;
    fn symbol(&mut self, name: &[u8]) -> Result<Self::Value, Odd>;
    fn keyword(&mut self, name: &[u8]) -> Result<Self::Value, Odd>;
    fn blob(&mut self, bytes: &[u8]) -> Result<Self::Value, Odd>;
    fn prefix(&mut self, prefix: Prefix, value: Self::Value) -> Result<Self::Value, Odd>;
    fn list(&mut self, items: std::vec::Drain<'_, Self::Value>) -> Result<Self::Value, Odd>;
    fn vector(&mut self, items: std::vec::Drain<'_, Self::Value>) -> Result<Self::Value, Odd>;
    /// The items, then the tail.
    fn dotted(&mut self, items: std::vec::Drain<'_, Self::Value>) -> Result<Self::Value, Odd>;
    /// The token that begins at `at`: its value, where it ends, and what it costs beyond its place.
    /// `dots`: whether a dot would be a list's.
    fn token(&mut self, data: &[u8], at: usize, dots: bool) -> Result<(Self::Value, usize, u64), Odd>;
}

/// What the reader allows.
#[derive(Clone, Copy)]
pub struct Limits {
    /// How many lists, vectors and prefixes may be open at once.
    pub depth: usize,
    /// Bytes of memory of the datum, by an estimate.
    pub memory: u64,
    /// Whether nothing comes behind the data, so that their end ends a last symbol or number.
    pub finished: bool,
}

// The estimates of `bokbok.sexpr.memory`, from above: what passes here passes there. What each means is written there.
const ATOM: u64 = 32;
const ITEM: u64 = 8 + ATOM;
const LIST: u64 = 120;
const DOTTED: u64 = 64;
const STRING: u64 = 32;
const NAMED: u64 = 64;
const WORST: u64 = 256;
/// The reader in Python looks at the memory at least once in this many bytes, and charges more for a token that lies
/// across such a place.
const WINDOW: u64 = 4096;
const CUT_TOKEN: u64 = 256;
/// Bytes of the longest string that is read in one go whatever is in it: the reader in Python can stop within others.
pub const LONG: usize = 1 << 20;
/// The longest name that may be in a cache, and so be charged less.
pub const SHORT_NAME: usize = 32;

/// What a string costs beyond its place.
pub fn string_cost(bytes: &[u8]) -> u64 {
    let size = bytes.len() as u64;
    if bytes.is_ascii() {
        return STRING + size;
    }
    let (mut characters, mut widest) = (0u64, 0u8);
    for &byte in bytes {
        characters += u64::from(byte & 0xc0 != 0x80);
        widest = widest.max(byte);
    }
    if std::str::from_utf8(bytes).is_err() {
        // Bytes that are not UTF-8 are characters of their own, two bytes wide; four if a wide one is there as well.
        return STRING + 80 + 4 * (size + 1);
    }
    let width = if widest >= 0xf0 {
        4
    } else if widest >= 0xc4 {
        2
    } else {
        1
    };
    STRING + 80 + width * (characters + 1)
}

fn name_cost(name: &[u8]) -> u64 {
    let size = name.len() as u64;
    if name.len() <= SHORT_NAME {
        NAMED + 2 * size
    } else {
        NAMED + 160 + 4 * size
    }
}

fn keyword_cost(name: &[u8]) -> u64 {
    NAMED + 80 + 4 * (name.len() as u64 + 1)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    List,
    Vector,
    /// A list behind its dot.
    Tail,
    /// A list behind its tail.
    Closing,
    Prefix(Prefix),
}

struct Frame {
    kind: Kind,
    /// How many values lay on the stack when it opened.
    begin: usize,
}

/// A datum that is being read: reading may pause between two tokens, and go on.
pub struct Run<V> {
    limits: Limits,
    /// How far the data were read.
    at: usize,
    /// What the datum has cost so far.
    spent: u64,
    /// What it may cost: less than the limit, since the estimate of the reader in Python may be higher for some tokens.
    most: u64,
    values: Vec<V>,
    frames: Vec<Frame>,
}

/// What a run works in: empty between two of them, and kept for the next, so that a small datum allocates nothing of it.
pub struct Room<V> {
    values: Vec<V>,
    frames: Vec<Frame>,
}

impl<V> Room<V> {
    pub fn new() -> Room<V> {
        Room { values: Vec::with_capacity(64), frames: Vec::with_capacity(16) }
    }

    /// Places above which it is given back rather than kept.
    const MOST: usize = 4096;
}

impl<V> Default for Room<V> {
    fn default() -> Room<V> {
        Room::new()
    }
}

impl<V> Run<V> {
    /// Takes a room that is kept, if it does not have one yet.
    pub fn enter(&mut self, room: &mut Option<Room<V>>) {
        if self.values.capacity() == 0 && self.frames.capacity() == 0 {
            let Room { values, frames } = room.take().unwrap_or_default();
            (self.values, self.frames) = (values, frames);
        }
    }

    /// Gives the room back, at the end, and frees what is left in it.
    pub fn leave(&mut self, room: &mut Option<Room<V>>) {
        let (mut values, mut frames) = (std::mem::take(&mut self.values), std::mem::take(&mut self.frames));
        values.clear();
        frames.clear();
        if values.capacity() <= Room::<V>::MOST && frames.capacity() <= Room::<V>::MOST {
            *room = Some(Room { values, frames });
        }
    }

    /// Ready to read from `at`, in data that have `size` bytes.
    pub fn new(at: usize, size: usize, limits: Limits) -> Run<V> {
        let input = size.saturating_sub(at) as u64;
        // The reader in Python does not look at the memory where no input of that length could reach the limit.
        let counted = !limits.finished || input > limits.memory / WORST;
        let reserve = CUT_TOKEN * (input / WINDOW + 2);
        let most = if counted { limits.memory.saturating_sub(reserve) } else { u64::MAX };
        Run { limits, at, spent: 0, most, values: Vec::new(), frames: Vec::new() }
    }

    /// What the datum has cost so far, in bytes.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    /// The offset just behind what was read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Reads on, up to the end of the first token at or behind `until`: the datum, or `None` if it is not whole there.
    ///
    /// `data` is the same each time.
    pub fn run<B: Builder<Value = V>>(
        &mut self,
        builder: &mut B,
        data: &[u8],
        until: usize,
        scratch: &mut Vec<u8>,
    ) -> Result<Option<V>, Odd> {
        let size = data.len();
        let Run { limits, values, frames, .. } = self;
        let limits = *limits;
        let mut at = self.at;
        let ends = |at: usize| if at < size { is(data[at], DELIMITER) } else { limits.finished };
        loop {
            if at >= until {
                self.at = at;
                return Ok(None);
            }
            at = skip(data, at, WHITE);
            if at >= size {
                return Err(Odd);
            }
            let kind = frames.last().map(|frame| frame.kind);
            let byte = data[at];
            if kind == Some(Kind::Closing) && byte != b')' {
                return Err(Odd);
            }
            let mut cost = ATOM;
            let mut value = match byte {
                b'(' => {
                    if frames.len() >= limits.depth || kind == Some(Kind::Tail) {
                        return Err(Odd);
                    }
                    frames.push(Frame { kind: Kind::List, begin: values.len() });
                    at += 1;
                    continue;
                }
                b')' => {
                    let Some(frame) = frames.pop() else {
                        return Err(Odd);
                    };
                    cost = LIST;
                    at += 1;
                    let items = values.drain(frame.begin..);
                    match frame.kind {
                        Kind::List => builder.list(items)?,
                        Kind::Vector => builder.vector(items)?,
                        Kind::Closing => {
                            cost += DOTTED;
                            builder.dotted(items)?
                        }
                        _ => return Err(Odd),
                    }
                }
                b'"' => {
                    let start = at + 1;
                    let mut end = start;
                    let mut escapes = false;
                    loop {
                        let Some(found) = memchr::memchr2(b'"', b'\\', &data[end..]) else {
                            return Err(Odd);
                        };
                        end += found;
                        if data[end] == b'"' {
                            break;
                        }
                        escapes = true;
                        if end - start > LONG {
                            return Err(Odd);
                        }
                        end += 2;
                        if end >= size {
                            return Err(Odd);
                        }
                    }
                    if !escapes {
                        let bytes = &data[start..end];
                        at = end + 1;
                        cost = string_cost(bytes);
                        builder.string(bytes)?
                    } else if end - start > LONG {
                        return Err(Odd);
                    } else if unescape(&data[start..end], scratch) {
                        at = end + 1;
                        cost = string_cost(scratch);
                        builder.string(scratch)?
                    } else {
                        odd_token(builder, data, &mut at, &mut cost, kind, limits)?
                    }
                }
                b'0'..=b'9' | b'-' => match number(data, at, ends) {
                    Some((Number::Fixnum(number), end)) => {
                        at = end;
                        builder.fixnum(number)?
                    }
                    Some((Number::Flonum(number), end)) => {
                        at = end;
                        builder.flonum(number)?
                    }
                    None => odd_token(builder, data, &mut at, &mut cost, kind, limits)?,
                },
                b'\'' | b'`' | b',' => {
                    let following = data.get(at + 1).copied();
                    if frames.len() >= limits.depth || kind == Some(Kind::Tail) || following.is_none() {
                        return Err(Odd);
                    }
                    let prefix = match (byte, following) {
                        (b',', Some(b'@')) => Prefix::UnquoteSplicing,
                        (b',', _) => Prefix::Unquote,
                        (b'`', _) => Prefix::Quasiquote,
                        _ => Prefix::Quote,
                    };
                    at += 1 + usize::from(prefix == Prefix::UnquoteSplicing);
                    frames.push(Frame { kind: Kind::Prefix(prefix), begin: values.len() });
                    continue;
                }
                b'#' => match data.get(at + 1) {
                    Some(b'(') => {
                        if frames.len() >= limits.depth || kind == Some(Kind::Tail) {
                            return Err(Odd);
                        }
                        frames.push(Frame { kind: Kind::Vector, begin: values.len() });
                        at += 2;
                        continue;
                    }
                    Some(&letter @ (b't' | b'f')) if ends(at + 2) => {
                        at += 2;
                        builder.boolean(letter == b't')?
                    }
                    Some(b'\\') if at + 2 < size && (b'!'..=b'~').contains(&data[at + 2]) && ends(at + 3) => {
                        at += 3;
                        builder.character(data[at - 1])?
                    }
                    Some(b'$') => match blob(data, at, scratch) {
                        Some(end) => {
                            at = end;
                            cost = 64 + scratch.len() as u64;
                            builder.blob(scratch)?
                        }
                        None => odd_token(builder, data, &mut at, &mut cost, kind, limits)?,
                    },
                    _ => odd_token(builder, data, &mut at, &mut cost, kind, limits)?,
                },
                b'.' if kind == Some(Kind::List) => {
                    let frame = frames.last_mut().ok_or(Odd)?;
                    let following = *data.get(at + 1).ok_or(Odd)?;
                    if is(following, WHITE) || b"()\";".contains(&following) {
                        if values.len() == frame.begin {
                            return Err(Odd);
                        }
                        frame.kind = Kind::Tail;
                        at += 1;
                        continue;
                    }
                    odd_token(builder, data, &mut at, &mut cost, kind, limits)?
                }
                b';' => {
                    at += 1 + memchr::memchr(b'\n', &data[at..]).ok_or(Odd)?;
                    continue;
                }
                _ if is(byte, NAME_START) => {
                    let end = skip(data, at + 1, NAME);
                    let name = &data[at..end];
                    if ends(end) {
                        at = end;
                        cost = name_cost(name);
                        builder.symbol(name)?
                    } else if end < size && data[end] == b':' && ends(end + 1) {
                        at = end + 1;
                        cost = keyword_cost(name);
                        builder.keyword(name)?
                    } else {
                        odd_token(builder, data, &mut at, &mut cost, kind, limits)?
                    }
                }
                b'[' | b'{' | b']' | b'}' => return Err(Odd),
                _ => odd_token(builder, data, &mut at, &mut cost, kind, limits)?,
            };
            while let Some(Frame { kind: Kind::Prefix(prefix), .. }) = frames.last() {
                value = builder.prefix(*prefix, value)?;
                cost += LIST + 2 * ITEM;
                frames.pop();
            }
            self.spent += ITEM + cost;
            if self.spent > self.most {
                return Err(Odd);
            }
            let Some(frame) = frames.last_mut() else {
                self.at = at;
                return Ok(Some(value));
            };
            if frame.kind == Kind::Tail {
                frame.kind = Kind::Closing;
            }
            values.push(value);
        }
    }
}

fn odd_token<B: Builder>(
    builder: &mut B,
    data: &[u8],
    at: &mut usize,
    cost: &mut u64,
    kind: Option<Kind>,
    limits: Limits,
) -> Result<B::Value, Odd> {
    // What is behind a prefix or a dot takes no dot. And where more bytes may come, a token may go on in them.
    if !limits.finished {
        return Err(Odd);
    }
    let dots = matches!(kind, Some(Kind::List | Kind::Vector));
    let (value, end, extra) = builder.token(data, *at, dots)?;
    *at = end;
    *cost = extra;
    Ok(value)
}

enum Number {
    Fixnum(i64),
    Flonum(f64),
}

/// A number as every writer writes it: up to 18 digits, or digits on both sides of a point and perhaps an exponent.
fn number(data: &[u8], start: usize, ends: impl Fn(usize) -> bool) -> Option<(Number, usize)> {
    let negative = data[start] == b'-';
    let digits = start + usize::from(negative);
    let mut end = digits;
    let mut value: i64 = 0;
    while end < data.len() && is(data[end], DIGIT) {
        value = value.wrapping_mul(10).wrapping_add(i64::from(data[end] - b'0'));
        end += 1;
    }
    if end == digits {
        return None;
    }
    if ends(end) {
        if end - digits > 18 {
            return None;
        }
        return Some((Number::Fixnum(if negative { -value } else { value }), end));
    }
    if end - digits > 300 || end >= data.len() || data[end] != b'.' {
        return None;
    }
    let fraction = end + 1;
    end = skip(data, fraction, DIGIT);
    if end == fraction || end - fraction > 300 {
        return None;
    }
    if end < data.len() && data[end] == b'e' {
        let mut exponent = end + 1;
        if exponent < data.len() && (data[exponent] == b'+' || data[exponent] == b'-') {
            exponent += 1;
        }
        end = skip(data, exponent, DIGIT);
        if end == exponent || end - exponent > 4 {
            return None;
        }
    }
    if !ends(end) {
        return None;
    }
    let text = std::str::from_utf8(&data[start..end]).ok()?;
    Some((Number::Flonum(text.parse().ok()?), end))
}

/// A blob `#${…}` of pairs of digits with nothing between them, into `out`; where it ends.
fn blob(data: &[u8], at: usize, out: &mut Vec<u8>) -> Option<usize> {
    if data.get(at + 2) != Some(&b'{') {
        return None;
    }
    let start = at + 3;
    let end = start + memchr::memchr(b'}', &data[start..])?;
    let digits = &data[start..end];
    if digits.len() % 2 != 0 {
        return None;
    }
    out.clear();
    out.reserve(digits.len() / 2);
    for pair in digits.chunks_exact(2) {
        let (high, low) = (HEX[usize::from(pair[0])], HEX[usize::from(pair[1])]);
        if high | low > 15 {
            return None;
        }
        out.push(high << 4 | low);
    }
    Some(end + 1)
}

static HEX: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        table[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};
