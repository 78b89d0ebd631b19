//! The power fails after any block that was written: e2fsck repairs the disk, and what had been
//! synced is there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "failing is loud")]

mod common;

use common::{World, make, repair};
use kernel_vfs::{FileSystem, OpenFlags};

const SECTOR: usize = 512;

/// Changes of every kind, none of which concern what was synced before.
fn change(world: &World, round: usize) {
    world.write_at(&format!("/new{round}"), 0, &[round as u8; 20_000]).unwrap();
    world.mkdir(&format!("/d{round}")).unwrap();
    world.write_at(&format!("/d{round}/file"), 3000, &[9; 500]).unwrap();
    world.link(&format!("/d{round}/file"), &format!("/name{round}")).unwrap();
    world.symlink("kept", &format!("/link{round}")).unwrap();
    world.rename(&format!("/old{round}"), &format!("/d{round}/moved")).unwrap();
    world.unlink(&format!("/gone{round}")).unwrap();
    world.truncate(&format!("/long{round}"), 100).unwrap();
}

#[test]
fn a_cut_after_any_block_loses_nothing_that_was_synced() {
    const ROUNDS: usize = 3;
    let world = World::new(make(1024, &["-b", "1024"]));
    for round in 0..ROUNDS {
        world.write_at(&format!("/old{round}"), 0, &[1; 5000]).unwrap();
        world.write_at(&format!("/gone{round}"), 0, &[2; 15_000]).unwrap();
        world.write_at(&format!("/long{round}"), 0, &[3; 30_000]).unwrap();
    }
    let mut kept = vec![(String::from("/kept"), vec![7_u8; 40_000])];
    world.write_at("/kept", 0, &kept[0].1).unwrap();
    world.fs.sync().unwrap();
    let mut image = world.disk.snapshot();
    for round in 0..ROUNDS {
        world.disk.record();
        change(&world, round);
        let name = format!("/synced{round}");
        let data = vec![round as u8 + 100; 10_000];
        world.write_at(&name, 0, &data).unwrap();
        world.open(&name, OpenFlags::empty()).unwrap().file().sync(false).unwrap();
        let blocks: Vec<(usize, Vec<u8>)> = world
            .disk
            .recorded()
            .into_iter()
            .flat_map(|(first, bytes)| {
                let sectors: Vec<_> = bytes.chunks(1024).map(<[u8]>::to_vec).collect();
                sectors
                    .into_iter()
                    .enumerate()
                    .map(move |(at, bytes)| (first as usize * SECTOR + at * 1024, bytes))
            })
            .collect();
        assert!(blocks.len() > 20, "{}", blocks.len());
        for (number, (start, bytes)) in blocks.iter().enumerate() {
            image[*start..start + bytes.len()].copy_from_slice(bytes);
            let repaired = repair(&image)
                .unwrap_or_else(|text| panic!("round {round}, block {number}: {text}"));
            let after = World::new(repaired);
            assert!(after.fs.was_clean());
            for (name, data) in &kept {
                assert_eq!(&after.read(name).unwrap(), data, "{name} after block {number}");
            }
        }
        kept.push((name, data));
    }
    // The last cut is after everything.
    let after = World::new(repair(&image).unwrap());
    for (name, data) in &kept {
        assert_eq!(&after.read(name).unwrap(), data, "{name}");
    }
}
