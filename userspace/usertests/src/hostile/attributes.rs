//! Commands of `bpf(2)` as a program would make them that knows the interface: attributes of the
//! right size, with descriptors of real maps and programs, and pointers at real memory or at its
//! edge; but most likely with something wrong in it, such as a huge count.

use super::arguments::{Arguments, HOSTILE, Random};
use crate::calls;
use crate::tests::bpf::{
    ARRAY, EXIT, HASH, HOOK, PER_CPU_ARRAY, RAW_TRACEPOINT, RING, SOCKET_FILTER, create, load,
    load_hook, set,
};
use ::bpf::calls::Map;
use alloc::vec::Vec;
use core::ffi::CStr;
use kernel_abi::bpf::{
    ATTR_SIZE, attach_type, btf_load, command, get_id, info, link_create, link_update, map_batch,
    map_create, map_elem, obj, prog_attach, prog_load, raw_tracepoint, test_run,
};
use lemma_rt::Result;
use lemma_rt::rustix::fd::{AsRawFd, OwnedFd};

/// Where a worker may pin.
pub(super) const PIN: &CStr = c"/sys/fs/bpf/hostile";

/// What a field holds.
#[derive(Clone, Copy)]
enum Field {
    /// A descriptor of a map, a program, or something else; 32 bits, as are the next.
    Map,
    Program,
    Descriptor,
    /// The number of an object, a type, or an attach type.
    Number,
    /// A program's or a map's type.
    Type,
    /// A size, or how many there are.
    Count,
    /// Mostly none.
    Flags,
    /// Memory, 64 bits, as are the next.
    Memory,
    /// A path, a licence or a tracepoint's name.
    Text,
    /// Instructions.
    Code,
}
use Field::{Code, Count, Descriptor, Flags, Memory, Number, Program, Text, Type};

/// The commands: number, end of the attributes, fields.
type Shape = (u32, usize, &'static [(usize, Field)]);

const ELEMENT: &[(usize, Field)] = &[
    (map_elem::MAP_FD, Field::Map),
    (map_elem::KEY, Memory),
    (map_elem::VALUE, Memory),
    (map_elem::FLAGS, Flags),
];
const BATCH: &[(usize, Field)] = &[
    (map_batch::IN_BATCH, Memory),
    (map_batch::OUT_BATCH, Memory),
    (map_batch::KEYS, Memory),
    (map_batch::VALUES, Memory),
    (map_batch::COUNT, Count),
    (map_batch::MAP_FD, Field::Map),
    (map_batch::ELEM_FLAGS, Flags),
    (map_batch::FLAGS, Flags),
];
const NEXT: &[(usize, Field)] = &[(get_id::ID, Number)];
const BY_ID: &[(usize, Field)] = &[(get_id::ID, Number), (get_id::OPEN_FLAGS, Flags)];
const ATTACH: &[(usize, Field)] = &[
    (prog_attach::ATTACH_BPF_FD, Program),
    (prog_attach::ATTACH_TYPE, Number),
    (prog_attach::ATTACH_FLAGS, Flags),
];

const SHAPES: &[Shape] = &[
    (
        command::MAP_CREATE,
        map_create::END,
        &[
            (map_create::MAP_TYPE, Type),
            (map_create::KEY_SIZE, Count),
            (map_create::VALUE_SIZE, Count),
            (map_create::MAX_ENTRIES, Count),
            (map_create::MAP_FLAGS, Flags),
        ],
    ),
    (
        command::MAP_CREATE,
        map_create::END,
        &[
            (map_create::MAP_TYPE, Type),
            (map_create::KEY_SIZE, Count),
            (map_create::VALUE_SIZE, Count),
            (map_create::MAX_ENTRIES, Count),
            (map_create::MAP_FLAGS, Flags),
            (map_create::INNER_MAP_FD, Field::Map),
            (map_create::BTF_FD, Descriptor),
            (map_create::BTF_KEY_TYPE_ID, Number),
            (map_create::BTF_VALUE_TYPE_ID, Number),
            (map_create::MAP_EXTRA, Flags),
        ],
    ),
    (command::MAP_LOOKUP_ELEM, map_elem::END, ELEMENT),
    (command::MAP_UPDATE_ELEM, map_elem::END, ELEMENT),
    (command::MAP_LOOKUP_AND_DELETE_ELEM, map_elem::END, ELEMENT),
    (
        command::MAP_DELETE_ELEM,
        map_elem::DELETE_END,
        &[(map_elem::MAP_FD, Field::Map), (map_elem::KEY, Memory)],
    ),
    (
        command::MAP_GET_NEXT_KEY,
        map_elem::NEXT_KEY_END,
        &[(map_elem::MAP_FD, Field::Map), (map_elem::KEY, Memory), (map_elem::VALUE, Memory)],
    ),
    (command::MAP_FREEZE, map_elem::FREEZE_END, &[(map_elem::MAP_FD, Field::Map)]),
    (command::MAP_LOOKUP_BATCH, map_batch::END, BATCH),
    (command::MAP_LOOKUP_AND_DELETE_BATCH, map_batch::END, BATCH),
    (command::MAP_UPDATE_BATCH, map_batch::END, BATCH),
    (command::MAP_DELETE_BATCH, map_batch::END, BATCH),
    (
        command::PROG_LOAD,
        prog_load::END,
        &[
            (prog_load::PROG_TYPE, Type),
            (prog_load::INSN_CNT, Count),
            (prog_load::INSNS, Code),
            (prog_load::LICENSE, Text),
            (prog_load::EXPECTED_ATTACH_TYPE, Number),
        ],
    ),
    (
        command::PROG_LOAD,
        prog_load::END,
        &[
            (prog_load::PROG_TYPE, Type),
            (prog_load::INSN_CNT, Count),
            (prog_load::INSNS, Code),
            (prog_load::LICENSE, Text),
            (prog_load::LOG_LEVEL, Number),
            (prog_load::LOG_SIZE, Count),
            (prog_load::LOG_BUF, Memory),
            (prog_load::PROG_FLAGS, Flags),
            (prog_load::PROG_BTF_FD, Descriptor),
            (prog_load::FUNC_INFO_REC_SIZE, Count),
            (prog_load::FUNC_INFO, Memory),
            (prog_load::FUNC_INFO_CNT, Count),
            (prog_load::LINE_INFO_REC_SIZE, Count),
            (prog_load::LINE_INFO, Memory),
            (prog_load::LINE_INFO_CNT, Count),
            (prog_load::FD_ARRAY, Memory),
        ],
    ),
    (command::PROG_ATTACH, prog_attach::END, ATTACH),
    (command::PROG_DETACH, prog_attach::END, ATTACH),
    (
        command::PROG_TEST_RUN,
        test_run::END,
        &[
            (test_run::PROG_FD, Program),
            (test_run::DATA_SIZE_IN, Count),
            (test_run::DATA_IN, Memory),
            (test_run::DATA_SIZE_OUT, Count),
            (test_run::DATA_OUT, Memory),
            (test_run::REPEAT, Count),
        ],
    ),
    (
        command::PROG_TEST_RUN,
        test_run::END,
        &[
            (test_run::PROG_FD, Program),
            (test_run::CTX_SIZE_IN, Count),
            (test_run::CTX_IN, Memory),
            (test_run::REPEAT, Flags),
        ],
    ),
    (command::OBJ_PIN, obj::END, &[(obj::PATHNAME, Text), (obj::BPF_FD, Program)]),
    (command::OBJ_GET, obj::END, &[(obj::PATHNAME, Text), (obj::FILE_FLAGS, Flags)]),
    (
        command::OBJ_GET_INFO_BY_FD,
        info::END,
        &[(info::BPF_FD, Program), (info::INFO_LEN, Count), (info::INFO, Memory)],
    ),
    (
        command::OBJ_GET_INFO_BY_FD,
        info::END,
        &[(info::BPF_FD, Field::Map), (info::INFO_LEN, Count), (info::INFO, Memory)],
    ),
    (command::PROG_GET_NEXT_ID, get_id::NEXT_END, NEXT),
    (command::MAP_GET_NEXT_ID, get_id::NEXT_END, NEXT),
    (command::BTF_GET_NEXT_ID, get_id::NEXT_END, NEXT),
    (command::LINK_GET_NEXT_ID, get_id::NEXT_END, NEXT),
    (command::PROG_GET_FD_BY_ID, get_id::END, BY_ID),
    (command::MAP_GET_FD_BY_ID, get_id::END, BY_ID),
    (command::BTF_GET_FD_BY_ID, get_id::END, BY_ID),
    (command::LINK_GET_FD_BY_ID, get_id::END, BY_ID),
    (
        command::RAW_TRACEPOINT_OPEN,
        16,
        &[(raw_tracepoint::NAME, Text), (raw_tracepoint::PROG_FD, Program)],
    ),
    (
        command::BTF_LOAD,
        btf_load::END,
        &[
            (btf_load::BTF, Memory),
            (btf_load::SIZE, Count),
            (btf_load::LOG_BUF, Memory),
            (btf_load::LOG_SIZE, Count),
            (btf_load::LOG_LEVEL, Flags),
        ],
    ),
    (
        command::LINK_CREATE,
        link_create::END,
        &[(link_create::PROG_FD, Program), (link_create::ATTACH_TYPE, Number)],
    ),
    (
        command::LINK_UPDATE,
        link_update::END,
        &[
            (link_update::LINK_FD, Descriptor),
            (link_update::NEW_PROG_FD, Program),
            (link_update::FLAGS, Flags),
            (link_update::OLD_PROG_FD, Program),
        ],
    ),
    (command::LINK_DETACH, link_update::DETACH_END, &[(link_update::LINK_FD, Descriptor)]),
];

/// What a successful command returns as a new descriptor.
const OPENING: [u32; 10] = [
    command::MAP_CREATE,
    command::PROG_LOAD,
    command::OBJ_GET,
    command::RAW_TRACEPOINT_OPEN,
    command::BTF_LOAD,
    command::LINK_CREATE,
    command::PROG_GET_FD_BY_ID,
    command::MAP_GET_FD_BY_ID,
    command::BTF_GET_FD_BY_ID,
    command::LINK_GET_FD_BY_ID,
];

const TEXTS: [&CStr; 6] = [PIN, PIN, c"GPL", c"sys_enter", c"sys_exit", c"a"];

/// Refuses nothing, wherever it is attached.
static HARMLESS: [u64; 2] = [set(0, 0), EXIT];

/// Objects for the fields that name some. A user who may not have any has none.
struct Objects {
    maps: Vec<Map>,
    programs: Vec<OwnedFd>,
    link: Option<i32>,
}

impl Objects {
    fn new() -> Self {
        let maps =
            [(ARRAY, 4, 8, 2), (HASH, 4, 8, 2), (PER_CPU_ARRAY, 4, 8, 2), (RING, 0, 0, 4096)];
        let maps = maps
            .into_iter()
            .filter_map(|(kind, key, value, entries)| create(kind, key, value, entries).ok());
        let programs =
            [load(SOCKET_FILTER, &HARMLESS), load(RAW_TRACEPOINT, &HARMLESS), load_hook(&HARMLESS)];
        let programs: Vec<_> = programs.into_iter().flatten().collect();
        let link = programs.last().and_then(|program| {
            let mut attributes = ::bpf::attributes::Attributes::new()
                .with_fd(link_create::PROG_FD, program.as_raw_fd())
                .with(link_create::ATTACH_TYPE, attach_type::SYS_ENTER);
            let bytes = attributes.bytes_mut(link_create::END);
            // SAFETY: no pointers.
            unsafe { lemma_rt::sys::bpf(command::LINK_CREATE, bytes) }.ok()
        });
        Self { maps: maps.collect(), programs, link: link.map(|fd| fd as i32) }
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        if let Some(link) = self.link {
            let _ = calls::close(link);
        }
    }
}

/// A command, with what it names.
pub(super) struct Command {
    number: u32,
    /// Where the attributes are, and how long they are said to be.
    address: usize,
    size: usize,
    objects: Objects,
}

impl Command {
    /// Draws a command and writes its attributes into the worker's memory.
    pub(super) fn new(random: &mut Random, own: &Arguments) -> Self {
        let objects = Objects::new();
        let (number, end, fields) = SHAPES[random.below(SHAPES.len())];
        let mut bytes = [0; ATTR_SIZE];
        for &(offset, field) in fields {
            // Mostly there is one thing wrong at most.
            let value = match random.below(8) {
                0 => HOSTILE[random.below(HOSTILE.len())] as u64,
                _ => sensible(field, random, own, &objects),
            };
            let width = if matches!(field, Memory | Text | Code) { 8 } else { 4 };
            bytes[offset..offset + width].copy_from_slice(&value.to_ne_bytes()[..width]);
        }
        let size = match random.below(8) {
            0 => random.below(ATTR_SIZE + 16),
            1 => ATTR_SIZE,
            _ => end,
        };
        // At the end of what can be written: what is longer lies in what can only be read.
        let address = own.writable_end() - end;
        for (offset, &byte) in bytes[..end].iter().enumerate() {
            calls::poke(address + offset, byte);
        }
        Self { number, address, size, objects }
    }

    /// The arguments of the call.
    pub(super) fn arguments(&self) -> [usize; 6] {
        [self.number as usize, self.address, self.size, 0, 0, 0]
    }

    /// Closes what the call has opened: that may be somebody else's.
    pub(super) fn finish(self, result: Result<usize>) {
        if let Ok(fd) = result
            && OPENING.contains(&self.number)
        {
            let _ = calls::close(fd as i32);
        }
        drop(self.objects);
    }
}

/// A value that a well-meaning caller could give.
fn sensible(field: Field, random: &mut Random, own: &Arguments, objects: &Objects) -> u64 {
    const COUNTS: [u64; 16] = [0, 1, 2, 2, 2, 4, 4, 4, 8, 8, 16, 64, 80, 256, 4096, 1 << 20];
    const TYPES: [u32; 6] = [SOCKET_FILTER, 5, 7, RAW_TRACEPOINT, HOOK, 6];
    let descriptor = |fd: i32| fd as u32 as u64;
    let map = |random: &mut Random| match objects.maps.as_slice() {
        [] => u64::MAX,
        maps => descriptor(maps[random.below(maps.len())].fd.as_raw_fd()),
    };
    let program = |random: &mut Random| match objects.programs.as_slice() {
        [] => u64::MAX,
        programs => descriptor(programs[random.below(programs.len())].as_raw_fd()),
    };
    match field {
        Field::Map => map(random),
        Program => program(random),
        Descriptor => match random.below(4) {
            0 => map(random),
            1 => program(random),
            2 => random.below(16) as u64,
            _ => objects.link.map_or(u64::MAX, descriptor),
        },
        Number => random.below(6) as u64,
        Type if random.below(2) == 0 => u64::from(TYPES[random.below(TYPES.len())]),
        Type => random.below(34) as u64,
        Count => COUNTS[random.below(COUNTS.len())],
        Flags if random.below(4) == 0 => 1 << random.below(16),
        Flags => 0,
        Memory => own.address(random) as u64,
        Text => TEXTS[random.below(TEXTS.len())].as_ptr() as u64,
        Code if random.below(4) == 0 => own.address(random) as u64,
        Code => HARMLESS.as_ptr() as u64,
    }
}
