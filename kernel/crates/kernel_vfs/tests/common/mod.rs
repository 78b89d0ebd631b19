//! A name space with a memory file system at its root, and shorthands for what tests do in it.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses some; failing is loud")]

use std::sync::Arc;

use kernel_sync::RwLock;
use kernel_vfs::{
    Dentry, DirectoryEntry, DirectorySink, FsError, Identity, MemoryFs, MemoryOptions, MountFlags,
    NewNode, OpenFile, OpenFlags, Ownership, SliceSink, SliceSource, Vfs, Walk, mount,
};

pub(crate) const OPTIONS: MemoryOptions = MemoryOptions {
    name: "tmpfs",
    magic: 0x0102_1994,
    page_limit: 64,
    inode_limit: 4096,
    may_grow: |_| true,
    files: true,
    attach: false,
    root: Ownership { mode: 0o755, uid: 0, gid: 0 },
};

pub(crate) struct World {
    pub(crate) vfs: RwLock<Vfs>,
    pub(crate) root: Arc<Dentry>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_names(1024)
    }

    pub(crate) fn with_names(names: usize) -> Self {
        let vfs = RwLock::new(Vfs::new());
        vfs.write().set_cache(names, 1);
        mount::mount(&vfs, None, Arc::new(MemoryFs::new(OPTIONS)), b"tmpfs", MountFlags::empty())
            .unwrap();
        let root = vfs.read().root().unwrap().clone();
        Self { vfs, root }
    }

    pub(crate) fn walk(&self) -> Walk<'_> {
        self.walk_as(Identity::ROOT)
    }

    pub(crate) fn walk_as<'a>(&'a self, identity: Identity<'a>) -> Walk<'a> {
        Walk { vfs: &self.vfs, root: &self.root, identity }
    }

    pub(crate) fn mount(&self, path: &str) {
        let point = self.get(path).unwrap();
        let fs = Arc::new(MemoryFs::new(OPTIONS));
        mount::mount(&self.vfs, Some(&point), fs, b"tmpfs", MountFlags::empty()).unwrap();
    }

    pub(crate) fn unmount(&self, path: &str) -> Result<(), FsError> {
        mount::unmount(&self.vfs, self.get(path)?)
    }

    pub(crate) fn get(&self, path: &str) -> Result<Arc<Dentry>, FsError> {
        self.walk().resolve(&self.root, path.as_bytes(), true)
    }

    pub(crate) fn mkdir(&self, path: &str) -> Result<(), FsError> {
        self.walk().make(&self.root, path.as_bytes(), NewNode::Directory, 0o755)
    }

    pub(crate) fn symlink(&self, target: &str, path: &str) -> Result<(), FsError> {
        let node = NewNode::Symlink(target.as_bytes());
        self.walk().make(&self.root, path.as_bytes(), node, 0o777)
    }

    pub(crate) fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<OpenFile>, FsError> {
        self.walk().open(&self.root, path.as_bytes(), flags, 0o644)
    }

    pub(crate) fn write(&self, path: &str, data: &[u8]) -> Result<(), FsError> {
        let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE | OpenFlags::WRITE_ONLY;
        let file = self.open(path, flags)?;
        assert_eq!(file.write(&mut SliceSource::new(data))?, data.len());
        Ok(())
    }

    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, FsError> {
        let file = self.open(path, OpenFlags::empty())?;
        let mut data = vec![0; file.metadata()?.size as usize];
        let count = file.read(&mut SliceSink::new(&mut data))?;
        assert_eq!(count, data.len());
        Ok(data)
    }

    pub(crate) fn unlink(&self, path: &str) -> Result<(), FsError> {
        self.walk().unlink(&self.root, path.as_bytes())
    }

    pub(crate) fn rmdir(&self, path: &str) -> Result<(), FsError> {
        self.walk().rmdir(&self.root, path.as_bytes())
    }

    pub(crate) fn rename(&self, old: &str, new: &str) -> Result<(), FsError> {
        self.walk().rename(&self.root, old.as_bytes(), &self.root, new.as_bytes(), false)
    }

    pub(crate) fn link(&self, old: &str, new: &str) -> Result<(), FsError> {
        let target = self.walk().resolve(&self.root, old.as_bytes(), false)?;
        self.walk().link(&target, &self.root, new.as_bytes())
    }

    pub(crate) fn path_of(&self, path: &str) -> String {
        let dentry = self.get(path).unwrap();
        String::from_utf8(self.walk().path_of(&dentry).unwrap()).unwrap()
    }

    pub(crate) fn list(&self, path: &str) -> Vec<String> {
        let directory = self.open(path, OpenFlags::DIRECTORY).unwrap();
        let mut names = Names(Vec::new());
        directory.read_directory(&mut names).unwrap();
        names.0.sort();
        names.0
    }
}

pub(crate) struct Names(pub(crate) Vec<String>);

impl DirectorySink for Names {
    fn entry(&mut self, entry: DirectoryEntry<'_>) -> bool {
        self.0.push(String::from_utf8(entry.name.to_vec()).unwrap());
        true
    }
}
