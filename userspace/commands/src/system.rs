//! What the system says about itself: uname hostname date uptime free dmesg.

use crate::Call;
use alloc::string::String;
use alloc::vec::Vec;
use commands::calendar::Moment;
use commands::options::number;
use lemma_rt::general::__NR_syslog;
use lemma_rt::rustix::system::{sysinfo, uname as names};
use lemma_rt::rustix::time::{ClockId, clock_gettime};
use lemma_rt::{io, println, show, syscall};

pub(crate) fn uname(call: &Call) -> i32 {
    let options = match call.options("asnrvm") {
        Ok(options) if options.operands.is_empty() => options,
        Ok(_) => return call.usage(),
        Err(status) => return status,
    };
    let names = names();
    let all = [
        (b's', names.sysname()),
        (b'n', names.nodename()),
        (b'r', names.release()),
        (b'v', names.version()),
        (b'm', names.machine()),
    ];
    let none = !b"asnrvm".iter().any(|letter| options.has(*letter));
    let wanted = |letter| options.has(letter) || options.has(b'a') || (none && letter == b's');
    let words: Vec<String> = all
        .iter()
        .filter(|(letter, _)| wanted(*letter))
        .map(|(_, text)| show(text.to_bytes()))
        .collect();
    println!("{}", words.join(" "));
    0
}

pub(crate) fn hostname(call: &Call) -> i32 {
    if let Err(status) = call.operands(..1) {
        return status;
    }
    println!("{}", show(names().nodename().to_bytes()));
    0
}

fn now() -> Moment {
    Moment::from_epoch(clock_gettime(ClockId::Realtime).tv_sec)
}

pub(crate) fn date(call: &Call) -> i32 {
    match call.arguments.as_slice() {
        [] => println!("{}", now().text()),
        [pattern] if pattern.starts_with(b"+") => {
            println!("{}", now().formatted(pattern.get(1..).unwrap_or(&[])));
        }
        _ => return call.usage(),
    }
    0
}

pub(crate) fn uptime(call: &Call) -> i32 {
    if let Err(status) = call.operands(..1) {
        return status;
    }
    let info = sysinfo();
    let minutes = info.uptime as u64 / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    let since = match (days, hours) {
        (0, 0) => alloc::format!("{minutes} min"),
        (0, hours) => alloc::format!("{hours}:{minutes:02}"),
        (days, hours) => alloc::format!("{days} days, {hours}:{minutes:02}"),
    };
    // The kernel counts load in 1/65536.
    let load = info.loads.map(|load| {
        let hundredths = (load * 100) >> 16;
        alloc::format!("{}.{:02}", hundredths / 100, hundredths % 100)
    });
    println!(
        " {} up {since}, {} processes, load average: {}",
        now().formatted(b"%T"),
        info.procs,
        load.join(", ")
    );
    0
}

/// A line of `/proc/meminfo`, in KiB.
fn meminfo(text: &[u8], name: &[u8]) -> Option<u64> {
    let line = text.split(|&byte| byte == b'\n').find(|line| line.starts_with(name))?;
    let mut words = line.get(name.len()..)?.split(|&byte| byte == b' ');
    number(words.find(|word| !word.is_empty())?)
}

pub(crate) fn free(call: &Call) -> i32 {
    let options = match call.options("mk") {
        Ok(options) if options.operands.is_empty() => options,
        Ok(_) => return call.usage(),
        Err(status) => return status,
    };
    let unit = if options.has(b'm') { 1024 } else { 1 };
    let info = sysinfo();
    let bytes = u64::from(info.mem_unit.max(1));
    let kib = |count: u64| count.saturating_mul(bytes) / 1024;
    let detail = io::read_file("/proc/meminfo").unwrap_or_default();
    let (total, free) = (kib(info.totalram as u64), kib(info.freeram as u64));
    let buffers = kib(info.bufferram as u64);
    let cache = meminfo(&detail, b"Cached:").unwrap_or(0) + buffers;
    let available = meminfo(&detail, b"MemAvailable:").unwrap_or(free + cache);
    let shared = meminfo(&detail, b"Shmem:").unwrap_or(kib(info.sharedram as u64));
    let used = total.saturating_sub(available);
    println!(
        "{:7}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}",
        "", "total", "used", "free", "shared", "buff/cache", "available"
    );
    println!(
        "{:7}{:>12}{:>12}{:>12}{:>12}{:>12}{:>12}",
        "Mem:",
        total / unit,
        used / unit,
        free / unit,
        shared / unit,
        cache / unit,
        available / unit
    );
    let (swap, swap_free) = (kib(info.totalswap as u64), kib(info.freeswap as u64));
    println!(
        "{:7}{:>12}{:>12}{:>12}",
        "Swap:",
        swap / unit,
        swap.saturating_sub(swap_free) / unit,
        swap_free / unit
    );
    0
}

pub(crate) fn dmesg(call: &Call) -> i32 {
    if let Err(status) = call.operands(..1) {
        return status;
    }
    const READ_ALL: usize = 3;
    const SIZE_BUFFER: usize = 10;
    // SAFETY: asks for a size.
    let size = unsafe { syscall!(__NR_syslog, SIZE_BUFFER, 0usize, 0usize) };
    let mut buffer = alloc::vec![0u8; size.unwrap_or(1 << 16).clamp(1 << 12, 1 << 24)];
    // SAFETY: the buffer is as long as said.
    let result = unsafe { syscall!(__NR_syslog, READ_ALL, buffer.as_mut_ptr(), buffer.len()) };
    let text = match result {
        Ok(length) => buffer.get(..length).unwrap_or(&[]),
        Err(error) => return call.fail(b"syslog", error),
    };
    for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        // Each line begins with its level: `<6>`.
        let level = line.iter().position(|&byte| byte == b'>').filter(|_| line.starts_with(b"<"));
        println!("{}", show(line.get(level.map_or(0, |end| end + 1)..).unwrap_or(line)));
    }
    0
}
