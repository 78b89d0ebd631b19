//! What programs say with `trace_printk`: a ring of lines, read in `/proc/bpf/trace`.
//!
//! Writers may be in an interrupt; the ring is a spin lock (interrupts off) around a fixed
//! buffer, so printing allocates nothing. Old lines are overwritten.

use core::fmt::Write;

use kernel_sync::SpinLock;

use crate::arch::{Arch, Architecture};

/// Bytes kept.
const CAPACITY: usize = 16 * 1024;

struct Ring {
    bytes: [u8; CAPACITY],
    /// Bytes ever written; the oldest kept is at `written - CAPACITY`.
    written: u64,
}

static RING: SpinLock<Ring> = SpinLock::new(Ring { bytes: [0; CAPACITY], written: 0 });

impl Ring {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let at = (self.written % CAPACITY as u64) as usize;
            if let Some(slot) = self.bytes.get_mut(at) {
                *slot = byte;
            }
            self.written += 1;
        }
    }
}

impl Write for Ring {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Adds one line: who, on which CPU, when, and the program's text (as Linux's trace format).
pub fn print(text: &[u8]) {
    let now = Arch::now_ns();
    let name = super::host::current_name();
    let (_, pid) = super::host::current_ids();
    let length = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut ring = RING.lock();
    ring.push(name.get(..length).unwrap_or(&name));
    // Writing to the ring cannot fail.
    let _ = write!(
        ring,
        "-{pid} [{:03}] {}.{:06}: bpf_trace_printk: ",
        Arch::cpu_id(),
        now / 1_000_000_000,
        now / 1_000 % 1_000_000
    );
    ring.push(text);
    ring.push(b"\n");
}

/// Copies what is kept from position `offset` on (counted in bytes ever written) into `out`;
/// returns how many bytes, and the position behind them.
pub fn read(offset: u64, out: &mut [u8]) -> (usize, u64) {
    let ring = RING.lock();
    let oldest = ring.written.saturating_sub(CAPACITY as u64);
    let mut at = offset.max(oldest);
    let mut count = 0;
    for slot in out.iter_mut() {
        if at >= ring.written {
            break;
        }
        *slot = ring.bytes.get((at % CAPACITY as u64) as usize).copied().unwrap_or(0);
        at += 1;
        count += 1;
    }
    (count, at)
}
