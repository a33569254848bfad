//! Lists of a datum that is being read in pieces, which the garbage collector is not to look at yet.
//!
//! CPython's collector begins a full collection once as many objects as a quarter of the old ones have survived a while.
//! A message of 64 MiB has 420,000 lists, and nobody has them before it is whole, so they can be neither garbage nor a
//! part of a cycle. But each of them survives, so reading one such message made the collector look at all lists and
//! connections that there are five times, 0.3 s each. CPython does the same on a smaller scale: it begins to track a
//! new object when it is filled.

use pyo3::prelude::*;

/// Takes note of a value that was just made, that the collector looks at, and that nobody else has.
pub trait Keep {
    fn keep(&mut self, value: &Bound<'_, PyAny>);
}

/// Keeps nothing back: what is read in one go is whole before the collector looks.
impl Keep for () {
    fn keep(&mut self, _: &Bound<'_, PyAny>) {}
}

/// What is kept back. It is tracked once it is given away. If that never happens, it is freed with what holds it, except
/// for a symbol that is remembered, which has nothing that the collector could look at.
#[derive(Default)]
pub struct Unfinished {
    values: Vec<Py<PyAny>>,
}

impl Keep for Unfinished {
    fn keep(&mut self, value: &Bound<'_, PyAny>) {
        if track::no_more(value) {
            self.values.push(value.clone().unbind());
        }
    }
}

impl Unfinished {
    /// The datum is whole: from here on, these are as any others.
    pub fn finish(self, py: Python<'_>) {
        for value in self.values {
            track::again(value.bind(py));
        }
    }
}

#[allow(unsafe_code)]
mod track {
    use pyo3::{ffi, prelude::*};

    /// Takes a value away from the collector. False if it did not look at it.
    pub fn no_more(value: &Bound<'_, PyAny>) -> bool {
        // SAFETY: both take any object; `Bound` says that it is alive and that this thread is attached. An object that
        // is not tracked may be freed as any other.
        unsafe {
            let tracked = ffi::PyObject_GC_IsTracked(value.as_ptr()) != 0;
            if tracked {
                ffi::PyObject_GC_UnTrack(value.as_ptr().cast());
            }
            tracked
        }
    }

    /// Gives it back.
    pub fn again(value: &Bound<'_, PyAny>) {
        // SAFETY: it was tracked before, so it has what the collector needs, and its items are all there; it is not
        // tracked twice.
        unsafe {
            if ffi::PyObject_GC_IsTracked(value.as_ptr()) == 0 {
                ffi::PyObject_GC_Track(value.as_ptr().cast());
            }
        }
    }
}
