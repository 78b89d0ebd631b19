//! Files of one process or thread: `/proc/PID/stat` and the like.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;

use kernel_vfs::{
    Dentry, File, FileType, FsError, Identity, Inode, LinkTarget, Metadata, OpenFile, OpenFlags,
    Permissions, Walk,
};

use super::super::VFS;
use super::maps::maps;
use super::mounts;
use super::place::Subject;
use crate::arch::PAGE_SIZE;
use crate::mcore::mtask::family;
use crate::mcore::{Process, current};

/// Fails unless the running process may see what the other one keeps from others.
pub(super) fn check_access(subject: Subject) -> Result<(), FsError> {
    let process = subject.process().ok_or(FsError::NotFound)?;
    let allowed = current().process().may_inspect(&process);
    if allowed { Ok(()) } else { Err(FsError::PermissionDenied) }
}

/// A file in the directory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessFile {
    CommandLine,
    Environment,
    Name,
    Maps,
    MountInfo,
    Mounts,
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
pub(super) fn path_text(root: &Arc<Dentry>, dentry: &Arc<Dentry>) -> Vec<u8> {
    let walk = Walk { vfs: &VFS, root, identity: Identity::ROOT };
    walk.full_path_of(dentry).map(|path| path.bytes).unwrap_or_else(|| {
        let mut text = b"/".to_vec();
        text.extend_from_slice(&dentry.name());
        text.extend_from_slice(b" (deleted)");
        text
    })
}

/// The root of the reader: what it sees is told from there.
pub(super) fn root() -> Result<Arc<Dentry>, FsError> {
    if let Some(context) = current().fs() {
        return Ok(context.root());
    }
    VFS.read().root().cloned().ok_or(FsError::NotFound)
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
    pub(super) fn place(self, subject: Subject) -> Result<Arc<Dentry>, FsError> {
        let process = subject.process().ok_or(FsError::NotFound)?;
        let dentry = match self {
            Self::WorkingDirectory => process.fs().map(|fs| fs.working_directory()),
            Self::Root => process.fs().map(|fs| fs.root()),
            Self::Executable => process.executable(),
        };
        dentry.ok_or(FsError::NotFound)
    }

    /// The text of the link.
    pub(super) fn target(self, subject: Subject) -> Result<Vec<u8>, FsError> {
        Ok(path_text(&root()?, &self.place(subject)?))
    }
}

/// The open file behind a descriptor of a process.
pub(super) fn open_file(subject: Subject, fd: u32) -> Option<Arc<OpenFile>> {
    subject.process()?.files()?.get(fd).ok()
}

/// What `/proc/PID/fd/FD` points to.
pub(super) fn descriptor_target(subject: Subject, fd: u32) -> Result<Vec<u8>, FsError> {
    let file = open_file(subject, fd).ok_or(FsError::NotFound)?;
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
pub(super) fn descriptor_place(subject: Subject, fd: u32) -> Result<LinkTarget, FsError> {
    let open = open_file(subject, fd).ok_or(FsError::NotFound)?;
    if let Some(dentry) = open.dentry() {
        return Ok(LinkTarget::Place(Arc::clone(dentry)));
    }
    let metadata = open.metadata().map_err(|_| FsError::NoSuchDevice)?;
    Ok(LinkTarget::Object(Arc::new(Unnamed { file: Arc::clone(open.file()), metadata })))
}

/// `/proc/PID/fdinfo/FD`.
pub(super) fn descriptor_info(subject: Subject, fd: u32) -> Result<Vec<u8>, FsError> {
    let file = open_file(subject, fd).ok_or(FsError::NotFound)?;
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
    pub(super) const ALL: &[Self] = &[
        Self::CommandLine,
        Self::Environment,
        Self::Name,
        Self::Maps,
        Self::MountInfo,
        Self::Mounts,
        Self::Stat,
        Self::StatMemory,
        Self::Status,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CommandLine => "cmdline",
            Self::Environment => "environ",
            Self::Name => "comm",
            Self::Maps => "maps",
            Self::MountInfo => "mountinfo",
            Self::Mounts => "mounts",
            Self::Stat => "stat",
            Self::StatMemory => "statm",
            Self::Status => "status",
        }
    }

    /// What programs are told by their environment is often secret.
    pub(super) fn mode(self) -> u16 {
        if self == Self::Environment { 0o400 } else { 0o444 }
    }

    pub(super) fn text(self, subject: Subject) -> Result<Vec<u8>, FsError> {
        let process = subject.process().ok_or(FsError::NotFound)?;
        let strings = |list: Option<Arc<Vec<u8>>>| list.map_or(Vec::new(), |text| text.to_vec());
        let text = match self {
            Self::CommandLine => return Ok(strings(process.arguments())),
            Self::Environment => {
                check_access(subject)?;
                return Ok(strings(process.environment()));
            }
            Self::Name => format!("{}\n", Summary::of(subject, &process).name),
            Self::Maps => {
                check_access(subject)?;
                return maps(&process);
            }
            Self::MountInfo => return Ok(mounts::mount_info()),
            Self::Mounts => return Ok(mounts::mounts()),
            Self::Stat => stat(subject, &process),
            Self::StatMemory => {
                let summary = Summary::of(subject, &process);
                let pages = summary.mapped / PAGE_SIZE;
                format!("{pages} {} 0 0 0 0 0\n", summary.resident)
            }
            Self::Status => status(subject, &process),
        };
        Ok(text.into_bytes())
    }
}

/// What several files tell of a process or thread.
struct Summary {
    name: String,
    letter: char,
    cpu: usize,
    nice: i32,
    run_ns: u64,
    threads: usize,
    /// Bytes.
    mapped: usize,
    /// Pages.
    resident: usize,
}

impl Summary {
    fn of(subject: Subject, process: &Process) -> Self {
        let thread = subject.thread(process);
        let letter = match &thread {
            Some(_) if family::is_zombie(process.pid()) => 'Z',
            Some(thread) => match thread.state().letter() {
                'Z' => 'Z',
                // A thread that has not got there yet goes no further.
                _ if process.is_stopped() => 'T',
                letter => letter,
            },
            None => 'Z',
        };
        let space = process.space();
        let of_thread = subject.tid.and(thread.as_ref());
        Self {
            name: thread.as_ref().map_or_else(String::new, |thread| thread.name()),
            letter,
            cpu: thread.as_ref().map_or(0, |thread| thread.cpu()),
            nice: thread.as_ref().map_or(0, |thread| thread.nice().into()),
            run_ns: of_thread.map_or_else(|| process.run_ns(), |thread| thread.run_ns()),
            threads: process.thread_count(),
            mapped: space.as_ref().map_or(0, |space| space.mapped_bytes()),
            resident: space.as_ref().map_or(0, |space| space.resident_pages()),
        }
    }
}

/// Nanoseconds in the hundredths of a second that user space counts in.
const TICK_NS: u64 = 10_000_000;

/// `proc_pid_stat(5)`: fields that we do not keep are 0.
fn stat(subject: Subject, process: &Process) -> String {
    let summary = Summary::of(subject, process);
    let number = subject.number();
    format!(
        "{number} ({}) {} {} {} {} {} -1 0 0 0 0 0 {} 0 {} 0 {} {} {} 0 {} {} {} {} \
         0 0 0 0 0 0 0 0 0 0 0 0 17 {} 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
        summary.name,
        summary.letter,
        process.parent(),
        process.group(),
        process.session(),
        5 << 8,
        summary.run_ns / TICK_NS,
        process.children_ns() / TICK_NS,
        20 + summary.nice,
        summary.nice,
        summary.threads,
        process.started_ns() / TICK_NS,
        summary.mapped,
        summary.resident,
        u64::MAX,
        summary.cpu,
    )
}

fn status(subject: Subject, process: &Process) -> String {
    let summary = Summary::of(subject, process);
    let who = process.credentials();
    let state = match summary.letter {
        'R' => "running",
        'S' => "sleeping",
        'D' => "disk sleep",
        'T' => "stopped",
        _ => "zombie",
    };
    let mut out = format!(
        "Name:\t{}\nState:\t{} ({state})\nTgid:\t{}\nPid:\t{}\nPPid:\t{}\n",
        summary.name,
        summary.letter,
        process.pid(),
        subject.number(),
        process.parent(),
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
