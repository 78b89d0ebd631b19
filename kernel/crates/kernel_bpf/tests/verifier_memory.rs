//! What a verification takes of memory, counted by the global allocator itself: the embedded
//! profile's stays within 256 KiB, the cloud profile's within 64 MiB, whatever the program asks of
//! it.

#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kernel_bpf::asm::assemble;
use kernel_bpf::map::MapDef;
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Cause, Rejection, VerifyOptions, verify};

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Larger blocks are not to be had.
static LARGEST: AtomicUsize = AtomicUsize::new(usize::MAX);
/// Held by each test: another one's allocations would count too.
static ALONE: Mutex<()> = Mutex::new(());

struct Counting;

// SAFETY: everything is passed on to the system's allocator, or refused.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > LARGEST.load(Ordering::SeqCst) {
            return core::ptr::null_mut();
        }
        let now = NOW.fetch_add(layout.size(), Ordering::SeqCst) + layout.size();
        PEAK.fetch_max(now, Ordering::SeqCst);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A program of `slots` instructions before the end of `text`.
fn padded(slots: usize, text: &str) -> String {
    format!("r6 = *(u64 *)(r1 + 0)\n r7 = 0\n {}{text}", "r7 += 1\n".repeat(slots))
}

/// So many comparisons with constants, in what looks like loops as long as branches reach.
fn compared(branches: usize) -> String {
    let mut text = String::from("r7 = 0\n");
    for first in (0..branches).step_by(30_000) {
        text.push_str(&format!("head{first}: r6 = 1\n"));
        for number in first..branches.min(first + 30_000) {
            text.push_str(&format!("if r7 == {} goto +0\n", number + 7));
        }
        text.push_str(&format!("if r7 == 5 goto head{first}\n"));
    }
    text + "r0 = 0\n exit"
}

/// Verifies a program; the outcome, and the most bytes that were in use for it.
fn measure(text: &str, options: &VerifyOptions) -> (Result<u64, Box<Rejection>>, usize) {
    let insns = assemble(text).unwrap();
    let program: Program<MapDef> = Program::new(insns, ProgType::RawTracepoint, Vec::new());
    let before = NOW.load(Ordering::SeqCst);
    PEAK.store(before, Ordering::SeqCst);
    let outcome = verify(program, options).map(|verified| verified.proof().processed);
    (outcome, PEAK.load(Ordering::SeqCst) - before)
}

/// Loops in which every round leaves another state on the stack: all of a million instructions are
/// explored, or memory ends before.
#[test]
fn the_cloud_profile_verifies_in_64_mib() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (mut explored, mut refused) = (0, 0);
    for turns in [1500, 1_000_000] {
        let text = format!(
            "r6 = *(u64 *)(r1 + 0)\n r7 = 0\n turn: *(u64 *)(r10 - 8) = r6\n r8 = r6\n r8 &= 255
             if r8 > 100 goto other\n r8 = 5\n other: r9 = *(u64 *)(r10 - 8)\n r8 = 0
             inner: r8 += 1\n r9 ^= r6\n *(u64 *)(r10 - 16) = r9\n if r8 < 40 goto inner
             r7 += 1\n if r7 < {turns} goto turn\n r0 = r9\n exit"
        );
        let (outcome, taken) = measure(&text, &VerifyOptions::cloud());
        match outcome {
            Ok(processed) => explored = explored.max(processed),
            Err(rejection) => {
                assert_eq!(rejection.cause, Cause::TooComplex, "{rejection}");
                refused += 1;
            }
        }
        assert!(taken <= 64 << 20, "{taken} bytes for\n{text}");
        assert!(taken >= 1 << 20, "only {taken} bytes for\n{text}");
    }
    assert!(explored > 500_000 && refused == 1, "{explored} {refused}");
    let (outcome, taken) = measure(&compared(200_000), &VerifyOptions::cloud());
    assert!(outcome.is_ok() && taken <= 64 << 20, "{outcome:?}: {taken}");
}

/// Memory in pieces: no block is large enough for a list that has to grow, or for one with an
/// element for each instruction. That is a refusal, and not the end of whoever asks.
#[test]
fn a_list_that_finds_no_memory_is_a_refusal() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let turning =
        "r6 = *(u64 *)(r1 + 0)\n r7 = 0\n turn: *(u64 *)(r10 - 8) = r6\n r8 = r6\n r8 &= 255
         if r8 > 100 goto other\n r8 = 5\n other: r9 = *(u64 *)(r10 - 8)\n r7 += 1
         if r7 < 3000 goto turn\n r0 = r9\n exit";
    for (largest, text) in
        [(64 << 10, turning.to_owned()), (32 << 10, padded(20_000, "r0 = 0\n exit"))]
    {
        assert!(measure(&text, &VerifyOptions::cloud()).0.is_ok());
        let mut limit = largest;
        let mut refused = 0;
        while limit >= 8 << 10 {
            let insns = assemble(&text).unwrap();
            let program: Program<MapDef> = Program::new(insns, ProgType::RawTracepoint, Vec::new());
            LARGEST.store(limit, Ordering::SeqCst);
            let outcome = verify(program, &VerifyOptions::cloud()).map(drop);
            LARGEST.store(usize::MAX, Ordering::SeqCst);
            if let Err(rejection) = outcome {
                assert_eq!(rejection.cause, Cause::OutOfMemory, "{limit}: {rejection}");
                refused += 1;
            }
            limit -= limit / 4;
        }
        assert!(refused > 3, "{refused}");
    }
}

#[test]
fn the_embedded_profile_verifies_in_256_kib() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut many_branches = String::from("r6 = *(u64 *)(r1 + 0)\n r0 = 0\n");
    for branch in 0..500 {
        let (bit, slot) = (1 << (branch % 30), 8 * (1 + branch % 64));
        many_branches.push_str(&format!(
            "r7 = r6\n r7 &= {bit}\n if r7 == 0 goto l{branch}
            *(u64 *)(r10 - {slot}) = r6\n r0 += 1\n l{branch}: r0 += 1\n"
        ));
    }
    many_branches.push_str("exit");
    let mut deep_stack = String::from("r6 = *(u64 *)(r1 + 0)\n r0 = 0\n");
    for slot in 1..=64 {
        deep_stack.push_str(&format!("*(u64 *)(r10 - {}) = r6\n", 8 * slot));
    }
    for branch in 0..120 {
        deep_stack.push_str(&format!(
            "if r6 == {branch} goto l{branch}\n r0 += 1\n l{branch}: r0 += r6\n"
        ));
    }
    deep_stack.push_str("exit");
    let turning =
        "l: r7 += 1\n if r6 == r7 goto o\n r6 ^= r7\n if r7 < 9000 goto l\n o: r0 = 0\n exit";
    let texts = [
        padded(4090, "r0 = 0\n exit"),
        many_branches,
        deep_stack,
        padded(1, turning),
        padded(4000, turning),
        compared(4000),
    ];
    let (mut accepted, mut refused) = (0, 0);
    for text in texts {
        let (outcome, taken) = measure(&text, &VerifyOptions::embedded());
        match outcome {
            Ok(_) => accepted += 1,
            Err(rejection) => {
                assert_eq!(rejection.cause, Cause::TooComplex, "{rejection}");
                refused += 1;
            }
        }
        assert!(taken <= 256 << 10, "{taken} bytes for\n{text}");
    }
    assert!(accepted > 0 && refused > 1, "the limits are not reached: {accepted}, {refused}");
}
