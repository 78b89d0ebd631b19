//! What a verification takes of memory, counted by the global allocator itself: the embedded
//! profile's stays within 256 KiB, whatever the program asks of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use kernel_bpf::asm::assemble;
use kernel_bpf::map::MapDef;
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Cause, VerifyOptions, verify};

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
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

/// The only test of this file: another one's allocations would count here.
#[test]
fn the_embedded_profile_verifies_in_256_kib() {
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
    ];
    let (mut accepted, mut refused) = (0, 0);
    for text in texts {
        let program: Program<MapDef> =
            Program::new(assemble(&text).unwrap(), ProgType::RawTracepoint, Vec::new());
        let before = NOW.load(Ordering::SeqCst);
        PEAK.store(before, Ordering::SeqCst);
        let outcome = verify(program, &VerifyOptions::embedded());
        let taken = PEAK.load(Ordering::SeqCst) - before;
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
