//! The writer: the spelling of Python's values.
//!
//! As the reader, it never reports an error: what it does not write itself is `None`, and the writer in Python writes
//! the whole value again, or says why it cannot be written, and where.
//!
//! Where others wait it gives up what takes long, by the same count as the writer in Python. What is long lets other
//! threads run in between.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::bytes::{escape, is_plain_symbol, run_without_escapes};
use crate::spell::{blob_text, flonum};

/// Which dialect is written, as far as the writer here has to know.
#[derive(Clone, Copy)]
pub struct Spelling {
    /// The dialect's number, for what Python is asked to write.
    pub code: u8,
    /// Flonums have 15 digits at the most.
    pub exact: bool,
    /// Keywords are written `#:foo`.
    pub hash: bool,
    /// Which CHICKEN's set of values it is.
    pub version: u8,
}

impl Spelling {
    /// Of a dialect's number: 1 for exact, 2 for keywords with `#:`, 4 for version 5.
    pub fn new(code: u8) -> Spelling {
        Spelling { code, exact: code & 1 != 0, hash: code & 2 != 0, version: if code & 4 != 0 { 5 } else { 4 } }
    }
}

const FIXNUM_MAX: i64 = (1 << 62) - 1;
const FIXNUM_MIN: i64 = -(1 << 62);
/// Characters from which a `str` is not asked to keep its UTF-8: that would double the memory of what a program holds.
const LONG: usize = 1024;
/// Open containers from which a set is kept of them, so that a cycle is found in bounded time.
const DEEP: usize = 32;
const MOST_KEPT: usize = 64 * 1024;
/// What a list and each of its places count, as in `memory.py`.
const LIST: usize = 120;
const ITEM: usize = 40;
/// Bytes that are written in one go, some milliseconds at most, before other threads may have their turn; an element
/// counts as `ITEM` of them.
const TURN: usize = 512 * 1024;

/// Writes Python's objects.
///
/// `symbol`, `keyword`, `character`, `dotted`, `array`: the types of those values. `text`: called with a value and a
/// dialect's number, it returns the bytes of an atom that is rare, or `None`. `takes_long`: the exception that is raised
/// for what takes long. `turn`: a function in Python that does nothing. Where it is called the interpreter lets another
/// thread run that has waited for its switch interval. To let go of the interpreter here and take it again would not:
/// the other thread wakes too late to get it, and begins to wait anew each time.
#[pyclass(frozen, module = "bokbok_native")]
pub struct Writer {
    symbol: usize,
    keyword: usize,
    character: usize,
    dotted: usize,
    array: usize,
    text: Py<PyAny>,
    takes_long: Py<PyAny>,
    turn: Py<PyAny>,
    // What the addresses above belong to, so that they stay.
    _types: Vec<Py<PyAny>>,
    kept: Mutex<Vec<u8>>,
}

#[pymethods]
impl Writer {
    #[new]
    fn new(
        symbol: &Bound<'_, PyAny>,
        keyword: &Bound<'_, PyAny>,
        character: &Bound<'_, PyAny>,
        dotted: &Bound<'_, PyAny>,
        array: &Bound<'_, PyAny>,
        text: Py<PyAny>,
        takes_long: Py<PyAny>,
        turn: Py<PyAny>,
    ) -> Writer {
        let types = [symbol, keyword, character, dotted, array];
        let [symbol, keyword, character, dotted, array] = types.map(|object| object.as_ptr() as usize);
        let kept = types.map(|object| object.clone().unbind()).into();
        let scratch = Mutex::new(Vec::new());
        Writer { symbol, keyword, character, dotted, array, text, takes_long, turn, _types: kept, kept: scratch }
    }

    /// Writes a value between two texts; `None` where the writer in Python has to write.
    ///
    /// `most`: bytes of memory, by the estimate, beyond which it takes long.
    fn write<'py>(
        &self,
        py: Python<'py>,
        before: &Bound<'py, PyString>,
        value: &Bound<'py, PyAny>,
        after: &Bound<'py, PyString>,
        dialect: u8,
        most: usize,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        if let Some(whole) = long_text(before, value, after, most)? {
            return Ok(Some(whole));
        }
        let mut out = self.take();
        let result = self.between(before, value, after, Spelling::new(dialect), most, &mut out);
        let result = result.map(|written| written.then(|| PyBytes::new(py, &out)));
        self.give_back(out);
        result
    }
}

enum Open<'py> {
    List(Bound<'py, PyList>),
    Vector(Bound<'py, PyTuple>),
    Dotted(Bound<'py, PyList>, Bound<'py, PyAny>),
}

struct Frame<'py> {
    open: Open<'py>,
    next: usize,
    identity: usize,
}

impl Open<'_> {
    fn len(&self) -> usize {
        match self {
            Open::List(list) => list.len(),
            Open::Vector(tuple) => tuple.len(),
            Open::Dotted(list, _) => list.len() + 1,
        }
    }
}

impl<'py> Frame<'py> {
    /// The next element, and whether a dot is before it; `None` at the end.
    fn element(&mut self) -> PyResult<Option<(Bound<'py, PyAny>, bool)>> {
        let at = self.next;
        self.next += 1;
        Ok(match &self.open {
            Open::List(list) if at < list.len() => Some((list.get_item(at)?, false)),
            Open::Vector(tuple) if at < tuple.len() => Some((tuple.get_item(at)?, false)),
            Open::Dotted(list, _) if at < list.len() => Some((list.get_item(at)?, false)),
            Open::Dotted(list, tail) if at == list.len() => Some((tail.clone(), true)),
            _ => None,
        })
    }
}

impl Writer {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn give_back(&self, mut out: Vec<u8>) {
        if out.capacity() <= MOST_KEPT {
            out.clear();
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = out;
        }
    }

    fn between(
        &self,
        before: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
        after: &Bound<'_, PyString>,
        spelling: Spelling,
        most: usize,
        out: &mut Vec<u8>,
    ) -> PyResult<bool> {
        Ok(with_bytes(before, |bytes| out.extend_from_slice(bytes))?
            && self.value(value, spelling, most, out)?
            && with_bytes(after, |bytes| out.extend_from_slice(bytes))?)
    }

    /// What takes long is not to.
    fn too_long<T>(&self, py: Python<'_>) -> PyResult<T> {
        Err(PyErr::from_value(self.takes_long.bind(py).call0()?))
    }

    /// Appends a value; false if the writer in Python has to write it, and what was appended is useless.
    pub fn value<'py>(
        &self,
        value: &Bound<'py, PyAny>,
        spelling: Spelling,
        most: usize,
        out: &mut Vec<u8>,
    ) -> PyResult<bool> {
        let py = value.py();
        // What containers count when they open, and what was written so far counts; up to where this is one turn.
        let mut counted = 0;
        let mut items = 0;
        let mut turn = TURN;
        let mut stack: Vec<Frame<'py>> = Vec::new();
        let mut deep: HashSet<usize> = HashSet::new();
        let mut item = value.clone();
        loop {
            items += ITEM;
            let written = out.len() + items;
            if written > turn {
                if written > most {
                    return self.too_long(py);
                }
                self.turn.call0(py)?;
                turn = written + TURN;
            }
            match self.item(&item, spelling, most, out)? {
                Wrote::Atom => {}
                Wrote::Rare(length) => items += 3 * length,
                Wrote::Long => return self.too_long(py),
                Wrote::Odd => return Ok(false),
                Wrote::Opens(open) => {
                    let identity = item.as_ptr() as usize;
                    let again = if stack.len() < DEEP {
                        stack.iter().any(|frame| frame.identity == identity)
                    } else {
                        if stack.len() == DEEP {
                            deep = stack.iter().map(|frame| frame.identity).collect();
                        }
                        !deep.insert(identity)
                    };
                    if again {
                        return Ok(false); // a cycle
                    }
                    counted += LIST + ITEM * open.len();
                    if counted > most {
                        return self.too_long(py);
                    }
                    stack.push(Frame { open, next: 0, identity });
                }
            }
            // The next element of what is open, or its end if there are no more.
            loop {
                let Some(frame) = stack.last_mut() else {
                    return Ok(true);
                };
                let first = frame.next == 0;
                if let Some((element, dot)) = frame.element()? {
                    if !first {
                        out.push(b' ');
                    }
                    if dot {
                        // Python knows what the dot and a list make together.
                        if element.is_none() || !self.is_atom(&element) {
                            return Ok(false);
                        }
                        out.extend_from_slice(b". ");
                    }
                    item = element;
                    break;
                }
                out.push(b')');
                if stack.len() > DEEP {
                    deep.remove(&stack[stack.len() - 1].identity);
                }
                stack.pop();
            }
        }
    }

    /// Whether a value is surely an atom.
    fn is_atom(&self, item: &Bound<'_, PyAny>) -> bool {
        let kind = item.get_type_ptr() as usize;
        kind == self.symbol
            || kind == self.keyword
            || kind == self.character
            || item.is_exact_instance_of::<PyString>()
            || item.is_exact_instance_of::<PyInt>()
            || item.is_exact_instance_of::<PyFloat>()
            || item.is_exact_instance_of::<PyBool>()
            || item.is_exact_instance_of::<PyBytes>()
    }

    fn item<'py>(
        &self,
        item: &Bound<'py, PyAny>,
        spelling: Spelling,
        most: usize,
        out: &mut Vec<u8>,
    ) -> PyResult<Wrote<'py>> {
        if let Ok(text) = item.cast_exact::<PyString>() {
            let length = text.len()?;
            if length > most {
                return Ok(Wrote::Long);
            }
            out.push(b'"');
            if !with_bytes_of(text, length, |bytes| aside(item.py(), bytes, |bytes| escape(bytes, out)))? {
                return Ok(Wrote::Odd);
            }
            out.push(b'"');
            return Ok(Wrote::Atom);
        }
        if let Ok(number) = item.cast_exact::<PyInt>() {
            return match number.extract::<i64>() {
                Ok(number) if (FIXNUM_MIN..=FIXNUM_MAX).contains(&number) => {
                    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
                    Ok(Wrote::Atom)
                }
                _ => self.odd(item, spelling, most, out),
            };
        }
        let kind = item.get_type_ptr() as usize;
        if kind == self.symbol {
            let mut plain = false;
            let put = |name: &[u8]| {
                plain = is_plain_symbol(name);
                if plain {
                    out.extend_from_slice(name);
                }
            };
            if with_bytes(item.cast::<PyString>()?, put)? && plain {
                return Ok(Wrote::Atom);
            }
            return self.odd(item, spelling, most, out);
        }
        if let Ok(list) = item.cast_exact::<PyList>() {
            if list.is_empty() {
                out.extend_from_slice(b"()");
                return Ok(Wrote::Atom);
            }
            out.push(b'(');
            return Ok(Wrote::Opens(Open::List(list.clone())));
        }
        if let Ok(number) = item.cast_exact::<PyFloat>() {
            if flonum(number.value(), spelling.exact, out) {
                return Ok(Wrote::Atom);
            }
            return self.odd(item, spelling, most, out);
        }
        if let Ok(boolean) = item.cast_exact::<PyBool>() {
            out.extend_from_slice(if boolean.is_true() { b"#t" } else { b"#f" });
            return Ok(Wrote::Atom);
        }
        if item.is_none() {
            out.extend_from_slice(b"()");
            return Ok(Wrote::Atom);
        }
        if let Ok(tuple) = item.cast_exact::<PyTuple>() {
            if tuple.is_empty() {
                out.extend_from_slice(b"#()");
                return Ok(Wrote::Atom);
            }
            out.extend_from_slice(b"#(");
            return Ok(Wrote::Opens(Open::Vector(tuple.clone())));
        }
        if let Ok(blob) = item.cast_exact::<PyBytes>() {
            if blob.as_bytes().len() > most {
                return Ok(Wrote::Long);
            }
            aside(item.py(), blob.as_bytes(), |bytes| blob_text(bytes, out));
            return Ok(Wrote::Atom);
        }
        if kind == self.dotted {
            let items = item.getattr(pyo3::intern!(item.py(), "items"))?;
            let tail = item.getattr(pyo3::intern!(item.py(), "tail"))?;
            return match items.cast_into_exact::<PyList>() {
                Ok(items) if !items.is_empty() => {
                    out.push(b'(');
                    Ok(Wrote::Opens(Open::Dotted(items, tail)))
                }
                _ => Ok(Wrote::Odd),
            };
        }
        if kind == self.keyword {
            let name = item.getattr(pyo3::intern!(item.py(), "name"))?;
            let Ok(name) = name.cast_exact::<PyString>() else {
                return Ok(Wrote::Odd);
            };
            let mut plain = false;
            let put = |name: &[u8]| {
                plain = is_plain_symbol(name);
                if plain {
                    let (front, back): (&[u8], &[u8]) = if spelling.hash { (b"#:", b"") } else { (b"", b":") };
                    out.extend_from_slice(front);
                    out.extend_from_slice(name);
                    out.extend_from_slice(back);
                }
            };
            if with_bytes(name, put)? && plain {
                return Ok(Wrote::Atom);
            }
        }
        if kind == self.array {
            if item.len()? > most / ITEM {
                return Ok(Wrote::Long);
            }
            if self.array_text(item, spelling, out)? {
                return Ok(Wrote::Atom);
            }
        }
        self.odd(item, spelling, most, out)
    }

    /// What Python spells.
    fn odd<'py>(
        &self,
        item: &Bound<'py, PyAny>,
        spelling: Spelling,
        most: usize,
        out: &mut Vec<u8>,
    ) -> PyResult<Wrote<'py>> {
        let sized = item.is_instance_of::<PyString>() || item.is_instance_of::<PyByteArray>();
        if sized && item.len()? > most {
            return Ok(Wrote::Long);
        }
        let text = self.text.bind(item.py()).call1((item, spelling.code))?;
        match text.cast_exact::<PyBytes>() {
            Ok(bytes) => {
                out.extend_from_slice(bytes.as_bytes());
                Ok(Wrote::Rare(bytes.as_bytes().len()))
            }
            Err(_) => Ok(Wrote::Odd),
        }
    }

    /// Appends a vector of integers or of doubles; false, with nothing appended, where Python knows better.
    fn array_text(&self, item: &Bound<'_, PyAny>, spelling: Spelling, out: &mut Vec<u8>) -> PyResult<bool> {
        let py = item.py();
        let code: char = item.getattr(pyo3::intern!(py, "typecode"))?.extract()?;
        let size: usize = item.getattr(pyo3::intern!(py, "itemsize"))?.extract()?;
        let start = out.len();
        if !(b"bBhHiIlLqQd".contains(&(code as u8)) && code.is_ascii())
            || (size == 8 && code != 'd' && spelling.version == 4)
        {
            return Ok(false);
        }
        let raw: PyBackedBytes = item.call_method0(pyo3::intern!(py, "tobytes"))?.extract()?;
        out.push(b'#');
        out.push(match code {
            'd' => b'f',
            code if code.is_ascii_uppercase() => b'u',
            _ => b's',
        });
        out.extend_from_slice(itoa::Buffer::new().format(8 * size).as_bytes());
        out.push(b'(');
        if !aside(py, &raw, |raw| elements(raw, code, size, spelling.exact, out)) {
            out.truncate(start);
            return Ok(false);
        }
        out.push(b')');
        Ok(true)
    }
}

enum Wrote<'py> {
    Atom,
    /// By Python, which takes longer: this many bytes.
    Rare(usize),
    Opens(Open<'py>),
    Odd,
    Long,
}

/// Works on bytes; where they are many, other threads run meanwhile.
fn aside<T: Send>(py: Python<'_>, bytes: &[u8], work: impl FnOnce(&[u8]) -> T + Send) -> T {
    if bytes.len() > TURN {
        py.detach(|| work(bytes))
    } else {
        work(bytes)
    }
}

/// Appends the elements of a vector; false where Python knows better.
fn elements(raw: &[u8], code: char, size: usize, exact: bool, out: &mut Vec<u8>) -> bool {
    for (number, element) in raw.chunks_exact(size).enumerate() {
        if number > 0 {
            out.push(b' ');
        }
        let mut bytes = [0; 8];
        let low = if cfg!(target_endian = "little") { 0 } else { 8 - size };
        bytes[low..low + size].copy_from_slice(element);
        let shift = 64 - 8 * size as u32;
        let mut buffer = itoa::Buffer::new();
        let text = match code {
            'd' => {
                if !flonum(f64::from_ne_bytes(bytes), exact, out) {
                    return false;
                }
                continue;
            }
            code if code.is_ascii_uppercase() => buffer.format(u64::from_ne_bytes(bytes)),
            _ => buffer.format((i64::from_ne_bytes(bytes) << shift) >> shift),
        };
        out.extend_from_slice(text.as_bytes());
    }
    true
}

/// Writes a long string in which nothing is escaped, and no other value. It is made where it stays: what `between` does
/// makes it in memory of its own first, which for a long one is as much again.
fn long_text<'py>(
    before: &Bound<'py, PyString>,
    value: &Bound<'py, PyAny>,
    after: &Bound<'py, PyString>,
    most: usize,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let Ok(text) = value.cast_exact::<PyString>() else {
        return Ok(None);
    };
    let length = text.len()?;
    if length < LONG || length > most || !is_ascii(text)? {
        return Ok(None);
    }
    // What stands around it may hold bytes that are no UTF-8, as lone surrogates: `between` knows how they are written.
    let (Ok(before), Ok(after)) = (before.to_str(), after.to_str()) else {
        return Ok(None);
    };
    let (before, text, after) = (before.as_bytes(), text.to_str()?.as_bytes(), after.as_bytes());
    if !aside(value.py(), text, |text| run_without_escapes(text) == text.len()) {
        return Ok(None);
    }
    let parts = [before, b"\"", text, b"\"", after];
    let size = parts.iter().map(|part| part.len()).sum();
    PyBytes::new_with(value.py(), size, |mut room| {
        for part in parts {
            let (here, rest) = room.split_at_mut(part.len());
            here.copy_from_slice(part);
            room = rest;
        }
        Ok(())
    })
    .map(Some)
}

/// Whether a `str` has only ASCII: then its UTF-8 is there already, and asking for it takes no memory.
fn is_ascii(text: &Bound<'_, PyString>) -> PyResult<bool> {
    text.call_method0(pyo3::intern!(text.py(), "isascii"))?.extract()
}

/// Calls `use_bytes` with CHICKEN's bytes of a `str`; false if it has none.
fn with_bytes(text: &Bound<'_, PyString>, use_bytes: impl FnOnce(&[u8])) -> PyResult<bool> {
    with_bytes_of(text, text.len()?, use_bytes)
}

/// The same, where its length is known.
#[inline(always)]
fn with_bytes_of(text: &Bound<'_, PyString>, length: usize, use_bytes: impl FnOnce(&[u8])) -> PyResult<bool> {
    if length < LONG || is_ascii(text)? {
        if let Ok(text) = text.to_str() {
            use_bytes(text.as_bytes());
            return Ok(true);
        }
    } else if let Ok(bytes) = text.encode_utf8() {
        use_bytes(bytes.as_bytes());
        return Ok(true);
    }
    // A surrogate, which may stand for a byte.
    match text.call_method1("encode", ("utf-8", "surrogateescape")) {
        Ok(bytes) => {
            use_bytes(bytes.cast::<PyBytes>()?.as_bytes());
            Ok(true)
        }
        Err(_) => Ok(false),
    }
}
