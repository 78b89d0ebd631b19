//! Native code: the programs as a shared library.

use anyhow::{Context, Result};
use libloading::Library;

use crate::measure::Contender;
use crate::programs::{Source, pattern};

type Entry = unsafe extern "C" fn(*mut u8) -> u64;

/// A program as native code.
pub(crate) fn contender(source: &Source) -> Result<Contender> {
    // SAFETY: the library was compiled from this repository's C a moment ago; loading it runs
    // no code.
    let library = unsafe { Library::new(&source.native) }.context("cannot load native code")?;
    // SAFETY: `entry` is a function of this type in every program.
    let entry = *unsafe { library.get::<Entry>(b"entry") }.context("native code has no entry")?;
    let mut memory = pattern();
    Ok(Contender::new("native", move || {
        let _ = &library;
        // SAFETY: a program works on the memory that it is given, all of which is there.
        unsafe { entry(memory.as_mut_ptr()) }
    }))
}
