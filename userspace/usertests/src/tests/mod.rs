//! The tests, a file for each family. A test's name begins with its family's.

use crate::check::Outcome;

mod attributes;
pub(crate) mod bpf;
mod children;
mod cpus;
mod descriptors;
mod devices;
mod directories;
mod display;
mod epoll;
mod events;
pub(crate) mod exec;
mod fifos;
mod files;
#[cfg(target_arch = "riscv64")]
mod flush;
mod frames;
mod identity;
mod limits;
mod links;
mod locks;
mod mappings;
mod memory;
mod mounts;
#[cfg(target_arch = "x86_64")]
mod older;
mod paths;
mod pipes;
mod proc;
mod processes;
mod robust;
mod roots;
mod shared_files;
mod shares;
mod signals;
mod sockets;
mod stacks;
mod system;
mod terminals;
mod threads;
mod time;
mod traps;

/// A test.
pub(crate) type Test = fn() -> Outcome;

/// Names the functions of a family as its tests: `family!("files": create, …)`.
macro_rules! family {
    ($family:literal: $($name:ident),* $(,)?) => {
        pub(super) const TESTS: &[(&str, super::Test)] =
            &[$((concat!($family, "_", stringify!($name)), $name)),*];
    };
}
pub(crate) use family;

/// The families, in the order in which they run: what others need comes first.
const FAMILIES: &[&[(&str, Test)]] = &[
    system::TESTS,
    processes::TESTS,
    children::TESTS,
    exec::TESTS,
    memory::TESTS,
    mappings::TESTS,
    shared_files::TESTS,
    #[cfg(target_arch = "riscv64")]
    flush::TESTS,
    files::TESTS,
    attributes::TESTS,
    identity::TESTS,
    limits::TESTS,
    descriptors::TESTS,
    directories::TESTS,
    links::TESTS,
    roots::TESTS,
    mounts::TESTS,
    locks::TESTS,
    paths::TESTS,
    pipes::TESTS,
    fifos::TESTS,
    sockets::TESTS,
    signals::TESTS,
    frames::TESTS,
    stacks::TESTS,
    proc::TESTS,
    threads::TESTS,
    robust::TESTS,
    time::TESTS,
    cpus::TESTS,
    shares::TESTS,
    events::TESTS,
    epoll::TESTS,
    traps::TESTS,
    #[cfg(target_arch = "x86_64")]
    older::TESTS,
    devices::TESTS,
    terminals::TESTS,
    display::TESTS,
    bpf::TESTS,
];

/// All tests, in the order in which they run.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, Test)> {
    FAMILIES.iter().copied().flatten().copied()
}
