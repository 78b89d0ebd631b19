//! What helpers ask of this kernel: the clock, who is running, memory that may not be there.
//!
//! Everything here may be called in an interrupt: nothing sleeps or allocates, and of locks only
//! such are taken as keep interrupts off while they are held, so that no interrupted code holds
//! one. User memory is read only as far as it is resident.

use core::sync::atomic::{AtomicU64, Ordering};

use kernel_bpf::helper::{Fault, KernelServices};
use kernel_bpf::map::Map;

use crate::arch::{Arch, Architecture};
use crate::mcore::{self, Credentials};

/// This kernel, as helpers see it.
pub struct KernelHost;

impl KernelServices for KernelHost {
    #[inline]
    fn ktime_ns(&self) -> u64 {
        Arch::now_ns()
    }

    fn current_pid_tgid(&self) -> u64 {
        let (pid, tid) = current_ids();
        u64::from(pid) << 32 | u64::from(tid)
    }

    fn current_uid_gid(&self) -> u64 {
        let credentials =
            mcore::try_current().map_or(Credentials::ROOT, |task| task.process().credentials());
        let (uid, gid) = (credentials.uid, credentials.gid);
        u64::from(gid) << 32 | u64::from(uid)
    }

    fn current_comm(&self, name: &mut [u8; 16]) {
        *name = current_name();
    }

    fn current_task(&self) -> u64 {
        mcore::try_current().map_or(0, |task| task.identity())
    }

    #[inline]
    fn cpu_id(&self) -> usize {
        Arch::cpu_id()
    }

    fn random_u32(&self) -> u32 {
        random_u32()
    }

    fn trace_print(&self, text: &[u8]) {
        super::trace::print(text);
    }

    fn read_user(&self, out: &mut [u8], address: u64) -> Result<(), Fault> {
        let start = usize::try_from(address).map_err(|_| Fault)?;
        let end = start.checked_add(out.len()).ok_or(Fault)?;
        if start < Arch::USER_START || end > Arch::USER_END {
            return Err(Fault);
        }
        read_nofault(out, start)
    }

    fn read_kernel(&self, out: &mut [u8], address: u64) -> Result<(), Fault> {
        let start = usize::try_from(address).map_err(|_| Fault)?;
        let end = start.checked_add(out.len()).ok_or(Fault)?;
        if start < Arch::DIRECT_MAP || end < start {
            return Err(Fault);
        }
        read_nofault(out, start)
    }

    fn is_user(&self, address: u64) -> bool {
        usize::try_from(address).is_ok_and(|address| address < Arch::USER_END)
    }

    fn is_kernel(&self, address: u64) -> bool {
        usize::try_from(address).is_ok_and(|address| address >= Arch::DIRECT_MAP)
    }

    fn ring_ready(&self, _map: &Map) {
        crate::file::poll::changed();
    }
}

/// The running process and thread; zeros before there are any.
#[inline]
pub fn current_ids() -> (u32, u32) {
    mcore::try_current().map_or((0, 0), |task| (task.pid(), task.tid()))
}

/// The running task's name, ended by a NUL.
pub fn current_name() -> [u8; 16] {
    mcore::try_current().map_or([0; 16], |task| task.name_bytes())
}

/// A number that programs may call random: a counter scrambled by the clock (Steele, Lea and
/// Flood, "Fast splittable pseudorandom number generators", 2014).
fn random_u32() -> u32 {
    static STATE: AtomicU64 = AtomicU64::new(0);
    let step = 0x9e37_79b9_7f4a_7c15_u64;
    let mut value = STATE.fetch_add(step, Ordering::Relaxed) ^ Arch::now_ns();
    value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (value ^ value >> 31) as u32
}

fn read_nofault(out: &mut [u8], address: usize) -> Result<(), Fault> {
    // SAFETY: `out` is valid for its length; the other side may be anything.
    let missing = unsafe { Arch::copy_nofault(out.as_mut_ptr(), address, out.len()) };
    if missing == 0 {
        return Ok(());
    }
    out.fill(0);
    Err(Fault)
}
