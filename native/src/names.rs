//! Symbols and keywords that come again and again are made once.

use pyo3::prelude::*;

use crate::read::SHORT_NAME;

const SLOTS: usize = 1024;

/// A cache with one place for each hash: a name takes the place of another one, so that it never grows, and a peer that
/// chooses names gains nothing.
pub struct Names {
    slots: Vec<Option<(Box<[u8]>, Py<PyAny>)>>,
}

impl Names {
    pub fn new() -> Names {
        Names { slots: (0..SLOTS).map(|_| None).collect() }
    }

    /// The object of this name, made by `make` if it is not there.
    pub fn get<'py>(
        &mut self,
        py: Python<'py>,
        name: &[u8],
        make: impl FnOnce() -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if name.len() > SHORT_NAME {
            return make();
        }
        let slot = slot(name);
        if let Some((known, object)) = &self.slots[slot] {
            if **known == *name {
                return Ok(object.bind(py).clone());
            }
        }
        let object = make()?;
        self.slots[slot] = Some((name.into(), object.clone().unbind()));
        Ok(object)
    }
}

fn slot(name: &[u8]) -> usize {
    let mut hash = name.len() as u64;
    for word in name.chunks(8) {
        let mut bytes = [0; 8];
        bytes[..word.len()].copy_from_slice(word);
        hash = (hash.rotate_left(5) ^ u64::from_le_bytes(bytes)).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
    (hash >> 54) as usize
}
