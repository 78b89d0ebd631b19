//! Disks made by mke2fs, checked by e2fsck, and mounted in a name space of their own.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses some; failing is loud"
)]

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use kernel_ext2::{Ext2, MountOptions};
use kernel_sync::RwLock;
use kernel_vfs::{
    BlockDevice, Dentry, DirectoryEntry, DirectorySink, FileSystem, FsError, Identity, MemoryDisk,
    MountFlags, NewNode, OpenFile, OpenFlags, SliceSink, SliceSource, Vfs, Walk, mount,
};

/// Runs a tool of e2fsprogs, which may be outside the path of ordinary users.
fn tool(name: &str, arguments: &[&str]) -> (bool, String) {
    let path = format!("{}:/sbin:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(name)
        .args(arguments)
        .env("PATH", path)
        .output()
        .unwrap_or_else(|error| panic!("{name} (package e2fsprogs): {error}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(bytes: &[u8]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("lemma-ext2-{}-{number}.img", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind, it is only a file in the temporary directory.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A fresh file system of `kilobytes`, made with further options.
pub(crate) fn make(kilobytes: usize, options: &[&str]) -> Vec<u8> {
    let scratch = Scratch::new(&[]);
    let size = kilobytes.to_string();
    let mut arguments = vec!["-q", "-F", "-t", "ext2"];
    arguments.extend_from_slice(options);
    arguments.extend_from_slice(&[scratch.path(), &size]);
    let (ok, text) = tool("mke2fs", &arguments);
    assert!(ok, "mke2fs: {text}");
    std::fs::read(&scratch.0).unwrap()
}

/// What e2fsck says of a disk; `Err` if it finds anything wrong.
pub(crate) fn check(image: &[u8]) -> Result<(), String> {
    let scratch = Scratch::new(image);
    let (ok, text) = tool("e2fsck", &["-fn", scratch.path()]);
    if ok { Ok(()) } else { Err(text) }
}

/// The disk after e2fsck has repaired it as `--disk` has it done: what is safe, and the rest if
/// there is more; `Err` if that is not enough.
pub(crate) fn repair(image: &[u8]) -> Result<Vec<u8>, String> {
    let scratch = Scratch::new(image);
    let (_, text) = tool("e2fsck", &["-p", scratch.path()]);
    let (_, text) = match check(&std::fs::read(&scratch.0).unwrap()) {
        Ok(()) => (true, text),
        Err(_) => tool("e2fsck", &["-fy", scratch.path()]),
    };
    let repaired = std::fs::read(&scratch.0).unwrap();
    check(&repaired).map_err(|found| format!("{text}\nand then:\n{found}"))?;
    Ok(repaired)
}

/// A write: its first block, and what was written.
pub(crate) type Write = (u64, Vec<u8>);

/// A disk in memory that can record what is written to it.
pub(crate) struct Disk {
    memory: MemoryDisk,
    /// The writes since the recording began.
    written: Mutex<Option<Vec<Write>>>,
    /// The flushes to come that fail, after their writes, the next one first.
    failing: Mutex<Vec<bool>>,
    /// Whether reads fail.
    unreadable: AtomicBool,
}

impl Disk {
    pub(crate) fn new(image: Vec<u8>) -> Self {
        Self {
            memory: MemoryDisk::new(512, image),
            written: Mutex::new(None),
            failing: Mutex::default(),
            unreadable: AtomicBool::new(false),
        }
    }

    pub(crate) fn snapshot(&self) -> Vec<u8> {
        self.memory.snapshot()
    }

    /// Which of the flushes to come fail.
    pub(crate) fn fail_flushes(&self, which: &[bool]) {
        *self.failing.lock().unwrap() = which.to_vec();
    }

    /// Has reads fail from now on, or not.
    pub(crate) fn fail_reads(&self, fail: bool) {
        self.unreadable.store(fail, Ordering::Relaxed);
    }

    /// Records from now on.
    pub(crate) fn record(&self) {
        *self.written.lock().unwrap() = Some(Vec::new());
    }

    /// What has been written since then, in order.
    pub(crate) fn recorded(&self) -> Vec<Write> {
        self.written.lock().unwrap().take().unwrap_or_default()
    }
}

impl BlockDevice for Disk {
    fn block_size(&self) -> usize {
        self.memory.block_size()
    }

    fn block_count(&self) -> u64 {
        self.memory.block_count()
    }

    fn read(&self, first: u64, buffer: &mut [u8]) -> Result<(), FsError> {
        if self.unreadable.load(Ordering::Relaxed) {
            return Err(FsError::Io);
        }
        self.memory.read(first, buffer)
    }

    fn write(&self, first: u64, buffer: &[u8]) -> Result<(), FsError> {
        if let Some(written) = &mut *self.written.lock().unwrap() {
            written.push((first, buffer.to_vec()));
        }
        self.memory.write(first, buffer)
    }

    fn flush(&self) -> Result<(), FsError> {
        let mut failing = self.failing.lock().unwrap();
        if !failing.is_empty() && failing.remove(0) {
            return Err(FsError::Io);
        }
        self.memory.flush()
    }
}

pub(crate) struct World {
    pub(crate) disk: Arc<Disk>,
    pub(crate) fs: Arc<Ext2<Arc<Disk>>>,
    pub(crate) vfs: RwLock<Vfs>,
    root: Option<Arc<Dentry>>,
}

impl World {
    pub(crate) fn new(image: Vec<u8>) -> Self {
        Self::mount(image, 256).unwrap()
    }

    pub(crate) fn mount(image: Vec<u8>, cached_blocks: usize) -> Result<Self, FsError> {
        let disk = Arc::new(Disk::new(image));
        Self::on(disk, cached_blocks)
    }

    pub(crate) fn on(disk: Arc<Disk>, cached_blocks: usize) -> Result<Self, FsError> {
        let options = MountOptions { read_only: false, cached_blocks };
        let fs = Arc::new(Ext2::mount(Arc::clone(&disk), options)?);
        let vfs = RwLock::new(Vfs::new());
        vfs.write().set_cache(512, 1);
        let flags = MountFlags::empty();
        mount::mount(&vfs, None, Arc::clone(&fs) as Arc<dyn FileSystem>, b"disk", flags).unwrap();
        let root = vfs.read().root().cloned();
        Ok(Self { disk, fs, vfs, root })
    }

    /// Unmounts, and returns the disk.
    pub(crate) fn unmount(mut self) -> Vec<u8> {
        let root = self.root.take().unwrap();
        mount::unmount(&self.vfs, root).unwrap();
        self.disk.snapshot()
    }

    /// Unmounts, has e2fsck check the disk, and mounts it again.
    pub(crate) fn checked(self) -> Self {
        let image = self.unmount();
        if let Err(text) = check(&image) {
            panic!("e2fsck: {text}");
        }
        let world = Self::new(image);
        assert!(world.fs.was_clean());
        assert!(!world.fs.has_errors());
        world
    }

    pub(crate) fn root(&self) -> &Arc<Dentry> {
        self.root.as_ref().unwrap()
    }

    pub(crate) fn walk(&self) -> Walk<'_> {
        Walk { vfs: &self.vfs, root: self.root(), identity: Identity::ROOT }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Arc<Dentry>, FsError> {
        self.walk().resolve(self.root(), path.as_bytes(), false)
    }

    pub(crate) fn mkdir(&self, path: &str) -> Result<(), FsError> {
        self.walk().make(self.root(), path.as_bytes(), NewNode::Directory, 0o755)
    }

    pub(crate) fn symlink(&self, target: &str, path: &str) -> Result<(), FsError> {
        let node = NewNode::Symlink(target.as_bytes());
        self.walk().make(self.root(), path.as_bytes(), node, 0o777)
    }

    pub(crate) fn read_link(&self, path: &str) -> Result<Vec<u8>, FsError> {
        self.walk().read_link(self.root(), path.as_bytes())
    }

    pub(crate) fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<OpenFile>, FsError> {
        self.walk().open(self.root(), path.as_bytes(), flags, 0o644)
    }

    /// Creates the file if need be, and writes at `offset`.
    pub(crate) fn write_at(&self, path: &str, offset: u64, data: &[u8]) -> Result<usize, FsError> {
        let file = self.open(path, OpenFlags::CREATE | OpenFlags::WRITE_ONLY)?;
        file.write_at(offset, &mut SliceSource::new(data))
    }

    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, FsError> {
        read_all(&*self.open(path, OpenFlags::empty())?)
    }

    pub(crate) fn truncate(&self, path: &str, size: u64) -> Result<(), FsError> {
        self.get(path)?.inode().truncate(size)
    }

    pub(crate) fn unlink(&self, path: &str) -> Result<(), FsError> {
        self.walk().unlink(self.root(), path.as_bytes())
    }

    pub(crate) fn rmdir(&self, path: &str) -> Result<(), FsError> {
        self.walk().rmdir(self.root(), path.as_bytes())
    }

    pub(crate) fn rename(&self, old: &str, new: &str) -> Result<(), FsError> {
        self.walk().rename(self.root(), old.as_bytes(), self.root(), new.as_bytes(), false)
    }

    pub(crate) fn exchange(&self, one: &str, two: &str) -> Result<(), FsError> {
        self.walk().exchange(self.root(), one.as_bytes(), self.root(), two.as_bytes())
    }

    pub(crate) fn link(&self, old: &str, new: &str) -> Result<(), FsError> {
        let target = self.get(old)?;
        self.walk().link(&target, self.root(), new.as_bytes())
    }

    pub(crate) fn list(&self, path: &str) -> Result<Vec<String>, FsError> {
        let directory = self.open(path, OpenFlags::DIRECTORY)?;
        let mut names = Names(Vec::new());
        directory.read_directory(&mut names)?;
        names.0.sort();
        Ok(names.0)
    }

    pub(crate) fn free_blocks(&self) -> u64 {
        self.fs.statistics().unwrap().blocks_free
    }

    pub(crate) fn free_inodes(&self) -> u64 {
        self.fs.statistics().unwrap().inodes_free
    }
}

pub(crate) fn read_all(file: &OpenFile) -> Result<Vec<u8>, FsError> {
    let mut data = vec![0; file.metadata()?.size as usize];
    let count = file.read_at(0, &mut SliceSink::new(&mut data))?;
    assert_eq!(count, data.len());
    Ok(data)
}

/// The names in a directory, without `.` and `..`.
struct Names(Vec<String>);

impl DirectorySink for Names {
    fn entry(&mut self, entry: DirectoryEntry<'_>) -> bool {
        let name = String::from_utf8_lossy(entry.name).into_owned();
        if name != "." && name != ".." {
            self.0.push(name);
        }
        true
    }
}

/// A small generator of numbers (xorshift), so that a seed says everything.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
