//! The BPF programs that work from the start: what the files `/etc/bpf.d/*.conf` name, and the
//! banner, which shows one of them at work.
//!
//! A line names an object, and the hook at which its program is to run; without a hook, the one
//! that the program's section names. `#` begins a comment.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bpf::calls::{self, Kind};
use bpf::info::MapInfo;
use bpf::object::{self, Loaded};
use lemma_rt::rustix::fd::AsFd;
use lemma_rt::rustix::fs::{Mode, OFlags, RawDir, open};
use lemma_rt::rustix::system::uname;
use lemma_rt::{eprintln, io, println, show};

const DIRECTORY: &str = "/etc/bpf.d";

/// The program whose count the banner shows, and what it counts.
const SHOWN: (&str, &str) = ("syscount", "system calls");

/// The files of the directory, sorted by name.
fn files() -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(directory) = open(DIRECTORY, flags, Mode::empty()) else { return Vec::new() };
    let mut buffer = Vec::with_capacity(4096);
    let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
    let mut files = Vec::new();
    while let Some(Ok(entry)) = entries.next() {
        let name = show(entry.file_name().to_bytes());
        if name.ends_with(".conf") {
            files.push(format!("{DIRECTORY}/{name}"));
        }
    }
    files.sort();
    files
}

/// Loads and attaches everything that the files name. What does not work is reported.
pub(crate) fn load_all() -> Vec<Loaded> {
    let mut programs = Vec::new();
    for file in files() {
        let text = match io::read_file(file.as_str()) {
            Ok(text) => show(&text),
            Err(error) => {
                eprintln!("init: {file}: {}", lemma_rt::error_text(error));
                continue;
            }
        };
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or("");
            let mut words = line.split_whitespace();
            let Some(path) = words.next() else { continue };
            match object::load_and_attach(path, words.next().unwrap_or("")) {
                Ok(loaded) => programs.extend(loaded),
                Err(failure) => eprintln!("init: {file}: {path}: {failure}"),
            }
        }
    }
    programs
}

/// The sum of the numbers in the first map of a program whose values are numbers.
fn total(program: &Loaded) -> Option<u64> {
    let fd = calls::by_id(Kind::Map, *program.info.maps.first()?).ok()?;
    let info = MapInfo::of(fd.as_fd()).ok()?;
    if info.value_size != 8 {
        return None;
    }
    let map = info.open(fd);
    let mut sum = 0u64;
    let mut key: Option<Vec<u8>> = None;
    while let Ok(next) = map.next_key(key.as_deref()) {
        // Of a per-CPU map, the values of all CPUs follow one another.
        for value in map.lookup(&next).unwrap_or_default().chunks_exact(8) {
            let value = value.try_into().map_or(0, u64::from_ne_bytes);
            sum = sum.wrapping_add(value);
        }
        key = Some(next);
    }
    Some(sum)
}

/// Says what this system is, and what its programs have seen so far.
pub(crate) fn banner(programs: &[Loaded]) {
    let names = uname();
    let text = |text: &core::ffi::CStr| show(text.to_bytes());
    let release = text(names.release());
    // Behind the number of the interface stands the system's own.
    let version = release.rsplit("-lemma-").next().unwrap_or(&release);
    let mut line = format!("{} {version} {}", text(names.sysname()), text(names.machine()));
    if let Some(profile) =
        ["cloud", "embedded"].into_iter().find(|profile| text(names.version()).contains(profile))
    {
        line += &format!(", {profile} profile");
    }
    line += &match programs.len() {
        0 => ", no programs at work".to_string(),
        1 => ", 1 program at work".to_string(),
        count => format!(", {count} programs at work"),
    };
    let (name, what) = SHOWN;
    let shown = programs.iter().find(|program| program.info.name == name);
    if let Some(count) = shown.and_then(total) {
        line += &format!("; {name} has counted {count} {what} since it was attached");
    }
    println!("{line}");
    println!("Commands are in /bin, programs in /lib/bpf; `help' and `bpf help' explain.");
}
