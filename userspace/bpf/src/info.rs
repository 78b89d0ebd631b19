//! What the kernel says of programs, maps and hooks.
//!
//! Most comes from `OBJ_GET_INFO_BY_FD` with Linux's structures; what Linux's structures do not
//! have (the worst case, the time to verify, the hook) from `/proc/self/fdinfo`.

use crate::calls::{self, Kind, Map};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use kernel_abi::bpf::{btf_info, map_info, prog_info};
use kernel_bpf::map::MapType;
use kernel_bpf::prog_type::ProgType;
use lemma_rt::rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use lemma_rt::{Result, io, show};

/// A structure that the kernel has filled.
struct Structure(Vec<u8>);

impl Structure {
    fn u32(&self, offset: usize) -> u32 {
        let bytes = self.0.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    }

    fn u64(&self, offset: usize) -> u64 {
        let bytes = self.0.get(offset..offset + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_ne_bytes)
    }

    fn name(&self, offset: usize) -> String {
        let bytes = self.0.get(offset..offset + 16).unwrap_or(&[]);
        show(bytes.split(|&byte| byte == 0).next().unwrap_or(&[]))
    }
}

/// The lines of a descriptor's `fdinfo`: names and values.
struct Details(Vec<(String, String)>);

impl Details {
    fn of(fd: BorrowedFd<'_>) -> Self {
        let text = io::read_file(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
        let text = show(&text.unwrap_or_default());
        let parse = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_string(), value.trim().to_string()))
        };
        Self(text.lines().filter_map(parse).collect())
    }

    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.all(name).next()?.parse().ok()
    }
}

/// Whether a descriptor is a program, a map, or types.
pub fn is_kind(fd: BorrowedFd<'_>, kind: Kind) -> bool {
    let line = match kind {
        Kind::Program => "prog_id",
        Kind::Map => "map_id",
        Kind::Types => "btf_id",
    };
    Details::of(fd).number(line).is_some()
}

/// A loaded program.
#[derive(Clone, Debug)]
pub struct ProgramInfo {
    pub id: u32,
    pub name: String,
    pub kind: u32,
    pub tag: [u8; 8],
    pub instructions: u32,
    /// Bytes of machine code; 0 where the interpreter runs it.
    pub machine_code: u32,
    /// Nanoseconds since boot.
    pub load_time: u64,
    pub maps: Vec<u32>,
    pub runs: u64,
    pub run_time: u64,
    /// Instructions that the verifier looked at.
    pub verified: u32,
    pub types: u32,
    pub worst_case: Option<u64>,
    pub verify_time: Option<u64>,
    pub stack_depth: Option<u64>,
    pub hooks: Vec<String>,
}

impl ProgramInfo {
    pub fn of(fd: BorrowedFd<'_>) -> Result<Self> {
        let mut maps = [0u32; 64];
        let mut room = alloc::vec![0; prog_info::SIZE];
        room[prog_info::NR_MAP_IDS..][..4].copy_from_slice(&64u32.to_ne_bytes());
        let address = maps.as_mut_ptr() as u64;
        room[prog_info::MAP_IDS..][..8].copy_from_slice(&address.to_ne_bytes());
        // SAFETY: the array has room for as many numbers as said.
        unsafe { calls::information(fd, &mut room) }?;
        let found = Structure(room);
        let details = Details::of(fd);
        let mut tag = [0; 8];
        tag.copy_from_slice(&found.u64(prog_info::TAG).to_ne_bytes());
        let count = (found.u32(prog_info::NR_MAP_IDS) as usize).min(maps.len());
        Ok(Self {
            id: found.u32(prog_info::ID),
            name: found.name(prog_info::NAME),
            kind: found.u32(prog_info::TYPE),
            tag,
            instructions: found.u32(prog_info::XLATED_PROG_LEN) / 8,
            machine_code: found.u32(prog_info::JITED_PROG_LEN),
            load_time: found.u64(prog_info::LOAD_TIME),
            maps: maps[..count].to_vec(),
            runs: found.u64(prog_info::RUN_CNT),
            run_time: found.u64(prog_info::RUN_TIME_NS),
            verified: found.u32(prog_info::VERIFIED_INSNS),
            types: found.u32(prog_info::BTF_ID),
            worst_case: details.number("worst_case_insns"),
            verify_time: details.number("verify_time_ns"),
            stack_depth: details.number("stack_depth"),
            hooks: details.all("attached_hook").map(ToString::to_string).collect(),
        })
    }

    /// The type's name.
    pub fn kind_name(&self) -> String {
        match ProgType::from_number(self.kind) {
            Some(kind) => kind.name().to_string(),
            None => format!("type {}", self.kind),
        }
    }

    /// Where it is attached, for tables.
    pub fn hook_text(&self) -> String {
        if self.hooks.is_empty() { "-".into() } else { self.hooks.join(",") }
    }

    /// Nanoseconds of a run, on average.
    pub fn mean(&self) -> Option<u64> {
        self.run_time.checked_div(self.runs)
    }
}

/// A map.
#[derive(Clone, Debug)]
pub struct MapInfo {
    pub id: u32,
    pub name: String,
    pub kind: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub flags: u32,
    pub types: u32,
    pub key_type: u32,
    pub value_type: u32,
    pub frozen: bool,
    pub memory: Option<u64>,
}

impl MapInfo {
    pub fn of(fd: BorrowedFd<'_>) -> Result<Self> {
        let mut room = alloc::vec![0; map_info::SIZE];
        // SAFETY: the structure of a map has no pointers.
        unsafe { calls::information(fd, &mut room) }?;
        let found = Structure(room);
        let details = Details::of(fd);
        Ok(Self {
            id: found.u32(map_info::ID),
            name: found.name(map_info::NAME),
            kind: found.u32(map_info::TYPE),
            key_size: found.u32(map_info::KEY_SIZE),
            value_size: found.u32(map_info::VALUE_SIZE),
            max_entries: found.u32(map_info::MAX_ENTRIES),
            flags: found.u32(map_info::MAP_FLAGS),
            types: found.u32(map_info::BTF_ID),
            key_type: found.u32(map_info::BTF_KEY_TYPE_ID),
            value_type: found.u32(map_info::BTF_VALUE_TYPE_ID),
            frozen: details.number("frozen") == Some(1),
            memory: details.number("memlock"),
        })
    }

    pub fn kind_name(&self) -> String {
        match MapType::from_number(self.kind) {
            Some(kind) => kind.name().to_string(),
            None => format!("type {}", self.kind),
        }
    }

    /// Whether each CPU has its own value.
    pub fn per_cpu(&self) -> bool {
        use MapType::{LruPercpuHash, PercpuArray, PercpuHash};
        let kind = MapType::from_number(self.kind);
        matches!(kind, Some(PercpuArray | PercpuHash | LruPercpuHash))
    }

    /// Bytes between the values of two CPUs.
    pub fn stride(&self) -> usize {
        (self.value_size as usize).next_multiple_of(8)
    }

    /// The map for reading and writing elements. The values of a per-CPU map have room for more
    /// CPUs than there can be.
    pub fn open(&self, fd: OwnedFd) -> Map {
        const MOST_CPUS: usize = 1024;
        let value_size =
            if self.per_cpu() { self.stride() * MOST_CPUS } else { self.value_size as usize };
        Map { fd, key_size: self.key_size as usize, value_size }
    }
}

/// How many CPUs a per-CPU map has values for.
pub fn cpus() -> usize {
    let count = |text: &str| {
        let (_, last) = text.trim().rsplit_once(['-', ',']).unwrap_or(("", text.trim()));
        last.parse::<usize>().ok().map(|last| last + 1)
    };
    let possible = io::read_file("/sys/devices/system/cpu/possible").ok();
    possible.and_then(|text| count(&show(&text))).unwrap_or_else(|| {
        let text = show(&io::read_file("/proc/cpuinfo").unwrap_or_default());
        text.lines().filter(|line| line.starts_with("processor")).count().max(1)
    })
}

/// The bytes of loaded types.
pub fn types(id: u32) -> Result<Vec<u8>> {
    let fd = calls::by_id(Kind::Types, id)?;
    let mut room = alloc::vec![0; btf_info::SIZE];
    // SAFETY: no pointer is set, so nothing is written but the structure.
    unsafe { calls::information(fd.as_fd(), &mut room) }?;
    let size = Structure(room).u32(btf_info::BTF_SIZE);
    let mut bytes = alloc::vec![0u8; size as usize];
    let mut room = alloc::vec![0; btf_info::SIZE];
    room[btf_info::BTF..][..8].copy_from_slice(&(bytes.as_mut_ptr() as u64).to_ne_bytes());
    room[btf_info::BTF_SIZE..][..4].copy_from_slice(&size.to_ne_bytes());
    // SAFETY: the buffer is as long as said.
    unsafe { calls::information(fd.as_fd(), &mut room) }?;
    Ok(bytes)
}

/// The types that the kernel shows its programs; `None` from a kernel that lists none.
pub fn kernel_types() -> Option<Vec<u8>> {
    calls::ids(Kind::Types).ok()?.into_iter().find_map(|id| {
        let fd = calls::by_id(Kind::Types, id).ok()?;
        let mut room = alloc::vec![0; btf_info::SIZE];
        // SAFETY: no pointer is set, so nothing is written but the structure.
        let length = unsafe { calls::information(fd.as_fd(), &mut room) }.ok()?;
        room.truncate(length);
        if Structure(room).u32(btf_info::KERNEL_BTF) == 0 {
            return None;
        }
        types(id).ok()
    })
}

/// `/proc/bpf/hooks`, line by line, the header first.
pub fn hooks() -> Result<Vec<Vec<String>>> {
    let text = show(&io::read_file("/proc/bpf/hooks")?);
    Ok(text.lines().map(|line| line.split('\t').map(ToString::to_string).collect()).collect())
}
