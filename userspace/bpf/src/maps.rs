//! The commands about maps.

use crate::Outcome;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use bpf::calls::{self, Kind, Map};
use bpf::find;
use bpf::info::{self, MapInfo};
use bpf::ring::Ring;
use bpf::table::{lay_out, or_dash};
use bpf::values::{self, Shape};
use kernel_bpf::btf::{self, Btf};
use lemma_rt::rustix::fd::AsFd;
use lemma_rt::rustix::thread::{Timespec, nanosleep};
use lemma_rt::{Errno, eprintln, error_text, fd, print, println};

pub(crate) fn list() -> Outcome {
    let failed = |error| format!("cannot list maps: {}", error_text(error));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for id in calls::ids(Kind::Map).map_err(failed)? {
        let Ok(fd) = calls::by_id(Kind::Map, id) else { continue };
        let info = MapInfo::of(fd.as_fd()).map_err(failed)?;
        rows.push(
            [
                id.to_string(),
                info.name.clone(),
                info.kind_name(),
                info.key_size.to_string(),
                info.value_size.to_string(),
                info.max_entries.to_string(),
                or_dash(info.memory),
                if info.frozen { "frozen" } else { "" }.into(),
            ]
            .into(),
        );
    }
    let header = [">ID", "NAME", "TYPE", ">KEY", ">VALUE", ">ENTRIES", ">MEMORY", ""];
    print!("{}", lay_out(&header, &rows));
    Ok(0)
}

/// A map with what is known of its keys and values.
struct Opened {
    map: Map,
    info: MapInfo,
    types: Option<Btf>,
    cpus: usize,
}

impl Opened {
    fn find(text: &str) -> Result<Self, String> {
        let (fd, info) = find::map(text)?;
        let types = match info.types {
            0 => None,
            id => info::types(id).ok().and_then(|bytes| Btf::parse(&bytes).ok()),
        };
        let cpus = if info.per_cpu() { info::cpus() } else { 1 };
        Ok(Self { map: info.open(fd), info, types, cpus })
    }

    fn shape(&self, type_id: btf::TypeId, size: u32) -> Shape<'_> {
        // Types are only of use if they are of the right size.
        let types = self.types.as_ref().map(|types| (types, type_id));
        let types = types.filter(|(types, id)| *id != 0 && types.size_of(*id) == Some(size));
        Shape { types, size: size as usize }
    }

    fn key(&self) -> Shape<'_> {
        self.shape(self.info.key_type, self.info.key_size)
    }

    fn value(&self) -> Shape<'_> {
        self.shape(self.info.value_type, self.info.value_size)
    }

    /// A value as text; of a per-CPU map, those of all CPUs, and their sum if they are numbers.
    fn value_text(&self, bytes: &[u8]) -> String {
        let size = self.info.value_size as usize;
        if !self.info.per_cpu() {
            return format!("value: {}", values::text(bytes, self.value()));
        }
        let mut parts = Vec::new();
        let mut sum = Some(0u64);
        for (cpu, bytes) in bytes.chunks(self.info.stride()).take(self.cpus).enumerate() {
            let bytes = bytes.get(..size).unwrap_or(bytes);
            let text = values::text(bytes, self.value());
            sum = sum.and_then(|sum| Some(sum.wrapping_add(text.parse().ok()?)));
            parts.push(format!("cpu {cpu}: {text}"));
        }
        if let Some(sum) = sum {
            parts.push(format!("sum: {sum}"));
        }
        parts.join("  ")
    }

    fn line(&self, key: &[u8], value: &[u8]) -> String {
        format!("key: {}  {}", values::text(key, self.key()), self.value_text(value))
    }

    /// Makes a key or value of words.
    fn encode(&self, words: &[&str], shape: Shape<'_>, what: &str) -> Result<Vec<u8>, String> {
        let places = values::places(shape);
        if words.len() != places.len() {
            let (wanted, given) = (places.len(), words.len());
            return Err(format!("{what}: {wanted} numbers expected, {given} given"));
        }
        let numbers: Option<Vec<u64>> =
            words.iter().map(|word| values::parse_number(word)).collect();
        let numbers = numbers.ok_or_else(|| format!("{what}: number expected"))?;
        values::encode(&numbers, &places, shape.size)
            .ok_or_else(|| format!("{what}: a number is too large"))
    }

    fn failed(&self, error: Errno) -> String {
        format!("map {} (id {}): {}", self.info.name, self.info.id, error_text(error))
    }
}

pub(crate) fn dump(text: &str) -> Outcome {
    let opened = Opened::find(text)?;
    let mut key: Option<Vec<u8>> = None;
    let mut count = 0;
    loop {
        let next = match opened.map.next_key(key.as_deref()) {
            Ok(next) => next,
            Err(Errno::NOENT) => break,
            Err(error) => return Err(opened.failed(error)),
        };
        match opened.map.lookup(&next) {
            Ok(value) => {
                println!("{}", opened.line(&next, &value));
                count += 1;
            }
            // Deleted meanwhile.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(opened.failed(error)),
        }
        key = Some(next);
    }
    if count == 0 {
        eprintln!("map {} (id {}) is empty", opened.info.name, opened.info.id);
    }
    Ok(0)
}

pub(crate) fn lookup(text: &str, words: &[&str]) -> Outcome {
    let opened = Opened::find(text)?;
    let key = opened.encode(words, opened.key(), "key")?;
    let value = opened.map.lookup(&key).map_err(|error| opened.failed(error))?;
    println!("{}", opened.line(&key, &value));
    Ok(0)
}

pub(crate) fn update(text: &str, words: &[&str]) -> Outcome {
    let opened = Opened::find(text)?;
    let key_words = values::places(opened.key()).len().min(words.len());
    let (key, value) = words.split_at(key_words);
    let key = opened.encode(key, opened.key(), "key")?;
    let mut value = opened.encode(value, opened.value(), "value")?;
    if opened.info.per_cpu() {
        // The same for every CPU.
        value.resize(opened.info.stride(), 0);
        value = value.repeat(opened.map.value_size / value.len().max(1));
    }
    opened.map.update(&key, &value, 0).map_err(|error| opened.failed(error))?;
    Ok(0)
}

pub(crate) fn delete(text: &str, words: &[&str]) -> Outcome {
    let opened = Opened::find(text)?;
    let key = opened.encode(words, opened.key(), "key")?;
    opened.map.delete(&key).map_err(|error| opened.failed(error))?;
    Ok(0)
}

/// The type of a ring's records, if the object's types leave no doubt: a structure named
/// `event`, or the only one of the size.
fn record_type(types: &Btf, size: usize) -> Option<btf::TypeId> {
    let fits = |id: btf::TypeId| {
        matches!(types.get(id).map(|found| &found.kind), Some(btf::Kind::Struct { .. }))
            && types.size_of(id) == Some(size as u32)
    };
    let found: Vec<btf::TypeId> = types.iter().map(|(id, _)| id).filter(|id| fits(*id)).collect();
    let named = found.iter().copied().find(|id| types.name(*id) == "event");
    named.or(if found.len() == 1 { found.first().copied() } else { None })
}

/// The types of the program that uses a map, where the map has none of its own, as ring buffers.
fn types_of_user(map: u32) -> Option<Btf> {
    for id in calls::ids(Kind::Program).ok()? {
        let Ok(fd) = calls::by_id(Kind::Program, id) else { continue };
        let Ok(program) = info::ProgramInfo::of(fd.as_fd()) else { continue };
        if program.types != 0 && program.maps.contains(&map) {
            return Btf::parse(&info::types(program.types).ok()?).ok();
        }
    }
    None
}

pub(crate) fn events(text: &str, count: Option<&str>) -> Outcome {
    let mut left = match count {
        None => u64::MAX,
        Some(text) => text.parse().map_err(|_| format!("{text}: number expected"))?,
    };
    let (descriptor, info) = find::map(text)?;
    let types = types_of_user(info.id);
    let mut ring = Ring::open(descriptor, &info).map_err(|error| match error {
        Errno::INVAL => format!("map {} (id {}) is no ring buffer", info.name, info.id),
        error => format!("map {} (id {}): {}", info.name, info.id, error_text(error)),
    })?;
    while left > 0 {
        let Some(record) = ring.next_record() else {
            // Wakes up at once where the kernel can tell, and else looks again soon.
            if !fd::wait_for_input(ring.descriptor(), 200) {
                let _ = nanosleep(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 });
            }
            continue;
        };
        let shape =
            types.as_ref().and_then(|types| Some((types, record_type(types, record.len())?)));
        println!("{}", values::text(&record, Shape { types: shape, size: record.len() }));
        left -= 1;
    }
    Ok(0)
}
