//! The codec of bokbok, compiled: what is paid for every message, and nothing else.
//!
//! The package `bokbok` in Python is the reference, and complete. What stands here does a part of the same, faster, and
//! gives everything else back to it: see `read` for how the two stay one behaviour.

#![deny(unsafe_code)]

pub mod boxes;
pub mod bytes;
mod names;
mod packets;
pub mod read;
mod reader;
pub mod spell;
mod writer;

use pyo3::prelude::*;

/// What `bokbok` looks at before it uses this package: raised when what it is called with changes.
const INTERFACE: u32 = 2;

#[pymodule(gil_used = false)]
fn bokbok_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("INTERFACE", INTERFACE)?;
    module.add_class::<reader::Reader>()?;
    module.add_class::<writer::Writer>()?;
    module.add_class::<packets::Splitter>()?;
    module.add_class::<packets::Sealer>()
}
