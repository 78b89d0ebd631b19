//! Mappings that are moved, locked and written back; those far up.

use super::family;
use crate::calls::{self, map, peek, poke, raw};
use crate::check::{Outcome, check, equal, fails, ok};
use lemma_rt::general::{
    __NR_getcwd, __NR_mlock, __NR_mremap, __NR_msync, __NR_munlock, MAP_ANONYMOUS, MAP_FIXED,
    MAP_PRIVATE, MREMAP_FIXED, MREMAP_MAYMOVE, PROT_READ, PROT_WRITE,
};
use lemma_rt::{Result, show};

family!("mappings": grow_and_move, shrink, moved_over, move_errors, locked, written_back, far_up);

const PAGE: usize = 4096;

fn remap(old: usize, length: usize, new: usize, flags: u32, target: usize) -> Result<usize> {
    raw(__NR_mremap as usize, [old, length, new, flags as usize, target, 0])
}

/// Whether an access to a page is answered by a signal.
fn gone(address: usize) -> Result<bool> {
    calls::in_child(|| i32::from(peek(address) == 255)).map(|status| status.signaled() == Some(11))
}

/// What is in the way makes it move, and what it holds goes along.
fn grow_and_move() -> Outcome {
    let memory = ok!(map(4 * PAGE));
    poke(memory, 1);
    poke(memory + PAGE - 1, 2);
    fails!(remap(memory, PAGE, 3 * PAGE, 0, 0), NOMEM);
    let moved = ok!(remap(memory, PAGE, 3 * PAGE, MREMAP_MAYMOVE, 0));
    check!(moved != memory);
    equal!((peek(moved), peek(moved + PAGE - 1)), (1, 2));
    equal!((peek(moved + PAGE), peek(moved + 3 * PAGE - 1)), (0, 0));
    check!(ok!(gone(memory)));
    check!(!ok!(gone(memory + PAGE)));
    // To the length that it has.
    equal!(remap(moved, 3 * PAGE, 3 * PAGE, 0, 0), Ok(moved));
    Ok(())
}

fn shrink() -> Outcome {
    let memory = ok!(map(4 * PAGE));
    poke(memory + PAGE, 7);
    equal!(remap(memory, 4 * PAGE, 2 * PAGE, 0, 0), Ok(memory));
    equal!(peek(memory + PAGE), 7);
    check!(ok!(gone(memory + 2 * PAGE)) && ok!(gone(memory + 3 * PAGE)));
    // Now there is room to grow again, and what is there is new.
    equal!(remap(memory, 2 * PAGE, 3 * PAGE, 0, 0), Ok(memory));
    equal!(peek(memory + 2 * PAGE), 0);
    Ok(())
}

/// To a fixed place, over what is there.
fn moved_over() -> Outcome {
    let (from, to) = (ok!(map(2 * PAGE)), ok!(map(4 * PAGE)));
    poke(from, 1);
    poke(to + PAGE, 2);
    poke(to + 3 * PAGE, 3);
    let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    equal!(remap(from, 2 * PAGE, 2 * PAGE, flags, to + PAGE), Ok(to + PAGE));
    equal!((peek(to + PAGE), peek(to + 3 * PAGE)), (1, 3));
    check!(ok!(gone(from)));
    Ok(())
}

fn move_errors() -> Outcome {
    let memory = ok!(map(2 * PAGE));
    fails!(remap(memory + 1, PAGE, PAGE, 0, 0), INVAL);
    fails!(remap(memory, PAGE, 0, 0, 0), INVAL);
    fails!(remap(memory, PAGE, PAGE, 1 << 20, 0), INVAL);
    fails!(remap(memory, PAGE, PAGE, MREMAP_FIXED, memory), INVAL);
    let both = MREMAP_MAYMOVE | MREMAP_FIXED;
    fails!(remap(memory, PAGE, PAGE, both, memory + 1), INVAL);
    // Onto itself.
    fails!(remap(memory, 2 * PAGE, 2 * PAGE, both, memory + PAGE), INVAL);
    ok!(calls::munmap(memory, 2 * PAGE));
    fails!(remap(memory, PAGE, 2 * PAGE, MREMAP_MAYMOVE, 0), FAULT);
    Ok(())
}

fn locked() -> Outcome {
    let memory = ok!(map(2 * PAGE));
    for number in [__NR_mlock, __NR_munlock] {
        let call =
            |address: usize, length: usize| raw(number as usize, [address, length, 0, 0, 0, 0]);
        equal!(call(memory, PAGE), Ok(0));
        // The pages of any byte.
        equal!(call(memory + 100, 10), Ok(0));
        equal!(call(memory, 0), Ok(0));
    }
    ok!(calls::munmap(memory + PAGE, PAGE));
    for number in [__NR_mlock, __NR_munlock] {
        fails!(raw(number as usize, [memory, 2 * PAGE, 0, 0, 0, 0]), NOMEM);
    }
    Ok(())
}

fn written_back() -> Outcome {
    const ASYNC: usize = 1;
    const SYNC: usize = 4;
    let memory = ok!(map(2 * PAGE));
    let call = |address: usize, length: usize, flags: usize| {
        raw(__NR_msync as usize, [address, length, flags, 0, 0, 0])
    };
    for flags in [0, ASYNC, SYNC] {
        equal!(call(memory, 2 * PAGE, flags), Ok(0));
    }
    fails!(call(memory, PAGE, ASYNC | SYNC), INVAL);
    fails!(call(memory, PAGE, 8), INVAL);
    fails!(call(memory + 1, PAGE, SYNC), INVAL);
    ok!(calls::munmap(memory + PAGE, PAGE));
    fails!(call(memory, 2 * PAGE, SYNC), NOMEM);
    Ok(())
}

/// Beyond what RISC-V's users have with three levels of page tables.
const FAR: usize = 1 << 40;
/// Where the next entry of a fourth level begins.
const FURTHER: usize = FAR + (1 << 39);

/// A mapping of two pages at exactly this place, or near it.
fn map_at(place: usize, flags: u32) -> Result<usize> {
    let flags = flags | MAP_PRIVATE | MAP_ANONYMOUS;
    calls::mmap(place, 2 * PAGE, PROT_READ | PROT_WRITE, flags, -1, 0)
}

/// Memory far up is like any other, where users have so many addresses; that is everywhere but on
/// RISC-V machines whose page tables have three levels.
fn far_up() -> Outcome {
    let cpus = show(&ok!(calls::content(c"/proc/cpuinfo")));
    let anywhere = ok!(map(PAGE));
    if cpus.lines().any(|line| line.starts_with("mmu") && line.ends_with(": sv39")) {
        check!(anywhere < 1 << 38);
        return too_far_up();
    }
    check!(anywhere >= 1 << 38);
    equal!(map_at(FAR, MAP_FIXED), Ok(FAR));
    // Two pages that have no table but the highest in common.
    equal!(map_at(FURTHER - PAGE, MAP_FIXED), Ok(FURTHER - PAGE));
    for (value, page) in [FAR, FAR + PAGE, FURTHER - PAGE, FURTHER].into_iter().enumerate() {
        equal!(peek(page), 0);
        poke(page, value as u8 + 1);
    }
    // What a child writes there it does not share.
    let child = calls::in_child(|| {
        let right = peek(FAR) == 1 && peek(FURTHER - PAGE) == 3 && peek(FURTHER) == 4;
        poke(FAR, 9);
        i32::from(!(right && peek(FAR) == 9 && peek(FAR + PAGE) == 2))
    });
    equal!(ok!(child).exited(), Some(0));
    equal!(peek(FAR), 1);
    // The kernel reaches it, and it can be moved and taken away.
    check!(raw(__NR_getcwd as usize, [FURTHER - 1, 100, 0, 0, 0, 0]).is_ok());
    equal!(peek(FURTHER - 1), b'/');
    let flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    equal!(remap(FAR, 2 * PAGE, 2 * PAGE, flags, 2 * FAR), Ok(2 * FAR));
    equal!((peek(2 * FAR), peek(2 * FAR + PAGE)), (1, 2));
    check!(ok!(gone(FAR)));
    for start in [2 * FAR, FURTHER - PAGE] {
        ok!(calls::munmap(start, 2 * PAGE));
        check!(ok!(gone(start)));
    }
    Ok(())
}

/// The same addresses where users do not have them.
fn too_far_up() -> Outcome {
    fails!(map_at(FAR, MAP_FIXED), NOMEM);
    check!(ok!(map_at(FAR, 0)) < 1 << 38);
    fails!(calls::munmap(FAR, PAGE), INVAL);
    let memory = ok!(map(PAGE));
    fails!(remap(memory, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, FAR), INVAL);
    for address in [FAR, 1 << 38, 1 << 47, usize::MAX << 38] {
        fails!(raw(__NR_getcwd as usize, [address, 100, 0, 0, 0, 0]), FAULT);
        check!(ok!(gone(address)));
    }
    Ok(())
}
