//! The text console on the display: shows what the serial console shows.
//!
//! [`mirror`] takes output, wherever it is written: it changes cells and marks rows. [`paint`]
//! draws them later, in the display's thread.
//!
//! In a panic the words still arrive through [`mirror`], and [`show_last_words`] draws them at
//! once, with a painter of its own: what was interrupted may hold the other's lock for ever.
//!
//! Locking: `PAINTER` sleeps and is taken first; `TERMINAL` spins. Nothing is called under
//! `TERMINAL`, which the log takes under its own lock.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use kernel_console::{Area, Cell, Painter, Terminal};
use kernel_sync::{Mutex, SpinLock, SpinLockGuard};

use super::{CHANGED, Display, NOTHING, changed, display};
use crate::arch::{Arch, Architecture};
use crate::{log, panic};

static TERMINAL: SpinLock<Option<Terminal>> = SpinLock::new(None);
static PAINTER: Mutex<Option<Painter>> = Mutex::new(None);
/// The panic's own; nothing else takes it.
static LAST_PAINTER: SpinLock<Option<Painter>> = SpinLock::new(None);
/// There is a console.
static ACTIVE: AtomicBool = AtomicBool::new(false);
/// It is drawn: no program has the picture for itself.
static TEXT: AtomicBool = AtomicBool::new(true);

/// How long a panic waits for another CPU to let go of the terminal.
const PATIENCE_NS: u64 = 10_000_000;

/// Puts a console on the display, with the log so far.
pub(super) fn start() {
    let Some(display) = display() else { return };
    let mut memory = display.memory();
    let mut painter = Painter::new(&memory.geometry());
    let (columns, rows) = painter.grid();
    let mut terminal = Terminal::new(columns, rows);
    log::read_all(&mut |bytes| {
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => {
                    terminal.write(line);
                    terminal.write(b"\r\n");
                }
                None => terminal.write(line),
            }
        }
    });
    painter.clear(&mut memory);
    super::damage(memory.geometry().area());
    *PAINTER.lock() = Some(painter);
    *LAST_PAINTER.lock() = Some(Painter::new(&memory.geometry()));
    *TERMINAL.lock() = Some(terminal);
    ACTIVE.store(true, Ordering::Release);
    CHANGED.store(true, Ordering::Release);
}

/// Takes the terminal; in a panic, only if it can be had soon.
fn lock() -> Option<SpinLockGuard<'static, Option<Terminal>>> {
    if !panic::in_progress() {
        return Some(TERMINAL.lock());
    }
    let deadline = Arch::now_ns() + PATIENCE_NS;
    loop {
        if let Some(guard) = TERMINAL.try_lock() {
            return Some(guard);
        }
        if Arch::now_ns() >= deadline {
            return None;
        }
        Arch::relax();
    }
}

/// Shows output that also goes to the serial line. Callable anywhere, a panic included; who may
/// wake others calls [`poke`] after it.
#[inline]
pub fn mirror(bytes: &[u8]) {
    if ACTIVE.load(Ordering::Acquire) {
        write(bytes);
    }
}

#[cold]
fn write(bytes: &[u8]) {
    if let Some(terminal) = lock().as_mut().and_then(|guard| guard.as_mut()) {
        terminal.write(bytes);
    }
    CHANGED.store(true, Ordering::Release);
}

/// Has shown soon what was mirrored. Holding no lock.
#[inline]
pub(crate) fn poke() {
    if ACTIVE.load(Ordering::Relaxed) && CHANGED.load(Ordering::Relaxed) {
        changed();
    }
}

/// Whether the console is drawn.
pub fn shows_text() -> bool {
    TEXT.load(Ordering::Relaxed)
}

/// Says whether the console is drawn, or a program has the picture for itself (`KDSETMODE`). When
/// the console comes back, it is drawn as a whole.
pub fn set_text(text: bool) {
    if TEXT.swap(text, Ordering::Relaxed) == text || !text {
        return;
    }
    let Some(display) = display() else { return };
    let mut memory = display.memory();
    if let Some(painter) = PAINTER.lock().as_mut() {
        painter.clear(&mut memory);
    }
    if let Some(terminal) = TERMINAL.lock().as_mut() {
        terminal.screen_mut().touch_all();
    }
    super::damage(memory.geometry().area());
}

/// Draws the rows that have changed; which area that was.
pub(super) fn paint(display: &dyn Display) -> Area {
    if !shows_text() {
        return NOTHING;
    }
    let mut guard = PAINTER.lock();
    let Some(painter) = guard.as_mut() else { return NOTHING };
    let mut area = NOTHING;
    let mut cells: Vec<Cell> = Vec::new();
    for row in 0..painter.grid().1 {
        let cursor = {
            let mut terminal = TERMINAL.lock();
            let Some(screen) = terminal.as_mut().map(Terminal::screen_mut) else { break };
            if !screen.take_changed(row) {
                continue;
            }
            cells.clear();
            cells.extend_from_slice(screen.row(row));
            screen.cursor_in(row)
        };
        area = area.union(painter.row(row, &cells, cursor, &mut display.memory()));
    }
    area
}

/// Draws and shows everything, in a panic, as far as locks allow: a console that is not to be had
/// has said it all on the serial line.
pub(crate) fn show_last_words() {
    let Some(display) = display().filter(|_| ACTIVE.load(Ordering::Acquire)) else { return };
    let mut memory = display.memory();
    if let Some(mut painter) = LAST_PAINTER.try_lock()
        && let Some(painter) = painter.as_mut()
        && let Some(terminal) = lock()
        && let Some(screen) = terminal.as_ref().map(Terminal::screen)
    {
        painter.clear(&mut memory);
        for row in 0..screen.rows() {
            painter.row(row, screen.row(row), screen.cursor_in(row), &mut memory);
        }
    }
    display.present_now(memory.geometry().area());
}
