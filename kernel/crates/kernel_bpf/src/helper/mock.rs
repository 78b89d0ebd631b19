//! A kernel for tests: a clock that counts calls, one task, and memory that is a list of
//! blocks.

use std::string::String;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::vec::Vec;

use super::services::{Fault, KernelServices};
use crate::map::Map;

/// What tests look at after a run, and set before it.
#[derive(Default)]
pub(crate) struct Mock {
    pub(crate) clock: AtomicU64,
    pub(crate) cpu: AtomicUsize,
    pub(crate) printed: Mutex<Vec<String>>,
    /// Readable memory: address and bytes.
    pub(crate) memory: Vec<(u64, Vec<u8>)>,
    pub(crate) woken: AtomicUsize,
    /// Addresses below are the process's.
    pub(crate) user_end: u64,
    /// How often its memory was read.
    pub(crate) user_reads: AtomicUsize,
}

impl KernelServices for Mock {
    fn ktime_ns(&self) -> u64 {
        self.clock.fetch_add(1000, Ordering::Relaxed)
    }
    fn current_pid_tgid(&self) -> u64 {
        42 << 32 | 43
    }
    fn current_uid_gid(&self) -> u64 {
        100 << 32 | 1000
    }
    fn current_comm(&self, name: &mut [u8; 16]) {
        name[..5].copy_from_slice(b"lemma");
    }
    fn current_task(&self) -> u64 {
        4242
    }
    fn cpu_id(&self) -> usize {
        self.cpu.load(Ordering::Relaxed)
    }
    fn random_u32(&self) -> u32 {
        4
    }
    fn trace_print(&self, text: &[u8]) {
        self.printed.lock().unwrap().push(String::from_utf8_lossy(text).into_owned());
    }
    fn read_user(&self, out: &mut [u8], address: u64) -> Result<(), Fault> {
        self.user_reads.fetch_add(1, Ordering::Relaxed);
        self.read_kernel(out, address)
    }
    fn is_user(&self, address: u64) -> bool {
        address < self.user_end
    }
    fn read_kernel(&self, out: &mut [u8], address: u64) -> Result<(), Fault> {
        for (start, bytes) in &self.memory {
            if let Some(offset) = address.checked_sub(*start)
                && let Some(rest) = bytes.get(offset as usize..)
                && let Some(found) = rest.get(..out.len())
            {
                out.copy_from_slice(found);
                return Ok(());
            }
        }
        Err(Fault)
    }
    fn stack_trace(&self, user: bool, skip: usize, frames: &mut [u64]) -> Option<usize> {
        for (frame, number) in frames.iter_mut().zip(skip as u64 + 1..) {
            *frame = number * 100;
        }
        // More than there is room for, which nobody must believe.
        (!user).then_some(frames.len() + 1000)
    }
    fn ring_ready(&self, _: &Map) {
        self.woken.fetch_add(1, Ordering::Relaxed);
    }
}
