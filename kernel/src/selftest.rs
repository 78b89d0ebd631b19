//! Tests of the kernel itself, run by `selftest=NAME` on the command line: each ends the
//! machine, with status 0 if it passed. Those that provoke a panic pass by ending as a panic
//! does (QEMU's exit status 255) with the right report on the console. `in-call` lets the system
//! start, with files in `/proc/selftest` at whose opening the kernel fails.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::arch::{Arch, Architecture, PageTable, Protection};
use crate::bpf::BpfManager;
use crate::bpf::host::KernelHost;
use crate::bpf::program::LoadRequest;
use crate::file::procfs::register;

/// Runs the test that the command line names, if it names one. A function of its own, so that the
/// back trace of a test that ends in a panic names it.
#[inline(never)]
pub(crate) fn run(command_line: &str) {
    let mut words = command_line.split_ascii_whitespace().take_while(|&word| word != "--");
    if let Some(name) = words.find_map(|word| word.strip_prefix("selftest=")) {
        if name == "in-call" {
            return fail_in_calls();
        }
        let failures = match name {
            "protection" => Arch::check_protection().err().unwrap_or(0),
            "nofault" => nofault(),
            "fp" => floating_point(),
            "memory" => memory(),
            "clock" => clock(),
            "disk" => disk(),
            "random" => random(),
            "panic" => provoke_panic(command_line),
            "panic-among-others" => panic_among_others(command_line),
            "program-fault" => program_fault(),
            "write-text" => write_text(),
            "read-user" => read_user(),
            "run-user" => run_user(),
            "stack-overflow" => overflow(1),
            _ => {
                log::error!("no self-test is called {name}");
                1
            }
        };
        Arch::power_off(u8::from(failures != 0));
    }
}

/// Reads memory that is not there: nothing is copied, and nothing else happens.
fn nofault() -> usize {
    let known = [0x5au8; 16];
    let addresses = [
        // Unmapped, not canonical, the last byte, a user address, the device window.
        (0xffff_9000_0000_0000, 16),
        (0x1234_5678_9abc_def0, 16),
        (usize::MAX - 3, 16),
        (0x40_0000, 16),
        (Arch::KERNEL_MAP_END, 16),
        (known.as_ptr() as usize, 0),
    ];
    let mut failures = 0;
    for (address, expected) in addresses {
        let mut to = [0u8; 16];
        // SAFETY: `to` is valid for 16 bytes.
        let left = unsafe { Arch::copy_nofault(to.as_mut_ptr(), address, to.len()) };
        if left != expected || (left == 0) != (to == known) {
            log::error!("nofault: {left} bytes not copied from {address:#x}, not {expected}");
            failures += 1;
        }
    }
    failures
}

/// Copies and fills of every length and alignment change what they should, and nothing beside it.
fn memory() -> usize {
    const MARGIN: usize = 8;
    const LONGEST: usize = 600;
    let source: Vec<u8> = (0..LONGEST + MARGIN).map(|at| (at * 7 + at / 256) as u8).collect();
    let mut target = vec![0u8; LONGEST + 3 * MARGIN];
    let mut failures = 0;
    let mut check = |from: Option<usize>, to: usize, length: usize| {
        target.fill(0xee);
        // Not to be known when this is compiled, so that it is a call.
        let part = core::hint::black_box(&mut target[to..to + length]);
        match from {
            Some(from) => part.copy_from_slice(&source[from..from + length]),
            None => part.fill(0xa5),
        }
        let expected = |at: usize| match at.checked_sub(to).filter(|&at| at < length) {
            Some(at) => from.map_or(0xa5, |from| source[from + at]),
            None => 0xee,
        };
        if let Some(at) = (0..target.len()).find(|&at| target[at] != expected(at)) {
            log::error!("memory: {length} bytes from {from:?} to {to}: wrong at {at}");
            failures += 1;
        }
    };
    for length in (0..150).chain([191, 192, 255, 256, 257, 320, 511, 512, 577, LONGEST]) {
        for to in 0..MARGIN {
            check(None, to, length);
            for from in 0..MARGIN {
                check(Some(from), to, length);
            }
        }
    }
    failures
}

/// A floating-point state of arbitrary bytes is restored as something harmless, and a good one
/// comes back as it was.
fn floating_point() -> usize {
    type State = <Arch as Architecture>::FpState;
    let mut wild = State::default();
    for fill in [0xff, 0x80, 0x01] {
        wild.as_mut().fill(fill);
        Arch::restore_fp(&wild);
    }
    let mut saved = State::default();
    Arch::restore_fp(&State::default());
    Arch::save_fp(&mut saved);
    let mut again = State::default();
    Arch::restore_fp(&saved);
    Arch::save_fp(&mut again);
    usize::from(saved.as_ref() != again.as_ref())
}

/// Random numbers do not repeat, and have as many ones as zeros.
fn random() -> usize {
    const BYTES: usize = 4096;
    let mut failures = 0;
    let (mut one, mut two) = (vec![0_u8; BYTES], vec![0_u8; BYTES]);
    crate::random::fill(&mut one);
    crate::random::fill(&mut two);
    failures += usize::from(one == two);
    for bytes in [one, two] {
        let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
        // Half of the bits, and six times the standard deviation, which is half the root of
        // their number.
        let bits = 8 * BYTES as u32;
        if ones.abs_diff(bits / 2) > 3 * bits.isqrt() {
            log::error!("random: {ones} of {bits} bits are set");
            failures += 1;
        }
    }
    failures
}

/// Time passes, forward only, and about as fast as 1,000 readings suggest.
fn clock() -> usize {
    let start = Arch::now_ns();
    let mut last = start;
    for _ in 0..1000 {
        let now = Arch::now_ns();
        if now < last {
            log::error!("clock: {now} after {last}");
            return 1;
        }
        last = now;
    }
    let date = Arch::boot_epoch_seconds();
    // 2020 to 2100.
    let plausible = (1_577_836_800..4_102_444_800).contains(&date);
    log::info!("clock: {} ns for 1000 readings, booted at {date}", last - start);
    usize::from(last == start || !plausible)
}

/// Blocks that the disk test reads.
const DISK_TEST_BLOCKS: usize = 64;

/// Reads the first disk by polling and then, in two threads at once, by interrupts: the same
/// bytes, and reading beyond the end is an error.
fn disk() -> usize {
    for name in ["disk test 1", "disk test 2"] {
        if crate::mcore::spawn_kernel_thread(name, disk_thread).is_err() {
            return 1;
        }
    }
    match read_disk() {
        Some(digest) => POLLED.store(digest, Ordering::Relaxed),
        None => return 1,
    }
    crate::mcore::idle()
}

/// What polling has read, condensed; and how many threads have seen the same.
static POLLED: AtomicU64 = AtomicU64::new(0);
static AGREEING: AtomicUsize = AtomicUsize::new(0);

fn disk_thread() {
    let agrees = read_disk() == Some(POLLED.load(Ordering::Relaxed));
    if !agrees {
        log::error!("disk: interrupts and polling do not read the same");
        Arch::power_off(1);
    }
    if AGREEING.fetch_add(1, Ordering::Relaxed) == 1 {
        Arch::power_off(0);
    }
}

/// Reads the first blocks one by one, and all at once; `None` if anything is wrong.
fn read_disk() -> Option<u64> {
    let disk = crate::driver::block::by_name("vda")?;
    let size = disk.block_size();
    let mut together = vec![0; size * DISK_TEST_BLOCKS];
    disk.read(0, &mut together).ok()?;
    let mut one = vec![0; size];
    for (number, block) in (0..).zip(together.chunks(size)) {
        disk.read(number, &mut one).ok()?;
        if one != block {
            log::error!("disk: block {number} differs when read alone");
            return None;
        }
    }
    if disk.read(disk.block_count(), &mut one).is_ok() {
        log::error!("disk: a block beyond the end was read");
        return None;
    }
    // FNV-1a.
    Some(together.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    }))
}

/// Two frames that must appear in the backtrace.
#[inline(never)]
fn provoke_panic(command_line: &str) -> usize {
    core::hint::black_box(fail(command_line))
}

#[inline(never)]
#[expect(clippy::panic, reason = "this is what the test is for")]
fn fail(command_line: &str) -> usize {
    panic!("provoked by the command line {command_line:?}");
}

/// The CPUs that write to the console, a bit each; and the CPU that fails.
static WRITING: AtomicU64 = AtomicU64::new(0);
static FAILING: AtomicUsize = AtomicUsize::new(0);

/// Fails while every other CPU writes dots to the console: none may follow the last words.
fn panic_among_others(command_line: &str) -> usize {
    FAILING.store(Arch::cpu_id(), Ordering::Relaxed);
    let others = Arch::cpus_online() - 1;
    // More than CPUs: those that come to this one end.
    for _ in 0..2 * others {
        if crate::mcore::spawn_kernel_thread("writer", write_dots).is_err() {
            return 1;
        }
    }
    while (WRITING.load(Ordering::Relaxed).count_ones() as usize) < others {
        Arch::relax();
    }
    provoke_panic(command_line)
}

fn write_dots() {
    loop {
        let cpu = Arch::cpu_id();
        if cpu == FAILING.load(Ordering::Relaxed) {
            return;
        }
        Arch::console_write(b".");
        WRITING.fetch_or(1 << cpu, Ordering::Relaxed);
        let end = Arch::now_ns() + 1_000_000;
        while Arch::now_ns() < end {
            Arch::relax();
        }
    }
}

/// The kernel fails in a system call of whoever opens one of these.
fn fail_in_calls() {
    register("selftest", "panic", |_| {
        fail("of a file");
        Ok(())
    });
    register("selftest", "program-fault", |_| {
        run_faulting_program();
        Ok(())
    });
}

fn program_fault() -> usize {
    crate::bpf::init();
    run_faulting_program()
}

/// Runs a program with a context that is not there: the report names the instruction that
/// accesses it, and the source line.
fn run_faulting_program() -> usize {
    use kernel_bpf::insn::{Insn, Operand, Reg, Size, Width};
    use kernel_bpf::profile::{ActiveProfile, PhysicalProfile};
    use kernel_bpf::prog_type::ProgType;
    use kernel_bpf::program::{LineInfo, Program};

    let mov = |dst, imm| Insn::Mov { width: Width::W64, dst, src: Operand::Imm(imm) };
    let insns = vec![
        mov(Reg::R6, 7),
        Insn::Load { size: Size::DW, dst: Reg::R0, base: Reg::R1, offset: 8 },
        Insn::Exit,
    ];
    let line = |insn, line| LineInfo {
        insn,
        file: "provoked.bpf.c".into(),
        line,
        column: 1,
        text: "".into(),
    };
    let mut program = Program::new(insns, ProgType::RawTracepoint, Vec::new());
    program.line_info = vec![line(0, 20), line(1, 21), line(2, 22)];
    let mut name = [0; kernel_abi::bpf::OBJ_NAME_LEN];
    for (to, from) in name.iter_mut().zip(b"provoked") {
        *to = *from;
    }
    let request = LoadRequest {
        program,
        maps: Vec::new(),
        name,
        btf: None,
        options: ActiveProfile::verify_options(),
        bytes: Vec::new(),
        uid: 0,
    };
    let Some(manager) = BpfManager::get() else { return 1 };
    let Ok(loaded) = manager.load_raw_program(request, &mut String::new()) else { return 1 };
    let answer = loaded.code.running(|ready| {
        // SAFETY: not sound: there is no context, and the test is that this faults.
        unsafe { ready.run_at(0x1000 as *mut u8, 16, &KernelHost) }
    });
    log::error!("program-fault: the program returned {answer}");
    1
}

/// Writes to the kernel's own code.
fn write_text() -> usize {
    let text = write_text as *const () as *mut u8;
    // SAFETY: not sound: the page is read-only, and the test is that this faults.
    unsafe { text.write_volatile(0xcc) };
    1
}

/// Where the next two tests map a page for user mode.
const USER_PAGE: usize = 0x40_0000;

/// Makes an address space with one page, which holds zeros, and enters it.
fn with_user_page(protection: Protection) -> Option<usize> {
    let mut table = <Arch as Architecture>::Table::new().ok()?;
    let frame = crate::mem::phys::alloc_zeroed()?;
    table.map(USER_PAGE, frame, protection | Protection::USER).ok()?;
    <Arch as Architecture>::Table::activate(table.root());
    core::mem::forget(table);
    Some(USER_PAGE)
}

/// Reads user memory other than through the copy functions.
fn read_user() -> usize {
    let Some(page) = with_user_page(Protection::READ | Protection::WRITE) else { return 1 };
    let mut copy = [1u8; 8];
    // SAFETY: `copy` is valid for its length; the page is the test's own.
    if unsafe { Arch::copy_user(copy.as_mut_ptr() as usize, page, copy.len()) } != 0
        || copy != [0; 8]
    {
        log::error!("read-user: the copy function does not read the page");
        return 1;
    }
    // SAFETY: not sound: the kernel may not read it, and the test is that this faults.
    let byte = unsafe { (page as *const u8).read_volatile() };
    log::error!("read-user: {byte} was read");
    1
}

/// Runs user memory in the kernel's mode.
fn run_user() -> usize {
    let Some(page) = with_user_page(Protection::READ | Protection::EXECUTE) else { return 1 };
    // SAFETY: not sound: the kernel may not execute it, and the test is that this faults.
    let code = unsafe { core::mem::transmute::<usize, extern "C" fn()>(page) };
    code();
    1
}

/// Recurses until the guard page stops it.
#[expect(unconditional_recursion, reason = "this is what the test is for")]
#[inline(never)]
fn overflow(depth: usize) -> usize {
    let room = core::hint::black_box([depth; 32]);
    overflow(depth + 1) + room.iter().sum::<usize>()
}
