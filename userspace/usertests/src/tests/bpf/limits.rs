//! What is asked of the kernel in amounts that no machine has: refused, and everything goes on.

use super::{
    ARRAY, EXIT, HASH, SOCKET_FILTER, available, create, hooks_available, instruction, load,
    new_map, set,
};
use crate::calls;
use crate::check::{Outcome, check, equal, fails, ok};
use ::bpf::calls as commands;
use ::bpf::calls::NewMap;
use alloc::vec;
use alloc::vec::Vec;
use lemma_rt::Errno;
use lemma_rt::rustix::fd::{AsFd, AsRawFd};
use lemma_rt::rustix::system::{sysinfo, uname};

const NO_PREALLOC: u32 = 1;

/// Counts in the value of `source`, and copies all of it to a new key of `target`; returns what
/// the helper did.
fn copying(source: i32, target: i32) -> Vec<u64> {
    [
        instruction(0x62, 10, -4, 0),
        instruction(0xbf, 0xa2, 0, 0),
        instruction(0x07, 2, 0, -4),
        instruction(0x18, 0x11, 0, source),
        0,
        instruction(0x85, 0, 0, 1),
        instruction(0x15, 0, 12, 0),
        instruction(0x79, 0x01, 0, 0),
        instruction(0x07, 1, 0, 1),
        instruction(0x7b, 0x10, 0, 0),
        instruction(0x7b, 0x1a, -16, 0),
        instruction(0xbf, 0xa2, 0, 0),
        instruction(0x07, 2, 0, -16),
        instruction(0xbf, 0x03, 0, 0),
        set(4, 0),
        instruction(0x18, 0x11, 0, target),
        0,
        instruction(0x85, 0, 0, 2),
        EXIT,
        set(0, 0),
        EXIT,
    ]
    .into()
}

/// A map that grows takes what users may have and no more: the kernel goes on. (On Linux the
/// machine is somebody's.) In the embedded profile no map grows: what is too large for its pool is
/// refused at once.
pub(super) fn growing_map() -> Outcome {
    hooks_available()?;
    if uname().version().to_bytes().ends_with(b"embedded") {
        fails!(commands::create_map(&growing()), NOMEM);
        return Ok(());
    }
    let filled = ok!(calls::in_child(|| fill().is_err().into()));
    equal!(filled.exited(), Some(0));
    // What it took is back.
    for _ in 0..10 {
        equal!(ok!(calls::in_child(|| 7)).exited(), Some(7));
    }
    Ok(())
}

const VALUE: u32 = 32 << 10;

/// Has room for two gigabytes, and takes them when they are filled.
fn growing() -> NewMap<'static> {
    NewMap { flags: NO_PREALLOC, ..new_map(HASH, 8, VALUE, 1 << 16) }
}

/// Fills a map until there is no memory: the kernel keeps its reserve, a 32nd of all. Itself it
/// needs no more from then on.
fn fill() -> Outcome {
    let source = ok!(create(ARRAY, 4, VALUE, 1));
    let target = ok!(commands::create_map(&growing()));
    let program = copying(source.fd.as_raw_fd(), target.as_raw_fd());
    let program = ok!(load(SOCKET_FILTER, &program));
    let run = |times| commands::test(program.as_fd(), &[0; 64], &[], times).map(|run| run.result);
    let (mut answer, _) = (0, sysinfo());
    for _ in 0..64 {
        answer = ok!(run(1000)) as i32;
        if answer != 0 {
            break;
        }
    }
    equal!(answer, -Errno::NOMEM.raw_os_error());
    let memory = sysinfo();
    check!(memory.freeram >= memory.totalram / 40, " {} of {}", memory.freeram, memory.totalram);
    Ok(())
}

/// A million types are read, or there is no memory for them.
pub(super) fn a_million_types() -> Outcome {
    available()?;
    const TYPES: usize = 1_000_000;
    let mut bytes = vec![0; 24 + 12 * TYPES + 1];
    for (index, word) in
        [0x0001_eb9fu32, 24, 0, 12 * TYPES as u32, 12 * TYPES as u32, 1].iter().enumerate()
    {
        bytes[index * 4..][..4].copy_from_slice(&word.to_le_bytes());
    }
    // Each is a pointer to nothing.
    for ty in bytes[24..].chunks_exact_mut(12) {
        ty[7] = 2;
    }
    let loaded = commands::load_types(&bytes).map(drop);
    check!(matches!(loaded, Ok(()) | Err(Errno::NOMEM)), " {loaded:?}");
    Ok(())
}

/// A program of which more is to be remembered than the verifier may is refused, whatever memory
/// there is. (Linux counts branches that wait, not bytes, and accepts this many.)
pub(super) fn too_many_paths() -> Outcome {
    hooks_available()?;
    // r6 = context->len; then a stack full of different values at each of many branches.
    let mut program = vec![instruction(0x61, 0x16, 0, 0), set(0, 0)];
    for slot in 1..=64 {
        program.push(instruction(0x7b, 0x6a, -8 * slot, 0));
    }
    for branch in 0..8000 {
        let slot = -8 * (1 + branch % 64) as i16;
        program.push(instruction(0xbf, 0x67, 0, 0));
        program.push(instruction(0x57, 7, 0, 1 << (branch % 31)));
        program.push(instruction(0x15, 7, 2, 0));
        program.push(instruction(0x7b, 0x0a, slot, 0));
        program.push(instruction(0x07, 0, 0, branch));
    }
    // A use of each value, so that no two paths are alike.
    for slot in 1..=64 {
        program.push(instruction(0x79, 0xa1, -8 * slot, 0));
        program.push(instruction(0x0f, 0x10, 0, 0));
    }
    program.push(EXIT);
    let refused = load(SOCKET_FILTER, &program).map(drop);
    check!(matches!(refused, Err(Errno::TOOBIG | Errno::NOMEM)), " {refused:?}");
    Ok(())
}
