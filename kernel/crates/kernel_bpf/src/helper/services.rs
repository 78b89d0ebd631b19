//! [`KernelServices`]: what helpers ask of the kernel that a program runs in.
//!
//! The kernel implements it once; tests have a mock. Everything here may be called while an
//! interrupt is handled, so nothing may sleep or take a lock that interrupted code may hold.

#![forbid(unsafe_code)]

use crate::map::Map;

/// Memory that could not be read (EFAULT).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault;

/// The kernel, as helpers see it.
pub trait KernelServices {
    /// Nanoseconds since boot, monotonic.
    fn ktime_ns(&self) -> u64;
    /// The running task: process in the upper half, thread in the lower.
    fn current_pid_tgid(&self) -> u64;
    /// The running task's credentials: group in the upper half, user in the lower.
    fn current_uid_gid(&self) -> u64;
    /// The running task's name, zero-terminated and zero-padded.
    fn current_comm(&self, name: &mut [u8; 16]);
    /// The running task as a number that no other task has while it lives, never 0; 0 where
    /// there are no tasks.
    fn current_task(&self) -> u64 {
        0
    }
    /// The CPU that this runs on, below [`MapEnvironment::cpus`](crate::map::MapEnvironment::cpus)
    /// of the maps that programs use; they take another for the first.
    fn cpu_id(&self) -> usize;
    /// A random number; need not be secret.
    fn random_u32(&self) -> u32;
    /// Ticks of Linux's clock since boot (here 250 a second).
    fn jiffies(&self) -> u64 {
        self.ktime_ns() / 4_000_000
    }
    /// Shows a line that a program printed, without the kernel's prefix.
    fn trace_print(&self, text: &[u8]);
    /// Reads memory of the running process, never sleeping.
    ///
    /// # Errors
    /// Memory that is not there or not in memory now.
    fn read_user(&self, out: &mut [u8], address: u64) -> Result<(), Fault>;
    /// Reads kernel memory that may not be there.
    ///
    /// # Errors
    /// Memory that is not there.
    fn read_kernel(&self, out: &mut [u8], address: u64) -> Result<(), Fault>;
    /// Whether an address is a process's and not the kernel's. Where both are the same memory,
    /// none is.
    fn is_user(&self, address: u64) -> bool {
        let _ = address;
        false
    }
    /// Whether an address can be the kernel's at all; whoever reads another as such is told apart
    /// (ERANGE).
    fn is_kernel(&self, address: u64) -> bool {
        const FIRST_PAGE: u64 = 4096;
        address >= FIRST_PAGE && !self.is_user(address)
    }
    /// Reads memory of the running process or of the kernel, whose the address is.
    ///
    /// # Errors
    /// Memory that is not there or not in memory now.
    fn read_any(&self, out: &mut [u8], address: u64) -> Result<(), Fault> {
        if self.is_user(address) {
            self.read_user(out, address)
        } else {
            self.read_kernel(out, address)
        }
    }
    /// Writes the return addresses of the running task, innermost first, into `frames`, without
    /// the first `skip`: its user stack, or the kernel's. Returns how many; `None` where stacks
    /// cannot be walked.
    fn stack_trace(&self, user: bool, skip: usize, frames: &mut [u64]) -> Option<usize> {
        let _ = (user, skip, frames);
        None
    }
    /// A ring buffer has something for a consumer that waits for it.
    fn ring_ready(&self, map: &Map);
}
