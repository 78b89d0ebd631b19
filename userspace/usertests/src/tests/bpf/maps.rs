//! Maps: each kind, and their errors.

use super::{
    ARRAY, EXIT, HASH, MMAPABLE, PER_CPU_ARRAY, RAW_TRACEPOINT, RING, available, command_with,
    create, instruction, load, mappable_array, new_map, number, raw, set,
};
use crate::calls;
use crate::check::{Outcome, check, equal, fails, ok, skip};
use crate::tests::epoll;
use ::bpf::attributes::Attributes;
use ::bpf::calls as commands;
use ::bpf::calls::{Map, NewMap};
use ::bpf::info::MapInfo;
use alloc::vec::Vec;
use kernel_abi::bpf::{command, map_create, map_elem};
use lemma_rt::Errno;
use lemma_rt::general::{MAP_SHARED, PROT_READ, PROT_WRITE};
use lemma_rt::rustix::fd::{AsFd, AsRawFd};

pub(super) fn map_creation() -> Outcome {
    available()?;
    fails!(create(ARRAY, 8, 8, 1), INVAL);
    fails!(create(ARRAY, 4, 0, 1), INVAL);
    fails!(create(ARRAY, 4, 8, 0), INVAL);
    fails!(create(HASH, 0, 8, 1), INVAL);
    fails!(create(HASH, 4, 8, 0), INVAL);
    fails!(create(9999, 4, 8, 1), INVAL);
    fails!(commands::create_map(&NewMap { flags: 1 << 30, ..new_map(ARRAY, 4, 8, 1) }), INVAL);
    // A name has no other characters than those of an identifier and a dot.
    let mut attributes = Attributes::new()
        .with(map_create::MAP_TYPE, ARRAY)
        .with(map_create::KEY_SIZE, 4)
        .with(map_create::VALUE_SIZE, 8)
        .with(map_create::MAX_ENTRIES, 1);
    attributes.bytes_mut(64)[map_create::MAP_NAME] = b'/';
    fails!(raw(command::MAP_CREATE, attributes.bytes_mut(64)), INVAL);
    Ok(())
}

pub(super) fn array() -> Outcome {
    available()?;
    let map = ok!(create(ARRAY, 4, 8, 4));
    let key = |index: u32| index.to_ne_bytes();
    for index in 0..4 {
        equal!(number(&ok!(map.lookup(&key(index)))), 0);
        ok!(map.update(&key(index), &u64::from(index + 10).to_ne_bytes(), 0));
    }
    for index in 0..4 {
        equal!(number(&ok!(map.lookup(&key(index)))), u64::from(index + 10));
    }
    fails!(map.lookup(&key(4)), NOENT);
    fails!(map.update(&key(4), &[0; 8], 0), TOOBIG);
    fails!(map.update(&key(0), &[0; 8], 1), EXIST);
    fails!(map.update(&key(0), &[0; 8], 99), INVAL);
    ok!(map.update(&key(0), &[0; 8], 2));
    fails!(map.delete(&key(0)), INVAL);
    Ok(())
}

pub(super) fn hash() -> Outcome {
    available()?;
    let map = ok!(create(HASH, 8, 16, 100));
    let key = |index: u64| index.to_ne_bytes();
    fails!(map.lookup(&key(1)), NOENT);
    fails!(map.delete(&key(1)), NOENT);
    fails!(map.update(&key(1), &[1; 16], 2), NOENT);
    ok!(map.update(&key(1), &[1; 16], 1));
    fails!(map.update(&key(1), &[2; 16], 1), EXIST);
    ok!(map.update(&key(1), &[3; 16], 2));
    equal!(ok!(map.lookup(&key(1))), [3; 16]);
    ok!(map.update(&key(1), &[4; 16], 0));
    equal!(ok!(map.lookup(&key(1))), [4; 16]);
    ok!(map.delete(&key(1)));
    fails!(map.lookup(&key(1)), NOENT);
    Ok(())
}

pub(super) fn hash_full() -> Outcome {
    available()?;
    let map = ok!(create(HASH, 4, 8, 50));
    for index in 0..50u32 {
        ok!(map.update(&index.to_ne_bytes(), &[index as u8; 8], 0));
    }
    fails!(map.update(&50u32.to_ne_bytes(), &[0; 8], 0), TOOBIG);
    ok!(map.update(&7u32.to_ne_bytes(), &[200; 8], 0));
    ok!(map.delete(&3u32.to_ne_bytes()));
    ok!(map.update(&50u32.to_ne_bytes(), &[50; 8], 0));
    equal!(ok!(map.lookup(&7u32.to_ne_bytes())), [200; 8]);
    equal!(ok!(map.lookup(&49u32.to_ne_bytes())), [49; 8]);
    Ok(())
}

pub(super) fn next_keys() -> Outcome {
    available()?;
    let map = ok!(create(HASH, 4, 8, 100));
    fails!(map.next_key(None), NOENT);
    for index in 0..60u32 {
        ok!(map.update(&index.to_ne_bytes(), &[0; 8], 0));
    }
    let mut found = Vec::new();
    let mut key: Option<Vec<u8>> = None;
    loop {
        match map.next_key(key.as_deref()) {
            Ok(next) => {
                found.push(next.clone());
                key = Some(next);
            }
            Err(error) => {
                equal!(error, Errno::NOENT);
                break;
            }
        }
        check!(found.len() <= 60);
    }
    found.sort();
    found.dedup();
    equal!(found.len(), 60);
    // A key that is not there stands before the first.
    ok!(map.next_key(Some(&1000u32.to_ne_bytes())));
    let array = ok!(create(ARRAY, 4, 8, 2));
    equal!(ok!(array.next_key(None)), 0u32.to_ne_bytes());
    equal!(ok!(array.next_key(Some(&0u32.to_ne_bytes()))), 1u32.to_ne_bytes());
    fails!(array.next_key(Some(&1u32.to_ne_bytes())), NOENT);
    equal!(ok!(array.next_key(Some(&77u32.to_ne_bytes()))), 0u32.to_ne_bytes());
    Ok(())
}

pub(super) fn per_cpu_array() -> Outcome {
    available()?;
    let fd = ok!(commands::create_map(&new_map(PER_CPU_ARRAY, 4, 8, 2)));
    let info = ok!(MapInfo::of(fd.as_fd()));
    let map = info.open(fd);
    let cpus = ::bpf::info::cpus();
    let mut value = alloc::vec![0; map.value_size];
    for cpu in 0..cpus {
        value[cpu * 8] = cpu as u8 + 1;
    }
    ok!(map.update(&[0; 4], &value, 0));
    let found = ok!(map.lookup(&[0; 4]));
    equal!(&found[..cpus * 8], &value[..cpus * 8]);
    check!(ok!(map.lookup(&1u32.to_ne_bytes()))[..cpus * 8].iter().all(|&byte| byte == 0));
    fails!(map.lookup(&2u32.to_ne_bytes()), NOENT);
    Ok(())
}

pub(super) fn frozen_map() -> Outcome {
    available()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    ok!(map.update(&[0; 4], &[5; 8], 0));
    ok!(map.freeze());
    fails!(map.update(&[0; 4], &[6; 8], 0), PERM);
    equal!(ok!(map.lookup(&[0; 4])), [5; 8]);
    fails!(map.freeze(), PERM);
    Ok(())
}

pub(super) fn ring_map() -> Outcome {
    available()?;
    let new = |entries| commands::create_map(&new_map(RING, 0, 0, entries));
    let fd = ok!(new(8192));
    fails!(new(5000), INVAL);
    fails!(new(0), INVAL);
    fails!(commands::create_map(&new_map(RING, 4, 0, 4096)), INVAL);
    let number = fd.as_raw_fd();
    // The consumer's page may be written, the others not.
    let shared = lemma_rt::general::MAP_SHARED;
    let consumer = ok!(calls::mmap(0, 4096, 3, shared, number, 0));
    calls::poke(consumer + 100, 1);
    fails!(calls::mmap(0, 4096, 3, shared, number, 4096), PERM);
    let data = ok!(calls::mmap(0, 4096 + 2 * 8192, 1, shared, number, 4096));
    equal!(calls::peek(data), 0);
    let status = ok!(calls::in_child(|| {
        calls::poke(data, 1);
        0
    }));
    equal!(status.signaled(), Some(11));
    // A record of a program arrives.
    let program = [
        set(2, 0x1234),
        instruction(0x7b, 0x2a, -8, 0),
        instruction(0xbf, 0xa2, 0, 0),
        instruction(0x07, 2, 0, -8),
        instruction(0x18, 0x11, 0, number),
        0,
        set(3, 8),
        set(4, 0),
        instruction(0x85, 0, 0, 130),
        EXIT,
    ];
    let program = ok!(load(RAW_TRACEPOINT, &program));
    let info = ok!(MapInfo::of(fd.as_fd()));
    let mut ring = ok!(::bpf::ring::Ring::open(fd, &info));
    check!(ring.next_record().is_none());
    for _ in 0..2000 {
        equal!(ok!(commands::test(program.as_fd(), &[], &[0; 16], 0)).result, 0);
        equal!(ring.next_record(), Some(0x1234u64.to_ne_bytes().to_vec()));
        check!(ring.next_record().is_none());
    }
    // Full, it takes no more, and what is in it stays.
    let mut taken = 0;
    while ok!(commands::test(program.as_fd(), &[], &[0; 16], 0)).result == 0 {
        taken += 1;
        check!(taken <= 512);
    }
    check!(taken > 400, " {taken} records");
    for _ in 0..taken {
        equal!(ring.next_record(), Some(0x1234u64.to_ne_bytes().to_vec()));
    }
    check!(ring.next_record().is_none());
    Ok(())
}

pub(super) fn map_errors() -> Outcome {
    available()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    let fd = map.fd.as_raw_fd();
    let lookup = |fd: i32, key: usize, value: usize| {
        let attributes = Attributes::new()
            .with_fd(map_elem::MAP_FD, fd)
            .with64(map_elem::KEY, key as u64)
            .with64(map_elem::VALUE, value as u64);
        command_with(command::MAP_LOOKUP_ELEM, attributes, 128)
    };
    let room = [0u64; 2];
    let good = room.as_ptr() as usize;
    fails!(lookup(99, good, good), BADF);
    fails!(lookup(-1, good, good), BADF);
    fails!(lookup(0, good, good), INVAL);
    for bad in [8, 1 << 63, usize::MAX - 1] {
        fails!(lookup(fd, bad, good), FAULT);
        fails!(lookup(fd, good, bad), FAULT);
    }
    equal!(lookup(fd, good, good), Ok(0));
    let attributes = Attributes::new().with_fd(map_elem::MAP_FD, fd).with(40, 1);
    fails!(command_with(command::MAP_LOOKUP_ELEM, attributes, 128), INVAL);
    Ok(())
}

const PAGE: usize = 4096;

fn map_pages(fd: i32, pages: usize, protection: u32, from: usize) -> lemma_rt::Result<usize> {
    calls::mmap(0, pages * PAGE, protection, MAP_SHARED, fd, from * PAGE)
}

/// The signal of which a child dies that writes there.
fn death_of_writer(address: usize) -> lemma_rt::Result<Option<i32>> {
    let status = calls::in_child(|| {
        calls::poke(address, 1);
        0
    })?;
    Ok(status.signaled())
}

/// Of a ring buffer's pages only the first, the reader's position, can be written, however one
/// goes about it.
pub(super) fn mapped_ring() -> Outcome {
    available()?;
    const BOTH: u32 = PROT_READ | PROT_WRITE;
    let fd = ok!(commands::create_map(&new_map(RING, 0, 0, 4096)));
    let fd = fd.as_raw_fd();
    fails!(map_pages(fd, 1, BOTH, 1), PERM);
    fails!(map_pages(fd, 2, BOTH, 0), PERM);
    fails!(map_pages(fd, 4, PROT_READ, 1), INVAL);
    fails!(map_pages(fd, 1, PROT_READ, 4), INVAL);
    let producer = ok!(map_pages(fd, 3, PROT_READ, 1));
    fails!(calls::mprotect(producer, PAGE, BOTH), ACCESS);
    fails!(calls::mprotect(producer + PAGE, 2 * PAGE, BOTH), ACCESS);
    equal!(death_of_writer(producer), Ok(Some(11)));
    // Taking rights away and giving them back does not add any.
    ok!(calls::mprotect(producer, 3 * PAGE, 0));
    fails!(calls::mprotect(producer, 3 * PAGE, BOTH), ACCESS);
    ok!(calls::mprotect(producer, 3 * PAGE, PROT_READ));
    equal!(calls::peek(producer), 0);
    let consumer = ok!(map_pages(fd, 1, BOTH, 0));
    calls::poke(consumer, 8);
    ok!(calls::mprotect(consumer, PAGE, PROT_READ));
    equal!(death_of_writer(consumer), Ok(Some(11)));
    ok!(calls::mprotect(consumer, PAGE, BOTH));
    calls::poke(consumer, 0);
    // The first page, mapped to be read only, stays so.
    let only_read = ok!(map_pages(fd, 1, PROT_READ, 0));
    fails!(calls::mprotect(only_read, PAGE, BOTH), ACCESS);
    Ok(())
}

/// An array's values in memory are the map's; what was mapped to be read stays so.
pub(super) fn mapped_array() -> Outcome {
    available()?;
    const BOTH: u32 = PROT_READ | PROT_WRITE;
    let fd = ok!(mappable_array());
    let number = fd.as_raw_fd();
    fails!(map_pages(number, 2, PROT_READ, 0), INVAL);
    let written = ok!(map_pages(number, 1, BOTH, 0));
    let seen = ok!(map_pages(number, 1, PROT_READ, 0));
    calls::poke(written + 5, 77);
    equal!(calls::peek(seen + 5), 77);
    equal!(death_of_writer(seen), Ok(Some(11)));
    fails!(calls::mprotect(seen, PAGE, BOTH), ACCESS);
    let map = Map { fd, key_size: 4, value_size: 4096 };
    let mut value = ok!(map.lookup(&[0; 4]));
    equal!(value[5], 77);
    value[5] = 78;
    ok!(map.update(&[0; 4], &value, 0));
    equal!(calls::peek(seen + 5), 78);
    // An array that is not made for it.
    let other = ok!(create(ARRAY, 4, 4096, 1));
    check!(map_pages(other.fd.as_raw_fd(), 1, PROT_READ, 0).is_err());
    // The memory outlives the descriptor.
    drop(map);
    equal!(calls::peek(seen + 5), 78);
    Ok(())
}

/// While a map's pages can be written it cannot be frozen; a frozen one, and one that programs may
/// only read, gives no page to be written.
pub(super) fn frozen_pages() -> Outcome {
    available()?;
    const BOTH: u32 = PROT_READ | PROT_WRITE;
    const READ_ONLY_FOR_PROGRAMS: u32 = 1 << 7;
    let fd = ok!(mappable_array());
    let number = fd.as_raw_fd();
    let map = Map { fd, key_size: 4, value_size: 4096 };
    let written = ok!(map_pages(number, 1, BOTH, 0));
    fails!(map.freeze(), BUSY);
    // What may become writable again counts as such, and so does a child's copy.
    ok!(calls::mprotect(written, PAGE, PROT_READ));
    fails!(map.freeze(), BUSY);
    let status = ok!(calls::in_child(|| {
        let unmapped = calls::munmap(written, PAGE).is_ok();
        i32::from(!(unmapped && map.freeze() == Err(Errno::BUSY)))
    }));
    equal!(status.exited(), Some(0));
    ok!(calls::munmap(written, PAGE));
    let seen = ok!(map_pages(number, 1, PROT_READ, 0));
    ok!(map.freeze());
    fails!(map_pages(number, 1, BOTH, 0), PERM);
    fails!(calls::mprotect(seen, PAGE, BOTH), ACCESS);
    ok!(map_pages(number, 1, PROT_READ, 0));
    let flags = MMAPABLE | READ_ONLY_FOR_PROGRAMS;
    let constant = ok!(commands::create_map(&NewMap { flags, ..new_map(ARRAY, 4, 4096, 1) }));
    ok!(map_pages(constant.as_raw_fd(), 1, PROT_READ, 0));
    match map_pages(constant.as_raw_fd(), 1, BOTH, 0) {
        // Linux before 6.14.
        Ok(_) => skip!("this kernel lets constants be mapped to be written"),
        refused => equal!(refused, Err(Errno::ACCESS)),
    }
    // A reader's position can be written, too.
    let fd = ok!(commands::create_map(&new_map(RING, 0, 0, 4096)));
    let number = fd.as_raw_fd();
    let ring = Map { fd, key_size: 0, value_size: 0 };
    let position = ok!(map_pages(number, 1, BOTH, 0));
    fails!(ring.freeze(), BUSY);
    ok!(calls::munmap(position, PAGE));
    ok!(ring.freeze());
    fails!(map_pages(number, 1, BOTH, 0), PERM);
    Ok(())
}

/// Who waits for a ring buffer's records is woken for the one that he has come to, unless the flags
/// say otherwise; other maps are an error to wait for.
pub(super) fn ring_wakes() -> Outcome {
    available()?;
    const IN: u32 = 0x1;
    const EDGE: u32 = 1 << 31;
    const NO_WAKEUP: i32 = 1;
    const FORCE_WAKEUP: i32 = 2;
    let fd = ok!(commands::create_map(&new_map(RING, 0, 0, 4096)));
    let number = fd.as_raw_fd();
    let add = |size: i32, flags: i32| {
        let program = [
            instruction(0x7a, 10, -8, 0),
            instruction(0xbf, 0xa2, 0, 0),
            instruction(0x07, 2, 0, -8),
            instruction(0x18, 0x11, 0, number),
            0,
            set(3, size),
            set(4, flags),
            instruction(0x85, 0, 0, 130),
            EXIT,
        ];
        let program = load(RAW_TRACEPOINT, &program)?;
        commands::test(program.as_fd(), &[], &[0; 16], 0).map(|run| run.result as i32)
    };
    let info = ok!(MapInfo::of(fd.as_fd()));
    let poll = ok!(epoll::create());
    ok!(epoll::add(poll, number, IN | EDGE));
    let mut ring = ok!(::bpf::ring::Ring::open(fd, &info));
    let told = || epoll::look(poll).map(|events| events.len());
    equal!(told(), Ok(0));
    equal!(add(8, 0), Ok(0));
    equal!(told(), Ok(1));
    // The reader has not come to this one.
    equal!(add(8, 0), Ok(0));
    equal!(told(), Ok(0));
    equal!(add(8, FORCE_WAKEUP), Ok(0));
    equal!(told(), Ok(1));
    while ring.next_record().is_some() {}
    equal!(add(8, NO_WAKEUP), Ok(0));
    equal!(told(), Ok(0));
    equal!(add(8, NO_WAKEUP | FORCE_WAKEUP), Ok(0));
    equal!(told(), Ok(1));
    equal!(add(8, 4), Ok(-22));
    equal!(told(), Ok(0));
    let other = ok!(create(HASH, 4, 8, 1));
    // An error is told of without being asked for.
    equal!(calls::poll(&mut [(other.fd.as_raw_fd(), 0)], 0), Ok(1));
    let program = ok!(load(RAW_TRACEPOINT, &[set(0, 0), EXIT]));
    equal!(calls::poll(&mut [(program.as_raw_fd(), 0)], 0), Ok(0));
    equal!(calls::poll(&mut [(program.as_raw_fd(), IN as i16)], 0), Ok(1));
    fails!(epoll::add(poll, program.as_raw_fd(), IN), PERM);
    Ok(())
}
