//! One thing at a time, on disks that mke2fs made and e2fsck checks.

mod common;

use common::{Random, World, check, make, read_all};
use kernel_vfs::{
    FileSystem, FileType, FsError, NewNode, OpenFlags, SetAttributes, SliceSource, Time,
};

/// Every kind of disk that we support.
fn disks() -> Vec<Vec<u8>> {
    vec![
        make(4096, &["-b", "1024"]),
        make(4096, &["-b", "2048"]),
        make(8192, &["-b", "4096"]),
        make(4096, &["-b", "1024", "-r", "0", "-O", "none"]),
        make(2048, &["-b", "1024", "-I", "128", "-O", "^resize_inode,^dir_index"]),
        make(20_000, &["-b", "1024", "-g", "1024"]),
    ]
}

#[test]
fn files_directories_and_links_survive_a_remount() {
    for image in disks() {
        check(&image).unwrap();
        let world = World::new(image);
        assert_eq!(world.list("/").unwrap(), ["lost+found"]);
        world.mkdir("/dir").unwrap();
        world.mkdir("/dir/sub").unwrap();
        let data: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        assert_eq!(world.write_at("/dir/file", 0, &data), Ok(data.len()));
        world.link("/dir/file", "/dir/sub/hard").unwrap();
        world.symlink("short", "/fast").unwrap();
        let long = "long/".repeat(40);
        world.symlink(&long, "/slow").unwrap();
        let edge = "e".repeat(59);
        world.symlink(&edge, "/edge").unwrap();
        world.symlink(&(edge.clone() + "e"), "/over").unwrap();
        let world = world.checked();
        assert_eq!(world.read("/dir/sub/hard").unwrap(), data);
        assert_eq!(world.get("/dir/file").unwrap().inode().metadata().unwrap().links, 2);
        assert_eq!(world.read_link("/fast").unwrap(), b"short");
        assert_eq!(world.read_link("/slow").unwrap(), long.as_bytes());
        assert_eq!(world.read_link("/edge").unwrap(), edge.as_bytes());
        assert_eq!(world.read_link("/over").unwrap().len(), 60);
        world.rename("/dir/sub", "/moved").unwrap();
        world.rename("/fast", "/moved/fast").unwrap();
        let world = world.checked();
        assert_eq!(world.list("/moved").unwrap(), ["fast", "hard"]);
        assert_eq!(world.list("/dir").unwrap(), ["file"]);
        for path in ["/dir/file", "/moved/hard", "/moved/fast", "/slow", "/edge", "/over"] {
            world.unlink(path).unwrap();
        }
        world.rmdir("/moved").unwrap();
        world.rmdir("/dir").unwrap();
        let world = world.checked();
        assert_eq!(world.list("/").unwrap(), ["lost+found"]);
        check(&world.unmount()).unwrap();
    }
}

#[test]
fn space_comes_back() {
    for image in disks() {
        let world = World::new(image);
        let (blocks, inodes) = (world.free_blocks(), world.free_inodes());
        world.write_at("/f", 0, &vec![7; 600_000]).unwrap();
        world.write_at("/sparse", 3_000_000, b"x").unwrap();
        world.mkdir("/d").unwrap();
        world.truncate("/f", 10).unwrap();
        world.truncate("/f", 0).unwrap();
        for path in ["/f", "/sparse"] {
            world.unlink(path).unwrap();
        }
        world.rmdir("/d").unwrap();
        assert_eq!((world.free_blocks(), world.free_inodes()), (blocks, inodes));
        check(&world.unmount()).unwrap();
    }
}

#[test]
fn attributes_are_kept_on_the_disk() {
    let world = World::new(make(2048, &["-b", "1024"]));
    world.write_at("/f", 0, b"x").unwrap();
    let change = SetAttributes {
        mode: Some(0o6751),
        without: 0o2000,
        uid: Some(70_000),
        gid: Some(80_000),
        accessed: Some(Time { seconds: 1_000_000, nanoseconds: 5 }),
        modified: Some(Time { seconds: -7, nanoseconds: 0 }),
    };
    world.get("/f").unwrap().inode().set_attributes(&change).unwrap();
    let world = world.checked();
    let found = world.get("/f").unwrap().inode().metadata().unwrap();
    assert_eq!((found.mode, found.uid, found.gid), (0o4751, 70_000, 80_000));
    assert_eq!((found.accessed.seconds, found.modified.seconds), (1_000_000, -7));
}

#[test]
fn truncation_and_growth_read_as_zeros() {
    for image in disks() {
        let world = World::new(image);
        world.write_at("/f", 0, &[9; 5000]).unwrap();
        world.truncate("/f", 100).unwrap();
        world.truncate("/f", 6000).unwrap();
        let data = world.read("/f").unwrap();
        assert!(data[..100].iter().all(|&byte| byte == 9));
        assert!(data[100..].iter().all(|&byte| byte == 0));
        world.truncate("/f", 50).unwrap();
        world.write_at("/f", 80, b"end").unwrap();
        let data = world.read("/f").unwrap();
        assert_eq!((data.len(), data[49], data[50], data[79], data[80]), (83, 9, 0, 0, b'e'));
        check(&world.unmount()).unwrap();
    }
}

#[test]
fn sparse_files_reach_through_three_levels() {
    for (size, options) in [(4096, ["-b", "1024"]), (8192, ["-b", "4096"])] {
        let world = World::new(make(size, &options));
        let before = world.free_blocks();
        let block: u64 = options[1].parse().unwrap();
        let p = block / 4;
        // The last block of each level, and the first of the next.
        let edges = [11, 12, 11 + p, 12 + p, 11 + p + p * p, 12 + p + p * p, 20 + p + p * p * 3];
        for (n, index) in edges.iter().enumerate() {
            let text = format!("edge {n}");
            assert_eq!(world.write_at("/f", index * block + 5, text.as_bytes()), Ok(text.len()));
        }
        let world = world.checked();
        let file = world.open("/f", OpenFlags::empty()).unwrap();
        for (n, index) in edges.iter().enumerate() {
            let mut text = [1; 12];
            let offset = index * block;
            let mut sink = kernel_vfs::SliceSink::new(&mut text);
            file.read_at(offset, &mut sink).unwrap();
            assert_eq!(&text[..11], format!("\0\0\0\0\0edge {n}").as_bytes());
        }
        drop(file);
        // Cut in the middle of each level, then all.
        for index in [edges[6], edges[5], edges[3] + 3, edges[1] + 1, 5, 0] {
            world.truncate("/f", index * block).unwrap();
        }
        assert_eq!(world.get("/f").unwrap().inode().metadata().unwrap().blocks, 0);
        world.unlink("/f").unwrap();
        assert_eq!(world.free_blocks(), before);
        check(&world.unmount()).unwrap();
    }
}

#[test]
fn the_largest_size_is_refused_beyond() {
    let world = World::new(make(4096, &["-b", "1024"]));
    let limit = (12 + 256 + 256 * 256 + 256u64.pow(3)) * 1024;
    assert_eq!(world.write_at("/f", limit - 1, b"xy"), Ok(1));
    assert_eq!(world.write_at("/f", limit, b"x"), Err(FsError::FileTooLarge));
    assert_eq!(world.truncate("/f", limit + 1), Err(FsError::FileTooLarge));
    world.truncate("/f", limit).unwrap();
    let world = world.checked();
    assert_eq!(world.get("/f").unwrap().inode().metadata().unwrap().size, limit);
    // Revision 0 cannot say that there are large files.
    let world = World::new(make(4096, &["-b", "1024", "-r", "0", "-O", "none"]));
    assert_eq!(world.write_at("/f", 0x7fff_fffe, b"xy"), Ok(1));
    assert_eq!(world.write_at("/f", 0x8000_0000, b"x"), Err(FsError::FileTooLarge));
    check(&world.unmount()).unwrap();
}

#[test]
fn large_directories_grow_and_are_reused() {
    for image in disks() {
        let world = World::new(image);
        world.mkdir("/d").unwrap();
        let mut names: Vec<String> =
            (0..150).map(|n| format!("{n:0>3}{}", "x".repeat(n))).collect();
        for name in &names {
            world.write_at(&format!("/d/{name}"), 0, b"").unwrap();
        }
        names.sort();
        assert_eq!(world.list("/d").unwrap(), names);
        let world = world.checked();
        assert_eq!(world.list("/d").unwrap(), names);
        let size = world.get("/d").unwrap().inode().metadata().unwrap().size;
        for name in &names {
            world.unlink(&format!("/d/{name}")).unwrap();
        }
        for name in &names {
            world.write_at(&format!("/d/{name}"), 0, b"").unwrap();
        }
        assert_eq!(world.get("/d").unwrap().inode().metadata().unwrap().size, size);
        assert_eq!(world.rmdir("/d").err(), Some(FsError::NotEmpty));
        check(&world.unmount()).unwrap();
    }
}

#[test]
fn links_to_one_inode_are_limited() {
    let world = World::new(make(8192, &["-b", "4096", "-N", "256"]));
    world.write_at("/f", 0, b"x").unwrap();
    // A few hundred names per directory: entries are searched one by one.
    let mut made = 1;
    let error = loop {
        let directory = format!("/d{}", made / 250);
        if world.get(&directory).is_err() {
            world.mkdir(&directory).unwrap();
        }
        match world.link("/f", &format!("{directory}/{made}")) {
            Ok(()) => made += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((made, error), (32_000, FsError::TooManyLinks));
    let world = world.checked();
    assert_eq!(world.get("/f").unwrap().inode().metadata().unwrap().links, 32_000);
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let world = World::new(make(2048, &["-b", "1024"]));
    let before = (world.free_blocks(), world.free_inodes());
    let flags = OpenFlags::CREATE | OpenFlags::READ_WRITE;
    let file = world.open("/f", flags).unwrap();
    file.write(&mut SliceSource::new(&[3; 20_000])).unwrap();
    world.unlink("/f").unwrap();
    assert_eq!(file.metadata().unwrap().links, 0);
    file.write(&mut SliceSource::new(&[4; 20_000])).unwrap();
    assert_eq!(read_all(&file).unwrap().len(), 40_000);
    assert!(world.free_blocks() < before.0);
    drop(file);
    assert_eq!((world.free_blocks(), world.free_inodes()), before);
    check(&world.unmount()).unwrap();
}

#[test]
fn a_full_disk_loses_nothing() {
    for options in [["-b", "1024"], ["-b", "4096"]] {
        let world = World::new(make(1024, &options));
        world.write_at("/kept", 0, &[5; 9000]).unwrap();
        let before = (world.free_blocks(), world.free_inodes());
        let chunk = vec![6; 50_000];
        let mut offset = 0;
        loop {
            match world.write_at("/big", offset, &chunk) {
                Ok(count) => offset += count as u64,
                Err(error) => {
                    assert_eq!(error, FsError::NoSpace);
                    break;
                }
            }
        }
        assert_eq!(world.get("/big").unwrap().inode().metadata().unwrap().size, offset);
        assert_eq!(world.mkdir("/d").err(), Some(FsError::NoSpace));
        assert_eq!(world.symlink(&"t".repeat(100), "/s").err(), Some(FsError::NoSpace));
        assert_eq!(world.get("/d").err(), Some(FsError::NotFound));
        // Where a block is still missing, an indirect one is, too: nothing half-way stays.
        assert_eq!(world.write_at("/kept", 5_000_000, b"x"), Err(FsError::NoSpace));
        let world = world.checked();
        assert_eq!(world.read("/kept").unwrap(), [5; 9000]);
        world.unlink("/big").unwrap();
        assert_eq!((world.free_blocks(), world.free_inodes()), before);
        world.write_at("/again", 0, &chunk).unwrap();
        check(&world.unmount()).unwrap();
    }
}

#[test]
fn inodes_run_out_too() {
    let world = World::new(make(1024, &["-b", "1024", "-N", "16"]));
    let mut made = 0;
    let error = loop {
        match world.write_at(&format!("/f{made}"), 0, b"") {
            Ok(_) => made += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, FsError::NoSpace);
    assert_eq!(world.free_inodes(), 0);
    world.unlink("/f0").unwrap();
    world.mkdir("/f0").unwrap();
    check(&world.unmount()).unwrap();
}

#[test]
fn after_a_crash_what_was_synced_is_there() {
    let mut random = Random::new(5);
    for _ in 0..20 {
        let world = World::new(make(2048, &["-b", "1024"]));
        let held = world.open("/orphan", OpenFlags::CREATE | OpenFlags::READ_WRITE).unwrap();
        held.write(&mut SliceSource::new(&[1; 30_000])).unwrap();
        let other = world.open("/orphan2", OpenFlags::CREATE | OpenFlags::READ_WRITE).unwrap();
        world.unlink("/orphan").unwrap();
        world.unlink("/orphan2").unwrap();
        let data = vec![8; random.below(60_000) as usize];
        world.write_at("/synced", 0, &data).unwrap();
        world.mkdir("/d").unwrap();
        world.fs.sync().unwrap();
        let image = world.disk.snapshot();
        // The machine stops here. Nothing but the mark that it was in use is amiss.
        let world = World::new(image);
        assert!(!world.fs.was_clean());
        assert_eq!(world.read("/synced").unwrap(), data);
        assert!(world.get("/d").is_ok());
        assert!(!world.fs.has_errors());
        let image = world.unmount();
        check(&image).unwrap();
        drop((held, other));
    }
}

#[test]
fn unknown_features_are_refused_or_read_only() {
    let journal = make(4096, &["-b", "1024", "-O", "extents"]);
    assert_eq!(World::mount(journal, 64).err(), Some(FsError::NotSupported));
    let mut image = make(1024, &["-b", "1024"]);
    // An unknown read-only-compatible feature.
    image[1024 + 103] |= 0x40;
    let world = World::mount(image, 64).unwrap();
    assert!(world.fs.read_only());
    assert_eq!(world.write_at("/f", 0, b"").err(), Some(FsError::ReadOnly));
    assert_eq!(World::mount(vec![0; 100_000], 64).err(), Some(FsError::InvalidArgument));
}

#[test]
fn a_cache_much_smaller_than_the_data_works() {
    let world = World::mount(make(20_000, &["-b", "1024"]), 64).unwrap();
    let data: Vec<u8> = (0..4_000_000u32).map(|n| (n * 7 % 253) as u8).collect();
    world.write_at("/f", 0, &data).unwrap();
    let (blocks, _) = world.fs.cache_usage();
    assert!(blocks <= 80, "{blocks} blocks in memory");
    assert_eq!(world.read("/f").unwrap(), data);
    check(&world.unmount()).unwrap();
}

/// A file that was changed in the future, by a clock that went wrong, is not written to at every
/// reading of it.
#[test]
fn reading_writes_nothing_twice_in_a_second() {
    let world = World::new(make(4096, &["-b", "1024"]));
    world.write_at("/file", 0, b"text").unwrap();
    let later = SetAttributes {
        accessed: Some(Time { seconds: 500, nanoseconds: 0 }),
        modified: Some(Time { seconds: 1000, nanoseconds: 0 }),
        ..SetAttributes::default()
    };
    world.get("/file").unwrap().inode().set_attributes(&later).unwrap();
    world.fs.sync().unwrap();
    // The first reading notes the time now, which in this test is always 0.
    assert_eq!(world.read("/file").unwrap(), b"text");
    assert_eq!(world.get("/file").unwrap().inode().metadata().unwrap().accessed.seconds, 0);
    assert!(world.fs.cache_usage().1 > 0);
    world.fs.sync().unwrap();
    assert_eq!(world.read("/file").unwrap(), b"text");
    assert_eq!(world.fs.cache_usage().1, 0);
}

#[test]
fn names_of_any_kind_change_places() {
    for image in disks() {
        let world = World::new(image);
        world.mkdir("/d").unwrap();
        world.mkdir("/d/inner").unwrap();
        world.write_at("/d/inner/deep", 0, b"deep").unwrap();
        world.write_at("/file", 0, b"text").unwrap();
        world.mkdir("/e").unwrap();
        let links = |path: &str| world.get(path).unwrap().inode().metadata().unwrap().links;
        assert_eq!((links("/"), links("/d"), links("/e")), (5, 3, 2));
        // A file and a directory, of different directories; the one that loses a subdirectory
        // loses a link.
        world.exchange("/file", "/d/inner").unwrap();
        assert_eq!((links("/"), links("/d"), links("/e")), (6, 2, 2));
        assert_eq!(world.read("/d/inner").unwrap(), b"text");
        assert_eq!(world.read("/file/deep").unwrap(), b"deep");
        // Two directories, and in one directory.
        world.exchange("/e", "/d").unwrap();
        world.mkdir("/e/sub").unwrap();
        world.exchange("/e/sub", "/file").unwrap();
        assert_eq!(world.exchange("/e", "/missing"), Err(FsError::NotFound));
        assert_eq!(world.exchange("/e", "/e/sub"), Err(FsError::InvalidArgument));
        assert_eq!(world.exchange("/e/sub", "/e"), Err(FsError::InvalidArgument));
        let world = world.checked();
        assert_eq!(world.read("/e/sub/deep").unwrap(), b"deep");
        assert_eq!(world.read("/e/inner").unwrap(), b"text");
        assert_eq!(world.list("/file").unwrap(), Vec::<String>::new());
        assert_eq!(world.list("/d").unwrap(), Vec::<String>::new());
        check(&world.unmount()).unwrap();
    }
}

#[test]
fn pipes_sockets_and_devices_are_kept_on_the_disk() {
    for image in disks() {
        let world = World::new(image);
        let kinds = [
            (FileType::Fifo, 0),
            (FileType::Socket, 0),
            (FileType::CharacterDevice, 0x0501),
            (FileType::BlockDevice, 0x0012_3456),
        ];
        for (index, (file_type, device)) in kinds.into_iter().enumerate() {
            let path = format!("/n{index}");
            let node = NewNode::Special { file_type, device };
            world.walk().make(world.root(), path.as_bytes(), node, 0o640).unwrap();
        }
        let world = world.checked();
        for (index, (file_type, device)) in kinds.into_iter().enumerate() {
            let path = format!("/n{index}");
            let found = world.get(&path).unwrap().inode().metadata().unwrap();
            let is = (found.file_type, found.device, found.mode, found.size, found.blocks);
            assert_eq!(is, (file_type, device, 0o640, 0, 0));
            world.unlink(&path).unwrap();
        }
        check(&world.unmount()).unwrap();
    }
}
