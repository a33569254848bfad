//! The codec of bokbok, compiled: only the work that every message costs.
//!
//! The package `bokbok` in Python is the reference, and complete. This crate does a part of the same, faster, and
//! leaves everything else to it: see `read` for how the two keep the same behaviour.

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

/// What `bokbok` checks before it uses this package: raised when the arguments of its functions change.
const INTERFACE: u32 = 6;

#[pymodule(gil_used = false)]
fn bokbok_native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("INTERFACE", INTERFACE)?;
    module.add_class::<reader::Reader>()?;
    module.add_class::<writer::Writer>()?;
    module.add_class::<packets::Splitter>()?;
    module.add_class::<packets::Nonces>()?;
    module.add_class::<packets::Sealer>()
}
