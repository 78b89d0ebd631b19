//! `/proc`: what the kernel knows, as files (`proc(5)`).
//!
//! Nothing is stored: an inode is a [`Place`], names are looked up among what exists now, and a
//! file's text is made when it is opened (`system.rs`, `process.rs`).

mod process;
mod registered;
mod system;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_vfs::{
    DirectoryEntry, DirectorySink, File, FileSystem, FileSystemStatistics, FileType, FsError,
    Inode, LinkTarget, Metadata, NAME_MAX, OpenFlags, Permissions, Sink,
};

use super::wall_clock;
use crate::arch::PAGE_SIZE;
use crate::mcore::{self, mtask::family};
use process::ProcessFile;
pub use registered::{Text, register};
use system::SystemFile;

/// `PROC_SUPER_MAGIC`.
const MAGIC: u32 = 0x9fa0;

/// What an inode of `/proc` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Root,
    /// A file of the whole system.
    System(SystemFile),
    /// A directory of registered files, by the first of them.
    Directory(usize),
    Registered(usize),
    /// `self`: a link to the directory of the process that follows it.
    Own,
    Process(u32),
    ProcessFile(u32, ProcessFile),
    /// `PID/exe`, `PID/cwd`.
    ProcessLink(u32, process::ProcessLink),
    /// `PID/fd` and its links.
    Descriptors(u32),
    Descriptor(u32, u32),
    /// `PID/fdinfo` and its files.
    DescriptorInfos(u32),
    DescriptorInfo(u32, u32),
}

/// The file system. It has no state.
struct ProcFs;

/// A new one.
pub fn new() -> Arc<dyn FileSystem> {
    Arc::new(ProcFs)
}

impl FileSystem for ProcFs {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn root(&self) -> Arc<dyn Inode> {
        Arc::new(ProcInode(Place::Root))
    }

    fn statistics(&self) -> Result<FileSystemStatistics, FsError> {
        Ok(FileSystemStatistics {
            magic: MAGIC,
            block_size: PAGE_SIZE as u32,
            name_max: NAME_MAX as u32,
            ..FileSystemStatistics::default()
        })
    }
}

struct ProcInode(Place);

/// A decimal number as `/proc` writes it: no sign, no leading zero.
fn number(name: &[u8]) -> Option<u32> {
    if name.len() > 1 && name.first() == Some(&b'0') {
        return None;
    }
    let digits = name.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(name).ok().filter(|_| digits)?.parse().ok()
}

impl Place {
    fn file_type(self) -> FileType {
        match self {
            Self::Root
            | Self::Directory(_)
            | Self::Process(_)
            | Self::Descriptors(_)
            | Self::DescriptorInfos(_) => FileType::Directory,
            Self::Own | Self::ProcessLink(..) | Self::Descriptor(..) => FileType::Symlink,
            Self::System(_)
            | Self::Registered(_)
            | Self::ProcessFile(..)
            | Self::DescriptorInfo(..) => FileType::Regular,
        }
    }

    fn mode(self) -> u16 {
        match self {
            Self::Root | Self::Directory(_) | Self::Process(_) | Self::DescriptorInfos(_) => 0o555,
            Self::Descriptors(_) => 0o500,
            Self::Own | Self::ProcessLink(..) => 0o777,
            Self::Descriptor(..) => 0o700,
            Self::System(_) | Self::Registered(_) | Self::ProcessFile(..) => 0o444,
            Self::DescriptorInfo(..) => 0o400,
        }
    }

    fn pid(self) -> Option<u32> {
        match self {
            Self::Root | Self::System(_) | Self::Directory(_) | Self::Registered(_) | Self::Own => {
                None
            }
            Self::Process(pid)
            | Self::ProcessFile(pid, _)
            | Self::ProcessLink(pid, _)
            | Self::Descriptors(pid)
            | Self::Descriptor(pid, _)
            | Self::DescriptorInfos(pid)
            | Self::DescriptorInfo(pid, _) => Some(pid),
        }
    }

    /// An inode number that no other place has.
    fn inode_number(self) -> u64 {
        let of_process = |pid: u32, kind: u64| (u64::from(pid) + 1) << 32 | kind;
        match self {
            Self::Root => 1,
            Self::Own => 2,
            Self::System(file) => 16 + file as u64,
            Self::Directory(index) => 1 << 20 | index as u64,
            Self::Registered(index) => 1 << 21 | index as u64,
            Self::Process(pid) => of_process(pid, 0),
            Self::Descriptors(pid) => of_process(pid, 1),
            Self::DescriptorInfos(pid) => of_process(pid, 2),
            Self::ProcessLink(pid, link) => of_process(pid, 8 + link as u64),
            Self::ProcessFile(pid, file) => of_process(pid, 16 + file as u64),
            Self::Descriptor(pid, fd) => of_process(pid, 0x1_0000 + u64::from(fd)),
            Self::DescriptorInfo(pid, fd) => of_process(pid, 0x2_0000 + u64::from(fd)),
        }
    }

    fn child(self, name: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(name).ok()?;
        match self {
            Self::Root => {
                if let Some(pid) = number(name) {
                    return family::process(pid).map(|_| Self::Process(pid));
                }
                if text == "self" {
                    return Some(Self::Own);
                }
                if let Some(index) = registered::directory(text) {
                    return Some(Self::Directory(index));
                }
                SystemFile::ALL.iter().find(|file| file.name() == text).map(|f| Self::System(*f))
            }
            Self::Directory(_) => {
                self.children().into_iter().find(|(name, _)| name == text).map(|(_, child)| child)
            }
            Self::Process(pid) => {
                family::process(pid)?;
                match text {
                    "fd" => Some(Self::Descriptors(pid)),
                    "fdinfo" => Some(Self::DescriptorInfos(pid)),
                    _ => process::ProcessLink::by_name(text)
                        .map(|link| Self::ProcessLink(pid, link))
                        .or_else(|| {
                            let file = ProcessFile::ALL.iter().find(|file| file.name() == text)?;
                            Some(Self::ProcessFile(pid, *file))
                        }),
                }
            }
            Self::Descriptors(pid) | Self::DescriptorInfos(pid) => {
                let fd = number(name)?;
                process::open_file(pid, fd)?;
                Some(match self {
                    Self::Descriptors(_) => Self::Descriptor(pid, fd),
                    _ => Self::DescriptorInfo(pid, fd),
                })
            }
            _ => None,
        }
    }

    /// The names in a directory.
    fn children(self) -> Vec<(String, Self)> {
        match self {
            Self::Root => {
                let mut out: Vec<_> = SystemFile::ALL
                    .iter()
                    .map(|file| (file.name().into(), Self::System(*file)))
                    .collect();
                out.push(("self".into(), Self::Own));
                for (index, file) in registered::all() {
                    if registered::directory(file.directory) == Some(index) {
                        out.push((file.directory.into(), Self::Directory(index)));
                    }
                }
                for process in family::list() {
                    out.push((format!("{}", process.pid()), Self::Process(process.pid())));
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
            Self::Process(pid) => {
                let mut out = alloc::vec![
                    ("fd".into(), Self::Descriptors(pid)),
                    ("fdinfo".into(), Self::DescriptorInfos(pid)),
                ];
                for link in process::ProcessLink::ALL {
                    out.push((link.name().into(), Self::ProcessLink(pid, *link)));
                }
                for file in ProcessFile::ALL {
                    out.push((file.name().into(), Self::ProcessFile(pid, *file)));
                }
                out
            }
            Self::Descriptors(pid) | Self::DescriptorInfos(pid) => {
                let files = family::process(pid).and_then(|process| process.files());
                let list = files.map(|files| files.list()).unwrap_or_default();
                let place = |fd| match self {
                    Self::Descriptors(_) => Self::Descriptor(pid, fd),
                    _ => Self::DescriptorInfo(pid, fd),
                };
                list.into_iter().map(|fd| (format!("{fd}"), place(fd))).collect()
            }
            _ => Vec::new(),
        }
    }

    fn parent(self) -> Self {
        match self.pid() {
            Some(pid) if !matches!(self, Self::Process(_)) => Self::Process(pid),
            _ => Self::Root,
        }
    }

    /// Whether what it stands for still exists.
    fn exists(self) -> bool {
        self.pid().is_none_or(|pid| family::process(pid).is_some())
    }
}

impl Inode for ProcInode {
    fn file_type(&self) -> FileType {
        self.0.file_type()
    }

    fn permissions(&self) -> Permissions {
        let owner = self.0.pid().and_then(family::process).map(|process| process.credentials());
        let (uid, gid) = owner.map_or((0, 0), |owner| (owner.euid, owner.egid));
        Permissions { mode: self.0.mode(), uid, gid }
    }

    fn metadata(&self) -> Result<Metadata, FsError> {
        let Permissions { mode, uid, gid } = self.permissions();
        let now = wall_clock();
        Ok(Metadata {
            inode: self.0.inode_number(),
            file_type: self.0.file_type(),
            mode,
            links: if self.0.file_type() == FileType::Directory { 2 } else { 1 },
            uid,
            gid,
            device: 0,
            size: 0,
            block_size: 1024,
            blocks: 0,
            accessed: now,
            modified: now,
            changed: now,
        })
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>, FsError> {
        let child = self.0.child(name).ok_or(FsError::NotFound)?;
        Ok(Arc::new(ProcInode(child)))
    }

    /// Processes come and go.
    fn cacheable(&self) -> bool {
        false
    }

    fn create(
        &self,
        _name: &[u8],
        _node: kernel_vfs::NewNode<'_>,
        _owner: kernel_vfs::Ownership,
    ) -> Result<Arc<dyn Inode>, FsError> {
        Err(FsError::NotFound)
    }

    fn read_link(&self) -> Result<Vec<u8>, FsError> {
        match self.0 {
            Place::Own => Ok(format!("{}", mcore::current().pid()).into_bytes()),
            Place::ProcessLink(pid, link) => link.target(pid),
            Place::Descriptor(pid, fd) => process::descriptor_target(pid, fd),
            _ => Err(FsError::InvalidArgument),
        }
    }

    /// Links of a process lead to what it has, not to what now has the same path.
    fn follow_link(&self) -> Result<LinkTarget, FsError> {
        match self.0 {
            Place::ProcessLink(pid, link) => link.place(pid).map(LinkTarget::Place),
            Place::Descriptor(pid, fd) => process::descriptor_place(pid, fd),
            _ => self.read_link().map(LinkTarget::Path),
        }
    }

    fn truncate(&self, _size: u64) -> Result<(), FsError> {
        Err(FsError::NotPermitted)
    }

    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn File>, FsError> {
        if !self.0.exists() {
            return Err(FsError::NotFound);
        }
        let text = match self.0 {
            _ if self.0.file_type() == FileType::Directory => {
                return Ok(Arc::new(ProcDirectory(self.0)));
            }
            _ if flags.writable() => return Err(FsError::PermissionDenied),
            Place::System(file) => file.text(),
            Place::Registered(index) => {
                let file = registered::get(index).ok_or(FsError::NotFound)?;
                let mut text = String::new();
                // Writing to a string cannot fail.
                let _ = (file.text)(&mut text);
                text.into_bytes()
            }
            Place::ProcessFile(pid, file) => file.text(pid)?,
            Place::DescriptorInfo(pid, fd) => process::descriptor_info(pid, fd)?,
            _ => return Err(FsError::InvalidArgument),
        };
        Ok(Arc::new(TextFile(text)))
    }
}

/// An open directory.
struct ProcDirectory(Place);

impl File for ProcDirectory {
    fn read(&self, _: &mut u64, _: &mut dyn Sink, _: OpenFlags) -> Result<usize, FsError> {
        Err(FsError::IsDirectory)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Result<u64, FsError> {
        Ok(0)
    }

    fn read_directory(
        &self,
        offset: &mut u64,
        sink: &mut dyn DirectorySink,
    ) -> Result<(), FsError> {
        if !self.0.exists() {
            return Err(FsError::NotFound);
        }
        let dots = [(".".into(), self.0), ("..".into(), self.0.parent())];
        let all = dots.into_iter().chain(self.0.children());
        // Processes are listed by number, so what ends meanwhile shifts only what follows it; the
        // offset of a process is its number, beyond those of the fixed names.
        for (place, (name, child)) in (0u64..).zip(all) {
            let at = match child {
                Place::Process(pid) if self.0 == Place::Root => 1 << 16 | u64::from(pid),
                Place::Descriptor(_, fd) | Place::DescriptorInfo(_, fd) => 2 + u64::from(fd),
                _ => place,
            };
            if at < *offset {
                continue;
            }
            let entry = DirectoryEntry {
                inode: child.inode_number(),
                file_type: child.file_type(),
                name: name.as_bytes(),
                next: at + 1,
            };
            if !sink.entry(entry) {
                return Ok(());
            }
            *offset = at + 1;
        }
        Ok(())
    }
}

/// A file whose text was made when it was opened.
struct TextFile(Vec<u8>);

impl File for TextFile {
    fn read(&self, offset: &mut u64, sink: &mut dyn Sink, _: OpenFlags) -> Result<usize, FsError> {
        let start = usize::try_from(*offset).unwrap_or(usize::MAX);
        let rest = self.0.get(start..).unwrap_or(&[]);
        let part = rest.get(..sink.remaining()).unwrap_or(rest);
        let copied = sink.put(part);
        if copied == 0 && !part.is_empty() {
            return Err(FsError::Fault);
        }
        *offset += copied as u64;
        Ok(copied)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Result<u64, FsError> {
        Ok(self.0.len() as u64)
    }
}
