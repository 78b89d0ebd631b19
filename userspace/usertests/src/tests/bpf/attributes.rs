//! The rules of the attributes, what is wrong for every command, numbers, information, types.

use super::{
    ARRAY, EXIT, HASH, SOCKET_FILTER, available, command_with, create, load, new_map, raw, set,
};
use crate::calls;
use crate::check::{Outcome, check, equal, fails, ok};
use ::bpf::attributes::Attributes;
use ::bpf::calls as commands;
use ::bpf::calls::{Kind, Map, NewMap};
use ::bpf::info::{MapInfo, ProgramInfo};
use alloc::vec::Vec;
use kernel_abi::bpf::{command, info, map_create};
use lemma_rt::rustix::fd::{AsFd, AsRawFd};

/// Linux's rule: what is behind the union that the kernel knows must be zero.
pub(super) fn attribute_sizes() -> Outcome {
    available()?;
    let mut attributes = Attributes::new()
        .with(map_create::MAP_TYPE, ARRAY)
        .with(map_create::KEY_SIZE, 4)
        .with(map_create::VALUE_SIZE, 8)
        .with(map_create::MAX_ENTRIES, 1);
    // The shortest that says everything.
    let fd = ok!(raw(command::MAP_CREATE, attributes.bytes_mut(16)));
    ok!(calls::close(fd as i32));
    let mut long = alloc::vec![0; 4096];
    long[..128].copy_from_slice(attributes.bytes_mut(128));
    let fd = ok!(raw(command::MAP_CREATE, &mut long));
    ok!(calls::close(fd as i32));
    long[4095] = 1;
    fails!(raw(command::MAP_CREATE, &mut long), TOOBIG);
    long[4095] = 0;
    let mut longer = long.clone();
    longer.push(0);
    fails!(raw(command::MAP_CREATE, &mut longer), TOOBIG);
    // Inside the union, but behind the command's last field.
    long[100] = 1;
    fails!(raw(command::MAP_CREATE, &mut long), INVAL);
    let number = lemma_rt::general::__NR_bpf as usize;
    fails!(calls::raw(number, [0, 0, 128, 0, 0, 0]), FAULT);
    fails!(calls::raw(number, [0, usize::MAX - 64, 128, 0, 0, 0]), FAULT);
    fails!(calls::raw(number, [0, 0, u32::MAX as usize, 0, 0, 0]), TOOBIG);
    Ok(())
}

pub(super) fn unknown_commands() -> Outcome {
    available()?;
    for number in [1000, u32::MAX, 1 << 31] {
        fails!(raw(number, &mut [0; 64]), INVAL);
    }
    Ok(())
}

pub(super) fn information() -> Outcome {
    available()?;
    let fd = ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT]));
    let found = ok!(ProgramInfo::of(fd.as_fd()));
    equal!((found.kind, found.name.as_str()), (SOCKET_FILTER, "tested"));
    check!(found.id > 0 && found.load_time > 0);
    // The same instructions have the same tag, others another.
    let same = ok!(ProgramInfo::of(ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT])).as_fd()));
    let other = ok!(ProgramInfo::of(ok!(load(SOCKET_FILTER, &[set(0, 1), EXIT])).as_fd()));
    check!(same.tag == found.tag && other.tag != found.tag);
    let map = ok!(create(HASH, 8, 24, 10));
    let found = ok!(MapInfo::of(map.fd.as_fd()));
    let sizes = (found.kind, found.key_size, found.value_size, found.max_entries);
    equal!(sizes, (HASH, 8, 24, 10));
    equal!(found.name.as_str(), "tested");
    // A longer structure than the kernel's must be zero behind it; a shorter one is filled.
    let ask = |room: &mut [u8]| {
        let attributes = Attributes::new()
            .with_fd(info::BPF_FD, map.fd.as_raw_fd())
            .with(info::INFO_LEN, room.len() as u32)
            .with_pointer(info::INFO, room.as_mut_ptr());
        command_with(command::OBJ_GET_INFO_BY_FD, attributes, info::END)
    };
    let mut room = alloc::vec![0; 1000];
    ok!(ask(&mut room));
    room[999] = 1;
    fails!(ask(&mut room), TOOBIG);
    let mut room = [0; 8];
    ok!(ask(&mut room));
    equal!(room[..4], HASH.to_ne_bytes());
    Ok(())
}

pub(super) fn numbers_iterate() -> Outcome {
    available()?;
    let fd = ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT]));
    let id = ok!(ProgramInfo::of(fd.as_fd())).id;
    check!(ok!(commands::ids(Kind::Program)).contains(&id));
    let again = ok!(commands::by_id(Kind::Program, id));
    equal!(ok!(ProgramInfo::of(again.as_fd())).id, id);
    drop((fd, again));
    // Kernels may take a moment to forget.
    let mut tries = 0;
    while commands::by_id(Kind::Program, id).is_ok() && tries < 1000 {
        calls::pause_for(1);
        tries += 1;
    }
    fails!(commands::by_id(Kind::Program, id), NOENT);
    fails!(commands::next_id(Kind::Program, 1 << 30), NOENT);
    fails!(commands::next_id(Kind::Program, u32::MAX - 1), INVAL);
    fails!(commands::by_id(Kind::Map, u32::MAX - 1), NOENT);
    Ok(())
}

pub(super) fn wrong_descriptors() -> Outcome {
    available()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    let program = ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT]));
    let as_map = Map { fd: program, key_size: 4, value_size: 8 };
    fails!(as_map.lookup(&[0; 4]), INVAL);
    // BPF objects are not files to read.
    fails!(calls::read(map.fd.as_raw_fd(), &mut [0; 8]), INVAL);
    // They survive a fork.
    let status = ok!(calls::in_child(|| i32::from(map.update(&[0; 4], &[9; 8], 0).is_err())));
    equal!(status.code(), 0);
    equal!(ok!(map.lookup(&[0; 4])), [9; 8]);
    Ok(())
}

/// The smallest types there are: one unsigned int.
pub(super) fn types() -> Outcome {
    available()?;
    let mut types = Vec::new();
    let header: [u32; 5] = [24, 0, 16, 16, 5];
    types.extend(0xeb9fu16.to_le_bytes());
    types.extend([1, 0]);
    for word in header {
        types.extend(word.to_le_bytes());
    }
    for word in [1u32, 1 << 24, 4, 32] {
        types.extend(word.to_le_bytes());
    }
    types.extend(b"\0int\0");
    let fd = ok!(commands::load_types(&types));
    let new = NewMap { types: Some((fd.as_raw_fd(), 1, 1)), ..new_map(ARRAY, 4, 4, 1) };
    let map = ok!(commands::create_map(&new));
    let found = ok!(MapInfo::of(map.as_fd()));
    check!(found.types > 0);
    equal!((found.key_type, found.value_type), (1, 1));
    equal!(ok!(::bpf::info::types(found.types)), types);
    let mut spoilt = types.clone();
    spoilt[0] = 0;
    fails!(commands::load_types(&spoilt), INVAL);
    fails!(commands::load_types(&types[..30]), INVAL);
    Ok(())
}
