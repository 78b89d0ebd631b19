//! Random operations, compared with a model in memory and checked by e2fsck.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use common::{Random, World, check, make, read_all};
use kernel_vfs::{FsError, OpenFlags};

#[derive(Clone)]
enum Node {
    File(Rc<RefCell<Vec<u8>>>),
    Directory,
    Link(String),
}

/// What should be on the disk: nodes by path.
#[derive(Default)]
struct Model {
    nodes: BTreeMap<String, Node>,
}

impl Model {
    fn children(&self, path: &str) -> Vec<String> {
        let prefix = if path == "/" { "/".into() } else { format!("{path}/") };
        self.nodes
            .keys()
            .filter_map(|key| key.strip_prefix(&prefix))
            .filter(|rest| !rest.is_empty() && !rest.contains('/'))
            .map(str::to_owned)
            .collect()
    }

    fn has_parent(&self, path: &str) -> bool {
        let parent = path.rsplit_once('/').unwrap().0;
        parent.is_empty() || matches!(self.nodes.get(parent), Some(Node::Directory))
    }

    fn move_tree(&mut self, old: &str, new: &str) {
        let prefix = format!("{old}/");
        let moved: Vec<String> = self
            .nodes
            .keys()
            .filter(|key| *key == old || key.starts_with(&prefix))
            .cloned()
            .collect();
        for key in moved {
            let node = self.nodes.remove(&key).unwrap();
            self.nodes.insert(format!("{new}{}", &key[old.len()..]), node);
        }
    }

    fn compare(&self, world: &World) {
        let mut directories = vec!["/".to_owned()];
        for (path, node) in &self.nodes {
            match node {
                Node::File(data) => {
                    let found = world.read(path).unwrap();
                    assert!(found == *data.borrow(), "contents of {path}");
                    let names = self.nodes.values().filter(
                        |other| matches!(other, Node::File(other) if Rc::ptr_eq(other, data)),
                    );
                    let metadata = world.get(path).unwrap().inode().metadata().unwrap();
                    assert_eq!(metadata.links as usize, names.count());
                }
                Node::Directory => directories.push(path.clone()),
                Node::Link(target) => {
                    assert_eq!(world.read_link(path).unwrap(), target.as_bytes());
                }
            }
        }
        for path in directories {
            let mut expected = self.children(&path);
            if path == "/" {
                expected.push("lost+found".to_owned());
            }
            expected.sort();
            assert_eq!(world.list(&path).unwrap(), expected);
        }
    }
}

fn random_path(random: &mut Random) -> String {
    let depth = 1 + random.below(3);
    (0..depth)
        .map(|_| match random.below(12) {
            n @ 0..10 => format!("/{n}"),
            n => format!("/{}", "long-name-".repeat(n as usize)),
        })
        .collect()
}

fn step(world: &World, model: &mut Model, random: &mut Random) {
    let path = random_path(random);
    let node = model.nodes.get(&path).cloned();
    match random.below(14) {
        0..4 => {
            // Write somewhere, creating the file if need be.
            let offset = match random.below(6) {
                0 => random.below(2_000_000),
                1..3 => random.below(60_000),
                _ => random.below(5_000),
            };
            let data = vec![random.next() as u8; random.below(12_000) as usize];
            if matches!(node, Some(Node::Link(_))) {
                return;
            }
            let result = world.write_at(&path, offset, &data);
            let file = match (&node, model.has_parent(&path)) {
                (Some(Node::File(file)), _) => Some(Rc::clone(file)),
                (None, true) => match &result {
                    // Created even if there is no space to write; unless no inode was left.
                    Err(FsError::NoSpace) if world.get(&path).is_err() => None,
                    _ => {
                        let file = Rc::new(RefCell::new(Vec::new()));
                        model.nodes.insert(path.clone(), Node::File(Rc::clone(&file)));
                        Some(file)
                    }
                },
                _ => {
                    assert!(result.is_err());
                    None
                }
            };
            if let (Some(file), Ok(count)) = (file, result) {
                let mut file = file.borrow_mut();
                let end = offset as usize + count;
                if count > 0 {
                    let size = file.len().max(end);
                    file.resize(size, 0);
                    file[offset as usize..end].copy_from_slice(&data[..count]);
                }
            }
        }
        4 => {
            let limit = if random.below(3) == 0 { 1_000_000 } else { 20_000 };
            let size = random.below(limit);
            if let Some(Node::File(file)) = node {
                world.truncate(&path, size).unwrap();
                file.borrow_mut().resize(size as usize, 0);
            }
        }
        5..7 => {
            let result = world.mkdir(&path);
            if node.is_none() && model.has_parent(&path) {
                match result {
                    Ok(()) => drop(model.nodes.insert(path, Node::Directory)),
                    Err(error) => assert_eq!(error, FsError::NoSpace),
                }
            } else {
                assert!(result.is_err());
            }
        }
        7 => {
            let result = world.rmdir(&path);
            let empty = matches!(node, Some(Node::Directory)) && model.children(&path).is_empty();
            assert_eq!(result.is_ok(), empty);
            if empty {
                model.nodes.remove(&path);
            }
        }
        8..10 => {
            let held = world.open(&path, OpenFlags::empty());
            let result = world.unlink(&path);
            assert_eq!(result.is_ok(), matches!(node, Some(Node::File(_) | Node::Link(_))));
            if result.is_ok() {
                model.nodes.remove(&path);
                if let (Ok(held), Some(Node::File(file))) = (held, node) {
                    assert!(read_all(&held).unwrap() == *file.borrow());
                }
            }
        }
        10 => {
            let target = "t".repeat(1 + random.below(200) as usize);
            let result = world.symlink(&target, &path);
            if node.is_none() && model.has_parent(&path) {
                match result {
                    Ok(()) => drop(model.nodes.insert(path, Node::Link(target))),
                    Err(error) => assert_eq!(error, FsError::NoSpace),
                }
            } else {
                assert!(result.is_err());
            }
        }
        11 => {
            let new = random_path(random);
            let result = world.link(&path, &new);
            let may = matches!(node, Some(Node::File(_)))
                && !model.nodes.contains_key(&new)
                && model.has_parent(&new);
            if may {
                match result {
                    Ok(()) => drop(model.nodes.insert(new, node.unwrap())),
                    Err(error) => assert_eq!(error, FsError::NoSpace),
                }
            } else if !matches!(node, Some(Node::Link(_))) {
                assert!(result.is_err());
            } else if result.is_ok() {
                // A second name of a symbolic link: not in the model.
                world.unlink(&new).unwrap();
            }
        }
        _ => {
            let new = random_path(random);
            let result = world.rename(&path, &new);
            let target = model.nodes.get(&new).cloned();
            let compatible = match (&node, &target) {
                (None, _) => false,
                (Some(Node::Directory), None) => true,
                (Some(Node::Directory), Some(Node::Directory)) => {
                    path == new || model.children(&new).is_empty()
                }
                (Some(Node::Directory), Some(_)) => false,
                (Some(_), Some(Node::Directory)) => false,
                (Some(_), _) => true,
            };
            let inside = new.starts_with(&format!("{path}/"));
            let may = compatible && !inside && model.has_parent(&new);
            match result {
                Ok(()) => {
                    assert!(may, "rename {path} {new}");
                    let same = path == new
                        || matches!((&node, &target), (Some(Node::File(a)), Some(Node::File(b)))
                            if Rc::ptr_eq(a, b));
                    if !same {
                        model.nodes.remove(&new);
                        model.move_tree(&path, &new);
                    }
                }
                Err(error) => assert!(!may || error == FsError::NoSpace, "rename {path} {new}"),
            }
        }
    }
}

fn run(seed: u64, image: Vec<u8>, cached_blocks: usize, rounds: usize, steps: usize) {
    let mut random = Random::new(seed);
    let mut model = Model::default();
    let mut image = image;
    for round in 0..rounds {
        let world = World::mount(image, cached_blocks).unwrap();
        for _ in 0..steps {
            step(&world, &mut model, &mut random);
        }
        model.compare(&world);
        assert!(!world.fs.has_errors());
        image = world.unmount();
        if let Err(text) = check(&image) {
            panic!("seed {seed}, round {round}: {text}");
        }
        let world = World::mount(image, cached_blocks).unwrap();
        model.compare(&world);
        image = world.unmount();
    }
}

#[test]
fn roomy_disks() {
    for seed in 0..2 {
        run(seed, make(16_384, &["-b", "1024"]), 256, 4, 400);
        run(seed + 10, make(32_768, &["-b", "4096"]), 256, 4, 400);
    }
}

#[test]
fn several_small_groups() {
    for seed in 20..22 {
        run(seed, make(16_384, &["-b", "1024", "-g", "1024", "-N", "512"]), 100, 4, 400);
        run(seed, make(8_192, &["-b", "2048", "-g", "512"]), 100, 4, 400);
    }
}

#[test]
fn disks_that_are_always_full() {
    for seed in 40..43 {
        run(seed, make(400, &["-b", "1024"]), 64, 5, 400);
        run(seed, make(1024, &["-b", "4096"]), 64, 5, 400);
        run(seed, make(800, &["-b", "1024", "-N", "32"]), 64, 5, 400);
    }
}

#[test]
fn old_revisions_and_small_inodes() {
    for seed in 60..62 {
        run(seed, make(8_192, &["-b", "1024", "-r", "0", "-O", "none"]), 128, 5, 300);
        run(seed, make(8_192, &["-b", "1024", "-I", "128"]), 128, 5, 300);
    }
}
