//! The tests, a file for each family. A test's name begins with its family's.

use crate::check::Outcome;

pub(crate) mod bpf;
mod cpus;
mod descriptors;
mod devices;
mod directories;
mod display;
mod epoll;
mod events;
pub(crate) mod exec;
mod files;
mod frames;
mod links;
mod locks;
mod memory;
mod mounts;
mod paths;
mod pipes;
mod proc;
mod processes;
mod robust;
mod shares;
mod signals;
mod sockets;
mod system;
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
    exec::TESTS,
    memory::TESTS,
    files::TESTS,
    descriptors::TESTS,
    directories::TESTS,
    links::TESTS,
    mounts::TESTS,
    locks::TESTS,
    paths::TESTS,
    pipes::TESTS,
    sockets::TESTS,
    signals::TESTS,
    frames::TESTS,
    proc::TESTS,
    threads::TESTS,
    robust::TESTS,
    time::TESTS,
    cpus::TESTS,
    shares::TESTS,
    events::TESTS,
    epoll::TESTS,
    traps::TESTS,
    devices::TESTS,
    display::TESTS,
    bpf::TESTS,
];

/// All tests, in the order in which they run.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, Test)> {
    FAMILIES.iter().copied().flatten().copied()
}
