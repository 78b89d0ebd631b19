//! What the tests of all engines need of the compilers.

pub(crate) mod tools;

use alloc::sync::Arc;
use std::vec::Vec;

use super::host::{HostMemory, Native, machine};
use super::{Compiled, Intrinsics, Machine, Options};
use crate::map::Map;
use crate::program::Program;
use crate::trusted::Trust;

/// How to compile for this host, with and without what not every machine of its kind has.
pub(crate) fn options() -> Vec<Options> {
    let memory = HostMemory::get().unwrap();
    let with =
        |machine| Options { machine, intrinsics: Intrinsics::default(), memory, blind: None };
    let mut all = Vec::from([with(Machine::default())]);
    if machine() != Machine::default() {
        all.push(with(machine()));
    }
    all
}

/// Compiles a program that nobody verified, in every way.
pub(crate) fn compile_trusted(program: &Program<Arc<Map>>, trust: &Trust) -> Vec<Compiled> {
    // SAFETY: the tests run programs that keep to what they are given, on this machine.
    let compile = |options| unsafe { Compiled::new_trusted::<Native>(program, trust, options) };
    options().iter().map(|options| compile(options).unwrap()).collect()
}
