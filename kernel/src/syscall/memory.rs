//! Memory: `brk mmap munmap mprotect madvise mremap`.
//!
//! Difference from Linux: memory that is writable and executable at once is refused with `EACCES`.

use alloc::sync::Arc;

use kernel_abi::Errno;
use kernel_mem::Rights;
use kernel_vfs::{FileType, FsError, Mapping, Metadata, OpenFile};

use super::SyscallResult;
use super::errno::ToErrno;
use crate::arch::{Arch, Architecture, FaultAccess, PAGE_SIZE};
use crate::mcore::{self, current};
use crate::mem::AddressSpace;
use crate::mem::address_space::Placement;
use crate::mem::backing::{Backing, FileBacking, Mapped, SharedPages};
use crate::mem::memapi::may_promise;
use crate::mem::shared_file::SharedFile;

const PROT_READ: usize = 1;
const PROT_WRITE: usize = 2;
const PROT_EXEC: usize = 4;
const PROT_GROWSDOWN: usize = 0x0100_0000;
const PROT_GROWSUP: usize = 0x0200_0000;

const MAP_SHARED: usize = 0x01;
const MAP_PRIVATE: usize = 0x02;
const MAP_SHARED_VALIDATE: usize = 0x03;
const MAP_TYPE: usize = 0x0f;
const MAP_FIXED: usize = 0x10;
const MAP_ANONYMOUS: usize = 0x20;
const MAP_GROWSDOWN: usize = 0x100;
const MAP_NORESERVE: usize = 0x4000;
const MAP_POPULATE: usize = 0x8000;
const MAP_HUGETLB: usize = 0x4_0000;
const MAP_FIXED_NOREPLACE: usize = 0x10_0000;

/// `/dev/zero`, as `st_rdev`: mapping it is mapping anonymous memory (`mem(4)`).
const DEVICE_ZERO: u32 = 1 << 8 | 5;

fn rights(protection: usize) -> Rights {
    let mut rights = Rights::empty();
    rights.set(Rights::READ, protection & PROT_READ != 0);
    rights.set(Rights::WRITE, protection & PROT_WRITE != 0);
    rights.set(Rights::EXECUTE, protection & PROT_EXEC != 0);
    rights
}

/// `brk(2)`, as the kernel has it: returns the end of the heap, moved or not.
pub fn brk([end, ..]: [usize; 6]) -> SyscallResult {
    let task = current();
    let space = task.space().ok_or(Errno::ENOMEM)?;
    let (_, now) = space.heap();
    if end > now && may_promise(end - now).is_err() {
        return Ok(now);
    }
    Ok(space.set_break(end))
}

/// `mmap(2)`.
pub fn mmap([hint, length, protection, flags, fd, offset]: [usize; 6]) -> SyscallResult {
    if length == 0 || !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    if flags & (MAP_GROWSDOWN | MAP_HUGETLB) != 0 {
        return Err(Errno::EINVAL);
    }
    let shared = match flags & MAP_TYPE {
        MAP_SHARED | MAP_SHARED_VALIDATE => true,
        MAP_PRIVATE => false,
        _ => return Err(Errno::EINVAL),
    };
    let rights = rights(protection);
    let task = current();
    let space = task.space().ok_or(Errno::ENOMEM)?;
    let backing = if flags & MAP_ANONYMOUS == 0 {
        let fd = u32::try_from(fd).map_err(|_| Errno::EBADF)?;
        let file = task.files().ok_or(Errno::EBADF)?.get(fd).map_err(FsError::to_errno)?;
        file_backing(file, offset as u64, length, rights, shared)?
    } else if shared {
        Backing::Shared { pages: SharedPages::new(), offset: 0 }
    } else {
        Backing::Anonymous
    };
    let placement = if flags & MAP_FIXED_NOREPLACE != 0 {
        Placement::Exactly(hint)
    } else if flags & MAP_FIXED != 0 {
        Placement::Replace(hint)
    } else {
        Placement::Hint(hint)
    };
    let backing = match backing {
        Backing::Anonymous if flags & MAP_NORESERVE != 0 => Backing::Unreserved,
        other => other,
    };
    let promised = backing.is_promised(rights) && flags & MAP_NORESERVE == 0;
    may_promise(if promised { length } else { 0 })?;
    let start = space.map(placement, length, rights, backing)?;
    if flags & MAP_POPULATE != 0 {
        populate(space, start, length, rights);
    }
    Ok(start)
}

fn file_backing(
    file: Arc<OpenFile>,
    offset: u64,
    length: usize,
    rights: Rights,
    shared: bool,
) -> Result<Backing, Errno> {
    if i64::try_from(offset).ok().and_then(|at| at.checked_add_unsigned(length as u64)).is_none() {
        return Err(Errno::EOVERFLOW);
    }
    let flags = file.flags();
    if !flags.readable() || (shared && rights.contains(Rights::WRITE) && !flags.writable()) {
        return Err(Errno::EACCES);
    }
    // What is in no file system, as a BPF map, has none.
    let metadata = file.metadata().ok();
    let is_zero = |metadata: &Metadata| {
        metadata.file_type == FileType::CharacterDevice && metadata.device == DEVICE_ZERO
    };
    if metadata.as_ref().is_some_and(is_zero) {
        return Ok(if shared {
            Backing::Shared { pages: SharedPages::new(), offset: 0 }
        } else {
            Backing::Anonymous
        });
    }
    if shared && file.file().mappable().is_some() {
        let mapping = Mapping::new(file).map_err(FsError::to_errno)?;
        return Ok(Backing::SharedFile(SharedFile { mapping, offset }));
    }
    if shared {
        // The object says for each page whether it offers it.
        let writable = rights.contains(Rights::WRITE);
        let held = file.file().mapped(offset, length, writable).map_err(FsError::to_errno)?;
        let mapped = Mapped { writable, _held: held };
        for at in (0..length).step_by(PAGE_SIZE) {
            let frame = file.file().shared_frame(offset + at as u64, writable);
            frame.map_err(FsError::to_errno)?;
        }
        return Ok(Backing::Object { file, offset, mapped });
    }
    if metadata.is_none_or(|metadata| metadata.file_type != FileType::Regular) {
        return Err(Errno::ENODEV);
    }
    Ok(Backing::File(FileBacking { file, offset, valid: None }))
}

/// Touches every page, as far as there is memory (`MAP_POPULATE` does not fail).
fn populate(space: &AddressSpace, start: usize, length: usize, rights: Rights) {
    let access =
        if rights.contains(Rights::WRITE) { FaultAccess::Write } else { FaultAccess::Read };
    for page in (start..start.saturating_add(length)).step_by(PAGE_SIZE) {
        if current().has_signal() || space.resolve(page, access).is_err() {
            return;
        }
    }
}

/// `munmap(2)`.
pub fn munmap([start, length, ..]: [usize; 6]) -> SyscallResult {
    let task = current();
    task.space().ok_or(Errno::EINVAL)?.unmap(start, length)?;
    Ok(0)
}

/// `mprotect(2)`.
pub fn mprotect([start, length, protection, ..]: [usize; 6]) -> SyscallResult {
    if protection & !(PROT_READ | PROT_WRITE | PROT_EXEC) != 0 {
        // Growing regions are not to be had; the rest is nonsense.
        let known = PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN | PROT_GROWSUP | 8;
        if protection & !known != 0 || protection & (PROT_GROWSDOWN | PROT_GROWSUP) != 0 {
            return Err(Errno::EINVAL);
        }
    }
    let task = current();
    task.space().ok_or(Errno::ENOMEM)?.protect(start, length, rights(protection))?;
    Ok(0)
}

/// `madvise(2)`: `MADV_DONTNEED` drops pages; advice that only affects speed is taken and
/// changes nothing.
pub fn madvise([start, length, advice, ..]: [usize; 6]) -> SyscallResult {
    const DONTNEED: usize = 4;
    const FREE: usize = 8;
    let task = current();
    let space = task.space().ok_or(Errno::ENOMEM)?;
    match advice {
        DONTNEED | FREE => space.discard(start, length)?,
        // NORMAL RANDOM SEQUENTIAL WILLNEED, MERGEABLE UNMERGEABLE HUGEPAGE NOHUGEPAGE
        // DONTDUMP DODUMP, COLD PAGEOUT
        0..=3 | 12..=17 | 20 | 21 => space.check_mapped(start, length)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// `mremap(2)`.
pub fn mremap([start, old, new, flags, target, _]: [usize; 6]) -> SyscallResult {
    const MAYMOVE: usize = 1;
    const FIXED: usize = 2;
    if flags & !(MAYMOVE | FIXED) != 0 || flags == FIXED || new == 0 {
        return Err(Errno::EINVAL);
    }
    let task = current();
    let space = task.space().ok_or(Errno::EFAULT)?;
    let target = (flags & FIXED != 0).then_some(target);
    Ok(space.remap(start, old, new, flags & MAYMOVE != 0, target)?)
}

/// `msync(2)`: what is mapped is what is read; to be waited for is only that it is on the disk.
pub fn msync([start, length, flags, ..]: [usize; 6]) -> SyscallResult {
    const ASYNC: usize = 1;
    const INVALIDATE: usize = 2;
    const SYNC: usize = 4;
    let both = flags & (ASYNC | SYNC) == ASYNC | SYNC;
    if flags & !(ASYNC | INVALIDATE | SYNC) != 0 || both || !start.is_multiple_of(PAGE_SIZE) {
        return Err(Errno::EINVAL);
    }
    let task = current();
    let space = task.space().ok_or(Errno::ENOMEM)?;
    let end = start.saturating_add(length);
    let mut at = start;
    while flags & SYNC != 0
        && let Some((file, after)) = space.shared_file(at, end)
    {
        file.file().sync(false).map_err(FsError::to_errno)?;
        at = after;
    }
    space.check_mapped(start, length)?;
    Ok(0)
}

/// `riscv_flush_icache(2)`: everything that was written can be executed, on this CPU (with the
/// one flag there is) or on every one.
pub fn riscv_flush_icache([_, _, flags, ..]: [usize; 6]) -> SyscallResult {
    const LOCAL: usize = 1;
    if flags & !LOCAL != 0 {
        return Err(Errno::EINVAL);
    }
    Arch::synchronise_code();
    Ok(0)
}

/// `mlock(2)` and `munlock(2)`: there is no swap; whether the range is mapped is checked.
pub fn mlock([start, length, ..]: [usize; 6]) -> SyscallResult {
    let task = mcore::current();
    let page = start & !(PAGE_SIZE - 1);
    let length = length.checked_add(start - page).ok_or(Errno::EINVAL)?;
    task.space().ok_or(Errno::ENOMEM)?.check_mapped(page, length)?;
    Ok(0)
}
