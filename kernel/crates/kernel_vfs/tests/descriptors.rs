//! The descriptor table and shared descriptions.

mod common;

use std::sync::Arc;

use common::World;
use kernel_vfs::{FdTable, FsContext, FsError, OpenFlags, SliceSink, Whence};

#[test]
fn the_lowest_free_descriptor_is_used() {
    let world = World::new();
    world.write("/f", b"abcdef").unwrap();
    let table = FdTable::new();
    let open = || world.open("/f", OpenFlags::empty()).unwrap();
    assert_eq!(table.install(open(), false), Ok(0));
    assert_eq!(table.install(open(), true), Ok(1));
    assert_eq!(table.install(open(), false), Ok(2));
    table.remove(1).unwrap();
    table.remove(0).unwrap();
    assert_eq!(table.remove(0).err(), Some(FsError::BadDescriptor));
    assert_eq!(table.install_from(1, open(), false), Ok(1));
    assert_eq!(table.install(open(), false), Ok(0));
    assert_eq!(table.install(open(), true), Ok(3));
    assert_eq!(table.install_from(10, open(), true), Ok(10));
    assert_eq!(table.install(open(), false), Ok(4));
    assert_eq!(table.list(), [0, 1, 2, 3, 4, 10]);
    assert!(table.close_on_exec(3).unwrap());
    table.set_close_on_exec(3, false).unwrap();
    table.close_for_exec();
    assert_eq!(table.list(), [0, 1, 2, 3, 4]);
    assert_eq!(table.get(10).err(), Some(FsError::BadDescriptor));
}

#[test]
fn sharers_share_the_offset_and_openers_do_not() {
    let world = World::new();
    world.write("/f", b"abcdef").unwrap();
    let table = FdTable::new();
    let file = world.open("/f", OpenFlags::empty()).unwrap();
    table.install(Arc::clone(&file), false).unwrap();
    assert!(table.replace(5, file, false).unwrap().is_none());
    table.install(world.open("/f", OpenFlags::empty()).unwrap(), false).unwrap();
    let child = table.fork();
    let mut two = [0; 2];
    for (table, fd, expected) in
        [(&table, 0, b"ab"), (&table, 5, b"cd"), (&child, 0, b"ef"), (&child, 1, b"ab")]
    {
        let file = table.get(fd).unwrap();
        assert_eq!(file.read(&mut SliceSink::new(&mut two)), Ok(2));
        assert_eq!(&two, expected);
    }
    let file = table.get(0).unwrap();
    assert_eq!(file.read(&mut SliceSink::new(&mut two)), Ok(0));
    assert_eq!(file.seek(Whence::Data, 2), Ok(2));
    assert_eq!(file.seek(Whence::Hole, 2), Ok(6));
    for (whence, from) in [(Whence::Data, 6), (Whence::Hole, 6), (Whence::Data, -1)] {
        assert_eq!(file.seek(whence, from), Err(FsError::NoSuchDevice));
    }
    assert_eq!(file.seek(Whence::End, -1), Ok(5));
    assert_eq!(file.seek(Whence::Current, -6), Err(FsError::InvalidArgument));
    assert_eq!(file.read_at(1, &mut SliceSink::new(&mut two)), Ok(2));
    assert_eq!(&two, b"bc");
    assert_eq!(file.position(), 5);
}

#[test]
fn the_table_is_limited() {
    let world = World::new();
    world.write("/f", b"").unwrap();
    let file = world.open("/f", OpenFlags::empty()).unwrap();
    let table = FdTable::new();
    for fd in 0..1024 {
        table.check_room().unwrap();
        assert_eq!(table.install(Arc::clone(&file), false), Ok(fd));
    }
    assert_eq!(table.check_room(), Err(FsError::TooManyFiles));
    assert_eq!(table.install(Arc::clone(&file), false), Err(FsError::TooManyFiles));
    assert_eq!(table.replace(1024, Arc::clone(&file), false).err(), Some(FsError::BadDescriptor));
    table.close_all();
    assert_eq!(Arc::strong_count(&file), 1);
    assert_eq!(table.install(file, false), Ok(0));
}

#[test]
fn a_context_is_copied_by_fork() {
    let world = World::new();
    world.mkdir("/d").unwrap();
    world.write("/f", b"").unwrap();
    let context = FsContext::new(Arc::clone(&world.root));
    context.set_working_directory(world.get("/d").unwrap()).unwrap();
    let child = context.fork();
    child.set_working_directory(Arc::clone(&world.root)).unwrap();
    assert_eq!(child.set_umask(0o1077), 0o022);
    assert_eq!((context.umask(), child.umask()), (0o022, 0o077));
    assert!(Arc::ptr_eq(&context.working_directory(), &world.get("/d").unwrap()));
    let file = context.set_working_directory(world.get("/f").unwrap());
    assert_eq!(file, Err(FsError::NotDirectory));
}
