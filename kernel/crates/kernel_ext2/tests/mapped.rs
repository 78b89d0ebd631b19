//! Pages that mappings share, on disks that mke2fs made and e2fsck checks. The machine is one that
//! notes what is taken back, and that frames are freed.

#![allow(clippy::unwrap_used, reason = "failing is loud")]

mod common;

use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::{World, check, make};
use kernel_vfs::mapped::{Located, Machine, Mapped, Mapping, Revoked, SharedPage, install};
use kernel_vfs::{FileSystem, FsError, OpenFlags, SliceSource};

const PAGE: usize = 4096;

static PAGES: AtomicUsize = AtomicUsize::new(0);
static REVOKED: Mutex<Vec<(Range<u64>, Revoked)>> = Mutex::new(Vec::new());

struct Frame(Vec<AtomicU8>);

impl Drop for Frame {
    fn drop(&mut self) {
        PAGES.fetch_sub(1, Ordering::Relaxed);
    }
}

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
    PAGES.fetch_add(1, Ordering::Relaxed);
    Ok(Arc::new(Frame((0..PAGE).map(|_| AtomicU8::new(0)).collect())))
}

fn revoke(_: &Mapped, range: Range<u64>, what: Revoked) {
    REVOKED.lock().unwrap().push((range, what));
}

/// What was taken back since the last call.
fn revoked() -> Vec<(Range<u64>, Revoked)> {
    std::mem::take(&mut *REVOKED.lock().unwrap())
}

/// One test at a time has the machine.
fn machine() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    install(Machine { new_page, revoke });
    revoked();
    guard
}

fn mapping(world: &World, path: &str) -> Arc<Mapping> {
    Mapping::new(world.open(path, OpenFlags::READ_WRITE).unwrap()).unwrap()
}

fn disks() -> Vec<Vec<u8>> {
    ["1024", "2048", "4096"].map(|size| make(4096, &["-b", size])).into()
}

fn byte(located: &Located, at: usize) -> u8 {
    let mut byte = [0];
    located.page.read(at, &mut byte);
    byte[0]
}

#[test]
fn what_is_stored_is_read_and_reaches_the_disk() {
    let _machine = machine();
    for image in disks() {
        let world = World::new(image);
        world.write_at("/f", 0, &[1; 2 * PAGE + 700]).unwrap();
        let mapping = mapping(&world, "/f");
        let first = mapping.page(0, true).unwrap();
        let last = mapping.page(2, true).unwrap();
        first.page.write(5, &[2]);
        // Behind the end, too, which is not the file's.
        last.page.write(690, &[3; 100]);
        let found = world.read("/f").unwrap();
        assert_eq!((found.len(), found[4], found[5]), (2 * PAGE + 700, 1, 2));
        assert_eq!(found[2 * PAGE + 690..], [3; 10]);
        // Written back, without a right to write left; then dirty again.
        world.fs.sync().unwrap();
        assert_eq!(revoked(), [(0..3, Revoked::Writing)]);
        assert!(!mapping.is_current(first.revision));
        world.fs.sync().unwrap();
        assert_eq!(revoked(), []);
        mapping.page(0, true).unwrap().page.write(6, &[4]);
        assert!(world.fs.write_back().unwrap());
        assert_eq!(revoked(), [(0..1, Revoked::Writing)]);
        assert!(!world.fs.write_back().unwrap());
        drop((mapping, first, last));
        assert_eq!(PAGES.load(Ordering::Relaxed), 0);
        let found = world.checked().read("/f").unwrap();
        assert_eq!(found[4..8], [1, 2, 4, 1]);
        assert_eq!(found[2 * PAGE + 689..], [&[1][..], &[3; 10]].concat());
    }
}

#[test]
fn what_is_written_shows_in_the_page() {
    let _machine = machine();
    for image in disks() {
        let world = World::new(image);
        world.write_at("/f", 0, &[1; 2 * PAGE]).unwrap();
        let mapping = mapping(&world, "/f");
        for write in [false, true] {
            let pages = [0, 1].map(|index| mapping.page(index, write).unwrap());
            world.write_at("/f", PAGE as u64 - 2, &[7; 4]).unwrap();
            assert_eq!([byte(&pages[0], PAGE - 2), byte(&pages[0], PAGE - 3)], [7, 1]);
            assert_eq!([byte(&pages[1], 1), byte(&pages[1], 2)], [7, 1]);
            world.write_at("/f", 0, &[8; 2 * PAGE]).unwrap();
            assert_eq!([byte(&pages[0], 0), byte(&pages[1], PAGE - 1)], [8, 8]);
            world.write_at("/f", 0, &[1; 2 * PAGE]).unwrap();
        }
    }
}

#[test]
fn the_last_mapping_leaves_everything_in_the_file() {
    let _machine = machine();
    for image in disks() {
        let world = World::new(image);
        world.write_at("/f", 0, &[1; PAGE]).unwrap();
        let (one, two) = (mapping(&world, "/f"), mapping(&world, "/f"));
        one.page(0, true).unwrap().page.write(0, &[2]);
        drop(one);
        assert_eq!(PAGES.load(Ordering::Relaxed), 1);
        drop(two);
        assert_eq!(PAGES.load(Ordering::Relaxed), 0);
        assert_eq!(world.read("/f").unwrap()[0], 2);
        // Without a name, it is freed with all its blocks.
        let free = world.free_blocks();
        let mapping = mapping(&world, "/f");
        mapping.page(0, true).unwrap().page.write(0, &[3]);
        world.unlink("/f").unwrap();
        world.fs.sync().unwrap();
        drop(mapping);
        assert!(world.free_blocks() > free);
        world.checked();
    }
}

/// The block that says where the page belongs cannot be read when the last mapping goes.
#[test]
fn what_the_last_mapping_could_not_write_is_written_later() {
    let _machine = machine();
    for image in disks() {
        let world = World::new(image);
        let at = 64 * PAGE as u64;
        world.write_at("/f", at, &[1; PAGE]).unwrap();
        let mapping = mapping(&world, "/f");
        mapping.page(64, true).unwrap().page.write(0, &[2]);
        // Everything else that is in memory goes.
        world.write_at("/other", 0, &[3; 512 * 4096]).unwrap();
        world.unlink("/other").unwrap();
        world.disk.fail_reads(true);
        drop(mapping);
        assert_eq!(PAGES.load(Ordering::Relaxed), 1);
        world.disk.fail_reads(false);
        // Nobody knows the file any more: others have taken the places of its name.
        for number in 0..2048 {
            assert!(world.get(&format!("/none{number}")).is_err());
        }
        world.fs.sync().unwrap();
        assert_eq!(PAGES.load(Ordering::Relaxed), 0);
        let world = world.checked();
        assert_eq!(world.read("/f").unwrap()[at as usize], 2);
        world.checked();
    }
}

/// What cannot be written is tried some times, and then fails nothing else any more.
#[test]
fn what_can_never_be_written_is_given_up() {
    let _machine = machine();
    let world = World::new(make(8192, &["-b", "1024"]));
    let at = 64 * PAGE as u64;
    world.write_at("/f", at, &[1; PAGE]).unwrap();
    world.write_at("/large", 0, &[3; 512 * 4096]).unwrap();
    world.fs.sync().unwrap();
    // Dirty, and where it belongs is not in memory and cannot be read.
    let unwritable = |value: u8| {
        let mapping = mapping(&world, "/f");
        mapping.page(64, true).unwrap().page.write(0, &[value]);
        world.read("/large").unwrap();
        world.disk.fail_reads(true);
        mapping
    };
    let first = unwritable(2);
    // As long as it is mapped, everybody is told.
    for _ in 0..20 {
        assert_eq!(world.fs.sync(), Err(FsError::Io));
    }
    drop(first);
    let mut failures = 0;
    while PAGES.load(Ordering::Relaxed) != 0 && failures < 20 {
        assert_eq!(world.fs.sync(), Err(FsError::Io));
        failures += 1;
    }
    assert!((2..20).contains(&failures), "{failures}");
    assert!(world.fs.has_errors());
    world.disk.fail_reads(false);
    world.fs.sync().unwrap();
    // The file is what the disk has.
    assert_eq!(world.read("/f").unwrap()[at as usize], 1);

    // An unmount does not keep what it cannot write.
    drop(unwritable(4));
    assert_eq!(PAGES.load(Ordering::Relaxed), 1);
    assert_eq!(world.fs.unmount(), Err(FsError::Io));
    drop(world);
    assert_eq!(PAGES.load(Ordering::Relaxed), 0);
}

#[test]
fn holes_get_their_blocks_by_the_first_write() {
    let _machine = machine();
    for image in disks() {
        let world = World::new(image);
        world.write_at("/f", 0, b"").unwrap();
        world.truncate("/f", 100 * PAGE as u64 + 1).unwrap();
        let blocks = || world.get("/f").unwrap().inode().metadata().unwrap().blocks;
        let mapping = mapping(&world, "/f");
        assert_eq!(byte(&mapping.page(50, false).unwrap(), 9), 0);
        assert_eq!(blocks(), 0);
        mapping.page(50, true).unwrap().page.write(9, &[9]);
        let before = blocks();
        assert!(before >= 8, "{before}");
        world.fs.sync().unwrap();
        assert_eq!(blocks(), before);
        assert_eq!(world.read("/f").unwrap()[50 * PAGE + 9], 9);
        // There is no page behind the last byte.
        assert!(mapping.page(100, true).is_ok());
        assert_eq!(mapping.page(101, true).err(), Some(FsError::NoSuchDevice));
        assert_eq!(mapping.page(u64::MAX, false).err(), Some(FsError::NoSuchDevice));
        // Nor a place on a full disk; what is mapped already can be written back there.
        let flags = OpenFlags::CREATE | OpenFlags::WRITE_ONLY | OpenFlags::APPEND;
        let filler = world.open("/filler", flags).unwrap();
        while filler.write(&mut SliceSource::new(&[1; 512])).is_ok() {}
        drop(filler);
        assert_eq!(mapping.page(20, true).err(), Some(FsError::NoSpace));
        mapping.page(50, true).unwrap().page.write(9, &[10]);
        world.fs.sync().unwrap();
        drop(mapping);
        assert_eq!(world.checked().read("/f").unwrap()[50 * PAGE + 9], 10);
    }
}

#[test]
fn what_is_cut_off_is_taken_away_and_comes_back_empty() {
    let _machine = machine();
    for image in disks() {
        let world = World::new(image);
        world.write_at("/f", 0, &[1; 3 * PAGE]).unwrap();
        let mapping = mapping(&world, "/f");
        let pages = [0, 1, 2].map(|index| mapping.page(index, true).unwrap());
        revoked();
        world.truncate("/f", 100).unwrap();
        assert_eq!(revoked(), [(0..1, Revoked::Writing), (1..u64::MAX, Revoked::All)]);
        assert!(!mapping.is_current(pages[2].revision));
        assert!(mapping.page(1, false).is_err());
        assert_eq!([byte(&pages[0], 99), byte(&pages[0], 100)], [1, 0]);
        // Behind the end is nothing of the file's, whoever stores there; and when the file grows
        // over it, the blocks that it gets have to be asked for.
        pages[0].page.write(3000, &[5]);
        world.truncate("/f", 3 * PAGE as u64).unwrap();
        assert_eq!(revoked(), [(0..1, Revoked::Writing)]);
        assert_eq!(byte(&pages[0], 3000), 0);
        mapping.page(0, true).unwrap().page.write(3001, &[6]);
        mapping.page(2, true).unwrap().page.write(1, &[7]);
        let mut expected = vec![0; 3 * PAGE];
        expected[..100].fill(1);
        (expected[3001], expected[2 * PAGE + 1]) = (6, 7);
        assert_eq!(world.read("/f").unwrap(), expected);
        drop((mapping, pages));
        assert_eq!(world.checked().read("/f").unwrap(), expected);
    }
}

/// A page that was stored to before the file grew: the blocks that it has no content for stay holes.
#[test]
fn a_page_over_a_new_hole_is_written_without_it() {
    let _machine = machine();
    let world = World::new(make(4096, &["-b", "1024"]));
    world.write_at("/f", 0, &[1; 1024]).unwrap();
    let sectors = || world.open("/f", OpenFlags::empty()).unwrap().metadata().unwrap().blocks;
    let before = sectors();
    for (value, syncs) in [(2, true), (3, false)] {
        let mapping = mapping(&world, "/f");
        mapping.page(0, true).unwrap().page.write(5, &[value]);
        world.truncate("/f", PAGE as u64).unwrap();
        if syncs {
            world.fs.sync().unwrap();
        }
        drop(mapping);
        assert_eq!(sectors(), before);
        let found = world.read("/f").unwrap();
        assert_eq!((found.len(), found[4], found[5], found[1024]), (PAGE, 1, value, 0));
        world.truncate("/f", 1024).unwrap();
    }
    world.checked();
}

/// A power cut after `sync` loses nothing that was stored before.
#[test]
fn sync_leaves_what_was_stored_on_the_disk() {
    let _machine = machine();
    let world = World::new(make(4096, &["-b", "1024"]));
    world.write_at("/f", 0, &[1; PAGE]).unwrap();
    let mapping = mapping(&world, "/f");
    mapping.page(0, true).unwrap().page.write(2000, b"stored");
    world.disk.fail_flushes(&[true]);
    assert_eq!(world.fs.sync(), Err(FsError::Io));
    world.fs.sync().unwrap();
    let image = common::repair(&world.disk.snapshot()).unwrap();
    check(&image).unwrap();
    assert_eq!(&World::new(image).read("/f").unwrap()[2000..2006], b"stored");
}
