//! The machine as a whole: `uname sysinfo syslog getrandom reboot sethostname`.

use alloc::vec::Vec;

use kernel_abi::Errno;
use kernel_sync::SpinLock;

use super::SyscallResult;
use crate::arch::{Arch, Architecture, PAGE_SIZE};
use crate::mcore::mtask::{family, start};
use crate::mcore::{current, now_ns};
use crate::mem::memapi::may_allocate;
use crate::mem::phys;
use crate::mem::user::{copy_from_user, copy_to_user};
use crate::{log, random};

/// Bytes of each string of `struct utsname`.
const NAME_BYTES: usize = 65;
/// What `uname -r` prints. Programs look at the number to learn what they may call; it is that
/// of the Linux whose interface Lemma follows.
pub const RELEASE: &str = concat!("6.12.0-lemma-", env!("CARGO_PKG_VERSION"));

struct HostName {
    bytes: [u8; NAME_BYTES],
    length: usize,
}

static HOST_NAME: SpinLock<HostName> = SpinLock::new(HostName {
    bytes: {
        let mut bytes = [0; NAME_BYTES];
        let name = b"lemma";
        let mut at = 0;
        while at < name.len() {
            bytes[at] = name[at];
            at += 1;
        }
        bytes
    },
    length: 5,
});

/// `uname(2)`.
pub fn uname([to, ..]: [usize; 6]) -> SyscallResult {
    let mut bytes = [0; 6 * NAME_BYTES];
    let mut put = |index: usize, text: &[u8]| {
        let slots = bytes.iter_mut().skip(index * NAME_BYTES).take(NAME_BYTES - 1);
        for (slot, byte) in slots.zip(text) {
            *slot = *byte;
        }
    };
    put(0, b"Lemma");
    {
        let name = HOST_NAME.lock();
        put(1, name.bytes.get(..name.length).unwrap_or_default());
    }
    put(2, RELEASE.as_bytes());
    let profile: &[u8] =
        if cfg!(feature = "profile-embedded") { b"#1 SMP embedded" } else { b"#1 SMP cloud" };
    put(3, profile);
    put(4, Arch::NAME.as_bytes());
    put(5, b"(none)");
    copy_to_user(to, &bytes)?;
    Ok(0)
}

/// `sethostname(2)`.
pub fn sethostname([from, length, ..]: [usize; 6]) -> SyscallResult {
    check_privileged()?;
    if length >= NAME_BYTES {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; NAME_BYTES];
    copy_from_user(bytes.get_mut(..length).unwrap_or_default(), from)?;
    *HOST_NAME.lock() = HostName { bytes, length };
    Ok(0)
}

fn check_privileged() -> Result<(), Errno> {
    if current().process().credentials().is_privileged() { Ok(()) } else { Err(Errno::EPERM) }
}

/// `sysinfo(2)`.
pub fn sysinfo([to, ..]: [usize; 6]) -> SyscallResult {
    let memory = phys::stats();
    let mut bytes = [0u8; 112];
    let mut put = |at: usize, value: &[u8]| {
        if let Some(slot) = bytes.get_mut(at..at + value.len()) {
            slot.copy_from_slice(value);
        }
    };
    put(0, &(now_ns() / 1_000_000_000).to_ne_bytes());
    put(32, &(memory.total * PAGE_SIZE).to_ne_bytes());
    put(40, &(memory.free * PAGE_SIZE).to_ne_bytes());
    put(80, &(family::task_count().min(usize::from(u16::MAX)) as u16).to_ne_bytes());
    put(104, &1u32.to_ne_bytes());
    copy_to_user(to, &bytes)?;
    Ok(0)
}

/// `getrandom(2)`. The generator is ready from the start.
pub fn getrandom([to, length, flags, ..]: [usize; 6]) -> SyscallResult {
    const NONBLOCK: usize = 1;
    const RANDOM: usize = 2;
    const INSECURE: usize = 4;
    if flags & !(NONBLOCK | RANDOM | INSECURE) != 0 || flags & 6 == 6 {
        return Err(Errno::EINVAL);
    }
    let length = length.min(0x7fff_ffff);
    let mut done = 0;
    while done < length {
        let mut piece = [0; 256];
        let count = piece.len().min(length - done);
        let part = piece.get_mut(..count).unwrap_or_default();
        random::fill(part);
        if copy_to_user(to.wrapping_add(done), part).is_err() {
            return if done > 0 { Ok(done) } else { Err(Errno::EFAULT) };
        }
        done += count;
        if done < length && current().has_signal() {
            return Ok(done);
        }
    }
    Ok(done)
}

/// `syslog(2)`: the kernel's log, for `dmesg`.
pub fn syslog([action, to, length, ..]: [usize; 6]) -> SyscallResult {
    const CLOSE: usize = 0;
    const OPEN: usize = 1;
    const READ_ALL: usize = 3;
    const SIZE_UNREAD: usize = 9;
    const SIZE_BUFFER: usize = 10;
    match action {
        CLOSE | OPEN => Ok(0),
        SIZE_BUFFER => Ok(log::RING_SIZE),
        READ_ALL | SIZE_UNREAD => {
            if action == READ_ALL && (to == 0 || (length as i32) < 0) {
                return Err(Errno::EINVAL);
            }
            may_allocate(2 * log::RING_SIZE)?;
            let mut text = Vec::new();
            text.try_reserve_exact(log::RING_SIZE).map_err(|_| Errno::ENOMEM)?;
            log::read_marked(&mut |piece| text.extend_from_slice(piece));
            if action == SIZE_UNREAD {
                return Ok(text.len());
            }
            // The newest lines, if not all fit: the first that is kept may have lost its beginning.
            let start = text.len() - text.len().min(length);
            let mut newest = text.get(start..).unwrap_or_default();
            if !newest.starts_with(b"<") || start != 0 && text.get(start - 1) != Some(&b'\n') {
                let cut = newest.iter().position(|&byte| byte == b'\n');
                newest = newest.get(cut.map_or(newest.len(), |at| at + 1)..).unwrap_or_default();
            }
            copy_to_user(to, newest)?;
            Ok(newest.len())
        }
        // Consuming the log and setting the console's level are not offered.
        2 | 4..=8 => {
            check_privileged()?;
            Err(Errno::EOPNOTSUPP)
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `reboot(2)`. File systems are written back first. With `LINUX_REBOOT_CMD_POWER_OFF` the low
/// byte of the fourth argument, which Linux ignores, is the status with which the machine ends.
pub fn reboot([magic, magic_2, command, status, ..]: [usize; 6]) -> SyscallResult {
    const MAGIC: u32 = 0xfee1_dead;
    const MAGIC_2: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    const RESTART: u32 = 0x0123_4567;
    const HALT: u32 = 0xcdef_0123;
    const CAD_ON: u32 = 0x89ab_cdef;
    const CAD_OFF: u32 = 0;
    const POWER_OFF: u32 = 0x4321_fedc;
    check_privileged()?;
    if magic as u32 != MAGIC || !MAGIC_2.contains(&(magic_2 as u32)) {
        return Err(Errno::EINVAL);
    }
    match command as u32 {
        RESTART => {
            start::shut_down_files();
            Arch::reboot()
        }
        POWER_OFF => {
            start::shut_down_files();
            Arch::power_off(status as u8)
        }
        HALT => {
            start::shut_down_files();
            ::log::info!("halted");
            Arch::power_off(0)
        }
        // There is no keyboard.
        CAD_ON | CAD_OFF => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
