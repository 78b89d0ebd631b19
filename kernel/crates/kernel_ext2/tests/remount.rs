//! The disk is marked clean only when nothing is half-done, whatever goes on while it is remounted,
//! unmounted or left by a machine that stops.
#![allow(clippy::unwrap_used, clippy::panic, reason = "failing is loud")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use common::{Random, World, check, make, repair};
use kernel_ext2::{Ext2, MountOptions};
use kernel_vfs::{FileSystem, FsError, OpenFlags, SliceSource};

/// `s_state` in the superblock: whether it says that the disk is clean.
fn marked_clean(image: &[u8]) -> bool {
    image[1024 + 58] & 1 != 0
}

/// One change, in the part of the tree that belongs to `thread`.
fn change(world: &World, thread: usize, random: &mut Random) -> Result<(), FsError> {
    let number = random.below(6);
    let (one, other) = (format!("/{thread}/f{number}"), format!("/{thread}/g{number}"));
    match random.below(10) {
        0..=2 => {
            let data = vec![number as u8; random.below(9000) as usize];
            world.write_at(&one, random.below(20_000), &data).map(drop)
        }
        3 => world.unlink(&one),
        4 => world.rename(&one, &other),
        5 => world.link(&one, &other),
        6 => world.unlink(&other),
        7 => world.truncate(&one, random.below(10_000)),
        8 => world.mkdir(&format!("/{thread}/d{number}")),
        _ => world.rmdir(&format!("/{thread}/d{number}")),
    }
}

/// Runs `meanwhile` while three threads change files, and ends them after it.
fn among_changes(world: &Arc<World>, meanwhile: impl FnOnce(&AtomicUsize)) {
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..3)
        .map(|thread| {
            let (world, stop, done) = (Arc::clone(world), Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || {
                let mut random = Random::new(thread as u64 + 1);
                while !stop.load(Ordering::Relaxed) {
                    match change(&world, thread, &mut random) {
                        Ok(()) => drop(done.fetch_add(1, Ordering::Relaxed)),
                        Err(FsError::ReadOnly) => thread::yield_now(),
                        Err(
                            FsError::NotFound
                            | FsError::Exists
                            | FsError::NotEmpty
                            | FsError::NoSpace,
                        ) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        })
        .collect();
    meanwhile(&done);
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn world_for_changes() -> Arc<World> {
    let world = Arc::new(World::new(make(4096, &["-b", "1024"])));
    (0..3).for_each(|thread| world.mkdir(&format!("/{thread}")).unwrap());
    world
}

#[test]
fn a_remount_waits_for_running_changes_and_refuses_new_ones() {
    /// How many remounts must succeed: the others find a file without a name.
    const CLEAN: usize = 40;
    let world = world_for_changes();
    among_changes(&world, |done| {
        let (mut clean, mut round) = (0, 0);
        while clean < CLEAN {
            round += 1;
            assert!(round < 100 * CLEAN, "{clean} of {round}");
            let before = done.load(Ordering::Relaxed);
            while done.load(Ordering::Relaxed) < before + 20 {
                assert!(!marked_clean(&world.disk.snapshot()), "in use, round {round}");
                thread::yield_now();
            }
            match world.fs.remount(true) {
                Ok(()) => {
                    let image = world.disk.snapshot();
                    assert!(world.fs.read_only());
                    assert!(marked_clean(&image), "read-only, round {round}");
                    check(&image).unwrap_or_else(|text| panic!("round {round}: {text}"));
                    assert_eq!(world.fs.cache_usage().1, 0);
                    // Nothing comes after it, not even what is written back from time to time.
                    world.fs.sync().unwrap();
                    world.fs.write_back().unwrap();
                    assert_eq!(world.disk.snapshot(), image, "written when read-only");
                    world.fs.remount(false).unwrap();
                    clean += 1;
                }
                // A file without a name is open at this moment.
                Err(FsError::Busy) => assert!(!world.fs.read_only()),
                Err(error) => panic!("{error:?}"),
            }
            assert!(!marked_clean(&world.disk.snapshot()), "writable again, round {round}");
        }
    });
    let world = Arc::into_inner(world).unwrap();
    drop(world.checked());
}

#[test]
fn a_machine_that_stops_among_changes_leaves_the_disk_clean() {
    for _ in 0..20 {
        let world = world_for_changes();
        among_changes(&world, |done| {
            while done.load(Ordering::Relaxed) < 30 {
                thread::yield_now();
            }
            world.fs.unmount().unwrap();
            let image = world.disk.snapshot();
            if marked_clean(&image) {
                check(&image).unwrap();
            } else {
                // Somebody held a file without a name.
                repair(&image).unwrap();
            }
            world.fs.sync().unwrap();
            thread::yield_now();
            assert_eq!(world.disk.snapshot(), image, "written after the end");
        });
        assert_eq!(world.mkdir("/late").err(), Some(FsError::ReadOnly));
    }
}

#[test]
fn a_file_without_a_name_keeps_the_disk_from_being_marked_clean() {
    let world = World::new(make(1024, &["-b", "1024"]));
    let held = world.open("/orphan", OpenFlags::CREATE | OpenFlags::READ_WRITE).unwrap();
    held.write(&mut SliceSource::new(&[1; 30_000])).unwrap();
    world.unlink("/orphan").unwrap();
    assert_eq!(world.fs.remount(true), Err(FsError::Busy));
    assert!(!world.fs.read_only());
    held.write(&mut SliceSource::new(&[1; 30_000])).unwrap();
    assert!(!marked_clean(&world.disk.snapshot()));
    world.fs.unmount().unwrap();
    let image = world.disk.snapshot();
    assert!(!marked_clean(&image));
    check(&repair(&image).unwrap()).unwrap();

    let world = World::new(make(1024, &["-b", "1024"]));
    let held = world.open("/orphan", OpenFlags::CREATE | OpenFlags::READ_WRITE).unwrap();
    world.unlink("/orphan").unwrap();
    drop(held);
    // Its end may come with the remount.
    world.fs.remount(true).unwrap();
    assert!(marked_clean(&world.disk.snapshot()));
    check(&world.disk.snapshot()).unwrap();
}

/// The mark gets to the disk, and then an error is reported: it is taken back before anything is
/// changed, or nothing is changed any more.
#[test]
fn a_remount_that_fails_leaves_no_clean_mark_on_a_disk_in_use() {
    let world = World::new(make(1024, &["-b", "1024"]));
    world.disk.fail_flushes(&[false, true]);
    assert_eq!(world.fs.remount(true), Err(FsError::Io));
    assert!(!world.fs.read_only());
    assert!(!marked_clean(&world.disk.snapshot()));
    world.mkdir("/later").unwrap();
    let world = world.checked();

    world.disk.fail_flushes(&[false, true, true]);
    assert_eq!(world.fs.remount(true), Err(FsError::Io));
    assert!(world.fs.read_only());
    assert_eq!(world.mkdir("/late").err(), Some(FsError::ReadOnly));
    // It may be tried again.
    world.fs.remount(false).unwrap();
    world.mkdir("/late").unwrap();
    drop(world.checked());
}

/// What a crash has left is freed by the first writing, also if that comes by a remount.
#[test]
fn a_remount_for_writing_frees_the_orphans_of_a_crash() {
    let world = World::new(make(1024, &["-b", "1024"]));
    let free = world.free_blocks();
    let held = world.open("/orphan", OpenFlags::CREATE | OpenFlags::READ_WRITE).unwrap();
    held.write(&mut SliceSource::new(&[1; 30_000])).unwrap();
    world.unlink("/orphan").unwrap();
    world.fs.sync().unwrap();
    let disk = Arc::new(common::Disk::new(world.disk.snapshot()));
    let options = MountOptions { read_only: true, cached_blocks: 64 };
    let fs = Ext2::mount(Arc::clone(&disk), options).unwrap();
    assert!(fs.statistics().unwrap().blocks_free < free);
    fs.remount(false).unwrap();
    assert_eq!(fs.statistics().unwrap().blocks_free, free);
    fs.unmount().unwrap();
    check(&disk.snapshot()).unwrap();
    drop(held);
}
