//! The reader's values in Python.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyList, PyString, PyTuple};
use pyo3::IntoPyObjectExt;

use crate::names::Names;
use crate::read::{Builder, Limits, Odd, Prefix, Room, Run, LONG};

/// What a read needs beside its arguments, kept from one to the next.
pub struct Kept {
    symbols: Names,
    keywords: Names,
    scratch: Vec<u8>,
    room: Option<Room<Py<PyAny>>>,
}

/// Above this a buffer is given back rather than kept.
const MOST_KEPT: usize = 64 * 1024;

/// Reads datums as Python's objects.
///
/// `symbol`, `keyword`, `character`: what makes such a value of a `str`. `dotted`: what makes one of a list and a tail.
/// `prefixes`: the symbols `quote`, `quasiquote`, `unquote`, `unquote-splicing`.
/// `token`: called with the bytes, an offset, the version of CHICKEN and whether a dot may be a list's, it returns the
/// value of the token there, where it ends and its memory; or `None` for what it cannot say.
#[pyclass(frozen, module = "bokbok_native")]
pub struct Reader {
    symbol: Py<PyAny>,
    keyword: Py<PyAny>,
    dotted: Py<PyAny>,
    prefixes: Vec<Py<PyAny>>,
    token: Py<PyAny>,
    characters: Vec<Py<PyAny>>,
    // Taken out while a read runs: what it calls may read as well.
    kept: Mutex<Option<Box<Kept>>>,
}

#[pymethods]
impl Reader {
    #[new]
    fn new(
        py: Python<'_>,
        symbol: Py<PyAny>,
        keyword: Py<PyAny>,
        character: Py<PyAny>,
        dotted: Py<PyAny>,
        prefixes: Vec<Py<PyAny>>,
        token: Py<PyAny>,
    ) -> PyResult<Reader> {
        let characters = (b'!'..=b'~').map(|byte| character.call1(py, (char::from(byte),))).collect::<PyResult<_>>()?;
        Ok(Reader { symbol, keyword, dotted, prefixes, token, characters, kept: Mutex::new(None) })
    }

    /// Reads one datum: the value, the offset behind it, and its memory; `None` where the reader in Python has to read.
    ///
    /// `finished`: whether nothing comes behind the data.
    fn read<'py>(
        &self,
        data: &Bound<'py, PyBytes>,
        offset: usize,
        version: u8,
        depth: &Bound<'py, PyAny>,
        memory: &Bound<'py, PyAny>,
        finished: bool,
    ) -> PyResult<Option<(Py<PyAny>, usize, u64)>> {
        let Some(mut run) = begun(data, offset, depth, memory, finished) else {
            return Ok(None);
        };
        Ok(match self.go_on(data.py(), &mut run, data.as_bytes(), Some(data), version, usize::MAX)? {
            Step::Done(value) => Some((value, run.at(), run.spent())),
            _ => None,
        })
    }

    /// Begins to read one datum in pieces. The arguments are those of `read`; `None` for limits that are not numbers here.
    ///
    /// Of long data it is found out first whether they read, and nothing is made of them meanwhile: half a million
    /// lists that are let go of again would have made the garbage collector look at everything several times.
    #[staticmethod]
    fn begin(
        data: &Bound<'_, PyBytes>,
        offset: usize,
        version: u8,
        depth: &Bound<'_, PyAny>,
        memory: &Bound<'_, PyAny>,
        finished: bool,
    ) -> Option<Pieces> {
        let run = begun(data, offset, depth, memory, finished)?;
        let is_long = data.as_bytes().len().saturating_sub(offset) > LOOKED_AT;
        let look = if is_long { begun(data, offset, depth, memory, finished) } else { None };
        Some(Pieces { version, look, run: Some(run), spent: 0 })
    }

    /// Reads the next piece of about `size` bytes of a datum that was begun.
    ///
    /// Returns what `read` returns; `False` if there is more to read.
    fn step<'py>(
        &self,
        pieces: &Bound<'py, Pieces>,
        data: &Bound<'py, PyBytes>,
        size: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = pieces.py();
        let (version, look, run) = {
            let mut pieces = pieces.borrow_mut(); // not while it runs: what it calls may look at it
            (pieces.version, pieces.look.take(), pieces.run.take())
        };
        if let Some(mut look) = look {
            let until = look.at().saturating_add(size);
            let step = self.look_on(py, &mut look, data, version, until)?;
            let mut pieces = pieces.borrow_mut();
            match step {
                Step::Odd => {
                    pieces.spent = look.spent();
                    return Ok(py.None().into_bound(py));
                }
                Step::Paused => pieces.look = Some(look),
                Step::Done(()) => {}
            }
            pieces.run = run;
            return false.into_bound_py_any(py);
        }
        let Some(mut run) = run else {
            return Ok(py.None().into_bound(py));
        };
        let until = run.at().saturating_add(size);
        let step = self.go_on(py, &mut run, data.as_bytes(), Some(data), version, until)?;
        let mut pieces = pieces.borrow_mut();
        pieces.spent = run.spent();
        match step {
            Step::Done(value) => (value, run.at(), run.spent()).into_bound_py_any(py),
            Step::Odd => Ok(py.None().into_bound(py)),
            Step::Paused => {
                pieces.run = Some(run);
                false.into_bound_py_any(py)
            }
        }
    }
}

/// Bytes of data that are read without looking first.
const LOOKED_AT: usize = 1 << 16;

/// A run over these bytes; `None` if a limit is not a number of this machine.
fn begun<V>(
    data: &Bound<'_, PyBytes>,
    offset: usize,
    depth: &Bound<'_, PyAny>,
    memory: &Bound<'_, PyAny>,
    finished: bool,
) -> Option<Run<V>> {
    let limits = Limits { depth: depth.extract().ok()?, memory: memory.extract().ok()?, finished };
    Some(Run::new(offset, data.as_bytes().len(), limits))
}

/// A datum that is being read in pieces.
#[pyclass(module = "bokbok_native")]
pub struct Pieces {
    version: u8,
    /// What finds out whether it reads; taken out while it runs, and gone once that is known.
    look: Option<Run<()>>,
    /// What reads it: the same.
    run: Option<Run<Py<PyAny>>>,
    spent: u64,
}

#[pymethods]
impl Pieces {
    /// What the datum had cost when the last step ended, in bytes of memory; and if it does not read, what it would have
    /// cost up to there.
    #[getter]
    fn spent(&self) -> u64 {
        self.spent
    }
}

/// How a piece ends.
pub enum Step<V> {
    Done(V),
    Paused,
    Odd,
}

impl Reader {
    /// Reads on up to `until`. `object`: the data as Python's bytes, where they are those already.
    pub fn go_on<'py>(
        &self,
        py: Python<'py>,
        run: &mut Run<Py<PyAny>>,
        data: &[u8],
        object: Option<&Bound<'py, PyBytes>>,
        version: u8,
        until: usize,
    ) -> PyResult<Step<Py<PyAny>>> {
        self.work(py, object, version, |values, scratch| {
            run.enter(&mut values.kept.room);
            let result = run.run(values, data, until, scratch);
            if !matches!(result, Ok(None)) {
                run.leave(&mut values.kept.room);
            }
            result
        })
    }

    /// The same, and nothing is made.
    fn look_on<'py>(
        &self,
        py: Python<'py>,
        run: &mut Run<()>,
        data: &Bound<'py, PyBytes>,
        version: u8,
        until: usize,
    ) -> PyResult<Step<()>> {
        self.work(py, Some(data), version, |values, scratch| {
            run.run(&mut Nothing { values }, data.as_bytes(), until, scratch)
        })
    }

    fn work<'py, V>(
        &self,
        py: Python<'py>,
        object: Option<&Bound<'py, PyBytes>>,
        version: u8,
        run: impl FnOnce(&mut Values<'_, 'py>, &mut Vec<u8>) -> Result<Option<V>, Odd>,
    ) -> PyResult<Step<V>> {
        let mut kept = self.take();
        let mut scratch = std::mem::take(&mut kept.scratch);
        let mut values = Values { py, reader: self, object: object.cloned(), version, kept: &mut kept, error: None };
        let result = run(&mut values, &mut scratch);
        let error = values.error.take();
        if scratch.capacity() <= MOST_KEPT {
            kept.scratch = scratch;
        }
        self.give_back(kept);
        match (result, error) {
            (_, Some(error)) => Err(error),
            (Ok(Some(value)), None) => Ok(Step::Done(value)),
            (Ok(None), None) => Ok(Step::Paused),
            (Err(Odd), None) => Ok(Step::Odd),
        }
    }

    fn take(&self) -> Box<Kept> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.unwrap_or_else(|| {
            Box::new(Kept { symbols: Names::new(), keywords: Names::new(), scratch: Vec::new(), room: None })
        })
    }

    fn give_back(&self, kept: Box<Kept>) {
        let before = self.kept.lock().unwrap_or_else(PoisonError::into_inner).replace(kept);
        drop(before); // behind the lock: what it lets go of may run Python's code
    }
}

struct Values<'a, 'py> {
    py: Python<'py>,
    reader: &'a Reader,
    object: Option<Bound<'py, PyBytes>>,
    version: u8,
    kept: &'a mut Kept,
    /// What ended the read, if it was not the bytes: it is raised.
    error: Option<PyErr>,
}

/// Bytes as `str`, those that are not UTF-8 as `surrogateescape` has them.
pub fn decode<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(PyString::new(py, text)),
        Err(_) => PyString::from_encoded_object(&PyBytes::new(py, bytes), Some(c"utf-8"), Some(c"surrogateescape")),
    }
}

/// Whether a string of these bytes is made here.
fn is_string(bytes: &[u8]) -> Result<(), Odd> {
    if bytes.len() > LONG && std::str::from_utf8(bytes).is_err() {
        Err(Odd)
    } else {
        Ok(())
    }
}

impl<'py> Values<'_, 'py> {
    fn py(&self) -> Python<'py> {
        self.py
    }

    fn check<T>(&mut self, result: PyResult<T>) -> Result<T, Odd> {
        result.map_err(|error| {
            self.error = Some(error);
            Odd
        })
    }
}

impl<'py> Builder for Values<'_, 'py> {
    type Value = Py<PyAny>;

    fn fixnum(&mut self, value: i64) -> Result<Self::Value, Odd> {
        Ok(PyInt::new(self.py(), value).into_any().unbind())
    }

    fn flonum(&mut self, value: f64) -> Result<Self::Value, Odd> {
        Ok(PyFloat::new(self.py(), value).into_any().unbind())
    }

    fn boolean(&mut self, value: bool) -> Result<Self::Value, Odd> {
        Ok(PyBool::new(self.py(), value).to_owned().into_any().unbind())
    }

    fn character(&mut self, byte: u8) -> Result<Self::Value, Odd> {
        Ok(self.reader.characters[usize::from(byte - b'!')].clone_ref(self.py()))
    }

    fn string(&mut self, bytes: &[u8]) -> Result<Self::Value, Odd> {
        is_string(bytes)?;
        let text = decode(self.py(), bytes);
        Ok(self.check(text)?.into_any().unbind())
    }

    fn symbol(&mut self, name: &[u8]) -> Result<Self::Value, Odd> {
        let (py, make) = (self.py(), &self.reader.symbol);
        let symbol = self.kept.symbols.get(py, name, || make.bind(py).call1((decode(py, name)?,)));
        Ok(self.check(symbol)?.unbind())
    }

    fn keyword(&mut self, name: &[u8]) -> Result<Self::Value, Odd> {
        let (py, make) = (self.py(), &self.reader.keyword);
        let keyword = self.kept.keywords.get(py, name, || make.bind(py).call1((decode(py, name)?,)));
        Ok(self.check(keyword)?.unbind())
    }

    fn blob(&mut self, bytes: &[u8]) -> Result<Self::Value, Odd> {
        Ok(PyBytes::new(self.py(), bytes).into_any().unbind())
    }

    fn prefix(&mut self, prefix: Prefix, value: Self::Value) -> Result<Self::Value, Odd> {
        let symbol = match prefix {
            Prefix::Quote => 0,
            Prefix::Quasiquote => 1,
            Prefix::Unquote => 2,
            Prefix::UnquoteSplicing => 3,
        };
        let list = PyList::new(self.py(), [&self.reader.prefixes[symbol], &value]);
        Ok(self.check(list)?.into_any().unbind())
    }

    fn list(&mut self, items: std::vec::Drain<'_, Self::Value>) -> Result<Self::Value, Odd> {
        let list = PyList::new(self.py(), items);
        Ok(self.check(list)?.into_any().unbind())
    }

    fn vector(&mut self, items: std::vec::Drain<'_, Self::Value>) -> Result<Self::Value, Odd> {
        let tuple = PyTuple::new(self.py(), items);
        Ok(self.check(tuple)?.into_any().unbind())
    }

    fn dotted(&mut self, mut items: std::vec::Drain<'_, Self::Value>) -> Result<Self::Value, Odd> {
        let tail = items.next_back().ok_or(Odd)?;
        let list = PyList::new(self.py(), items);
        let list = self.check(list)?;
        let dotted = self.reader.dotted.bind(self.py()).call1((list, tail));
        Ok(self.check(dotted)?.unbind())
    }

    fn token(&mut self, data: &[u8], at: usize, dots: bool) -> Result<(Self::Value, usize, u64), Odd> {
        let py = self.py;
        let object = self.object.get_or_insert_with(|| PyBytes::new(py, data)).clone();
        let found = self.reader.token.bind(py).call1((object, at, self.version, dots));
        let found = self.check(found)?;
        if found.is_none() {
            return Err(Odd);
        }
        let found = found.extract();
        self.check(found)
    }
}

/// Finds out whether `Values` could make something of it.
struct Nothing<'v, 'a, 'py> {
    values: &'v mut Values<'a, 'py>,
}

impl Builder for Nothing<'_, '_, '_> {
    type Value = ();

    fn fixnum(&mut self, _: i64) -> Result<(), Odd> {
        Ok(())
    }

    fn flonum(&mut self, _: f64) -> Result<(), Odd> {
        Ok(())
    }

    fn boolean(&mut self, _: bool) -> Result<(), Odd> {
        Ok(())
    }

    fn character(&mut self, _: u8) -> Result<(), Odd> {
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) -> Result<(), Odd> {
        is_string(bytes)
    }

    fn symbol(&mut self, _: &[u8]) -> Result<(), Odd> {
        Ok(())
    }

    fn keyword(&mut self, _: &[u8]) -> Result<(), Odd> {
        Ok(())
    }

    fn blob(&mut self, _: &[u8]) -> Result<(), Odd> {
        Ok(())
    }

    fn prefix(&mut self, _: Prefix, (): ()) -> Result<(), Odd> {
        Ok(())
    }

    fn list(&mut self, _: std::vec::Drain<'_, ()>) -> Result<(), Odd> {
        Ok(())
    }

    fn vector(&mut self, _: std::vec::Drain<'_, ()>) -> Result<(), Odd> {
        Ok(())
    }

    fn dotted(&mut self, mut items: std::vec::Drain<'_, ()>) -> Result<(), Odd> {
        items.next_back().ok_or(Odd)
    }

    fn token(&mut self, data: &[u8], at: usize, dots: bool) -> Result<((), usize, u64), Odd> {
        let (_, end, cost) = self.values.token(data, at, dots)?;
        Ok(((), end, cost))
    }
}
