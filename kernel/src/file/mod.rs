//! Files: the one name space of the system, and the file systems that can be mounted in it.
//!
//! [`VFS`] is the name space; its logic is the crate `kernel_vfs`. Here is what needs the kernel:
//!
//! | file | what |
//! |---|---|
//! | `mounting.rs` | file systems by the names that `mount(2)` uses |
//! | `ext2.rs` | the crate `kernel_ext2` on a disk |
//! | `devfs.rs`, `devices.rs`, `disk.rs`, `framebuffer.rs` | `/dev`: its tree, its small devices, disks and a display as files |
//! | `tty.rs` | the terminal on the serial line |
//! | `procfs/` | `/proc` |
//! | `bpffs.rs` | names that keep BPF objects |
//! | `pipe.rs`, `fifo.rs`, `socketpair.rs`, `eventfd.rs` | pipes, and those with names; connected sockets; counters of events |
//! | `locks.rs` | advisory locks |
//! | `poll.rs`, `epoll.rs` | waiting for one of several files |
//!
//! **Locks.** `VFS` spins and is held for look-ups in memory only; see `kernel_vfs` for the rest.

pub mod bpffs;
pub mod devfs;
mod devices;
mod disk;
pub mod epoll;
pub mod eventfd;
mod ext2;
mod fifo;
mod framebuffer;
pub mod locks;
pub mod mounting;
pub mod pipe;
pub mod poll;
pub mod procfs;
pub mod socketpair;
pub mod tty;

use alloc::sync::Arc;

use kernel_sync::{OnceCell, RwLock};
use kernel_vfs::claim::{Claim, Use};
use kernel_vfs::{Dentry, FsContext, FsError, Holds, Identity, MountFlags, OpenFile, OpenFlags};
use kernel_vfs::{FileType, Time, Vfs, Walk, install_clock, mount, special};

use crate::arch::{Arch, Architecture, PAGE_SIZE};
use crate::mcore;
use crate::mem::memapi::may_allocate;
use crate::mem::{phys, shared_file};

/// The name space.
pub static VFS: RwLock<Vfs> = RwLock::new(Vfs::new());

/// How long what is written may stay in memory only.
const WRITE_BACK_NS: u64 = 5_000_000_000;

/// Names that the dentry cache holds on a machine with much memory.
const NAMES_MAX: usize = 8192;

/// The wall clock.
pub fn wall_clock() -> Time {
    let now = Arch::now_ns();
    Time {
        seconds: (Arch::boot_epoch_seconds() + now / 1_000_000_000) as i64,
        nanoseconds: (now % 1_000_000_000) as u32,
    }
}

/// Bytes in a `part`th of the memory that is free now: what a cache may grow to.
fn memory_share(part: usize) -> usize {
    phys::free_frames() / part * PAGE_SIZE
}

static COMMAND_LINE: OnceCell<&'static str> = OnceCell::new();

/// Whether there is memory for this many more bytes of files.
fn may_grow(bytes: usize) -> bool {
    may_allocate(bytes).is_ok()
}

/// Sets up the name space. Needs the heap and the clock; nothing is mounted yet. `command_line` is
/// for `/proc/cmdline`.
pub fn init(command_line: &'static str) {
    // A second initialisation changes nothing.
    let _ = COMMAND_LINE.set(command_line);
    install_clock(wall_clock);
    shared_file::install();
    special::install(fifo::open);
    mcore::mtask::exec::set_opener(open_program);
    mcore::mtask::start::on_shut_down(shut_down);
    // A name costs about 400 bytes with its inode: at most a fortieth of memory.
    let names = (phys::free_frames() / 4).clamp(256, NAMES_MAX);
    VFS.write().set_cache(names, crate::random::word());
    tty::init();
}

/// Mounts the ext2 file system on the disk `name` as the root of the tree.
///
/// # Errors
/// If there is no such disk (`NoDevice`), or no file system on it that can be mounted.
pub fn mount_root(name: &str, read_only: bool) -> Result<(), FsError> {
    let device = crate::driver::block::by_name(name).ok_or(FsError::NoDevice)?;
    let flags = if read_only { MountFlags::READ_ONLY } else { MountFlags::empty() };
    let file_system = ext2::open(device, name, read_only)?;
    let source = alloc::format!("/dev/{name}");
    mount::mount(&VFS, None, file_system, source.as_bytes(), flags)?;
    // Without it what is written stays in memory until somebody syncs.
    if mcore::spawn_kernel_thread("writeback", write_back).is_err() {
        log::warn!("no memory for the write-back thread");
    }
    Ok(())
}

/// Writes what is dirty to the disks every few seconds, for ever.
fn write_back() {
    loop {
        // A thread of the kernel gets no signals.
        let _ = mcore::sleep_until(mcore::now_ns() + WRITE_BACK_NS);
        locks::forget_ended();
        let mounts = mount::mounts(&VFS);
        for mount in mounts {
            let file_system = mount.file_system();
            if let Err(error) = file_system.write_back() {
                log::error!("{}: not written back: {error:?}", file_system.name());
            }
        }
    }
}

/// Root and working directory of the first process: the root of the tree.
///
/// # Errors
/// If nothing is mounted there.
pub fn first_context() -> Result<FsContext, FsError> {
    VFS.read().root().map(|root| FsContext::new(Arc::clone(root))).ok_or(FsError::NotFound)
}

/// The console as a new open file, for the first process's descriptors.
///
/// # Errors
/// Does not fail at present.
pub fn open_console() -> Result<Arc<OpenFile>, FsError> {
    Ok(OpenFile::new(tty::file(), None, OpenFlags::READ_WRITE))
}

/// Calls `with` with the running process's view of the tree and its working directory.
///
/// # Errors
/// Those of `with`; `NotFound` in a thread of the kernel before anything is mounted.
#[inline]
pub fn with_walk<R>(
    with: impl FnOnce(&Walk<'_>, &Arc<Dentry>) -> Result<R, FsError>,
) -> Result<R, FsError> {
    let task = mcore::current();
    match task.fs() {
        Some(context) => {
            let start = context.working_directory();
            let root = context.root();
            with(&walk(&root, identity()), &start)
        }
        None => {
            let root = VFS.read().root().cloned().ok_or(FsError::NotFound)?;
            with(&Walk { vfs: &VFS, root: &root, identity: Identity::ROOT }, &root)
        }
    }
}

/// How paths are resolved for `identity` by a process with this root.
#[inline]
pub fn walk<'a>(root: &'a Arc<Dentry>, identity: Identity<'a>) -> Walk<'a> {
    Walk { vfs: &VFS, root, identity }
}

/// Who the running process is to the file system.
#[inline]
pub fn identity() -> Identity<'static> {
    let credentials = mcore::current().process().credentials();
    Identity { uid: credentials.euid, gid: credentials.egid, groups: &[] }
}

/// Opens a program to be executed: a regular file that the caller may execute.
///
/// # Errors
/// Those of the resolution; `PermissionDenied` if it may not be executed.
pub fn open_program(path: &[u8]) -> Result<Arc<OpenFile>, FsError> {
    with_walk(|walk, start| {
        let dentry = walk.resolve(start, path, true)?;
        program_of(walk, dentry)
    })
}

/// Opens what `dentry` names as a program. As long as the file is open, which it is as long as it
/// is mapped, nobody writes it.
///
/// # Errors
/// As [`open_program`].
pub fn program_of(walk: &Walk<'_>, dentry: Arc<Dentry>) -> Result<Arc<OpenFile>, FsError> {
    let no_execute = dentry.mount().flags().contains(MountFlags::NO_EXECUTE);
    if dentry.file_type() != FileType::Regular || no_execute {
        return Err(FsError::PermissionDenied);
    }
    walk.check_access(&dentry, 1)?;
    let claim = Claim::new(dentry.inode(), Use::Execute)?;
    let file = Arc::clone(dentry.inode()).open(OpenFlags::empty())?;
    let holds = Holds { claim, writer: None };
    Ok(OpenFile::holding(file, Some(dentry), OpenFlags::empty(), holds))
}

/// Writes everything back and leaves the disks marked as clean, before the machine stops. Nothing
/// is written after it.
pub fn shut_down() {
    let mounts = mount::mounts(&VFS);
    // The newest first: they may lie on the older.
    for mount in mounts.iter().rev() {
        let file_system = mount.file_system();
        if let Err(error) = file_system.unmount() {
            log::error!("{}: not written back: {error:?}", file_system.name());
        }
    }
}
