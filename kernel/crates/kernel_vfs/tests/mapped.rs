//! Pages that mappings share, of files in memory.
#![allow(clippy::unwrap_used, reason = "failing is loud")]

use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use kernel_vfs::mapped::{Machine, Mapped, Mapping, Revoked, SharedPage, install};
use kernel_vfs::{
    FileSystem, FsError, Inode, MemoryFs, MemoryOptions, NewNode, OpenFile, OpenFlags, Ownership,
    SliceSink, SliceSource,
};

const PAGE: usize = 4096;

struct Frame(Vec<AtomicU8>);

impl SharedPage for Frame {
    fn frame(&self) -> u64 {
        self.0.as_ptr() as u64
    }

    fn read(&self, at: usize, target: &mut [u8]) {
        for (target, byte) in target.iter_mut().zip(&self.0[at..]) {
            *target = byte.load(Ordering::Relaxed);
        }
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        for (source, byte) in bytes.iter().zip(&self.0[at..]) {
            byte.store(*source, Ordering::Relaxed);
        }
    }
}

fn new_page() -> Result<Arc<dyn SharedPage>, FsError> {
    Ok(Arc::new(Frame((0..PAGE).map(|_| AtomicU8::new(0)).collect())))
}

static REVOKED: Mutex<Vec<(Range<u64>, Revoked)>> = Mutex::new(Vec::new());

fn revoke(_: &Mapped, range: Range<u64>, what: Revoked) {
    REVOKED.lock().unwrap().push((range, what));
}

fn file_system(page_limit: u64) -> (MemoryFs, Arc<dyn Inode>) {
    let owner = Ownership { mode: 0o755, uid: 0, gid: 0 };
    let fs = MemoryFs::new(MemoryOptions {
        name: "tmpfs",
        magic: 0,
        page_limit,
        inode_limit: 10,
        may_grow: |_| true,
        files: true,
        attach: false,
        root: owner,
    });
    let inode = fs.root().create(b"f", NewNode::Regular, owner).unwrap();
    (fs, inode)
}

fn read(file: &OpenFile, at: u64) -> u8 {
    let mut byte = [0xff];
    file.read_at(at, &mut SliceSink::new(&mut byte)).unwrap();
    byte[0]
}

/// One test, for one machine can be installed.
#[test]
fn pages_are_the_files_while_they_are_mapped_and_after() {
    let (fs, inode) = file_system(4);
    let opened = Arc::clone(&inode).open(OpenFlags::READ_WRITE).unwrap();
    let file = OpenFile::new(opened, None, OpenFlags::READ_WRITE);
    let write = |at: u64, bytes: &[u8]| file.write_at(at, &mut SliceSource::new(bytes));
    write(0, &[1; PAGE]).unwrap();
    let mapping = Mapping::new(Arc::clone(&file)).unwrap();
    // Without a machine there are no pages.
    assert_eq!(mapping.page(0, true).err(), Some(FsError::NoDevice));
    install(Machine { new_page, revoke });

    let page = mapping.page(0, true).unwrap();
    page.page.write(5, &[2]);
    assert_eq!((read(&file, 4), read(&file, 5)), (1, 2));
    write(4, &[3, 4]).unwrap();
    let mut bytes = [0; 3];
    page.page.read(4, &mut bytes);
    assert_eq!(bytes, [3, 4, 1]);
    write(0, &[5; PAGE]).unwrap();
    assert_eq!(read(&file, 4), 5);
    page.page.read(4, &mut bytes);
    assert_eq!(bytes, [5; 3]);
    assert_eq!(fs.memory_use(), PAGE as u64);

    // Holes count from the first touch; there is none too many, and none behind the end.
    inode.truncate(8 * PAGE as u64).unwrap();
    for index in [1, 3, 5] {
        mapping.page(index, false).unwrap();
    }
    assert_eq!(fs.memory_use(), 4 * PAGE as u64);
    assert_eq!(mapping.page(6, false).err(), Some(FsError::NoSpace));
    assert_eq!(mapping.page(8, false).err(), Some(FsError::NoSuchDevice));

    // What is cut off is taken away first; what is behind the end is not the file's.
    REVOKED.lock().unwrap().clear();
    let page = mapping.page(0, true).unwrap();
    inode.truncate(100).unwrap();
    assert_eq!(*REVOKED.lock().unwrap(), [(1..u64::MAX, Revoked::All)]);
    assert!(!mapping.is_current(page.revision));
    assert_eq!(fs.memory_use(), PAGE as u64);
    page.page.write(200, &[6]);
    write(1000, &[7]).unwrap();
    assert_eq!((read(&file, 99), read(&file, 200), read(&file, 1000)), (5, 0, 7));

    // The last mapping leaves everything in the file.
    page.page.write(0, &[8]);
    drop(mapping);
    page.page.write(1, &[9]);
    assert_eq!((read(&file, 0), read(&file, 1), read(&file, 1000)), (8, 5, 7));
    assert_eq!(fs.memory_use(), PAGE as u64);
    drop((file, inode));
}
