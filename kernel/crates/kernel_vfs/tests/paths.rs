//! Path resolution: dots, links, slashes, mounts, limits, permissions.

#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

mod common;

use std::sync::Arc;

use common::{OPTIONS, World};
use kernel_vfs::{
    Dentry, File, FileType, FsError, Identity, Inode, LinkTarget, MemoryFs, MemoryOptions,
    Metadata, MountFlags, NewNode, NodeAttributes, OpenFlags, Permissions, SetAttributes, Sink,
    SliceSink, SliceSource, Walk, mount,
};

fn tree() -> World {
    let world = World::new();
    for directory in ["/a", "/a/b", "/a/b/c", "/mnt"] {
        world.mkdir(directory).unwrap();
    }
    world.write("/a/b/c/file", b"deep").unwrap();
    world
}

#[test]
fn dots_slashes_and_relative_paths() {
    let world = tree();
    assert_eq!(world.path_of("/a/b/c/file"), "/a/b/c/file");
    assert_eq!(world.path_of("//a/./b//../b/c/"), "/a/b/c");
    assert_eq!(world.path_of("/../../a"), "/a");
    assert_eq!(world.path_of("."), "/");
    let b = world.get("/a/b").unwrap();
    let walk = world.walk();
    let found = walk.resolve(&b, b"../b/c/file", true).unwrap();
    assert!(Arc::ptr_eq(&found, &world.get("/a/b/c/file").unwrap()));
    assert_eq!(walk.resolve(&b, b"", true).err(), Some(FsError::NotFound));
}

#[test]
fn what_is_not_there_or_no_directory() {
    let world = tree();
    for _ in 0..2 {
        // The second time the answer comes from the cache.
        assert_eq!(world.get("/missing").err(), Some(FsError::NotFound));
        assert_eq!(world.get("/missing/x").err(), Some(FsError::NotFound));
        assert_eq!(world.get("/a/b/c/file/x").err(), Some(FsError::NotDirectory));
        assert_eq!(world.get("/a/b/c/file/.").err(), Some(FsError::NotDirectory));
        assert_eq!(world.get("/a/b/c/file/").err(), Some(FsError::NotDirectory));
    }
    world.write("/missing", b"").unwrap();
    assert!(world.get("/missing").is_ok());
}

#[test]
fn links_are_followed_and_counted() {
    let world = tree();
    world.symlink("b/c", "/a/short").unwrap();
    world.symlink("/a/short/file", "/absolute").unwrap();
    world.symlink("loop", "/loop").unwrap();
    world.symlink("dangling-target", "/dangling").unwrap();
    assert_eq!(world.read("/absolute").unwrap(), b"deep");
    assert_eq!(world.path_of("/a/short/../c"), "/a/b/c");
    assert_eq!(world.path_of("/a/short/"), "/a/b/c");
    assert_eq!(world.get("/loop").err(), Some(FsError::TooManySymlinks));
    assert_eq!(world.get("/loop/x").err(), Some(FsError::TooManySymlinks));
    assert_eq!(world.get("/dangling").err(), Some(FsError::NotFound));
    assert_eq!(world.open("/absolute", OpenFlags::NO_FOLLOW).err(), Some(FsError::TooManySymlinks));
    assert_eq!(
        world.open("/absolute", OpenFlags::NO_FOLLOW | OpenFlags::DIRECTORY).err(),
        Some(FsError::NotDirectory)
    );
    assert!(world.open("/absolute", OpenFlags::NO_FOLLOW | OpenFlags::PATH).is_ok());
    // Forty links are allowed, one more is not.
    world.symlink("/a", "/l0").unwrap();
    for n in 1..=40 {
        world.symlink(&format!("l{}", n - 1), &format!("/l{n}")).unwrap();
    }
    assert_eq!(world.path_of("/l39"), "/a");
    assert_eq!(world.get("/l40").err(), Some(FsError::TooManySymlinks));
    assert_eq!(world.walk().read_link(&world.root, b"/l1").unwrap(), b"l0");
    assert_eq!(world.walk().read_link(&world.root, b"/a").err(), Some(FsError::InvalidArgument));
}

#[test]
fn creating_through_a_link_creates_its_target() {
    let world = tree();
    world.symlink("a/b/new", "/dangling").unwrap();
    let exclusive = OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::WRITE_ONLY;
    assert_eq!(world.open("/dangling", exclusive).err(), Some(FsError::Exists));
    world.write("/dangling", b"x").unwrap();
    assert_eq!(world.read("/a/b/new").unwrap(), b"x");
    world.symlink("loop", "/loop").unwrap();
    assert_eq!(world.write("/loop", b"").err(), Some(FsError::TooManySymlinks));
    let create = OpenFlags::CREATE | OpenFlags::WRITE_ONLY;
    assert_eq!(world.open("/new/", create).err(), Some(FsError::IsDirectory));
    assert_eq!(world.open("/a", create).err(), Some(FsError::IsDirectory));
    assert_eq!(world.open("/a/.", create).err(), Some(FsError::IsDirectory));
    assert_eq!(world.open("/", create | OpenFlags::EXCLUSIVE).err(), Some(FsError::Exists));
}

#[test]
fn names_and_paths_have_limits() {
    let world = tree();
    let name = "n".repeat(255);
    world.write(&format!("/{name}"), b"").unwrap();
    assert_eq!(world.get(&format!("/{name}n")).err(), Some(FsError::NameTooLong));
    assert_eq!(world.write(&format!("/{name}n"), b"").err(), Some(FsError::NameTooLong));
    let path = "/".repeat(4095);
    assert!(world.get(&path).is_ok());
    assert_eq!(world.get(&(path + "/")).err(), Some(FsError::NameTooLong));
}

#[test]
fn mounts_are_crossed_both_ways() {
    let world = tree();
    world.write("/mnt/hidden", b"").unwrap();
    world.mount("/mnt");
    assert_eq!(world.get("/mnt/hidden").err(), Some(FsError::NotFound));
    world.mkdir("/mnt/inner").unwrap();
    assert_eq!(world.path_of("/mnt/inner"), "/mnt/inner");
    assert_eq!(world.path_of("/mnt/inner/../.."), "/");
    world.mount("/mnt");
    assert_eq!(world.list("/mnt"), [".", ".."]);
    assert_eq!(world.path_of("/mnt/.."), "/");
    assert_eq!(world.rmdir("/mnt").err(), Some(FsError::Busy));
    assert_eq!(world.rename("/mnt", "/other").err(), Some(FsError::Busy));
    assert_eq!(world.rename("/a/b/c/file", "/mnt/file").err(), Some(FsError::CrossDevice));
    world.unmount("/mnt").unwrap();
    assert_eq!(world.unmount("/mnt/inner").err(), Some(FsError::InvalidArgument));
    let held = world.get("/mnt/inner").unwrap();
    assert_eq!(world.unmount("/mnt").err(), Some(FsError::Busy));
    drop(held);
    world.unmount("/mnt").unwrap();
    assert!(world.get("/mnt/hidden").is_ok());
    assert_eq!(world.unmount("/mnt").err(), Some(FsError::InvalidArgument));
}

#[test]
fn an_open_deleted_file_keeps_its_mount_busy() {
    let world = tree();
    world.mount("/mnt");
    world.write("/mnt/file", b"still here").unwrap();
    let file = world.open("/mnt/file", OpenFlags::empty()).unwrap();
    world.unlink("/mnt/file").unwrap();
    assert_eq!(world.unmount("/mnt").err(), Some(FsError::Busy));
    assert_eq!(file.metadata().unwrap().links, 0);
    drop(file);
    world.unmount("/mnt").unwrap();
}

#[test]
fn a_mount_with_files_open_for_writing_stays_writable() {
    let world = tree();
    world.mount("/mnt");
    world.write("/mnt/file", b"text").unwrap();
    let remount = |flags| mount::remount(&world.get("/mnt").unwrap(), flags);
    let (read_only, writable) = (MountFlags::READ_ONLY, MountFlags::empty());
    let reader = world.open("/mnt/file", OpenFlags::empty()).unwrap();
    // What was only cut at its opening is not written later.
    let cutter = world.open("/mnt/file", OpenFlags::TRUNCATE).unwrap();
    for flags in [OpenFlags::WRITE_ONLY, OpenFlags::READ_WRITE] {
        let first = world.open("/mnt/file", flags).unwrap();
        let second = world.open("/mnt/file", flags).unwrap();
        assert_eq!(remount(read_only), Err(FsError::Busy));
        drop(first);
        assert_eq!(remount(read_only), Err(FsError::Busy));
        assert_eq!(second.write(&mut SliceSource::new(b"more")), Ok(4));
        drop(second);
        remount(read_only).unwrap();
        remount(read_only | MountFlags::NO_SET_ID).unwrap();
        for flags in [flags, flags | OpenFlags::CREATE, OpenFlags::TRUNCATE] {
            assert_eq!(world.open("/mnt/file", flags).err(), Some(FsError::ReadOnly));
        }
        assert_eq!(world.mkdir("/mnt/d").err(), Some(FsError::ReadOnly));
        assert_eq!(world.read("/mnt/file").unwrap(), b"more");
        remount(writable).unwrap();
        // Twice allows no more than once.
        remount(writable).unwrap();
        drop(world.open("/mnt/file", OpenFlags::WRITE_ONLY).unwrap());
    }
    drop((reader, cutter));
    remount(read_only).unwrap();
}

#[test]
fn a_process_root_is_the_top() {
    let world = tree();
    let jail = world.get("/a").unwrap();
    let walk = Walk { vfs: &world.vfs, root: &jail, identity: Identity::ROOT };
    let b = walk.resolve(&jail, b"/../../b", true).unwrap();
    assert_eq!(walk.path_of(&b).unwrap(), b"/b");
    assert_eq!(walk.path_of(&world.get("/mnt").unwrap()), None);
}

#[test]
fn search_permission_is_needed_on_the_way() {
    let world = tree();
    let user = Identity { uid: 1000, gid: 1000, groups: &[] };
    let walk = world.walk_as(user);
    assert!(walk.resolve(&world.root, b"/a/b/c/file", true).is_ok());
    let b = world.get("/a/b").unwrap();
    b.inode().set_attributes(&SetAttributes { mode: Some(0o700), ..Default::default() }).unwrap();
    for path in ["/a/b/c", "/a/b/missing", "/a/b/.", "/a/b/.."] {
        let result = walk.resolve(&world.root, path.as_bytes(), true);
        assert_eq!(result.err(), Some(FsError::PermissionDenied), "{path}");
    }
    assert!(walk.resolve(&world.root, b"/a/b", true).is_ok());
    let made = walk.make(&world.root, b"/a/x", NewNode::Directory, 0o777);
    assert_eq!(made.err(), Some(FsError::PermissionDenied));
}

#[test]
fn a_small_cache_forgets_but_answers_rightly() {
    let world = World::with_names(16);
    for n in 0..400 {
        world.symlink(&format!("{n}"), &format!("/f{n}")).unwrap();
    }
    for n in 0..400 {
        let target = world.walk().read_link(&world.root, format!("/f{n}").as_bytes());
        assert_eq!(target.unwrap(), format!("{n}").as_bytes());
        assert_eq!(world.get(&format!("/g{n}")).err(), Some(FsError::NotFound));
    }
    assert!(world.vfs.read().cached_names() <= 17);
}

/// A link that leads to a place or an object rather than to a path.
struct Magic(Option<Arc<Dentry>>);

impl Inode for Magic {
    fn file_type(&self) -> FileType {
        FileType::Symlink
    }

    fn permissions(&self) -> Permissions {
        Permissions { mode: 0o777, uid: 0, gid: 0 }
    }

    fn metadata(&self) -> Result<Metadata, FsError> {
        Ok(NodeAttributes::new(9, OPTIONS.root, 1).metadata(FileType::Symlink))
    }

    fn follow_link(&self) -> Result<LinkTarget, FsError> {
        Ok(match &self.0 {
            Some(place) => LinkTarget::Place(Arc::clone(place)),
            None => LinkTarget::Object(Arc::new(Endless)),
        })
    }

    fn open(self: Arc<Self>, _: OpenFlags) -> Result<Arc<dyn File>, FsError> {
        Err(FsError::TooManySymlinks)
    }
}

/// A device that has no name.
struct Endless;

impl Inode for Endless {
    fn file_type(&self) -> FileType {
        FileType::CharacterDevice
    }

    fn permissions(&self) -> Permissions {
        Permissions { mode: 0o666, uid: 0, gid: 0 }
    }

    fn metadata(&self) -> Result<Metadata, FsError> {
        Ok(NodeAttributes::new(10, OPTIONS.root, 0).metadata(FileType::CharacterDevice))
    }

    fn open(self: Arc<Self>, _: OpenFlags) -> Result<Arc<dyn File>, FsError> {
        Ok(self)
    }
}

impl File for Endless {
    fn read(&self, _: &mut u64, sink: &mut dyn Sink, _: OpenFlags) -> Result<usize, FsError> {
        Ok(sink.put_zeros(usize::MAX))
    }
}

#[test]
fn links_may_lead_to_places_and_to_objects() {
    let world = tree();
    let fs = MemoryFs::new(MemoryOptions { attach: true, ..OPTIONS });
    fs.add(b"place", Arc::new(Magic(world.get("/a/b").ok()))).unwrap();
    fs.add(b"object", Arc::new(Magic(None))).unwrap();
    let point = world.get("/mnt").unwrap();
    mount::mount(&world.vfs, Some(&point), Arc::new(fs), b"", MountFlags::empty()).unwrap();
    world.rename("/a", "/renamed").unwrap();
    // The place is where it is now, whatever it was called.
    assert_eq!(world.path_of("/mnt/place/c"), "/renamed/b/c");
    assert_eq!(world.read("/mnt/place/c/file").unwrap(), b"deep");
    world.write("/mnt/place/new", b"x").unwrap();
    assert_eq!(world.read("/renamed/b/new").unwrap(), b"x");
    for flags in [OpenFlags::empty(), OpenFlags::CREATE | OpenFlags::READ_WRITE] {
        let object = world.open("/mnt/object", flags).unwrap();
        assert_eq!(object.read(&mut SliceSink::new(&mut [1; 5])), Ok(5));
    }
    assert_eq!(world.get("/mnt/object/x").err(), Some(FsError::NotDirectory));
    let no_follow = world.open("/mnt/object", OpenFlags::NO_FOLLOW);
    assert_eq!(no_follow.err(), Some(FsError::TooManySymlinks));
}
