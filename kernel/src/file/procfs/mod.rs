//! `/proc`: what the kernel knows, as files (`proc(5)`).
//!
//! Nothing is stored: an inode is a [`Place`], names are looked up among what exists now
//! (`place.rs`), and a file's text is made when it is opened (`system.rs`, `mounts.rs`,
//! `process.rs`, `maps.rs`).

mod maps;
mod mounts;
mod place;
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
use crate::mcore;
use place::{Place, Subject};
pub use registered::{Text, register};

/// `PROC_SUPER_MAGIC`.
const MAGIC: u32 = 0x9fa0;

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

impl Inode for ProcInode {
    fn file_type(&self) -> FileType {
        self.0.file_type()
    }

    fn permissions(&self) -> Permissions {
        let owner = self.0.subject().and_then(Subject::process);
        let mode = self.0.mode();
        let (uid, gid) = owner.map_or((0, 0), |owner| {
            let who = owner.credentials();
            // What anybody may list is its own all the same.
            let open = mode == 0o555 || owner.is_dumpable();
            if open { (who.euid, who.egid) } else { (0, 0) }
        });
        Permissions { mode, uid, gid }
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
            Place::OwnThread => {
                let task = mcore::current();
                Ok(format!("{}/task/{}", task.pid(), task.tid()).into_bytes())
            }
            Place::Mounts => Ok(b"self/mounts".to_vec()),
            Place::ProcessLink(subject, link) => {
                process::check_access(subject)?;
                link.target(subject)
            }
            Place::Descriptor(subject, fd) => {
                process::check_access(subject)?;
                process::descriptor_target(subject, fd)
            }
            _ => Err(FsError::InvalidArgument),
        }
    }

    /// Links of a process lead to what it has, not to what now has the same path.
    fn follow_link(&self) -> Result<LinkTarget, FsError> {
        match self.0 {
            Place::ProcessLink(subject, link) => {
                process::check_access(subject)?;
                link.place(subject).map(LinkTarget::Place)
            }
            Place::Descriptor(subject, fd) => {
                process::check_access(subject)?;
                process::descriptor_place(subject, fd)
            }
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
            Place::ProcessFile(subject, file) => file.text(subject)?,
            Place::DescriptorInfo(subject, fd) => process::descriptor_info(subject, fd)?,
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
        // What ends meanwhile shifts nothing: the offset of a process or thread is its number,
        // beyond those of the fixed names.
        for (place, (name, child)) in (0u64..).zip(all) {
            let at = match child {
                Place::Process(subject) if child.parent() == self.0 => {
                    1 << 16 | u64::from(subject.number())
                }
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
