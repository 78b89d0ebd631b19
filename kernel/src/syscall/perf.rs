//! `perf_event_open`: events that programs make with `bpf_perf_event_output`. This kernel counts
//! nothing: other events are not there (`ENOENT`), as on a machine without counters, or not
//! supported (`EOPNOTSUPP`) where every Linux has them.

use kernel_abi::Errno;
use kernel_abi::perf::{
    ATTR_SIZE, ATTR_SIZE_FIRST, COUNT_SW_BPF_OUTPUT, COUNT_SW_MAX, FLAG_FD_CLOEXEC,
    FLAG_FD_NO_GROUP, FLAG_FD_OUTPUT, FLAG_PID_CGROUP, FORMAT_MAX, TYPE_SOFTWARE, attr, flag,
    sample,
};

use super::SyscallResult;
use super::errno::OrErrno;
use super::path::Caller;
use crate::arch::{Arch, Architecture, PAGE_SIZE};
use crate::bpf::perf::{self, PerfEvent, Request, SAMPLES};
use crate::mcore::current;
use crate::mcore::mtask::family;
use crate::mem::user::{copy_from_user, read_user, write_user};

/// `struct perf_event_attr`.
struct Attr([u8; ATTR_SIZE]);

impl Attr {
    /// Copies it by the rules of its size, which may be an older or a newer one. Where it is too
    /// long, the caller is told how long it may be.
    fn read(address: usize) -> Result<Self, Errno> {
        let size = match read_user::<u32>(address.wrapping_add(attr::SIZE))? as usize {
            0 => ATTR_SIZE_FIRST,
            size => size,
        };
        let too_big = || match write_user(address.wrapping_add(attr::SIZE), ATTR_SIZE as u32) {
            Ok(()) => Errno::E2BIG,
            Err(fault) => fault.into(),
        };
        if !(ATTR_SIZE_FIRST..=PAGE_SIZE).contains(&size) {
            return Err(too_big());
        }
        let mut bytes = [0; ATTR_SIZE];
        let known = bytes.get_mut(..size.min(ATTR_SIZE)).ok_or(Errno::EINVAL)?;
        copy_from_user(known, address)?;
        for at in ATTR_SIZE..size {
            if read_user::<u8>(address.wrapping_add(at))? != 0 {
                return Err(too_big());
            }
        }
        Ok(Self(bytes))
    }

    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        let bytes = self.0.get(offset..).and_then(|bytes| bytes.first_chunk());
        bytes.copied().unwrap_or([0; N])
    }

    fn u32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.bytes(offset))
    }

    fn u64(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.bytes(offset))
    }

    /// Refuses bits that mean nothing.
    fn check(&self) -> Result<(), Errno> {
        let unknown = self.u64(attr::FLAGS) >= flag::MAX
            || self.u64(attr::SAMPLE_TYPE) >= sample::MAX
            || self.u64(attr::READ_FORMAT) >= FORMAT_MAX
            || self.u64(attr::SAMPLE_PERIOD) >> 63 != 0
            || self.bytes(attr::RESERVED_2) != [0; 2]
            || self.u32(attr::AUX_ACTION) >> 3 != 0;
        if unknown { Err(Errno::EINVAL) } else { Ok(()) }
    }

    /// The event on `cpu`, if it is of the kind that there is.
    fn event(&self, cpu: usize) -> Result<Request, Errno> {
        if self.u32(attr::TYPE) != TYPE_SOFTWARE || self.u64(attr::CONFIG) >= COUNT_SW_MAX {
            return Err(Errno::ENOENT);
        }
        let flags = self.u64(attr::FLAGS);
        let sample_type = self.u64(attr::SAMPLE_TYPE);
        let known = flag::DISABLED | flag::WITHOUT_EFFECT | flag::WATERMARK;
        if self.u64(attr::CONFIG) != COUNT_SW_BPF_OUTPUT
            || flags & !known != 0
            || sample_type & !SAMPLES != 0
            || self.u64(attr::READ_FORMAT) != 0
        {
            return Err(Errno::EOPNOTSUPP);
        }
        let wakeup = self.u32(attr::WAKEUP);
        let by_bytes = flags & flag::WATERMARK != 0;
        Ok(Request {
            cpu,
            sample_type,
            enabled: flags & flag::DISABLED == 0,
            wake_bytes: if by_bytes { wakeup } else { 0 },
            wake_records: if by_bytes { 0 } else { wakeup },
        })
    }
}

/// `perf_event_open(2)`. An event is that of one CPU, whatever runs there, and in no group.
pub fn perf_event_open([address, pid, cpu, group, flags, _]: [usize; 6]) -> SyscallResult {
    let known = FLAG_FD_NO_GROUP | FLAG_FD_OUTPUT | FLAG_PID_CGROUP | FLAG_FD_CLOEXEC;
    let (pid, cpu, group) = (pid as i32, cpu as i32, group as i32);
    if flags & !(known as usize) != 0 {
        return Err(Errno::EINVAL);
    }
    let flags = flags as u32;
    let attr = Attr::read(address)?;
    attr.check()?;
    if !current().process().credentials().is_privileged() {
        return Err(Errno::EACCES);
    }
    let of_cgroup = flags & FLAG_PID_CGROUP != 0;
    if of_cgroup && (pid == -1 || cpu == -1) {
        return Err(Errno::EINVAL);
    }
    let caller = Caller::new();
    let in_group = group != -1;
    if in_group && caller.file(group as usize)?.file().downcast_ref::<PerfEvent>().is_none() {
        return Err(Errno::EBADF);
    }
    if of_cgroup {
        // There are no control groups that a descriptor could be of.
        return Err(Errno::EBADF);
    }
    let of_task = pid != -1;
    if of_task && pid != 0 && family::process(pid as u32).is_none() {
        return Err(Errno::ESRCH);
    }
    let number = usize::try_from(cpu).ok().filter(|&cpu| cpu < Arch::cpus_online());
    if number.is_none() && !(of_task && cpu == -1) {
        return Err(Errno::EINVAL);
    }
    let request = attr.event(number.unwrap_or(0))?;
    if of_task || in_group || flags & FLAG_FD_OUTPUT != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let files = caller.files()?;
    files.check_room().or_errno()?;
    let event = perf::new(request).or_errno()?;
    let close_on_exec = flags & FLAG_FD_CLOEXEC != 0;
    files.install(event, close_on_exec).or_errno().map(|fd| fd as usize)
}
