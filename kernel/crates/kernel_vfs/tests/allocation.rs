//! Nothing is allocated while the lock of the name space is held, which others wait for by spinning:
//! with each allocation, another thread has to get it.

#![allow(clippy::unwrap_used, reason = "failing is loud")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kernel_sync::RwLock;
use kernel_vfs::{FileSystem, MemoryFs, MemoryOptions, MountFlags, Ownership, Vfs, mount};

static VFS: RwLock<Vfs> = RwLock::new(Vfs::new());
static ASKED: AtomicUsize = AtomicUsize::new(0);
static ANSWERED: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicBool = AtomicBool::new(false);

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

struct Watching;

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if WATCHED.get() {
            let number = ASKED.fetch_add(1, Ordering::SeqCst) + 1;
            let start = Instant::now();
            while ANSWERED.load(Ordering::SeqCst) < number {
                if start.elapsed() > Duration::from_secs(60) {
                    HELD.store(true, Ordering::SeqCst);
                    break;
                }
                std::thread::yield_now();
            }
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

#[test]
fn mounts_are_listed_without_allocating_under_the_lock() {
    let root = Ownership { mode: 0o755, uid: 0, gid: 0 };
    let file_system: Arc<dyn FileSystem> = Arc::new(MemoryFs::new(MemoryOptions {
        name: "tmpfs",
        magic: 0,
        page_limit: 10,
        inode_limit: 10,
        may_grow: |_| true,
        files: true,
        attach: false,
        root,
    }));
    mount::mount(&VFS, None, file_system, b"none", MountFlags::empty()).unwrap();
    std::thread::spawn(|| {
        loop {
            let asked = ASKED.load(Ordering::SeqCst);
            if asked > ANSWERED.load(Ordering::SeqCst) {
                drop(VFS.write());
                ANSWERED.store(asked, Ordering::SeqCst);
            }
            std::thread::yield_now();
        }
    });
    WATCHED.set(true);
    let (mounts, list) = (mount::mounts(&VFS).len(), mount::list(&VFS).len());
    WATCHED.set(false);
    assert_eq!((mounts, list), (1, 1));
    assert!(ASKED.load(Ordering::SeqCst) >= 2);
    assert!(!HELD.load(Ordering::SeqCst), "allocated with the lock held");
}
