//! Files of one process: `/proc/PID/stat` and the like.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;

use kernel_mem::Rights;
use kernel_vfs::{
    Dentry, File, FileType, FsError, Identity, Inode, LinkTarget, Metadata, OpenFile, OpenFlags,
    Permissions, Walk,
};

use super::super::VFS;
use crate::arch::PAGE_SIZE;
use crate::mcore::Process;
use crate::mcore::mtask::family;
use crate::mem::backing::Backing;

/// A file in the directory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessFile {
    CommandLine,
    Name,
    Maps,
    Stat,
    StatMemory,
    Status,
}

/// A link in the directory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessLink {
    WorkingDirectory,
    Executable,
    Root,
}

/// Where `dentry` is, for the text of links; ` (deleted)` if its name is gone.
fn path_text(root: &Arc<Dentry>, dentry: &Arc<Dentry>) -> Vec<u8> {
    let walk = Walk { vfs: &VFS, root, identity: Identity::ROOT };
    walk.path_of(dentry).unwrap_or_else(|| {
        let mut text = b"/".to_vec();
        text.extend_from_slice(&dentry.name());
        text.extend_from_slice(b" (deleted)");
        text
    })
}

fn root() -> Result<Arc<Dentry>, FsError> {
    VFS.read().root().cloned().ok_or(FsError::NotFound)
}

/// The process, if it exists and is not only a status that waits to be collected.
fn alive(pid: u32) -> Result<Arc<Process>, FsError> {
    family::process(pid).ok_or(FsError::NotFound)
}

impl ProcessLink {
    pub(super) const ALL: &[Self] = &[Self::WorkingDirectory, Self::Executable, Self::Root];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::WorkingDirectory => "cwd",
            Self::Executable => "exe",
            Self::Root => "root",
        }
    }

    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|link| link.name() == name)
    }

    /// Where it leads.
    pub(super) fn place(self, pid: u32) -> Result<Arc<Dentry>, FsError> {
        let process = alive(pid)?;
        let dentry = match self {
            Self::WorkingDirectory => process.fs().map(|fs| fs.working_directory()),
            Self::Root => process.fs().map(|fs| Arc::clone(fs.root())),
            Self::Executable => process.executable(),
        };
        dentry.ok_or(FsError::NotFound)
    }

    /// The text of the link.
    pub(super) fn target(self, pid: u32) -> Result<Vec<u8>, FsError> {
        Ok(path_text(&root()?, &self.place(pid)?))
    }
}

/// The open file behind a descriptor of a process.
pub(super) fn open_file(pid: u32, fd: u32) -> Option<Arc<OpenFile>> {
    family::process(pid)?.files()?.get(fd).ok()
}

/// What `/proc/PID/fd/FD` points to.
pub(super) fn descriptor_target(pid: u32, fd: u32) -> Result<Vec<u8>, FsError> {
    let file = open_file(pid, fd).ok_or(FsError::NotFound)?;
    if let Some(dentry) = file.dentry() {
        return Ok(path_text(&root()?, dentry));
    }
    let mut text = String::new();
    file.file().label(&mut text).map_err(|_| FsError::Io)?;
    Ok(text.into_bytes())
}

/// An open file without a name, as the inode that its link in `/proc/PID/fd` leads to.
struct Unnamed {
    file: Arc<dyn File>,
    metadata: Metadata,
}

impl Inode for Unnamed {
    fn file_type(&self) -> FileType {
        self.metadata.file_type
    }

    fn permissions(&self) -> Permissions {
        let Metadata { mode, uid, gid, .. } = self.metadata;
        Permissions { mode, uid, gid }
    }

    fn metadata(&self) -> Result<Metadata, FsError> {
        self.file.metadata()
    }

    /// Pipes and terminals can be opened again; the rest cannot, as on Linux.
    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Arc<dyn File>, FsError> {
        match self.metadata.file_type {
            FileType::Fifo | FileType::CharacterDevice => Ok(Arc::clone(&self.file)),
            _ => Err(FsError::NoSuchDevice),
        }
    }
}

/// Where the link `/proc/PID/fd/FD` leads.
pub(super) fn descriptor_place(pid: u32, fd: u32) -> Result<LinkTarget, FsError> {
    let open = open_file(pid, fd).ok_or(FsError::NotFound)?;
    if let Some(dentry) = open.dentry() {
        return Ok(LinkTarget::Place(Arc::clone(dentry)));
    }
    let metadata = open.metadata().map_err(|_| FsError::NoSuchDevice)?;
    Ok(LinkTarget::Object(Arc::new(Unnamed { file: Arc::clone(open.file()), metadata })))
}

/// `/proc/PID/fdinfo/FD`.
pub(super) fn descriptor_info(pid: u32, fd: u32) -> Result<Vec<u8>, FsError> {
    let file = open_file(pid, fd).ok_or(FsError::NotFound)?;
    let inode = file.metadata().map_or(0, |metadata| metadata.inode);
    let mut text = format!(
        "pos:\t{}\nflags:\t0{:o}\nmnt_id:\t{}\nino:\t{inode}\n",
        file.position(),
        file.flags().bits(),
        file.dentry().map_or(0, |dentry| dentry.mount().device()),
    );
    file.file().describe(&mut text).map_err(|_| FsError::Io)?;
    Ok(text.into_bytes())
}

impl ProcessFile {
    pub(super) const ALL: &[Self] =
        &[Self::CommandLine, Self::Name, Self::Maps, Self::Stat, Self::StatMemory, Self::Status];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CommandLine => "cmdline",
            Self::Name => "comm",
            Self::Maps => "maps",
            Self::Stat => "stat",
            Self::StatMemory => "statm",
            Self::Status => "status",
        }
    }

    pub(super) fn text(self, pid: u32) -> Result<Vec<u8>, FsError> {
        let process = alive(pid)?;
        let text = match self {
            Self::CommandLine => {
                return Ok(process.arguments().map_or(Vec::new(), |text| text.to_vec()));
            }
            Self::Name => format!("{}\n", Summary::of(&process).name),
            Self::Maps => return maps(&process),
            Self::Stat => stat(&process),
            Self::StatMemory => {
                let summary = Summary::of(&process);
                let pages = summary.mapped / PAGE_SIZE;
                format!("{pages} {} 0 0 0 0 0\n", summary.resident)
            }
            Self::Status => status(&process),
        };
        Ok(text.into_bytes())
    }
}

/// What several files tell of a process.
struct Summary {
    name: String,
    letter: char,
    threads: usize,
    /// Bytes.
    mapped: usize,
    /// Pages.
    resident: usize,
}

impl Summary {
    fn of(process: &Process) -> Self {
        let thread = process.first_thread();
        let zombie = family::is_zombie(process.pid()) || thread.is_none();
        let space = process.space();
        Self {
            name: thread.as_ref().map_or_else(String::new, |thread| thread.name()),
            letter: if zombie { 'Z' } else { thread.map_or('Z', |thread| thread.state().letter()) },
            threads: process.thread_count(),
            mapped: space.as_ref().map_or(0, |space| space.mapped_bytes()),
            resident: space.as_ref().map_or(0, |space| space.resident_pages()),
        }
    }
}

/// Nanoseconds in the hundredths of a second that user space counts in.
const TICK_NS: u64 = 10_000_000;

/// `proc_pid_stat(5)`: fields that we do not keep are 0.
fn stat(process: &Process) -> String {
    let summary = Summary::of(process);
    let pid = process.pid();
    format!(
        "{pid} ({}) {} {} {} {} {} -1 0 0 0 0 0 {} 0 {} 0 20 0 {} 0 {} {} {} {} \
         0 0 0 0 0 0 0 0 0 0 0 0 17 {} 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
        summary.name,
        summary.letter,
        process.parent(),
        process.group(),
        process.session(),
        5 << 8,
        process.run_ns() / TICK_NS,
        process.children_ns() / TICK_NS,
        summary.threads,
        process.started_ns() / TICK_NS,
        summary.mapped,
        summary.resident,
        u64::MAX,
        process.first_thread().map_or(0, |thread| thread.cpu()),
    )
}

fn status(process: &Process) -> String {
    let summary = Summary::of(process);
    let who = process.credentials();
    let state = match summary.letter {
        'R' => "running",
        'S' => "sleeping",
        'D' => "disk sleep",
        _ => "zombie",
    };
    let mut out = format!(
        "Name:\t{}\nState:\t{} ({state})\nTgid:\t{pid}\nPid:\t{pid}\nPPid:\t{}\n",
        summary.name,
        summary.letter,
        process.parent(),
        pid = process.pid(),
    );
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "Uid:\t{}\t{}\t{}\t{}\nGid:\t{}\t{}\t{}\t{}\nVmSize:\t{:8} kB\nVmRSS:\t{:8} kB\nThreads:\t{}\n",
        who.uid,
        who.euid,
        who.suid,
        who.euid,
        who.gid,
        who.egid,
        who.sgid,
        who.egid,
        summary.mapped / 1024,
        summary.resident * (PAGE_SIZE / 1024),
        summary.threads,
    );
    out
}

/// `proc_pid_maps(5)`.
fn maps(process: &Process) -> Result<Vec<u8>, FsError> {
    let Some(space) = process.space() else { return Ok(Vec::new()) };
    let root = root()?;
    // Files are named after the address space has been let go of.
    let mut rows = Vec::new();
    space.for_each_region(|region| {
        let file = match &region.backing {
            Backing::File(backing) => Some((Arc::clone(&backing.file), backing.offset)),
            Backing::Object { file, offset, .. } => Some((Arc::clone(file), *offset)),
            Backing::Anonymous | Backing::Shared { .. } => None,
        };
        let private = region.backing.is_private();
        rows.push((region.start, region.end, region.rights, private, region.grows_down, file));
    });
    let mut out = Vec::new();
    for (start, end, rights, private, stack, file) in rows {
        let letter = |right, letter| if rights.contains(right) { letter } else { '-' };
        let inode = file.as_ref().and_then(|(file, _)| file.metadata().ok());
        let line = format!(
            "{start:08x}-{end:08x} {}{}{}{} {:08x} 00:{:02x} {} ",
            letter(Rights::READ, 'r'),
            letter(Rights::WRITE, 'w'),
            letter(Rights::EXECUTE, 'x'),
            if private { 'p' } else { 's' },
            file.as_ref().map_or(0, |(_, offset)| *offset),
            file.as_ref().and_then(|(file, _)| file.dentry()).map_or(0, |d| d.mount().device()),
            inode.map_or(0, |metadata| metadata.inode),
        );
        out.extend_from_slice(line.as_bytes());
        if let Some(dentry) = file.as_ref().and_then(|(file, _)| file.dentry()) {
            out.extend_from_slice(&path_text(&root, dentry));
        } else if stack {
            out.extend_from_slice(b"[stack]");
        }
        out.push(b'\n');
    }
    Ok(out)
}
