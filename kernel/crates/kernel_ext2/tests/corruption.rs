//! Disks with wrong bytes: whatever they say, no panic, no endless loop; and writing to them gives
//! errors at worst.

#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

mod common;

use common::{Random, World, make};
use kernel_vfs::{FileSystem, FileType, FsError, OpenFlags, SliceSink};

fn populated(options: &[&str]) -> Vec<u8> {
    let world = World::new(make(1024, options));
    for directory in ["/a", "/a/b", "/a/b/c", "/d"] {
        world.mkdir(directory).unwrap();
    }
    for n in 0..20 {
        world.write_at(&format!("/a/f{n}"), n * 700, &vec![n as u8; 3000]).unwrap();
    }
    world.write_at("/big", 0, &vec![1; 300_000]).unwrap();
    world.write_at("/sparse", 70_000_000, b"x").unwrap();
    world.symlink(&"s".repeat(200), "/a/slow").unwrap();
    world.symlink("a/b", "/fast").unwrap();
    world.unmount()
}

/// Reads all there is to read, and then changes what there is to change.
fn exercise(world: &World) {
    let mut pending = vec!["".to_owned()];
    let mut paths = Vec::new();
    while let Some(path) = pending.pop() {
        let names = world.list(if path.is_empty() { "/" } else { &path }).unwrap_or_default();
        for name in names {
            let path = format!("{path}/{name}");
            if path.len() > 200 || paths.len() > 300 {
                continue;
            }
            let Ok(dentry) = world.get(&path) else { continue };
            let inode = dentry.inode();
            // Errors are expected; only a panic or a hang is a failure.
            let _ = (inode.metadata(), inode.read_link());
            match dentry.file_type() {
                FileType::Directory => pending.push(path.clone()),
                FileType::Regular => {
                    if let Ok(file) = world.open(&path, OpenFlags::empty()) {
                        let mut data = vec![0; 400_000];
                        let _ = file.read(&mut SliceSink::new(&mut data));
                        let _ = file.read_at(69_999_000, &mut SliceSink::new(&mut data));
                    }
                }
                _ => {}
            }
            paths.push(path);
        }
    }
    for path in paths.iter().rev() {
        let _ = world.write_at(path, 5000, &[7; 3000]);
        let _ = world.truncate(path, 100);
        let _ = world.rename(path, "/renamed");
        let _ = world.unlink(path);
        let _ = world.rmdir(path);
        let _ = world.write_at("/new", 0, &[1; 5000]);
        let _ = world.mkdir("/newdir");
    }
    let _ = world.fs.statistics();
    let _ = world.fs.sync();
}

fn attempt(image: Vec<u8>) {
    if let Ok(world) = World::mount(image, 64) {
        exercise(&world);
    }
}

#[test]
fn random_bytes_in_the_metadata() {
    for options in [["-b", "1024"], ["-b", "4096"]] {
        let clean = populated(&options);
        for seed in 0..400 {
            let mut random = Random::new(seed);
            let mut image = clean.clone();
            for _ in 0..1 + random.below(12) {
                // The first quarter holds superblock, descriptors, bitmaps, inodes, directories.
                let range = if random.below(4) == 0 { image.len() } else { image.len() / 4 };
                let at = random.below(range as u64) as usize;
                image[at] = match random.below(3) {
                    0 => 0xff,
                    1 => image[at] ^ 1 << random.below(8),
                    _ => random.next() as u8,
                };
            }
            attempt(image);
        }
    }
}

#[test]
fn random_bytes_in_inodes_and_superblock() {
    let clean = populated(&["-b", "1024"]);
    // The inode table of the first group: from the descriptor in block 2.
    let table = u32::from_le_bytes(clean[2048 + 8..2048 + 12].try_into().unwrap()) as usize * 1024;
    for seed in 0..600 {
        let mut random = Random::new(seed + 1000);
        let mut image = clean.clone();
        for _ in 0..1 + random.below(8) {
            let at = match random.below(4) {
                0 => 1024 + random.below(264) as usize,
                1 => 2048 + random.below(32) as usize,
                _ => table + random.below(40 * 256) as usize,
            };
            image[at] = random.next() as u8;
        }
        attempt(image);
    }
}

#[test]
fn pointers_that_loop_are_found_out() {
    let clean = populated(&["-b", "1024"]);
    let world = World::new(clean);
    let number = world.get("/big").unwrap().inode().metadata().unwrap().inode as usize;
    let mut image = world.unmount();
    let table = u32::from_le_bytes(image[2048 + 8..2048 + 12].try_into().unwrap()) as usize * 1024;
    let inode = table + (number - 1) * 256;
    let indirect = image[inode + 40 + 48..inode + 40 + 52].to_vec();
    let block = u32::from_le_bytes(indirect.clone().try_into().unwrap()) as usize;
    // The indirect block is full of pointers to itself, and is the triple one too.
    for entry in 0..256 {
        image[block * 1024 + entry * 4..][..4].copy_from_slice(&indirect);
    }
    image[inode + 40 + 56..][..4].copy_from_slice(&indirect);
    image[inode + 4..inode + 8].copy_from_slice(&0x7fff_0000u32.to_le_bytes());
    let world = World::new(image);
    assert!(world.read_part("/big", 1_000_000).is_ok());
    assert_eq!(world.truncate("/big", 0), Err(FsError::Corrupted));
    assert!(world.fs.has_errors());
    world.write_at("/other", 0, b"still works").unwrap();
    assert_eq!(world.read("/other").unwrap(), b"still works");
    world.unmount();
}

#[test]
fn hostile_directory_records() {
    let clean = populated(&["-b", "1024"]);
    let world = World::new(clean);
    let number = world.get("/a").unwrap().inode().metadata().unwrap().inode as usize;
    let image = world.unmount();
    let table = u32::from_le_bytes(image[2048 + 8..2048 + 12].try_into().unwrap()) as usize * 1024;
    let inode = table + (number - 1) * 256;
    let block = u32::from_le_bytes(image[inode + 40..inode + 44].try_into().unwrap()) as usize;
    for length in [0u16, 1, 4, 8, 11, 13, 1020, 1024, 1028, 0xfffc] {
        let mut image = image.clone();
        let third = block * 1024 + 24;
        image[third + 4..third + 6].copy_from_slice(&length.to_le_bytes());
        let world = World::new(image);
        assert_eq!(world.get("/a/f19").err(), Some(FsError::Corrupted), "{length}");
        assert_eq!(world.write_at("/a/x", 0, b"").err(), Some(FsError::Corrupted));
        assert!(world.fs.has_errors());
    }
}

impl World {
    fn read_part(&self, path: &str, offset: u64) -> Result<usize, FsError> {
        let file = self.open(path, OpenFlags::empty())?;
        file.read_at(offset, &mut SliceSink::new(&mut [0; 1000]))
    }
}
