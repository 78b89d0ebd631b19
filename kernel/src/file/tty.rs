//! The terminal on the serial line: `/dev/console` and `/dev/tty`.
//!
//! Input comes byte by byte from the device's interrupt ([`receive`]), through the line discipline
//! (`kernel_vfs::terminal`), to readers; output goes through it to the device, whose driver buffers
//! and sends. When the input queue is full the device is not read, so the sender is held back
//! and nothing is lost.
//!
//! **Locks.** `TERMINAL` spins; the driver's lock is taken under it for echoes. Signals are sent
//! and readers woken after it.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kernel_abi::file::ioctl;
use kernel_sync::{OnceCell, SpinLock};
use kernel_vfs::terminal::{Effect, LineDiscipline, Termios};
use kernel_vfs::{File, FileType, FsError, Metadata, OpenFlags, Readiness, Sink, Source};

use super::{poll, wall_clock};
use crate::driver::{display, uart};
use crate::mcore::mtask::family;
use crate::mcore::mtask::job::{self, Background};
use crate::mcore::{self, WaitQueue};
use crate::mem::user::{Fault, read_user, write_user};

/// Bytes that are moved between the queue and a user at a time.
const PIECE: usize = 256;

static TERMINAL: OnceCell<SpinLock<LineDiscipline>> = OnceCell::new();
static READERS: WaitQueue = WaitQueue::new();
static WRITERS: WaitQueue = WaitQueue::new();
/// How often there was something to read, and room to write.
static ARRIVALS: AtomicU64 = AtomicU64::new(0);
static DEPARTURES: AtomicU64 = AtomicU64::new(0);
/// The process group that gets the terminal's signals; 0 if none is set.
static FOREGROUND: AtomicU32 = AtomicU32::new(0);
/// The session whose terminal it is; 0 if it is nobody's.
static SESSION: AtomicU32 = AtomicU32::new(0);
/// Rows in the lower, columns in the upper half.
static WINDOW: AtomicU32 = AtomicU32::new(24 | 80 << 16);

fn terminal() -> Result<&'static SpinLock<LineDiscipline>, FsError> {
    TERMINAL.get().ok_or(FsError::Io)
}

/// Makes the terminal, and connects it to the serial line.
pub(super) fn init() {
    // A second initialisation changes nothing.
    let _ = TERMINAL.set(SpinLock::new(LineDiscipline::new()));
    uart::set_receiver(uart::Receiver { ready, receive, writable });
}

/// Whether another byte of input can be taken.
fn ready() -> bool {
    TERMINAL.get().is_none_or(|terminal| terminal.lock().has_room())
}

/// Takes a byte of input. In an interrupt.
fn receive(byte: u8) {
    let Some(terminal) = TERMINAL.get() else { return };
    let (effect, started) = {
        let mut terminal = terminal.lock();
        let was_stopped = terminal.is_stopped();
        let effect = terminal.input(byte, |echo| {
            // What does not fit into the device's buffer is not shown; it is typed all the same.
            uart::write(echo);
        });
        (effect, was_stopped && !terminal.is_stopped())
    };
    if started {
        writable();
    }
    display::poke();
    match effect {
        Effect::Nothing => {}
        Effect::Readable => {
            ARRIVALS.fetch_add(1, Ordering::Relaxed);
            READERS.wake_all();
            poll::changed();
        }
        Effect::Signal(signal) => {
            let group = FOREGROUND.load(Ordering::Relaxed);
            if group != 0 {
                mcore::signal_process_group(group, signal);
            }
        }
    }
}

/// The device has room for output again, or output is no longer stopped. In an interrupt, too.
fn writable() {
    DEPARTURES.fetch_add(1, Ordering::Relaxed);
    WRITERS.wake_all();
    poll::changed();
}

/// The terminal, to be opened.
pub(super) fn file() -> Arc<dyn File> {
    static FILE: OnceCell<Arc<TerminalFile>> = OnceCell::new();
    FILE.get().cloned().unwrap_or_else(|| {
        let new = Arc::new(TerminalFile);
        // If another was set meanwhile, that one serves as well: they have no state.
        let _ = FILE.set(Arc::clone(&new));
        new
    })
}

struct TerminalFile;

impl TerminalFile {
    /// Waits until there is something to read, for so many tenths of a second or as long as it takes.
    /// `false`: there is nothing.
    fn wait_readable(&self, flags: OpenFlags, patience: Option<u64>) -> Result<bool, FsError> {
        let terminal = terminal()?;
        let look = || terminal.lock().has_input().then_some(());
        if look().is_some() {
            return Ok(true);
        }
        if patience == Some(0) {
            return Ok(false);
        }
        if flags.contains(OpenFlags::NONBLOCK) {
            return Err(FsError::WouldBlock);
        }
        let found = match patience {
            None => READERS.wait_until(look).map(Some),
            Some(tenths) => READERS.wait_deadline(look, mcore::now_ns() + tenths * 100_000_000),
        };
        found.map(|found| found.is_some()).map_err(|_| FsError::Interrupted)
    }

    /// Waits while the user has stopped output.
    fn wait_started(&self, flags: OpenFlags) -> Result<(), FsError> {
        let terminal = terminal()?;
        let look = || (!terminal.lock().is_stopped()).then_some(());
        if look().is_none() && flags.contains(OpenFlags::NONBLOCK) {
            return Err(FsError::WouldBlock);
        }
        WRITERS.wait_until(look).map_err(|_| FsError::Interrupted)
    }
}

/// Whether the running process is in the background of the terminal.
fn is_in_background() -> bool {
    let task = mcore::current();
    let process = task.process();
    let foreground = FOREGROUND.load(Ordering::Relaxed);
    let elsewhere = process.session() != SESSION.load(Ordering::Relaxed);
    !elsewhere && foreground != 0 && process.group() != foreground
}

fn refusal(background: &Background) -> FsError {
    match background {
        Background::Stopped(_) => FsError::Interrupted,
        Background::Refused => FsError::Io,
    }
}

/// Fails for a process in the background of the terminal: what is typed is not for it.
fn check_foreground() -> Result<(), FsError> {
    if is_in_background() { Err(refusal(&job::read_in_background())) } else { Ok(()) }
}

/// Fails for a process in the background that changes the terminal, unless it takes no notice of
/// SIGTTOU.
fn check_change() -> Result<(), FsError> {
    let stopped = if is_in_background() { job::change_in_background() } else { None };
    stopped.map_or(Ok(()), |background| Err(refusal(&background)))
}

impl File for TerminalFile {
    fn read(
        &self,
        _offset: &mut u64,
        sink: &mut dyn Sink,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        check_foreground()?;
        let terminal = terminal()?;
        let rules = terminal.lock().patience();
        let mut patience = rules.first;
        let mut done = 0;
        while sink.remaining() > 0 {
            match self.wait_readable(flags, patience) {
                Ok(true) => {}
                Err(error) if done == 0 => return Err(error),
                Ok(false) | Err(_) => break,
            }
            let mut piece = [0; PIECE];
            let length = sink.remaining().min(PIECE);
            let (count, ended, was_full) = {
                let mut terminal = terminal.lock();
                // Another reader may have been faster; it has not read the end of the input for
                // this one.
                if !terminal.has_input() {
                    if done > 0 && done >= rules.bytes {
                        break;
                    }
                    continue;
                }
                let was_full = !terminal.has_room();
                let line = terminal.available();
                let count = terminal.read(piece.get_mut(..length).unwrap_or(&mut []));
                // One call returns one line, or what there is if that is enough.
                (count, count == line, was_full)
            };
            if was_full {
                uart::resume_input();
            }
            let copied = sink.put(piece.get(..count).unwrap_or(&[]));
            done += copied;
            if copied < count && done == 0 {
                return Err(FsError::Fault);
            }
            if copied < count || (ended && done >= rules.bytes) {
                break;
            }
            if ended {
                patience = rules.next;
            }
        }
        Ok(done)
    }

    fn write(
        &self,
        _offset: &mut u64,
        source: &mut dyn Source,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        let terminal = terminal()?;
        let mut done = 0;
        while source.remaining() > 0 {
            match self.wait_started(flags) {
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
                Ok(()) => {}
            }
            let mut piece = [0; PIECE];
            let length = source.remaining().min(PIECE);
            let taken = source.take(piece.get_mut(..length).unwrap_or(&mut []));
            let mut text = smallvec::SmallVec::<[u8; PIECE]>::new();
            terminal.lock().write(piece.get(..taken).unwrap_or(&[]), |bytes| {
                text.extend_from_slice(bytes);
            });
            let mut rest = text.as_slice();
            while !rest.is_empty() {
                let mut sent = uart::write(rest);
                if sent == 0 {
                    // The device drains its buffer by itself, so this ends.
                    sent = WRITERS.wait_uninterruptible(|| match uart::write(rest) {
                        0 => None,
                        sent => Some(sent),
                    });
                }
                rest = rest.get(sent..).unwrap_or(&[]);
            }
            display::poke();
            done += taken;
            if taken < length {
                return if done > 0 { Ok(done) } else { Err(FsError::Fault) };
            }
        }
        Ok(done)
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, FsError> {
        control(command, argument)
    }

    fn readiness(&self) -> Readiness {
        let Ok(terminal) = terminal() else { return Readiness::empty() };
        let terminal = terminal.lock();
        let mut ready = Readiness::empty();
        ready.set(Readiness::READ, terminal.is_readable());
        ready.set(Readiness::WRITE, !terminal.is_stopped());
        ready
    }

    fn activity(&self, what: Readiness) -> Option<u64> {
        let of = |kind, count: &AtomicU64| {
            if what.contains(kind) { count.load(Ordering::Relaxed) } else { 0 }
        };
        Some(of(Readiness::READ, &ARRIVALS) + of(Readiness::WRITE, &DEPARTURES))
    }

    fn metadata(&self) -> Result<Metadata, FsError> {
        let now = wall_clock();
        Ok(Metadata {
            inode: 1,
            file_type: FileType::CharacterDevice,
            mode: 0o600,
            links: 1,
            uid: 0,
            gid: 0,
            device: 5 << 8 | 1,
            size: 0,
            block_size: 1024,
            blocks: 0,
            accessed: now,
            modified: now,
            changed: now,
        })
    }

    fn label(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str("/dev/console")
    }
}

fn fault(_: Fault) -> FsError {
    FsError::Fault
}

/// Who draws on the display: the console, or a program (`ioctl_console(2)`).
const KD_TEXT: u32 = 0;
const KD_GRAPHICS: u32 = 1;

/// `ioctl_tty(2)`, and of `ioctl_console(2)` what is there where there is a display.
fn control(command: u32, argument: usize) -> Result<usize, FsError> {
    let terminal = terminal()?;
    match command {
        ioctl::TCGETS => {
            let termios = *terminal.lock().termios();
            write_user(argument, encode(&termios)).map_err(fault)?;
        }
        ioctl::TCSETS | ioctl::TCSETSW | ioctl::TCSETSF => {
            let termios = decode(read_user(argument).map_err(fault)?);
            check_change()?;
            let mut terminal = terminal.lock();
            if command == ioctl::TCSETSF {
                terminal.flush_input();
            }
            terminal.set_termios(termios);
            drop(terminal);
            // What was typed may have become readable, and output may have been started.
            READERS.wake_all();
            writable();
            uart::resume_input();
        }
        ioctl::TCFLSH => {
            if argument > 2 {
                return Err(FsError::InvalidArgument);
            }
            check_change()?;
            if argument != 1 {
                terminal.lock().flush_input();
                uart::resume_input();
            }
        }
        // Output is sent as soon as the line takes it; a break means nothing to it.
        ioctl::TCSBRK => {}
        ioctl::TIOCGWINSZ => {
            let window = WINDOW.load(Ordering::Relaxed);
            write_user(argument, [window, 0u32]).map_err(fault)?;
        }
        ioctl::TIOCSWINSZ => {
            let [window, _pixels]: [u32; 2] = read_user(argument).map_err(fault)?;
            let before = WINDOW.swap(window, Ordering::Relaxed);
            let group = FOREGROUND.load(Ordering::Relaxed);
            if before != window && group != 0 {
                const SIGWINCH: u32 = 28;
                mcore::signal_process_group(group, SIGWINCH);
            }
        }
        ioctl::TIOCSCTTY => {
            let current = mcore::current();
            let process = current.process();
            if process.session() != process.pid() {
                return Err(FsError::NotPermitted);
            }
            take_terminal(process.session(), argument)?;
            FOREGROUND.store(process.group(), Ordering::Relaxed);
        }
        ioctl::TIOCNOTTY => {
            let session = mcore::current().process().session();
            if SESSION.compare_exchange(session, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                FOREGROUND.store(0, Ordering::Relaxed);
            }
        }
        ioctl::TIOCGPGRP => {
            write_user(argument, FOREGROUND.load(Ordering::Relaxed)).map_err(fault)?;
        }
        ioctl::TIOCSPGRP => {
            // As in Linux, which says that it is not the terminal of a group that nobody leads.
            check_change().map_err(|error| match error {
                FsError::Io => FsError::NotTerminal,
                error => error,
            })?;
            let group: i32 = read_user(argument).map_err(fault)?;
            if group <= 0 {
                return Err(FsError::InvalidArgument);
            }
            let session = mcore::current().process().session();
            if session != SESSION.load(Ordering::Relaxed) {
                return Err(FsError::NotTerminal);
            }
            if !family::is_group_of(group as u32, session) {
                return Err(FsError::NotPermitted);
            }
            FOREGROUND.store(group as u32, Ordering::Relaxed);
        }
        ioctl::TIOCGSID => {
            write_user(argument, SESSION.load(Ordering::Relaxed)).map_err(fault)?;
        }
        ioctl::FIONREAD => {
            let count = terminal.lock().available();
            write_user(argument, count as u32).map_err(fault)?;
        }
        ioctl::TIOCOUTQ => write_user(argument, 0u32).map_err(fault)?,
        ioctl::KDGETMODE if display::display().is_some() => {
            let mode = if display::shows_text() { KD_TEXT } else { KD_GRAPHICS };
            write_user(argument, mode).map_err(fault)?;
        }
        ioctl::KDSETMODE if display::display().is_some() => match u32::try_from(argument) {
            Ok(KD_TEXT) => display::set_text(true),
            Ok(KD_GRAPHICS) => display::set_text(false),
            _ => return Err(FsError::InvalidArgument),
        },
        _ => return Err(FsError::NotTerminal),
    }
    Ok(0)
}

/// Makes the terminal that of a session which leads. The superuser may take it from another with
/// `argument` 1 (`ioctl_tty(2)`).
fn take_terminal(session: u32, argument: usize) -> Result<(), FsError> {
    let steals = argument == 1 && mcore::current().process().credentials().euid == 0;
    let taken = SESSION.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |owner| {
        let free = owner == 0 || owner == session || !family::is_led(owner);
        (free || steals).then_some(session)
    });
    taken.map(drop).map_err(|_| FsError::NotPermitted)
}

/// `struct termios` of the kernel (`asm-generic/termbits.h`), as nine words.
fn encode(termios: &Termios) -> [u32; 9] {
    let mut words = [termios.input, termios.output, termios.control, termios.local, 0, 0, 0, 0, 0];
    let mut bytes = [0; 20];
    let characters = core::iter::once(&termios.line).chain(&termios.characters);
    for (place, byte) in bytes.iter_mut().zip(characters) {
        *place = *byte;
    }
    for (word, chunk) in words.iter_mut().skip(4).zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_ne_bytes(*chunk);
    }
    words
}

fn decode(words: [u32; 9]) -> Termios {
    let [input, output, control, local, rest @ ..] = words;
    let mut bytes = rest.iter().flat_map(|word| word.to_ne_bytes());
    let line = bytes.next().unwrap_or(0);
    let mut characters = [0; 19];
    for (place, byte) in characters.iter_mut().zip(bytes) {
        *place = byte;
    }
    Termios { input, output, control, local, line, characters }
}
