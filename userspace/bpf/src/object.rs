//! Loads a compiled object: makes its maps, loads its types and programs, and pins them.

use crate::calls::{self, NewMap, NewProgram};
use crate::info::{self, MapInfo, ProgramInfo};
use crate::{PINS, attach_type, hook_names, signing};
use alloc::ffi::CString;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use kernel_bpf::btf::Btf;
use kernel_bpf::loader::{Attach, Object, ObjectMap, ObjectProgram, Pinning, Slot};
use lemma_rt::rustix::fd::{AsFd, AsRawFd, OwnedFd};
use lemma_rt::rustix::fs::unlink;
use lemma_rt::{Errno, error_text, io, show};

/// Where a kernel tells its types.
const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";

/// A program that the verifier has accepted.
#[derive(Debug)]
pub struct Loaded {
    pub fd: OwnedFd,
    pub info: ProgramInfo,
    /// Where its section says that it belongs, if it is one of Lemma's hooks.
    pub hook: Option<String>,
    /// Where it is pinned.
    pub pin: Option<String>,
}

/// Why an object or one of its programs was not loaded.
#[derive(Debug)]
pub enum Failure {
    /// Not an object that can be loaded; a line of text.
    Object(String),
    /// The verifier refused a program: its name, and the kernel's log.
    Refused { program: String, log: String },
}

impl core::fmt::Display for Failure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Object(text) => f.write_str(text),
            Self::Refused { program, log } => write!(f, "{program}: refused\n{log}"),
        }
    }
}

/// How pins are to be named.
#[derive(Clone, Copy, Debug)]
pub enum Pins<'a> {
    /// `/sys/fs/bpf/prog_ID`.
    ById,
    /// A name in `/sys/fs/bpf`, or a path; with several programs, followed by `_` and each one's
    /// own name.
    Named(&'a str),
}

/// Loads all programs of an object and pins them, so that they outlive this process.
///
/// # Errors
/// The first thing that is wrong. Then nothing of the object stays.
pub fn load(path: &str, pins: Pins<'_>) -> Result<Vec<Loaded>, Failure> {
    let object = |text: String| Failure::Object(text);
    let bytes =
        io::read_file(path).map_err(|error| object(format!("{path}: {}", error_text(error))))?;
    let policy = signing::Policy::read().map_err(object)?;
    let admitted = signing::admit(&policy, &bytes);
    let admitted = admitted.map_err(|error| object(format!("{path}: {error}")))?;
    let parsed = Object::parse(admitted.object);
    let mut parsed = parsed.map_err(|error| object(format!("{path}: {error}")))?;
    if let Some(version) = admitted.version {
        let names = parsed.programs.iter().map(|program| program.name.as_str());
        let checked = signing::no_older(version, names);
        checked.map_err(|error| object(format!("{path}: {error}")))?;
    }
    if parsed.programs.is_empty() {
        return Err(object(format!("{path}: there is no program in it")));
    }
    fit(&mut parsed).map_err(|error| object(format!("{path}: {error}")))?;
    // Without types a program loads all the same, its refusal only says less.
    let types = parsed.btf.as_deref().and_then(|types| calls::load_types(types).ok());
    let mut maps = Vec::new();
    for map in &parsed.maps {
        let made = make_map(map, types.as_ref());
        maps.push(
            made.map_err(|error| object(format!("map {}: {}", map.name, error_text(error))))?,
        );
    }
    let fds: Vec<i32> = maps.iter().map(AsRawFd::as_raw_fd).collect();
    fill(&parsed, &maps, |slot| match slot {
        Slot::Map(index) => fds.get(*index).copied(),
        Slot::Program(_) => None,
    })
    .map_err(object)?;
    let license = CString::new(parsed.license.as_str()).unwrap_or_default();
    let several = parsed.programs.len() > 1;
    let mut loaded = Vec::new();
    for program in &parsed.programs {
        let fd = load_one(program, &fds, &license, types.as_ref())?;
        let info = ProgramInfo::of(fd.as_fd())
            .map_err(|error| object(format!("{}: {}", program.name, error_text(error))))?;
        if let Some(version) = admitted.version {
            signing::remember(version, info.id).map_err(object)?;
        }
        let pin = Some(pin_path(pins, &info, several));
        loaded.push(Loaded { fd, info, hook: hook_of(&program.attach), pin });
    }
    let by_name = |wanted: &str| {
        let mut programs = parsed.programs.iter().zip(&loaded);
        programs.find(|(program, _)| program.name == wanted).map(|(_, found)| found.fd.as_raw_fd())
    };
    fill(&parsed, &maps, |slot| match slot {
        Slot::Program(name) => by_name(name),
        Slot::Map(_) => None,
    })
    .map_err(object)?;
    let programs = loaded.iter().filter_map(|program| Some((program.pin.clone()?, &program.fd)));
    pin_all(pinned_maps(&parsed, &maps).chain(programs)).map_err(object)?;
    Ok(loaded)
}

/// The maps that are to be pinned and are not, and where.
fn pinned_maps<'a>(
    object: &Object,
    maps: &'a [OwnedFd],
) -> impl Iterator<Item = (String, &'a OwnedFd)> {
    let by_name = object.maps.iter().zip(maps).filter(|(map, _)| map.pinning == Pinning::ByName);
    by_name.map(|(map, fd)| (map_pin(map), fd)).filter(|(pin, _)| !is_pinned(pin))
}

/// Pins all of these, or none.
fn pin_all<'a>(wanted: impl Iterator<Item = (String, &'a OwnedFd)>) -> Result<(), String> {
    let mut done = Vec::new();
    for (path, fd) in wanted {
        if let Err(text) = pin_at(&path, fd) {
            for path in done {
                let _ = unlink(path);
            }
            return Err(text);
        }
        done.push(path);
    }
    Ok(())
}

/// Fits an object to the kernel that runs: its types, and its version.
fn fit(object: &mut Object) -> Result<(), String> {
    if object.needs_kernel_types() {
        // Linux has a file; Lemma lists them with those that were loaded.
        let bytes = io::read_file(KERNEL_TYPES).ok().or_else(info::kernel_types);
        let bytes = bytes.ok_or("it needs the kernel's types, and the kernel tells none")?;
        let types = Btf::parse(&bytes).map_err(|error| format!("the kernel's types: {error}"))?;
        object.relocate(&types).map_err(|error| error.to_string())?;
    }
    let system = lemma_rt::rustix::system::uname();
    let mut numbers =
        system.release().to_bytes().split(|byte| !byte.is_ascii_digit()).map(|digits| {
            digits.iter().fold(0u32, |n, d| n.wrapping_mul(10) + u32::from(d - b'0'))
        });
    let mut next = || numbers.next().unwrap_or(0).min(255);
    let version = next() << 16 | next() << 8 | next();
    // The kernel does not tell its configuration.
    object.configure(version, "").map_err(|error| error.to_string())
}

/// Puts into maps of maps and programs what the object declares for them, as far as `find`
/// knows its descriptor.
fn fill(
    object: &Object,
    maps: &[OwnedFd],
    find: impl Fn(&Slot) -> Option<i32>,
) -> Result<(), String> {
    for (declared, fd) in object.maps.iter().zip(maps) {
        for (index, slot) in &declared.slots {
            let Some(value) = find(slot) else { continue };
            calls::update(fd.as_fd(), &index.to_ne_bytes(), &value.to_ne_bytes(), 0).map_err(
                |error| format!("map {}: slot {index}: {}", declared.name, error_text(error)),
            )?;
        }
    }
    Ok(())
}

/// Loads an object with one program and attaches that to `hook` (empty: to the hook that its
/// section names). The program is pinned under its name, or its number if the name is taken.
///
/// # Errors
/// A line of text, or the verifier's log.
pub fn load_and_attach(path: &str, hook: &str) -> Result<Vec<Loaded>, Failure> {
    let stem = path.rsplit('/').next().unwrap_or(path);
    let stem = stem.split('.').next().unwrap_or(stem);
    let pins = if is_pinned(&format!("{PINS}/{stem}")) { Pins::ById } else { Pins::Named(stem) };
    let mut loaded = load(path, pins)?;
    for program in &mut loaded {
        let wanted =
            if hook.is_empty() { program.hook.clone().unwrap_or_default() } else { hook.into() };
        attach(&program.fd, &program.info, &wanted).map_err(Failure::Object)?;
        // What is attached shows in what the kernel says.
        if let Ok(info) = ProgramInfo::of(program.fd.as_fd()) {
            program.info = info;
        }
    }
    Ok(loaded)
}

/// A program's name as the kernel keeps it: the first 15 bytes.
pub(crate) fn kernel_name(name: &str) -> String {
    String::from_utf8_lossy(name.as_bytes().get(..15).unwrap_or(name.as_bytes())).into_owned()
}

/// Attaches a program to a hook by name.
///
/// # Errors
/// A line of text.
pub fn attach(fd: &OwnedFd, info: &ProgramInfo, hook: &str) -> Result<(), String> {
    let Some(number) = attach_type(hook) else {
        return Err(format!("there is no hook `{hook}'; there are {}", hook_names()));
    };
    calls::attach(fd.as_fd(), number, None).map_err(|error| attach_error(info, hook, error))
}

/// Why a program could not be attached.
pub fn attach_error(info: &ProgramInfo, hook: &str, error: Errno) -> String {
    let why = match error {
        Errno::INVAL => format!("a program of type {} does not fit there", info.kind_name()),
        Errno::TOOBIG => match info.worst_case {
            Some(bound) => format!("its worst case of {bound} instructions is over the budget"),
            None => "its worst case is over the budget".into(),
        },
        Errno::EXIST => "it is attached there already".into(),
        error => error_text(error).to_string(),
    };
    format!("{} (id {}) at {hook}: {why}", info.name, info.id)
}

/// Makes a map, or takes the one that is pinned under its name.
fn make_map(map: &ObjectMap, types: Option<&OwnedFd>) -> lemma_rt::Result<OwnedFd> {
    let cpus = info::cpus() as u32;
    let def = map.def.completed(cpus);
    // Only its shape counts; the map of maps keeps that.
    let inner = map.inner.map(|def| {
        let def = def.completed(cpus);
        calls::create_map(&NewMap {
            kind: def.map_type.number(),
            key_size: def.key_size,
            value_size: def.value_size,
            max_entries: def.max_entries,
            flags: def.flags,
            ..NewMap::default()
        })
    });
    let inner = inner.transpose()?;
    let pin = CString::new(map_pin(map)).unwrap_or_default();
    if map.pinning == Pinning::ByName
        && let Ok(fd) = calls::pinned(&pin)
    {
        let found = MapInfo::of(fd.as_fd())?;
        let same = found.kind == def.map_type.number()
            && found.key_size == def.key_size
            && found.value_size == def.value_size
            && found.max_entries == def.max_entries;
        return if same { Ok(fd) } else { Err(Errno::EXIST) };
    }
    let mut new = NewMap {
        kind: def.map_type.number(),
        key_size: def.key_size,
        value_size: def.value_size,
        max_entries: def.max_entries,
        flags: def.flags,
        name: &map.name,
        types: types
            .filter(|_| map.key_type != 0 || map.value_type != 0)
            .map(|types| (types.as_raw_fd(), map.key_type, map.value_type)),
        inner: inner.as_ref().map(AsRawFd::as_raw_fd),
        extra: map.map_extra,
    };
    let fd = match calls::create_map(&new) {
        // Some maps take no types (Linux's ring buffer); the map is what counts.
        Err(_) if new.types.is_some() => {
            new.types = None;
            calls::create_map(&new)?
        }
        result => result?,
    };
    let map_info = MapInfo::of(fd.as_fd())?;
    let opened = map_info.open(fd);
    if let Some(contents) = &map.contents {
        opened.update(&0u32.to_ne_bytes(), contents, 0)?;
    }
    if map.freeze {
        opened.freeze()?;
    }
    Ok(opened.fd)
}

/// Where a map is pinned, if it is pinned by its name.
fn map_pin(map: &ObjectMap) -> String {
    format!("{PINS}/{}", map.name)
}

fn is_pinned(path: &str) -> bool {
    CString::new(path).is_ok_and(|path| calls::pinned(&path).is_ok())
}

fn load_one(
    program: &ObjectProgram,
    maps: &[i32],
    license: &CString,
    types: Option<&OwnedFd>,
) -> Result<OwnedFd, Failure> {
    let mut program = program.clone();
    if !program.patch_maps(maps) {
        return Err(Failure::Object(format!("{}: it names a map that is not there", program.name)));
    }
    let functions: Vec<[u32; 2]> =
        program.functions.iter().map(|record| [record.insn, record.type_id]).collect();
    let lines: Vec<[u32; 4]> = program
        .lines
        .iter()
        .map(|record| [record.insn, record.file, record.text, record.line_column])
        .collect();
    let new = NewProgram {
        kind: program.prog_type.number(),
        expected_attach_type: program.expected_attach_type,
        name: &program.name,
        instructions: &program.insns,
        license,
        types: types.map(AsRawFd::as_raw_fd),
        functions: &functions,
        lines: &lines,
    };
    // Accepted programs need no log, and large ones would have long ones.
    let mut log = alloc::vec![0; 64 << 10];
    calls::load_program(&new, &mut log).map_err(|error| {
        let text = show(log.split(|&byte| byte == 0).next().unwrap_or(&[]));
        let mut log = match text.trim_end() {
            "" => error_text(error).to_string(),
            text => text.to_string(),
        };
        for (slot, missing) in &program.missing {
            log += &format!("\ninstruction {slot}: {missing}");
        }
        Failure::Refused { program: program.name.clone(), log }
    })
}

fn hook_of(attach: &Attach) -> Option<String> {
    let known = |name: &str| attach_type(name).map(|_| name.to_string());
    match attach {
        Attach::Hook(number) => {
            kernel_bpf::hook::by_attach_type(*number).map(|hook| hook.name.to_string())
        }
        Attach::RawTracepoint(name) => known(name),
        Attach::Tracepoint { name, .. } => known(name),
        Attach::PerfEvent => Some("timer".into()),
        Attach::Nowhere => None,
    }
}

fn pin_path(pins: Pins<'_>, info: &ProgramInfo, several: bool) -> String {
    let Pins::Named(name) = pins else { return format!("{PINS}/prog_{}", info.id) };
    let path = if name.starts_with('/') { name.to_string() } else { format!("{PINS}/{name}") };
    if several { format!("{path}_{}", info.name) } else { path }
}

fn pin_at(path: &str, fd: &OwnedFd) -> Result<(), String> {
    let c_path = CString::new(path).map_err(|_| format!("{path}: no path"))?;
    calls::pin(&c_path, fd.as_fd()).map_err(|error| format!("pin {path}: {}", error_text(error)))
}
