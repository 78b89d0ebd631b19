//! The kernel log: the `log` crate's records, to the console, on the serial line and on the
//! display, and into a ring.
//!
//! Each record is one line, `[seconds.micros] LEVEL message`. The console is written by
//! polling, so a line is out when the macro returns, whatever happens next. The ring keeps
//! the last [`RING_SIZE`] bytes for `dmesg` ([`read_all`]).

use core::fmt::{self, Write};

use ::log::{LevelFilter, Log, Metadata, Record};
use kernel_sync::SpinLock;

use crate::arch::{Arch, Architecture};
use crate::driver::{display, uart};

/// How many bytes of log are kept.
pub const RING_SIZE: usize = 32 * 1024;

struct Ring {
    bytes: [u8; RING_SIZE],
    /// Bytes ever written; the newest is at `(written - 1) % RING_SIZE`.
    written: u64,
}

static RING: SpinLock<Ring> = SpinLock::new(Ring { bytes: [0; RING_SIZE], written: 0 });

impl Ring {
    fn push(&mut self, text: &[u8]) {
        for &byte in text {
            let at = (self.written % RING_SIZE as u64) as usize;
            if let Some(slot) = self.bytes.get_mut(at) {
                *slot = byte;
            }
            self.written += 1;
        }
    }
}

/// Writes to the console, with the carriage returns that a terminal needs, a piece at a time.
struct Console {
    buffer: [u8; 128],
    length: usize,
}

impl Console {
    const fn new() -> Self {
        Self { buffer: [0; 128], length: 0 }
    }

    fn put(&mut self, byte: u8) {
        if self.length == self.buffer.len() {
            self.flush();
        }
        if let Some(slot) = self.buffer.get_mut(self.length) {
            *slot = byte;
            self.length += 1;
        }
    }

    fn flush(&mut self) {
        let text = self.buffer.get(..self.length).unwrap_or(&[]);
        Arch::console_write(text);
        display::mirror(text);
        self.length = 0;
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                self.put(b'\r');
            }
            self.put(byte);
        }
        Ok(())
    }
}

/// Writes to the console and to the ring.
struct Both<'a> {
    console: Console,
    ring: &'a mut Ring,
}

impl Write for Both<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.ring.push(text.as_bytes());
        self.console.write_str(text)
    }
}

struct KernelLog;

impl Log for KernelLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= ::log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let micros = Arch::now_ns() / 1000;
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        let mut ring = RING.lock();
        // What users wrote before comes first.
        uart::flush();
        // For programs: the level as a number of `syslog(3)`.
        ring.push(level_mark(record.level()));
        let mut out = Both { console: Console::new(), ring: &mut ring };
        // Info is the rule and goes unnamed; writing to these sinks cannot fail.
        let _ = match record.level() {
            ::log::Level::Info => {
                writeln!(out, "[{seconds:5}.{micros:06}] {}", record.args())
            }
            level => writeln!(out, "[{seconds:5}.{micros:06}] {level}: {}", record.args()),
        };
        out.console.flush();
        drop(ring);
        // With interrupts on no lock is held, so somebody can be woken.
        if Arch::irqs_enabled() {
            display::poke();
        }
    }

    fn flush(&self) {}
}

fn level_mark(level: ::log::Level) -> &'static [u8] {
    match level {
        ::log::Level::Error => b"<3>",
        ::log::Level::Warn => b"<4>",
        ::log::Level::Info => b"<6>",
        ::log::Level::Debug | ::log::Level::Trace => b"<7>",
    }
}

static LOG: KernelLog = KernelLog;

/// Starts logging. `loglevel=` on the command line takes a name (`off error warn info debug
/// trace`); `quiet` means `warn`; without either, `info`.
pub fn init(command_line: &str) {
    let mut level = LevelFilter::Info;
    for word in command_line.split_ascii_whitespace().take_while(|&word| word != "--") {
        if word == "quiet" {
            level = LevelFilter::Warn;
        } else if let Some(name) = word.strip_prefix("loglevel=") {
            level = name.parse().unwrap_or(level);
        }
    }
    // Fails only if a logger is set already: then that one stays.
    let _ = ::log::set_logger(&LOG);
    ::log::set_max_level(level);
}

/// Hands the kept log to `sink`, as [`read_marked`] does, without the levels before each line.
pub fn read_all(sink: &mut dyn FnMut(&[u8])) {
    let (mut line_begins, mut in_mark) = (true, false);
    read_marked(&mut |piece| {
        for part in piece.split_inclusive(|&byte| matches!(byte, b'<' | b'>' | b'\n')) {
            let mark = in_mark || line_begins && part == b"<";
            in_mark = mark && !part.ends_with(b">");
            line_begins = part.ends_with(b"\n");
            if !mark {
                sink(part);
            }
        }
    });
}

/// Hands the kept log to `sink`, oldest first, in pieces; before each record is its level, `<6>`.
/// No lock is held while `sink` runs: it may sleep. What is overwritten meanwhile is skipped.
pub fn read_marked(sink: &mut dyn FnMut(&[u8])) {
    let mut position = 0u64;
    let mut piece = [0u8; 256];
    loop {
        let mut length = 0;
        {
            let ring = RING.lock();
            position = position.max(ring.written.saturating_sub(RING_SIZE as u64));
            for slot in &mut piece {
                if position == ring.written {
                    break;
                }
                let at = (position % RING_SIZE as u64) as usize;
                *slot = ring.bytes.get(at).copied().unwrap_or(0);
                position += 1;
                length += 1;
            }
        }
        if length == 0 {
            return;
        }
        sink(piece.get(..length).unwrap_or(&[]));
    }
}

/// Writes to the console only, without any lock: for the panic, and before the log exists.
pub(crate) fn write_emergency(arguments: fmt::Arguments<'_>) {
    let mut console = Console::new();
    // The console cannot fail.
    let _ = console.write_fmt(arguments);
    console.flush();
}
