//! Creating, linking, removing and renaming.

mod common;

use common::{Names, World};
use kernel_vfs::{
    DirectoryEntry, DirectorySink, FsError, Identity, OpenFlags, SetAttributes, SliceSink,
    SliceSource, Whence,
};

#[test]
fn hard_links_share_the_inode() {
    let world = World::new();
    world.write("/one", b"data").unwrap();
    world.link("/one", "/two").unwrap();
    assert_eq!(world.get("/two").unwrap().inode().metadata().unwrap().links, 2);
    assert_eq!(world.link("/one", "/two").err(), Some(FsError::Exists));
    world.unlink("/one").unwrap();
    assert_eq!(world.read("/two").unwrap(), b"data");
    assert_eq!(world.get("/one").err(), Some(FsError::NotFound));
    world.mkdir("/d").unwrap();
    assert_eq!(world.link("/d", "/e").err(), Some(FsError::NotPermitted));
}

#[test]
fn removing_checks_kind_and_emptiness() {
    let world = World::new();
    world.mkdir("/d").unwrap();
    world.write("/d/f", b"").unwrap();
    assert_eq!(world.unlink("/d").err(), Some(FsError::IsDirectory));
    assert_eq!(world.rmdir("/d").err(), Some(FsError::NotEmpty));
    assert_eq!(world.rmdir("/d/f").err(), Some(FsError::NotDirectory));
    assert_eq!(world.unlink("/d/f/").err(), Some(FsError::NotDirectory));
    assert_eq!(world.rmdir("/d/.").err(), Some(FsError::InvalidArgument));
    assert_eq!(world.rmdir("/d/..").err(), Some(FsError::NotEmpty));
    assert_eq!(world.rmdir("/").err(), Some(FsError::Busy));
    world.unlink("/d/f").unwrap();
    let held = world.get("/d").unwrap();
    world.rmdir("/d").unwrap();
    assert_eq!(world.unlink("/d").err(), Some(FsError::NotFound));
    // The removed directory is still held, but takes no names.
    let walk = world.walk();
    let flags = OpenFlags::CREATE | OpenFlags::WRITE_ONLY;
    assert_eq!(walk.open(&held, b"f", flags, 0o644).err(), Some(FsError::NotFound));
    assert_eq!(walk.path_of(&held), None);
}

#[test]
fn renaming_files() {
    let world = World::new();
    world.write("/a", b"a").unwrap();
    world.write("/b", b"b").unwrap();
    world.rename("/a", "/c").unwrap();
    assert_eq!(world.get("/a").err(), Some(FsError::NotFound));
    world.rename("/c", "/b").unwrap();
    assert_eq!(world.read("/b").unwrap(), b"a");
    assert_eq!(world.list("/"), [".", "..", "b"]);
    world.link("/b", "/same").unwrap();
    world.rename("/b", "/same").unwrap();
    assert_eq!(world.list("/"), [".", "..", "b", "same"]);
    world.mkdir("/d").unwrap();
    assert_eq!(world.rename("/b", "/d").err(), Some(FsError::IsDirectory));
    assert_eq!(world.rename("/d", "/b").err(), Some(FsError::NotDirectory));
    assert_eq!(world.rename("/b", "/x/").err(), Some(FsError::NotDirectory));
    assert_eq!(world.rename("/missing", "/x").err(), Some(FsError::NotFound));
    let no_replace = world.walk().rename(&world.root, b"/b", &world.root, b"/same", true);
    assert_eq!(no_replace.err(), Some(FsError::Exists));
}

#[test]
fn renaming_directories() {
    let world = World::new();
    for path in ["/a", "/a/x", "/b", "/b/full", "/b/full/y", "/empty"] {
        world.mkdir(path).unwrap();
    }
    let x = world.get("/a/x").unwrap();
    assert_eq!(world.rename("/a", "/a/x/inside").err(), Some(FsError::InvalidArgument));
    assert_eq!(world.rename("/a/x", "/a").err(), Some(FsError::NotEmpty));
    assert_eq!(world.rename("/a", "/b/full").err(), Some(FsError::NotEmpty));
    world.rename("/a/x", "/b/x").unwrap();
    assert_eq!(world.walk().path_of(&x).unwrap(), b"/b/x");
    assert_eq!(world.get("/a").unwrap().inode().metadata().unwrap().links, 2);
    assert_eq!(world.get("/b").unwrap().inode().metadata().unwrap().links, 4);
    world.rename("/b/x", "/empty").unwrap();
    assert_eq!(world.walk().path_of(&x).unwrap(), b"/empty");
    assert_eq!(world.get("/b").unwrap().inode().metadata().unwrap().links, 3);
    assert_eq!(world.path_of("/empty/.."), "/");
}

#[test]
fn sticky_directories_protect_their_files() {
    let world = World::new();
    world.mkdir("/tmp").unwrap();
    let tmp = world.get("/tmp").unwrap();
    let open = SetAttributes { mode: Some(0o1777), ..Default::default() };
    tmp.inode().set_attributes(&open).unwrap();
    let alice = world.walk_as(Identity { uid: 1, gid: 1, groups: &[] });
    let bob = world.walk_as(Identity { uid: 2, gid: 2, groups: &[] });
    let flags = OpenFlags::CREATE | OpenFlags::WRITE_ONLY;
    alice.open(&tmp, b"file", flags, 0o666).unwrap();
    assert_eq!(bob.unlink(&tmp, b"file").err(), Some(FsError::NotPermitted));
    assert_eq!(bob.rename(&tmp, b"file", &tmp, b"g", false).err(), Some(FsError::NotPermitted));
    alice.unlink(&tmp, b"file").unwrap();
}

#[test]
fn creation_honours_mode_owner_and_set_group_id() {
    let world = World::new();
    world.mkdir("/shared").unwrap();
    let shared = world.get("/shared").unwrap();
    let change = SetAttributes { mode: Some(0o2777), gid: Some(50), ..Default::default() };
    shared.inode().set_attributes(&change).unwrap();
    let user = world.walk_as(Identity { uid: 7, gid: 7, groups: &[] });
    let flags = OpenFlags::CREATE | OpenFlags::READ_WRITE;
    // Open for writing although the mode forbids it to everybody: its creator may.
    let file = user.open(&shared, b"f", flags, 0o400).unwrap();
    assert_eq!(file.write(&mut SliceSource::new(b"x")).unwrap(), 1);
    let metadata = file.metadata().unwrap();
    assert_eq!((metadata.mode, metadata.uid, metadata.gid), (0o400, 7, 50));
    assert_eq!(user.open(&shared, b"f", flags, 0o400).err(), Some(FsError::PermissionDenied));
    user.make(&shared, b"d", kernel_vfs::NewNode::Directory, 0o755).unwrap();
    assert_eq!(world.get("/shared/d").unwrap().inode().permissions().mode, 0o2755);
}

#[test]
fn data_has_holes_and_a_limit() {
    let world = World::new();
    world.write("/f", b"start").unwrap();
    let file = world.open("/f", OpenFlags::READ_WRITE).unwrap();
    file.seek(Whence::Start, 10_000).unwrap();
    file.write(&mut SliceSource::new(b"end")).unwrap();
    let data = world.read("/f").unwrap();
    assert_eq!(data.len(), 10_003);
    assert_eq!(&data[..5], b"start");
    assert!(data[5..10_000].iter().all(|&byte| byte == 0));
    assert_eq!(file.metadata().unwrap().blocks, 16);
    file.truncate(3, &Identity::ROOT).unwrap();
    file.truncate(6, &Identity::ROOT).unwrap();
    assert_eq!(world.read("/f").unwrap(), b"sta\0\0\0");
    // 64 pages is the limit of this file system; the disk is full, and then is not.
    let page = vec![1; 4096 * 70];
    file.seek(Whence::Start, 0).unwrap();
    assert_eq!(file.write(&mut SliceSource::new(&page)).unwrap(), 4096 * 64);
    assert_eq!(file.write(&mut SliceSource::new(&page)).err(), Some(FsError::NoSpace));
    file.truncate(0, &Identity::ROOT).unwrap();
    file.seek(Whence::Start, 0).unwrap();
    assert_eq!(file.write(&mut SliceSource::new(&page[..8192])).unwrap(), 8192);
}

#[test]
fn appending_writes_at_the_end() {
    let world = World::new();
    world.write("/log", b"1").unwrap();
    let flags = OpenFlags::WRITE_ONLY | OpenFlags::APPEND;
    let one = world.open("/log", flags).unwrap();
    let two = world.open("/log", flags).unwrap();
    one.write(&mut SliceSource::new(b"2")).unwrap();
    two.write(&mut SliceSource::new(b"3")).unwrap();
    one.write(&mut SliceSource::new(b"4")).unwrap();
    assert_eq!(world.read("/log").unwrap(), b"1234");
    assert_eq!(one.read(&mut SliceSink::new(&mut [0])).err(), Some(FsError::BadDescriptor));
}

/// Takes a few entries at a time.
struct Few(Names, usize);

impl DirectorySink for Few {
    fn entry(&mut self, entry: DirectoryEntry<'_>) -> bool {
        if self.1 == 0 {
            return false;
        }
        self.1 -= 1;
        self.0.entry(entry)
    }
}

#[test]
fn a_listing_survives_removals() {
    let world = World::new();
    for n in 0..100 {
        world.write(&format!("/f{n}"), b"").unwrap();
    }
    let directory = world.open("/", OpenFlags::DIRECTORY).unwrap();
    let mut seen = Vec::new();
    loop {
        let mut few = Few(Names(Vec::new()), 7);
        directory.read_directory(&mut few).unwrap();
        if few.0.0.is_empty() {
            break;
        }
        for name in few.0.0 {
            if name.starts_with('f') {
                world.unlink(&format!("/{name}")).unwrap();
            }
            seen.push(name);
        }
    }
    assert_eq!(seen.len(), 102);
    assert_eq!(world.list("/"), [".", ".."]);
}
