//! What single bytes are to CHICKEN's reader and printer, and the escapes of strings.

/// White space, as `char-whitespace?` has it.
pub const WHITE: u8 = 1;
/// What ends a token: white space, and `( ) [ ] { } " ' ; ,`.
pub const DELIMITER: u8 = 2;
/// What a name begins with that every reader takes for a symbol.
pub const NAME_START: u8 = 4;
/// What such a name goes on with.
pub const NAME: u8 = 8;
/// `0` to `9`.
pub const DIGIT: u8 = 16;
/// What a string escapes when it is written.
pub const ESCAPED: u8 = 32;
/// What a symbol begins with that every dialect writes without bars.
pub const PLAIN_START: u8 = 64;
/// What such a symbol goes on with.
pub const PLAIN: u8 = 128;

const fn has(set: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        let byte = code as u8;
        let mut class = 0;
        if has(b" \t\n\x0b\x0c\r", byte) {
            class |= WHITE | DELIMITER;
        }
        if has(b"()[]{}\"';,", byte) {
            class |= DELIMITER;
        }
        let start = byte.is_ascii_alphabetic() || has(b"!$%&*/<=>?@^_~", byte);
        if start || byte >= 0x80 {
            class |= NAME_START;
        }
        if start || byte >= 0x80 || byte.is_ascii_digit() || has(b".+-", byte) {
            class |= NAME;
        }
        if byte.is_ascii_digit() {
            class |= DIGIT;
        }
        if byte < 0x20 || byte == 0x7f || has(b"\"\\", byte) {
            class |= ESCAPED;
        }
        if start {
            class |= PLAIN_START;
        }
        if start || byte.is_ascii_digit() || has(b"#.+-", byte) {
            class |= PLAIN;
        }
        table[code] = class;
        code += 1;
    }
    table
}

static CLASSES: [u8; 256] = classes();

/// Whether a byte is in one of the classes.
#[inline(always)]
pub fn is(byte: u8, class: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// The offset of the first byte from `at` that is not in the class, or the length.
#[inline(always)]
pub fn skip(data: &[u8], mut at: usize, class: u8) -> usize {
    while at < data.len() && is(data[at], class) {
        at += 1;
    }
    at
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Replaces the escapes that `write` prints, and those of one character, by their bytes.
///
/// Returns whether there was nothing else: escapes by other numbers and of line ends are for the reader in Python.
pub fn unescape(raw: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    out.reserve(raw.len());
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &raw[at..]) {
        out.extend_from_slice(&raw[at..at + found]);
        at += found + 1;
        let Some(&byte) = raw.get(at) else {
            return false;
        };
        at += 1;
        out.push(match byte {
            b'a' => 7,
            b'b' => 8,
            b't' => 9,
            b'n' => 10,
            b'v' => 11,
            b'f' => 12,
            b'r' => 13,
            b'x' => {
                let (Some(high), Some(low)) =
                    (raw.get(at).copied().and_then(hex), raw.get(at + 1).copied().and_then(hex))
                else {
                    return false;
                };
                at += 2;
                high << 4 | low
            }
            b'u' | b'U' | b'0'..=b'7' | b' ' | b'\t' | b'\r' | b'\n' => return false,
            other => other,
        });
    }
    out.extend_from_slice(&raw[at..]);
    true
}

/// Appends what stands between the quotes of a string.
pub fn escape(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len());
    let mut rest = text;
    loop {
        let plain = run_without_escapes(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some(&byte) = rest.get(plain) else {
            return;
        };
        rest = &rest[plain + 1..];
        let letter = match byte {
            b'\n' => b'n',
            b'"' | b'\\' => byte,
            b'\t' => b't',
            b'\r' => b'r',
            7 => b'a',
            8 => b'b',
            11 => b'v',
            12 => b'f',
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(&[b'\\', b'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', letter]);
    }
}

/// How many bytes from the start are not escaped. In blocks without a branch in them, which the compiler makes SIMD of.
pub fn run_without_escapes(text: &[u8]) -> usize {
    let mut blocks = text.chunks_exact(32);
    let mut at = 0;
    for block in &mut blocks {
        let any = block
            .iter()
            .fold(false, |any, &byte| any | (byte < 0x20) | (byte == 0x7f) | (byte == b'"') | (byte == b'\\'));
        if any {
            break;
        }
        at += 32;
    }
    while at < text.len() && !is(text[at], ESCAPED) {
        at += 1;
    }
    at
}

/// Whether every dialect writes a symbol of this name without bars.
pub fn is_plain_symbol(name: &[u8]) -> bool {
    name.first().is_some_and(|&first| is(first, PLAIN_START)) && name[1..].iter().all(|&byte| is(byte, PLAIN))
}
