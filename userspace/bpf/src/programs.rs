//! The commands about programs.

use crate::Outcome;
use alloc::ffi::CString;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bpf::calls::{self, Kind};
use bpf::info::{self, ProgramInfo};
use bpf::object::{self, Failure, Pins};
use bpf::table::{lay_out, or_dash, time};
use bpf::{PINS, attach_type, find, hook_names};
use lemma_rt::rustix::fd::AsFd;
use lemma_rt::rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, open, unlinkat};
use lemma_rt::{Errno, eprintln, error_text, io, print, println};

pub(crate) fn load(file: &str, name: Option<&str>) -> Outcome {
    match object::load(file, name.map_or(Pins::ById, Pins::Named)) {
        Ok(loaded) => {
            for program in loaded {
                println!("{}", verdict(&program.info));
                if let Some(pin) = program.pin {
                    println!("pinned    {pin}");
                }
                if let Some(hook) = program.hook {
                    println!("to attach: bpf attach {} {hook}", program.info.id);
                }
            }
            Ok(0)
        }
        Err(Failure::Refused { program, log }) => {
            eprintln!("refused   {program}");
            // Before it, the log lists every instruction that was looked at.
            let from = log.find("refused").unwrap_or(0);
            for line in log.get(from..).unwrap_or(&log).lines() {
                eprintln!("  {line}");
            }
            Ok(1)
        }
        Err(Failure::Object(text)) => Err(text),
    }
}

/// One line about a program that was accepted.
fn verdict(info: &ProgramInfo) -> String {
    let mut line = format!(
        "accepted  id {}  {} ({})  {} instructions",
        info.id,
        info.name,
        info.kind_name(),
        info.instructions
    );
    if let Some(bound) = info.worst_case {
        line += &format!("  worst case {bound}");
    }
    if let Some(nanoseconds) = info.verify_time {
        line += &format!("  verified in {}", time(nanoseconds));
    }
    line
}

/// The hook to use where none was named: the only one that the program's type fits.
fn usual_hook(info: &ProgramInfo) -> Result<&'static str, String> {
    use kernel_bpf::prog_type::ProgType;
    match ProgType::from_number(info.kind) {
        Some(ProgType::PerfEvent) => Ok("timer"),
        Some(ProgType::RawTracepoint | ProgType::Tracepoint) => Err(format!(
            "{} (id {}) fits at several hooks; say which: sys_enter or sys_exit",
            info.name, info.id
        )),
        _ => Err(format!("say at which hook: {}", hook_names())),
    }
}

pub(crate) fn attach(text: &str, hook: Option<&str>) -> Outcome {
    let (fd, info) = find::program(text)?;
    let is_own = info.kind == kernel_bpf::prog_type::LEMMA_HOOK_NUMBER;
    let hook = match hook {
        Some(hook) => {
            object::attach(&fd, &info, hook)?;
            hook
        }
        // A program of Lemma's own type fits at its one hook; the others refuse it.
        None if is_own => {
            let mut last = Err("there are no hooks".to_string());
            for hook in kernel_bpf::hook::HOOKS {
                last = match calls::attach(fd.as_fd(), hook.attach_type, None) {
                    Err(Errno::INVAL) => continue,
                    Ok(()) => Ok(hook.name),
                    Err(error) => Err(object::attach_error(&info, hook.name, error)),
                };
                break;
            }
            last?
        }
        None => {
            let hook = usual_hook(&info)?;
            object::attach(&fd, &info, hook)?;
            hook
        }
    };
    println!("attached  {} (id {}) at {hook}", info.name, info.id);
    Ok(0)
}

/// The hooks at which a program is, or the one that was named.
fn hooks_of(info: &ProgramInfo, hook: Option<&str>) -> Result<Vec<(String, u32)>, String> {
    let named = match hook {
        Some(hook) => [hook.to_string()].to_vec(),
        None => info.hooks.clone(),
    };
    if named.is_empty() {
        return Err(format!("{} (id {}) is not attached", info.name, info.id));
    }
    named
        .into_iter()
        .map(|hook| match attach_type(&hook) {
            Some(number) => Ok((hook, number)),
            None => Err(format!("there is no hook `{hook}'; there are {}", hook_names())),
        })
        .collect()
}

pub(crate) fn detach(text: &str, hook: Option<&str>) -> Outcome {
    let (fd, info) = find::program(text)?;
    for (hook, number) in hooks_of(&info, hook)? {
        calls::detach(fd.as_fd(), number).map_err(|error| match error {
            Errno::NOENT => format!("{} (id {}) is not attached at {hook}", info.name, info.id),
            error => format!("detach from {hook}: {}", error_text(error)),
        })?;
        println!("detached  {} (id {}) from {hook}", info.name, info.id);
    }
    Ok(0)
}

pub(crate) fn replace(old: &str, new: &str) -> Outcome {
    let (old_fd, old) = find::program(old)?;
    let (new_fd, new) = find::program(new)?;
    for (hook, number) in hooks_of(&old, None)? {
        calls::attach(new_fd.as_fd(), number, Some(old_fd.as_fd()))
            .map_err(|error| object::attach_error(&new, &hook, error))?;
        println!(
            "replaced  {} (id {}) by {} (id {}) at {hook}",
            old.name, old.id, new.name, new.id
        );
    }
    Ok(0)
}

/// The paths under `/sys/fs/bpf` at which this program is pinned.
fn pins_of(id: u32) -> Vec<CString> {
    let mut found = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = open(PINS, flags, Mode::empty()) else { return found };
    let mut buffer = Vec::with_capacity(4096);
    let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
    while let Some(Ok(entry)) = entries.next() {
        let path = [PINS.as_bytes(), b"/", entry.file_name().to_bytes()].concat();
        let Ok(path) = CString::new(path) else { continue };
        // What is no program, or no pin, is passed over.
        if let Ok(fd) = calls::pinned(&path)
            && ProgramInfo::of(fd.as_fd()).is_ok_and(|info| info.id == id)
        {
            found.push(path);
        }
    }
    found
}

fn remove(path: &CString) -> Result<(), String> {
    unlinkat(CWD, path.as_c_str(), AtFlags::empty())
        .map_err(|error| format!("{}: {}", path.to_string_lossy(), error_text(error)))
}

pub(crate) fn unload(text: &str) -> Outcome {
    let (fd, info) = find::program(text)?;
    for hook in &info.hooks {
        if let Some(number) = attach_type(hook) {
            // A link may hold it there; that goes with its own pin.
            let _ = calls::detach(fd.as_fd(), number);
        }
    }
    for path in pins_of(info.id) {
        remove(&path)?;
    }
    drop(fd);
    match calls::by_id(Kind::Program, info.id) {
        Err(_) => println!("unloaded  {} (id {})", info.name, info.id),
        Ok(_) => {
            println!("{} (id {}) has no pins any more, but is still in use", info.name, info.id)
        }
    }
    Ok(0)
}

pub(crate) fn pin(text: &str, path: &str) -> Outcome {
    let (fd, _) = find::program(text)?;
    let c_path = CString::new(path).map_err(|_| format!("{path}: no path"))?;
    calls::pin(&c_path, fd.as_fd()).map_err(|error| format!("{path}: {}", error_text(error)))?;
    Ok(0)
}

pub(crate) fn unpin(path: &str) -> Outcome {
    let path = if path.starts_with('/') { path.to_string() } else { format!("{PINS}/{path}") };
    remove(&CString::new(path.as_str()).map_err(|_| format!("{path}: no path"))?)?;
    Ok(0)
}

fn all() -> Result<Vec<ProgramInfo>, String> {
    let failed = |error| format!("cannot list programs: {}", error_text(error));
    let mut programs = Vec::new();
    for id in calls::ids(Kind::Program).map_err(failed)? {
        // One that goes meanwhile is not listed.
        if let Ok(fd) = calls::by_id(Kind::Program, id) {
            programs.push(ProgramInfo::of(fd.as_fd()).map_err(failed)?);
        }
    }
    Ok(programs)
}

pub(crate) fn list() -> Outcome {
    let rows: Vec<Vec<String>> = all()?
        .iter()
        .map(|info| {
            [
                info.id.to_string(),
                info.name.clone(),
                info.kind_name(),
                info.hook_text(),
                info.instructions.to_string(),
                or_dash(info.worst_case),
                info.runs.to_string(),
                if info.runs > 0 { time(info.run_time) } else { "-".into() },
                info.mean().map_or_else(|| "-".into(), time),
                info.maps.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            ]
            .into()
        })
        .collect();
    let header = [
        ">ID",
        "NAME",
        "TYPE",
        "HOOK",
        ">INSNS",
        ">WORST CASE",
        ">RUNS",
        ">TOTAL",
        ">MEAN",
        "MAPS",
    ];
    print!("{}", lay_out(&header, &rows));
    Ok(0)
}

pub(crate) fn show(text: &str) -> Outcome {
    let (_, info) = find::program(text)?;
    let tag: String = info.tag.iter().map(|byte| format!("{byte:02x}")).collect();
    let maps: Vec<String> = info.maps.iter().map(|id| map_text(*id)).collect();
    let pins: Vec<String> =
        pins_of(info.id).iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let dash = |text: String| if text.is_empty() { "-".into() } else { text };
    let engine = match info.machine_code {
        0 => "interpreter".into(),
        bytes => format!("compiled, {bytes} bytes"),
    };
    let rows = [
        ("id", info.id.to_string()),
        ("name", info.name.clone()),
        ("type", info.kind_name()),
        ("tag", tag),
        ("hook", info.hook_text()),
        ("instructions", info.instructions.to_string()),
        ("engine", engine),
        ("worst case", or_dash(info.worst_case.map(|bound| format!("{bound} instructions")))),
        ("stack", or_dash(info.stack_depth.map(|depth| format!("{depth} bytes")))),
        ("verified", format!("{} instructions looked at", info.verified)),
        ("verify time", info.verify_time.map_or_else(|| "-".into(), time)),
        ("loaded", format!("{} after boot", time(info.load_time))),
        ("runs", info.runs.to_string()),
        ("total time", if info.runs > 0 { time(info.run_time) } else { "-".into() }),
        ("mean time", info.mean().map_or_else(|| "-".into(), time)),
        ("maps", dash(maps.join(", "))),
        ("pinned at", dash(pins.join(", "))),
    ];
    for (name, value) in rows {
        println!("{name:14}{value}");
    }
    Ok(0)
}

/// `3 (counts)`.
fn map_text(id: u32) -> String {
    let info = calls::by_id(Kind::Map, id).and_then(|fd| info::MapInfo::of(fd.as_fd()));
    info.map_or_else(|_| id.to_string(), |info| format!("{id} ({})", info.name))
}

pub(crate) fn hooks() -> Outcome {
    let table = info::hooks().map_err(|error| format!("/proc/bpf/hooks: {}", error_text(error)))?;
    let Some((titles, rows)) = table.split_first() else { return Ok(0) };
    // Numbers to the right, words to the left.
    let words = ["name", "decisions", "default", "irq", "programs"];
    let titles: Vec<String> = titles
        .iter()
        .map(|title| {
            let right = if words.contains(&title.as_str()) { "" } else { ">" };
            format!("{right}{}", title.replace('_', " ").to_ascii_uppercase())
        })
        .collect();
    let header: Vec<&str> = titles.iter().map(String::as_str).collect();
    print!("{}", lay_out(&header, rows));
    Ok(0)
}

pub(crate) fn test(text: &str, data: &str) -> Outcome {
    let (fd, info) = find::program(text)?;
    let digits: Vec<u8> = data.bytes().filter(|byte| *byte != b' ').collect();
    let bytes: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let Some(mut bytes) = bytes.filter(|_| digits.len().is_multiple_of(2)) else {
        return Err(format!("{data}: hexadecimal digits expected, two for each byte"));
    };
    // Packets have at least an Ethernet header; other programs take a context.
    let packet = !matches!(info.kind, 5 | 7 | 17 | kernel_bpf::prog_type::LEMMA_HOOK_NUMBER);
    if packet && bytes.is_empty() {
        bytes.resize(64, 0);
    }
    let result = if packet {
        calls::test(fd.as_fd(), &bytes, &[], 1)
    } else {
        calls::test(fd.as_fd(), &[], &bytes, 0)
    };
    let run = result.map_err(|error| {
        format!("{} (id {}): cannot be run: {}", info.name, info.id, error_text(error))
    })?;
    println!(
        "returned  {} ({:#x})  in {}",
        run.result as i32,
        run.result,
        time(run.duration.into())
    );
    if packet && run.data != bytes {
        let shown: String = run.data.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("data      {shown}");
    }
    Ok(0)
}

pub(crate) fn log() -> Outcome {
    let text = io::read_file("/proc/bpf/trace")
        .map_err(|error| format!("/proc/bpf/trace: {}", error_text(error)))?;
    io::write_all(io::descriptor(1), &text).map_err(|error| error_text(error).to_string())?;
    Ok(0)
}
