//! The path of a batch, for profiles of the default's kind: packets behind a u32, boxes with their nonce in front,
//! messages `(TAG ID DATUM)`.
//!
//! As the codec, it takes what is plainly right, and leaves the rest where it is: [`Splitter::batch`] stops before a
//! packet that does not open, is large, or does not read, and Python takes that one, and makes the error.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use pyo3::IntoPyObjectExt;

use crate::boxes::{open, KEY, NONCE, OVERHEAD, SMALL};
use crate::bytes::skip;
use crate::read::{Limits, Run};
use crate::reader::{Reader, Step};

/// Bytes in front of a packet: its length, big-endian.
const HEAD: usize = 4;
/// Bytes of a message's end: its `)`.
const END: &[u8] = b")";
/// The longest ID that is read here, as on Python's fast path.
const MOST_DIGITS: usize = 18;

/// Bytes of a buffer that an idle connection keeps.
const KEPT: usize = 4096;

/// What `Splitter.batch` says of why it has stopped.
const ALL: u8 = 0;
const TIME: u8 = 1;
const ODD: u8 = 2;

/// What is written for every message of one connection, and read.
struct Form {
    key: Option<[u8; KEY]>,
    /// What this side's own nonces begin with, if a box of its own is to be refused.
    own: Option<Vec<u8>>,
    /// By kind.
    tags: [Vec<u8>; 3],
    error: u8,
    reader: Py<Reader>,
    version: u8,
    limits: Limits,
    /// What a message takes in memory beside its datum.
    extra: u64,
    /// The longest packet that is read here.
    most: usize,
    /// What a message counts beside its bytes.
    each: usize,
}

#[derive(Default)]
struct Buffer {
    data: Vec<u8>,
    at: usize,
    body: Vec<u8>,
}

/// Receiving side of the framing: a u32 in front of each packet.
///
/// `too_long`: called with a length and the limit, it returns the exception for a packet over the limit.
///
/// One thread at a time feeds it and takes packets; any may ask what is held.
#[pyclass(frozen, module = "bokbok_native")]
pub struct Splitter {
    limit: AtomicUsize,
    held: AtomicUsize,
    too_long: Py<PyAny>,
    // Taken out while a batch is read: what that calls may ask what is held.
    buffer: Mutex<Option<Buffer>>,
    form: Mutex<Option<std::sync::Arc<Form>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The packet at the front, and where it ends, if it is whole; its length, if it is over the limit.
enum Front {
    Whole(usize, usize),
    TooLong(usize),
    More,
}

impl Buffer {
    /// Room for so many bytes more, and for a quarter of what is there at most beside: what is held for a peer is
    /// counted by its bytes, and a vector that grows by itself takes up to twice as many.
    fn make_room(&mut self, more: usize) {
        let needed = self.data.len() + more;
        let capacity = self.data.capacity();
        if needed > capacity {
            self.data.reserve_exact(more.max(self.data.len() / 4));
        }
    }

    /// Gives back the room of packets that were returned, once it is more than half, as it may be long until more comes.
    fn tidy(&mut self) {
        if self.at == self.data.len() {
            if self.data.capacity() > KEPT {
                self.data = Vec::new();
                self.at = 0;
            }
        } else if self.at > KEPT && self.at > self.data.len() / 2 {
            self.data.drain(..self.at);
            self.data.shrink_to_fit();
            self.at = 0;
        }
    }

    fn front(&self, limit: usize) -> Front {
        let Some(head) = self.data[self.at..].first_chunk::<HEAD>() else {
            return Front::More;
        };
        let size = u32::from_be_bytes(*head) as usize;
        if size > limit {
            return Front::TooLong(size);
        }
        let start = self.at + HEAD;
        if self.data.len() - start < size {
            return Front::More;
        }
        Front::Whole(start, start + size)
    }
}

#[pymethods]
impl Splitter {
    #[new]
    fn new(limit: usize, too_long: Py<PyAny>) -> Splitter {
        Splitter {
            limit: AtomicUsize::new(limit),
            held: AtomicUsize::new(0),
            too_long,
            buffer: Mutex::new(Some(Buffer::default())),
            form: Mutex::new(None),
        }
    }

    #[getter]
    fn get_limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    #[setter]
    fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// From here on, `batch` reads messages.
    ///
    /// `key`: of the boxes; `None` where packets are messages. `own`: see `Form`. `tags`: those of a request, a
    /// response and an error. `most`: bytes of the longest packet that is read here. `each`: what a message counts
    /// beside its bytes.
    #[allow(clippy::too_many_arguments)]
    fn bind(
        &self,
        reader: Py<Reader>,
        key: Option<&[u8]>,
        own: Option<Vec<u8>>,
        tags: (Vec<u8>, Vec<u8>, Vec<u8>),
        version: u8,
        depth: usize,
        memory: u64,
        extra: u64,
        most: usize,
        each: usize,
    ) -> PyResult<()> {
        let key =
            key.map(<[u8; KEY]>::try_from).transpose().map_err(|_| PyValueError::new_err("a key has 32 bytes"))?;
        let limits = Limits { depth, memory, finished: true };
        let tags = [tags.0, tags.1, tags.2];
        let most = if key.is_some() { most.min(SMALL + OVERHEAD) } else { most };
        let form = Form { key, own, tags, error: 2, reader, version, limits, extra, most, each };
        *locked(&self.form) = Some(std::sync::Arc::new(form));
        Ok(())
    }

    /// Takes bytes from the transport.
    fn feed(&self, data: &[u8]) -> PyResult<()> {
        let mut guard = locked(&self.buffer);
        let buffer = guard.as_mut().ok_or_else(in_use)?;
        if buffer.at > 0 && buffer.at >= buffer.data.len() / 2 {
            buffer.data.drain(..buffer.at);
            buffer.at = 0;
        }
        buffer.make_room(data.len());
        buffer.data.extend_from_slice(data);
        self.held.fetch_add(data.len(), Ordering::Relaxed);
        Ok(())
    }

    /// The next whole packet, or `None` until more bytes come.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut guard = locked(&self.buffer);
        let buffer = guard.as_mut().ok_or_else(in_use)?;
        let limit = self.get_limit();
        match buffer.front(limit) {
            Front::Whole(start, end) => {
                let packet = PyBytes::new(py, &buffer.data[start..end]);
                self.held.fetch_sub(end - buffer.at, Ordering::Relaxed);
                buffer.at = end;
                buffer.tidy();
                Ok(Some(packet))
            }
            Front::More => Ok(None),
            Front::TooLong(size) => {
                drop(guard);
                let error = self.too_long.bind(py).call1((size, limit))?;
                Err(PyErr::from_value(error))
            }
        }
    }

    /// How many of the bytes that were fed do not belong to a packet that was returned.
    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// What an end of file would cut off now, in words; `None` between two packets.
    fn pending(&self) -> PyResult<Option<String>> {
        let guard = locked(&self.buffer);
        let buffer = guard.as_ref().ok_or_else(in_use)?;
        let rest = &buffer.data[buffer.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        Ok(Some(match (rest.first_chunk::<HEAD>(), buffer.front(self.get_limit())) {
            (None, _) => format!("{} of a length's {HEAD} bytes", rest.len()),
            (Some(head), Front::More) => {
                format!("{} of a packet's {} bytes", rest.len() - HEAD, u32::from_be_bytes(*head))
            }
            _ => format!("{} bytes that were not looked at", rest.len()),
        }))
    }

    /// Hands over the bytes that were fed and do not belong to a packet yet.
    fn rest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut guard = locked(&self.buffer);
        let buffer = guard.as_mut().ok_or_else(in_use)?;
        let rest = PyBytes::new(py, &buffer.data[buffer.at..]);
        *buffer = Buffer::default();
        self.held.store(0, Ordering::Relaxed);
        Ok(rest)
    }

    /// Reads messages, and appends each as (kind, ID, datum, memory), until their bytes are more than `budget`.
    ///
    /// Returns 0 if no whole packet is left, 1 if the budget is used up, and 2 if the next packet, which `next` returns,
    /// is for Python.
    fn batch(&self, messages: &Bound<'_, PyList>, budget: usize) -> PyResult<u8> {
        let Some(form) = locked(&self.form).clone() else {
            return Ok(ODD);
        };
        let mut buffer = locked(&self.buffer).take().ok_or_else(in_use)?;
        let result = self.messages(&form, &mut buffer, messages, budget);
        buffer.tidy();
        *locked(&self.buffer) = Some(buffer);
        result
    }

    /// The message, as `batch` has it, if `data` is one packet and nothing else, as it mostly is, while no bytes are left
    /// from before. `None` for anything else, and for what is for Python: then nothing was taken.
    fn alone<'py>(&self, data: &Bound<'py, PyBytes>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let bytes = data.as_bytes();
        let limit = self.get_limit();
        let Some(packet) = bytes.split_first_chunk::<HEAD>().and_then(|(head, rest)| {
            (u32::from_be_bytes(*head) as usize == rest.len() && rest.len() <= limit).then_some(rest)
        }) else {
            return Ok(None);
        };
        if self.held() != 0 {
            return Ok(None);
        }
        let Some(form) = locked(&self.form).clone() else {
            return Ok(None);
        };
        let mut buffer = locked(&self.buffer).take().ok_or_else(in_use)?;
        let result = message(data.py(), &form, packet, &mut buffer.body);
        *locked(&self.buffer) = Some(buffer);
        result
    }
}

fn in_use() -> PyErr {
    PyRuntimeError::new_err("a connection is read by two threads at once")
}

impl Splitter {
    fn messages(&self, form: &Form, buffer: &mut Buffer, messages: &Bound<'_, PyList>, budget: usize) -> PyResult<u8> {
        let py = messages.py();
        let limit = self.get_limit();
        let mut used = 0;
        loop {
            let (start, end) = match buffer.front(limit) {
                Front::Whole(start, end) => (start, end),
                Front::More => return Ok(ALL),
                Front::TooLong(_) => return Ok(ODD),
            };
            if used > budget {
                return Ok(TIME);
            }
            let packet = &buffer.data[start..end];
            let Some(message) = message(py, form, packet, &mut buffer.body)? else {
                return Ok(ODD);
            };
            messages.append(message)?;
            used += packet.len() + form.each;
            self.held.fetch_sub(end - buffer.at, Ordering::Relaxed);
            buffer.at = end;
        }
    }
}

/// The message of a packet: (kind, ID, datum, memory). `None`: it is for Python.
fn message<'py>(
    py: Python<'py>,
    form: &Form,
    packet: &[u8],
    opened: &mut Vec<u8>,
) -> PyResult<Option<Bound<'py, PyTuple>>> {
    if packet.len() > form.most {
        return Ok(None);
    }
    let body = match &form.key {
        None => packet,
        Some(key) => {
            let reflected = form.own.as_ref().is_some_and(|own| packet.starts_with(own));
            if reflected || !open(key, packet, opened) {
                return Ok(None);
            }
            &opened[..]
        }
    };
    let Some((kind, id, at)) = head(body, &form.tags) else {
        return Ok(None);
    };
    let mut run = Run::new(at, body.len(), form.limits);
    let reader = form.reader.get();
    let Step::Done(datum) = reader.go_on(py, &mut run, body, None, form.version, usize::MAX)? else {
        return Ok(None);
    };
    if &body[run.at()..] != END || (kind == form.error && !datum.bind(py).is_exact_instance_of::<PyString>()) {
        return Ok(None);
    }
    let memory = run.spent() + form.extra;
    let message = [kind.into_py_any(py)?, id.into_py_any(py)?, datum, memory.into_py_any(py)?];
    PyTuple::new(py, message).map(Some)
}

/// The kind and ID of a message, and where its datum begins.
fn head(body: &[u8], tags: &[Vec<u8>; 3]) -> Option<(u8, u64, usize)> {
    let rest = body.strip_prefix(b"(")?;
    let kind =
        tags.iter().position(|tag| rest.strip_prefix(&tag[..]).is_some_and(|rest| rest.first() == Some(&b' ')))?;
    let digits = 1 + tags[kind].len() + 1;
    let end = skip(body, digits, crate::bytes::DIGIT);
    let text = &body[digits..end];
    if text.is_empty()
        || text.len() > MOST_DIGITS
        || (text[0] == b'0' && text.len() > 1)
        || body.get(end) != Some(&b' ')
    {
        return None;
    }
    let id = text.iter().fold(0, |id, digit| id * 10 + u64::from(digit - b'0'));
    Some((kind as u8, id, end + 1))
}

/// Nonces of one side of one connection: the same 16 bytes in front of all, and a count behind.
///
/// One object, at which Python's garbage collector does not look.
#[pyclass(frozen, module = "bokbok_native")]
pub struct Nonces {
    prefix: [u8; NONCE - 8],
    next: AtomicU64,
}

#[pymethods]
impl Nonces {
    #[new]
    fn new(prefix: &[u8]) -> PyResult<Nonces> {
        let prefix = prefix.try_into().map_err(|_| PyValueError::new_err("a nonce begins with 16 bytes"))?;
        Ok(Nonces { prefix, next: AtomicU64::new(0) })
    }

    /// The next one, never the same twice.
    fn __call__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.next())
    }
}

impl Nonces {
    fn next(&self) -> [u8; NONCE] {
        let mut nonce = [0; NONCE];
        nonce[..NONCE - 8].copy_from_slice(&self.prefix);
        nonce[NONCE - 8..].copy_from_slice(&self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        nonce
    }
}

/// Makes packets of messages: a u32, and a box with its nonce in front.
///
/// `next_nonce`: returns a nonce that was never used.
#[pyclass(frozen, module = "bokbok_native")]
pub struct Sealer {
    key: [u8; KEY],
    next_nonce: Py<PyAny>,
}

#[pymethods]
impl Sealer {
    #[new]
    fn new(key: &[u8], next_nonce: Py<PyAny>) -> PyResult<Sealer> {
        let key = key.try_into().map_err(|_| PyValueError::new_err("a key has 32 bytes"))?;
        Ok(Sealer { key, next_nonce })
    }

    /// The bytes to be sent of one piece, as of `sealed`; `None` of a large body, before anything is made.
    fn packet<'py>(&self, piece: &Bound<'py, PyBytes>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        if !piece.is_exact_instance_of::<PyBytes>() {
            return Ok(Some(piece.clone()));
        }
        let body = piece.as_bytes();
        if body.len() > SMALL {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(HEAD + OVERHEAD + body.len());
        self.put(piece.py(), body, &mut out)?;
        Ok(Some(PyBytes::new(piece.py(), &out)))
    }

    /// The bytes to be sent, of bodies (`bytes`) and of what is sent as it is (of a subclass of `bytes`).
    ///
    /// `seal`: makes the packet of a large body. Without it, `None` is returned if there is one, before anything is made.
    fn sealed<'py>(
        &self,
        py: Python<'py>,
        outgoing: &Bound<'py, PyList>,
        seal: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        if seal.is_none() {
            for piece in outgoing.iter() {
                if piece.is_exact_instance_of::<PyBytes>() && piece.cast::<PyBytes>()?.as_bytes().len() > SMALL {
                    return Ok(None);
                }
            }
        }
        let mut out = Vec::new();
        for piece in outgoing.iter() {
            let bytes = piece.cast::<PyBytes>()?;
            if !piece.is_exact_instance_of::<PyBytes>() {
                out.extend_from_slice(bytes.as_bytes());
                continue;
            }
            let body = bytes.as_bytes();
            if let (true, Some(large)) = (body.len() > SMALL, seal) {
                out.extend_from_slice(large.call1((bytes,))?.cast::<PyBytes>()?.as_bytes());
                continue;
            }
            self.put(py, body, &mut out)?;
        }
        Ok(Some(PyBytes::new(py, &out)))
    }
}

impl Sealer {
    /// Appends the packet of a body.
    fn put(&self, py: Python<'_>, body: &[u8], out: &mut Vec<u8>) -> PyResult<()> {
        let nonce = self.nonce(py)?;
        out.extend_from_slice(&((body.len() + OVERHEAD) as u32).to_be_bytes());
        crate::boxes::seal(&self.key, &nonce, body, out);
        Ok(())
    }

    fn nonce(&self, py: Python<'_>) -> PyResult<[u8; NONCE]> {
        if let Ok(nonces) = self.next_nonce.bind(py).cast_exact::<Nonces>() {
            return Ok(nonces.get().next());
        }
        let nonce = self.next_nonce.bind(py).call0()?;
        nonce.cast::<PyBytes>()?.as_bytes().try_into().map_err(|_| PyValueError::new_err("a nonce has 24 bytes"))
    }
}
