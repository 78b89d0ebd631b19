//! mmap, munmap, mprotect, brk, faults.

use super::family;
use crate::calls::{
    self, in_child, make, map, map_shared, mmap, mprotect, munmap, open, peek, poke,
};
use crate::check::{Outcome, check, equal, fails, ok, skip};
use lemma_rt::general::{
    MAP_ANONYMOUS, MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_NORESERVE, MAP_POPULATE, MAP_PRIVATE,
    MAP_SHARED, O_RDONLY, O_RDWR, PROT_EXEC, PROT_NONE, PROT_READ, PROT_WRITE,
};
use lemma_rt::sys;

family!("memory":
    anonymous, zeroed_again, holes, protection, no_execute, fixed, errors, file_private,
    file_shared, file_shared_protect, file_edges, shared_with_child, break_grows, large_reservation, stack_grows,
    kernel_addresses, protection_of_files, protection_up_to_a_hole, hints, many_regions,
    promises, out_of_memory
);

const PAGE: usize = 4096;

/// The signal of which a child dies that does this.
fn death(run: impl FnOnce()) -> lemma_rt::Result<Option<i32>> {
    in_child(|| {
        run();
        0
    })
    .map(|status| status.signaled())
}

/// Reads a byte, for what comes of it.
fn touch(address: usize) {
    core::hint::black_box(peek(address));
}

const SEGMENTATION_FAULT: lemma_rt::Result<Option<i32>> = Ok(Some(11));

fn anonymous() -> Outcome {
    let memory = ok!(map(100 * PAGE));
    equal!(memory % PAGE, 0);
    for page in 0..100 {
        equal!(peek(memory + page * PAGE + page), 0);
        poke(memory + page * PAGE, page as u8);
    }
    for page in 0..100 {
        equal!(peek(memory + page * PAGE), page as u8);
    }
    let other = ok!(map(PAGE));
    check!(other + PAGE <= memory || other >= memory + 100 * PAGE);
    ok!(munmap(memory, 100 * PAGE));
    equal!(death(|| poke(memory, 1)), SEGMENTATION_FAULT);
    Ok(())
}

fn zeroed_again() -> Outcome {
    for _ in 0..50 {
        let memory = ok!(map(8 * PAGE));
        for offset in (0..8 * PAGE).step_by(512) {
            equal!(peek(memory + offset), 0);
            poke(memory + offset, 0xff);
        }
        ok!(munmap(memory, 8 * PAGE));
    }
    Ok(())
}

fn holes() -> Outcome {
    let memory = ok!(map(5 * PAGE));
    for page in 0..5 {
        poke(memory + page * PAGE, page as u8 + 1);
    }
    ok!(munmap(memory + 2 * PAGE, PAGE));
    equal!(peek(memory + PAGE), 2);
    equal!(peek(memory + 3 * PAGE), 4);
    equal!(death(|| touch(memory + 2 * PAGE)), SEGMENTATION_FAULT);
    // Over holes and all; where nothing is, there is no error.
    ok!(munmap(memory, 5 * PAGE));
    ok!(munmap(memory, 5 * PAGE));
    equal!(death(|| touch(memory)), SEGMENTATION_FAULT);
    Ok(())
}

fn protection() -> Outcome {
    let memory = ok!(map(4 * PAGE));
    poke(memory + PAGE, 7);
    ok!(mprotect(memory + PAGE, 2 * PAGE, PROT_READ));
    equal!(peek(memory + PAGE), 7);
    equal!(death(|| poke(memory + PAGE, 1)), SEGMENTATION_FAULT);
    poke(memory, 1);
    poke(memory + 3 * PAGE, 1);
    // A page that was never touched is protected too.
    equal!(death(|| poke(memory + 2 * PAGE, 1)), SEGMENTATION_FAULT);
    ok!(mprotect(memory + PAGE, PAGE, PROT_NONE));
    equal!(death(|| touch(memory + PAGE)), SEGMENTATION_FAULT);
    ok!(mprotect(memory + PAGE, PAGE, PROT_READ | PROT_WRITE));
    equal!(peek(memory + PAGE), 7);
    poke(memory + PAGE, 8);
    // The kernel respects it as well.
    ok!(mprotect(memory, PAGE, PROT_READ));
    ok!(make(c"f", b"x"));
    let fd = ok!(open(c"f", O_RDONLY, 0));
    let read = lemma_rt::general::__NR_read as usize;
    fails!(calls::raw(read, [fd as usize, memory, 1, 0, 0, 0]), FAULT);
    ok!(munmap(memory, PAGE));
    fails!(mprotect(memory, 2 * PAGE, PROT_READ), NOMEM);
    fails!(mprotect(memory + 1, PAGE, PROT_READ), INVAL);
    Ok(())
}

fn no_execute() -> Outcome {
    let memory = ok!(map(PAGE));
    let code = lemma_rt::arch::RETURN_INSTRUCTION;
    for (offset, byte) in code.iter().enumerate() {
        poke(memory + offset, *byte);
    }
    let run = || {
        // SAFETY: the page holds a return instruction; if it may not run, the child dies.
        let function: extern "C" fn() = unsafe { core::mem::transmute(memory) };
        function();
    };
    equal!(death(run), SEGMENTATION_FAULT);
    ok!(mprotect(memory, PAGE, PROT_READ | PROT_EXEC));
    lemma_rt::arch::synchronise_code();
    equal!(death(run), Ok(None));
    Ok(())
}

fn fixed() -> Outcome {
    let memory = ok!(map(4 * PAGE));
    poke(memory + PAGE, 1);
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    equal!(mmap(memory + PAGE, PAGE, PROT_READ | PROT_WRITE, flags, -1, 0), Ok(memory + PAGE));
    equal!(peek(memory + PAGE), 0);
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    fails!(mmap(memory + PAGE, PAGE, PROT_READ, flags, -1, 0), EXIST);
    ok!(munmap(memory + PAGE, PAGE));
    equal!(mmap(memory + PAGE, PAGE, PROT_READ, flags, -1, 0), Ok(memory + PAGE));
    fails!(
        mmap(memory + 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
        INVAL
    );
    Ok(())
}

fn errors() -> Outcome {
    let anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    fails!(mmap(0, 0, PROT_READ, anonymous, -1, 0), INVAL);
    fails!(mmap(0, usize::MAX, PROT_READ, anonymous, -1, 0), NOMEM);
    fails!(mmap(0, 1 << 60, PROT_READ, anonymous, -1, 0), NOMEM);
    fails!(mmap(0, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0), INVAL);
    fails!(mmap(0, PAGE, PROT_READ, MAP_PRIVATE, -1, 0), BADF);
    fails!(munmap(1, PAGE), INVAL);
    fails!(munmap(0, 0), INVAL);
    fails!(munmap(PAGE, usize::MAX - PAGE), INVAL);
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    fails!(mmap(0, PAGE, PROT_READ, MAP_PRIVATE, ends[0], 0), NODEV);
    ok!(make(c"f", b"x"));
    let fd = ok!(open(c"f", O_RDONLY, 0));
    fails!(mmap(0, PAGE, PROT_READ, MAP_PRIVATE, fd, 1), INVAL);
    fails!(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), ACCESS);
    Ok(())
}

fn file_private() -> Outcome {
    let mut content = alloc::vec![0u8; 3 * PAGE];
    for (index, byte) in content.iter_mut().enumerate() {
        *byte = (index % 253) as u8;
    }
    ok!(make(c"f", &content));
    let fd = ok!(open(c"f", O_RDONLY, 0));
    let flags = PROT_READ | PROT_WRITE;
    let memory = ok!(mmap(0, 2 * PAGE, flags, MAP_PRIVATE, fd, PAGE));
    ok!(calls::close(fd));
    for offset in (0..2 * PAGE).step_by(97) {
        equal!(peek(memory + offset), ((PAGE + offset) % 253) as u8);
    }
    // What is written stays private.
    poke(memory, 255);
    equal!(peek(memory), 255);
    equal!(ok!(calls::content(c"f")), content);
    let status =
        ok!(in_child(|| i32::from(peek(memory) != 255 || peek(memory + 1) != content[PAGE + 1])));
    equal!(status.code(), 0);
    Ok(())
}

fn file_shared() -> Outcome {
    ok!(make(c"f", &[1; 2 * PAGE]));
    let fd = ok!(open(c"f", O_RDWR, 0));
    let memory = ok!(mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    poke(memory + 10, 42);
    equal!(ok!(calls::content(c"f"))[10], 42);
    equal!(calls::pwrite(fd, &[9], 20), Ok(1));
    equal!(peek(memory + 20), 9);
    Ok(())
}

/// What is stored through a shared mapping reaches the file; one that cannot reach it is not made.
fn file_shared_protect() -> Outcome {
    ok!(make(c"f", &[1; PAGE]));
    let fd = ok!(open(c"f", O_RDONLY, 0));
    let memory = ok!(mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, 0));
    equal!(peek(memory), 1);
    fails!(calls::mprotect(memory, PAGE, PROT_READ | PROT_WRITE), ACCESS);
    ok!(calls::munmap(memory, PAGE));
    // A private mapping can always be made writable.
    let memory = ok!(mmap(0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
    ok!(calls::mprotect(memory, PAGE, PROT_READ | PROT_WRITE));
    poke(memory, 42);
    equal!(ok!(calls::content(c"f"))[0], 1);
    let fd = ok!(open(c"f", O_RDWR, 0));
    let memory = ok!(mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, 0));
    ok!(calls::mprotect(memory, PAGE, PROT_READ | PROT_WRITE));
    poke(memory, 42);
    equal!(ok!(calls::content(c"f"))[0], 42);
    Ok(())
}

fn file_edges() -> Outcome {
    ok!(make(c"f", b"short"));
    let fd = ok!(open(c"f", O_RDONLY, 0));
    let memory = ok!(mmap(0, 2 * PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
    equal!(peek(memory + 4), b't');
    // The rest of the last page is zero; there is no page after it.
    equal!(peek(memory + 5), 0);
    equal!(peek(memory + PAGE - 1), 0);
    let found = ok!(death(|| touch(memory + PAGE)));
    equal!(found, Some(7));
    Ok(())
}

fn shared_with_child() -> Outcome {
    let shared = ok!(map_shared(2 * PAGE));
    let private = ok!(map(PAGE));
    let status = ok!(in_child(|| {
        poke(shared, 5);
        poke(shared + PAGE, 6);
        poke(private, 7);
        0
    }));
    equal!(status.code(), 0);
    equal!((peek(shared), peek(shared + PAGE), peek(private)), (5, 6, 0));
    Ok(())
}

fn break_grows() -> Outcome {
    let start = ok!(calls::brk(0));
    equal!(calls::brk(start + 3 * PAGE), Ok(start + 3 * PAGE));
    for offset in (0..3 * PAGE).step_by(512) {
        equal!(peek(start + offset), 0);
        poke(start + offset, 1);
    }
    equal!(calls::brk(start + PAGE), Ok(start + PAGE));
    equal!(calls::brk(start + 3 * PAGE), Ok(start + 3 * PAGE));
    // What was given back comes back empty.
    let aligned = (start + PAGE).next_multiple_of(PAGE);
    equal!(peek(aligned), 0);
    // Below its start, or too much: nothing changes.
    equal!(calls::brk(4096), Ok(start + 3 * PAGE));
    equal!(calls::brk(usize::MAX - PAGE), Ok(start + 3 * PAGE));
    equal!(calls::brk(start), Ok(start));
    Ok(())
}

fn large_reservation() -> Outcome {
    // More than memory may be reserved, if it is not touched.
    let length = 8 << 30;
    let memory = ok!(mmap(0, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | 0x4000, -1, 0));
    ok!(mprotect(memory + (4 << 30), PAGE, PROT_READ | PROT_WRITE));
    poke(memory + (4 << 30), 1);
    ok!(munmap(memory, length));
    Ok(())
}

fn stack_grows() -> Outcome {
    #[inline(never)]
    fn deep(depth: usize) -> usize {
        let mut local = [0u8; 1000];
        local[depth % 1000] = 1;
        let local = core::hint::black_box(local);
        if depth == 0 { 0 } else { deep(depth - 1) + usize::from(local[depth % 1000]) }
    }
    equal!(deep(1000), 1000);
    // Without end, it kills.
    equal!(death(|| assert_ne!(deep(usize::MAX), 1)), SEGMENTATION_FAULT);
    Ok(())
}

fn kernel_addresses() -> Outcome {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    for address in [1usize << 63, 0xffff_ffff_8000_0000, usize::MAX & !0xfff] {
        check!(mmap(address, PAGE, PROT_READ, flags, -1, 0).is_err());
        check!(munmap(address, PAGE).is_err());
        check!(mprotect(address, PAGE, PROT_READ).is_err());
    }
    Ok(())
}

fn protection_of_files() -> Outcome {
    ok!(make(c"f", &[3; PAGE]));
    let fd = ok!(open(c"f", O_RDONLY, 0));
    let memory = ok!(mmap(0, PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
    equal!(death(|| poke(memory, 1)), SEGMENTATION_FAULT);
    ok!(mprotect(memory, PAGE, PROT_READ | PROT_WRITE));
    poke(memory, 4);
    equal!(ok!(calls::content(c"f"))[0], 3);
    Ok(())
}

fn hints() -> Outcome {
    let memory = ok!(map(PAGE));
    poke(memory, 1);
    // Where something is already, a hint is passed over.
    let other = ok!(mmap(memory, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    check!(other != memory);
    ok!(munmap(memory, PAGE));
    equal!(mmap(memory, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), Ok(memory));
    // MADV_DONTNEED gives zeros.
    let memory = ok!(map(2 * PAGE));
    poke(memory, 1);
    ok!(calls::madvise(memory, 2 * PAGE, 4));
    equal!(peek(memory), 0);
    Ok(())
}

/// Where a part of the range is not mapped, what comes before that has got the rights.
fn protection_up_to_a_hole() -> Outcome {
    let memory = ok!(map(4 * PAGE));
    poke(memory, 1);
    ok!(munmap(memory + 2 * PAGE, PAGE));
    fails!(mprotect(memory, 4 * PAGE, PROT_READ), NOMEM);
    equal!(peek(memory), 1);
    equal!(death(|| poke(memory, 2)), SEGMENTATION_FAULT);
    equal!(death(|| poke(memory + PAGE, 2)), SEGMENTATION_FAULT);
    poke(memory + 3 * PAGE, 2);
    fails!(mprotect(memory + 2 * PAGE, 2 * PAGE, PROT_READ), NOMEM);
    poke(memory + 3 * PAGE, 3);
    Ok(())
}

/// A region can be cut into very many.
fn many_regions() -> Outcome {
    const COUNT: usize = 20_000;
    let length = COUNT * PAGE;
    let memory = ok!(mmap(0, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | 0x4000, -1, 0));
    for page in (0..COUNT).step_by(2) {
        ok!(mprotect(memory + page * PAGE, PAGE, PROT_READ));
    }
    equal!(peek(memory + (COUNT - 2) * PAGE), 0);
    equal!(death(|| touch(memory + PAGE)), SEGMENTATION_FAULT);
    ok!(mprotect(memory, length, PROT_READ | PROT_WRITE));
    poke(memory + PAGE, 1);
    ok!(munmap(memory, length));
    Ok(())
}

/// More memory than there is is not promised to anybody who means to write it.
fn promises() -> Outcome {
    const WRITE: u32 = PROT_READ | PROT_WRITE;
    if calls::content(c"/proc/sys/vm/overcommit_memory").is_ok_and(|text| text != b"0\n") {
        skip!("this system promises memory by other rules");
    }
    let text = lemma_rt::show(&ok!(calls::content(c"/proc/meminfo")));
    let kilobytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or(0)
    };
    let more = 2048 * (kilobytes("MemTotal:") + kilobytes("SwapTotal:"));
    check!(more > 0);
    for flags in [MAP_PRIVATE, MAP_SHARED] {
        fails!(mmap(0, more, WRITE, flags | MAP_ANONYMOUS, -1, 0), NOMEM);
    }
    let end = ok!(calls::brk(0));
    equal!(calls::brk(end + more), Ok(end));
    // What is only reserved is another matter.
    for (protection, flags) in [(WRITE, MAP_NORESERVE), (PROT_NONE, 0), (PROT_READ, 0)] {
        let memory = ok!(mmap(0, more, protection, flags | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        // Until it may be written.
        if flags == MAP_NORESERVE {
            ok!(mprotect(memory, more, PROT_READ));
            ok!(mprotect(memory, more, WRITE));
        } else {
            fails!(mprotect(memory, more, WRITE), NOMEM);
            ok!(mprotect(memory, PAGE, WRITE));
        }
        ok!(munmap(memory, more));
    }
    // What grows is promised for what it grows by.
    let remap = |memory| {
        let flags = lemma_rt::general::MREMAP_MAYMOVE as usize;
        let number = lemma_rt::general::__NR_mremap as usize;
        calls::raw(number, [memory, PAGE, more, flags, 0, 0])
    };
    let memory = ok!(map(PAGE));
    fails!(remap(memory), NOMEM);
    poke(memory, 1);
    let memory = ok!(mmap(0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    let grown = ok!(remap(memory));
    ok!(munmap(grown, more));
    Ok(())
}

/// When memory is used up, children ask the kernel for what it has to keep of its own: lists of
/// regions, and tables for places where they see a page that is there already. They end as they
/// may; the system goes on.
fn out_of_memory() -> Outcome {
    /// More than this is not taken on a system that has it.
    const LIMIT: usize = 256 << 20;
    const PLACES: usize = 6000;
    const SHOWN: usize = 1 << 40;
    const RESERVED: u32 = MAP_PRIVATE | MAP_ANONYMOUS | 0x4000;
    /// Shows one page in many places, each of which needs a table of its own.
    fn prepare_tables() {
        let Ok(map) = super::bpf::mappable_array() else { return };
        let fd = lemma_rt::rustix::fd::AsRawFd::as_raw_fd(&map);
        for place in 0..PLACES {
            let _ = mmap(SHOWN + (place << 21), PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
        }
    }
    fn use_tables() {
        (0..PLACES).for_each(|place| touch(SHOWN + (place << 21)));
    }
    fn prepare_regions() {
        let _ = mmap(SHOWN, 66_000 * PAGE, PROT_NONE, RESERVED | MAP_FIXED, -1, 0);
    }
    /// Cuts a region into as many as can be.
    fn use_regions() {
        for page in (0..66_000).step_by(2) {
            if mprotect(SHOWN + page * PAGE, PAGE, PROT_READ).is_err() {
                return;
            }
        }
    }
    let steps = ok!(map_shared(PAGE));
    type Step = fn();
    let takers: [(Step, Step); 2] = [(prepare_tables, use_tables), (prepare_regions, use_regions)];
    let mut children = alloc::vec::Vec::new();
    for (index, (prepare, take)) in takers.iter().cycle().take(8).enumerate() {
        match ok!(sys::fork()) {
            Some(pid) => children.push(pid),
            None => {
                prepare();
                poke(steps + index, 1);
                while peek(steps + 100) == 0 {
                    calls::pause_for(1);
                }
                take();
                sys::exit(0);
            }
        }
    }
    while (0..children.len()).any(|index| peek(steps + index) == 0) {
        calls::pause_for(1);
    }
    let eater = match ok!(sys::fork()) {
        Some(pid) => pid,
        None => {
            // Takes what there is, and does not die of it: what it needs then is there.
            touch(steps + 100);
            let flags = RESERVED | MAP_POPULATE;
            let _ = mmap(0, LIMIT, PROT_READ | PROT_WRITE, flags, -1, 0);
            poke(steps + 100, 1);
            loop {
                calls::pause_for(1000);
            }
        }
    };
    for pid in children {
        ok!(sys::wait_for(pid));
    }
    ok!(sys::kill(eater, 9));
    ok!(sys::wait_for(eater));
    // Its memory is there again.
    let memory = ok!(map(100 * PAGE));
    (0..100).for_each(|page| poke(memory + page * PAGE, 1));
    equal!(ok!(in_child(|| 3)).exited(), Some(3));
    Ok(())
}
