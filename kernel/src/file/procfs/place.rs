//! [`Place`]: what each name in `/proc` stands for, and which names a directory has.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_vfs::FileType;

use super::process::{self, ProcessFile, ProcessLink};
use super::registered;
use super::system::SystemFile;
use crate::mcore::mtask::family;
use crate::mcore::{Process, Task};

/// What an inode of `/proc` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Root,
    /// A file of the whole system.
    System(SystemFile),
    /// A directory of registered files, by the first of them.
    Directory(usize),
    Registered(usize),
    /// `self` and `thread-self`: links to the directory of the process or thread that follows them.
    Own,
    OwnThread,
    /// `mounts`: a link to the file of the process that follows it.
    Mounts,
    /// `PID`, or `PID/task/TID`.
    Process(Subject),
    /// `PID/task`.
    Threads(u32),
    ProcessFile(Subject, ProcessFile),
    /// `PID/exe`, `PID/cwd`.
    ProcessLink(Subject, ProcessLink),
    /// `PID/fd` and its links.
    Descriptors(Subject),
    Descriptor(Subject, u32),
    /// `PID/fdinfo` and its files.
    DescriptorInfos(Subject),
    DescriptorInfo(Subject, u32),
}

/// Whom a directory tells of: a process, or one of its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) pid: u32,
    /// The thread, in `PID/task/TID`.
    pub(super) tid: Option<u32>,
}

impl Subject {
    const fn of_process(pid: u32) -> Self {
        Self { pid, tid: None }
    }

    /// The number that names its directory.
    pub(super) fn number(self) -> u32 {
        self.tid.unwrap_or(self.pid)
    }

    /// The process, if it exists (as a zombie at least), and the thread is one of its own.
    pub(super) fn process(self) -> Option<Arc<Process>> {
        let process = family::process(self.pid)?;
        match self.tid {
            Some(tid) if tid != self.pid && thread_of(&process, tid).is_none() => None,
            _ => Some(process),
        }
    }

    /// The thread that its files tell of; `None` if it has ended.
    pub(super) fn thread(self, process: &Process) -> Option<Arc<Task>> {
        match self.tid {
            Some(tid) => thread_of(process, tid),
            None => process.first_thread(),
        }
    }
}

fn thread_of(process: &Process, tid: u32) -> Option<Arc<Task>> {
    process.threads().into_iter().find(|thread| thread.tid() == tid)
}

/// A decimal number as `/proc` writes it: no sign, no leading zero.
fn number(name: &[u8]) -> Option<u32> {
    if name.len() > 1 && name.first() == Some(&b'0') {
        return None;
    }
    let digits = name.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(name).ok().filter(|_| digits)?.parse().ok()
}

impl Place {
    pub(super) fn file_type(self) -> FileType {
        match self {
            Self::Root
            | Self::Directory(_)
            | Self::Process(_)
            | Self::Threads(_)
            | Self::Descriptors(_)
            | Self::DescriptorInfos(_) => FileType::Directory,
            Self::Own
            | Self::OwnThread
            | Self::Mounts
            | Self::ProcessLink(..)
            | Self::Descriptor(..) => FileType::Symlink,
            Self::System(_)
            | Self::Registered(_)
            | Self::ProcessFile(..)
            | Self::DescriptorInfo(..) => FileType::Regular,
        }
    }

    pub(super) fn mode(self) -> u16 {
        match self {
            Self::Root
            | Self::Directory(_)
            | Self::Process(_)
            | Self::Threads(_)
            | Self::DescriptorInfos(_) => 0o555,
            Self::Descriptors(_) => 0o500,
            Self::Own | Self::OwnThread | Self::Mounts | Self::ProcessLink(..) => 0o777,
            Self::Descriptor(..) => 0o700,
            Self::ProcessFile(_, file) => file.mode(),
            Self::System(_) | Self::Registered(_) => 0o444,
            Self::DescriptorInfo(..) => 0o400,
        }
    }

    /// Whom it tells of.
    pub(super) fn subject(self) -> Option<Subject> {
        match self {
            Self::Root
            | Self::System(_)
            | Self::Directory(_)
            | Self::Registered(_)
            | Self::Own
            | Self::OwnThread
            | Self::Mounts => None,
            Self::Threads(pid) => Some(Subject::of_process(pid)),
            Self::Process(subject)
            | Self::ProcessFile(subject, _)
            | Self::ProcessLink(subject, _)
            | Self::Descriptors(subject)
            | Self::Descriptor(subject, _)
            | Self::DescriptorInfos(subject)
            | Self::DescriptorInfo(subject, _) => Some(subject),
        }
    }

    /// An inode number that no other place has.
    pub(super) fn inode_number(self) -> u64 {
        let of = |subject: Subject, kind: u64| {
            let thread = u64::from(subject.tid.is_some()) << 31;
            (u64::from(subject.number()) + 1) << 32 | thread | kind
        };
        match self {
            Self::Root => 1,
            Self::Own => 2,
            Self::OwnThread => 3,
            Self::Mounts => 4,
            Self::System(file) => 16 + file as u64,
            Self::Directory(index) => 1 << 20 | index as u64,
            Self::Registered(index) => 1 << 21 | index as u64,
            Self::Process(subject) => of(subject, 0),
            Self::Descriptors(subject) => of(subject, 1),
            Self::DescriptorInfos(subject) => of(subject, 2),
            Self::Threads(pid) => of(Subject::of_process(pid), 3),
            Self::ProcessLink(subject, link) => of(subject, 8 + link as u64),
            Self::ProcessFile(subject, file) => of(subject, 16 + file as u64),
            Self::Descriptor(subject, fd) => of(subject, 0x1_0000 + u64::from(fd)),
            Self::DescriptorInfo(subject, fd) => of(subject, 0x2_0000 + u64::from(fd)),
        }
    }

    /// The links in the root.
    const LINKS: [(&str, Self); 3] =
        [("self", Self::Own), ("thread-self", Self::OwnThread), ("mounts", Self::Mounts)];

    /// What is called `name` in a directory.
    pub(super) fn child(self, name: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(name).ok()?;
        match self {
            Self::Root => {
                if let Some(pid) = number(name) {
                    return family::process(pid).map(|_| Self::Process(Subject::of_process(pid)));
                }
                if let Some((_, link)) = Self::LINKS.iter().find(|(name, _)| *name == text) {
                    return Some(*link);
                }
                if let Some(index) = registered::directory(text) {
                    return Some(Self::Directory(index));
                }
                SystemFile::ALL.iter().find(|file| file.name() == text).map(|f| Self::System(*f))
            }
            Self::Directory(_) => {
                self.children().into_iter().find(|(name, _)| name == text).map(|(_, child)| child)
            }
            Self::Process(subject) => {
                subject.process()?;
                match text {
                    "fd" => Some(Self::Descriptors(subject)),
                    "fdinfo" => Some(Self::DescriptorInfos(subject)),
                    "task" if subject.tid.is_none() => Some(Self::Threads(subject.pid)),
                    _ => ProcessLink::by_name(text)
                        .map(|link| Self::ProcessLink(subject, link))
                        .or_else(|| {
                            let file = ProcessFile::ALL.iter().find(|file| file.name() == text)?;
                            Some(Self::ProcessFile(subject, *file))
                        }),
                }
            }
            Self::Threads(pid) => {
                let subject = Subject { pid, tid: Some(number(name)?) };
                subject.process().map(|_| Self::Process(subject))
            }
            Self::Descriptors(subject) | Self::DescriptorInfos(subject) => {
                let fd = number(name)?;
                process::open_file(subject, fd)?;
                Some(match self {
                    Self::Descriptors(_) => Self::Descriptor(subject, fd),
                    _ => Self::DescriptorInfo(subject, fd),
                })
            }
            _ => None,
        }
    }

    /// The names in a directory.
    pub(super) fn children(self) -> Vec<(String, Self)> {
        match self {
            Self::Root => {
                let mut out: Vec<_> = SystemFile::ALL
                    .iter()
                    .map(|file| (file.name().into(), Self::System(*file)))
                    .collect();
                out.extend(Self::LINKS.map(|(name, link)| (name.into(), link)));
                for (index, file) in registered::all() {
                    if registered::directory(file.directory) == Some(index) {
                        out.push((file.directory.into(), Self::Directory(index)));
                    }
                }
                for process in family::list() {
                    let subject = Subject::of_process(process.pid());
                    out.push((format!("{}", process.pid()), Self::Process(subject)));
                }
                out
            }
            Self::Directory(index) => {
                let directory = registered::get(index).map_or("", |file| file.directory);
                registered::all()
                    .into_iter()
                    .filter(|(_, file)| file.directory == directory)
                    .map(|(index, file)| (file.name.into(), Self::Registered(index)))
                    .collect()
            }
            Self::Process(subject) => {
                let mut out = alloc::vec![
                    ("fd".into(), Self::Descriptors(subject)),
                    ("fdinfo".into(), Self::DescriptorInfos(subject)),
                ];
                if subject.tid.is_none() {
                    out.push(("task".into(), Self::Threads(subject.pid)));
                }
                for link in ProcessLink::ALL {
                    out.push((link.name().into(), Self::ProcessLink(subject, *link)));
                }
                for file in ProcessFile::ALL {
                    out.push((file.name().into(), Self::ProcessFile(subject, *file)));
                }
                out
            }
            Self::Threads(pid) => {
                let mut threads: Vec<u32> = family::process(pid)
                    .map(|process| process.threads().iter().map(|thread| thread.tid()).collect())
                    .unwrap_or_default();
                if threads.is_empty() {
                    // A zombie's first thread stays until its status is collected.
                    threads.push(pid);
                }
                threads.sort_unstable();
                let place = |tid| Self::Process(Subject { pid, tid: Some(tid) });
                threads.into_iter().map(|tid| (format!("{tid}"), place(tid))).collect()
            }
            Self::Descriptors(subject) | Self::DescriptorInfos(subject) => {
                let files = subject.process().and_then(|process| process.files());
                let list = files.map(|files| files.list()).unwrap_or_default();
                let place = |fd| match self {
                    Self::Descriptors(_) => Self::Descriptor(subject, fd),
                    _ => Self::DescriptorInfo(subject, fd),
                };
                list.into_iter().map(|fd| (format!("{fd}"), place(fd))).collect()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn parent(self) -> Self {
        match (self, self.subject()) {
            (Self::Process(Subject { pid, tid: Some(_) }), _) => Self::Threads(pid),
            (Self::Process(_), _) | (_, None) => Self::Root,
            (_, Some(subject)) => Self::Process(subject),
        }
    }

    /// Whether what it stands for still exists.
    pub(super) fn exists(self) -> bool {
        self.subject().is_none_or(|subject| subject.process().is_some())
    }
}
