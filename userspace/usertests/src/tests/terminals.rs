//! What a terminal answers: the console on Lemma, one side of a pair on Linux.

use super::family;
use crate::calls::{self, ioctl, open};
use crate::check::{Outcome, check, equal, fails, ok, skip};
use lemma_rt::general::{O_NOCTTY, O_RDWR, termios, winsize};
use lemma_rt::ioctl::{TCGETS, TCSETS, TIOCGWINSZ, TIOCSWINSZ};

family!("terminals": settings, changed_settings, size);

// Flags of input, output, bytes and editing (`asm-generic/termbits.h`).
const ICRNL: u32 = 0o400;
const OPOST: u32 = 0o1;
const ONLCR: u32 = 0o4;
const CS8: u32 = 0o60;
const CREAD: u32 = 0o200;
const ISIG: u32 = 0o1;
const ICANON: u32 = 0o2;
const ECHO: u32 = 0o10;

/// A terminal that nobody else is using now.
fn terminal() -> lemma_rt::Result<i32> {
    open(c"/dev/ptmx", O_RDWR | O_NOCTTY, 0)
        .or_else(|_| open(c"/dev/console", O_RDWR | O_NOCTTY, 0))
}

fn settings_of(fd: i32) -> lemma_rt::Result<termios> {
    // SAFETY: plain integers.
    let mut settings: termios = unsafe { core::mem::zeroed() };
    ioctl(fd, TCGETS, (&raw mut settings) as usize)?;
    Ok(settings)
}

/// Lines, echoed and edited; ^C, ^D and the others at their places.
fn settings() -> Outcome {
    let Ok(fd) = terminal() else { skip!("there is no terminal to be opened") };
    let found = ok!(settings_of(fd));
    check!(found.c_iflag & ICRNL != 0, " {found:x?}");
    equal!(found.c_oflag & (OPOST | ONLCR), OPOST | ONLCR);
    equal!(found.c_cflag & (CS8 | CREAD), CS8 | CREAD);
    equal!(found.c_lflag & (ISIG | ICANON | ECHO), ISIG | ICANON | ECHO);
    equal!(found.c_line, 0);
    // INTR, QUIT, ERASE, KILL, EOF, TIME, MIN.
    equal!(found.c_cc[..7], [3, 28, 127, 21, 4, 0, 1]);
    // SUSP.
    equal!(found.c_cc[10], 26);
    fails!(ioctl(fd, TCGETS, 8), FAULT);
    fails!(ioctl(fd, TCSETS, 8), FAULT);
    Ok(())
}

fn changed_settings() -> Outcome {
    let Ok(fd) = terminal() else { skip!("there is no terminal to be opened") };
    let before = ok!(settings_of(fd));
    let mut wanted = before;
    wanted.c_lflag &= !ECHO;
    wanted.c_cc[0] = 24;
    ok!(ioctl(fd, TCSETS, (&raw const wanted) as usize));
    let found = ok!(settings_of(fd));
    ok!(ioctl(fd, TCSETS, (&raw const before) as usize));
    equal!((found.c_lflag, found.c_cc[0]), (before.c_lflag & !ECHO, 24));
    equal!((found.c_iflag, found.c_oflag), (before.c_iflag, before.c_oflag));
    let found = ok!(settings_of(fd));
    equal!((found.c_lflag, found.c_cc), (before.c_lflag, before.c_cc));
    Ok(())
}

fn size_of(fd: i32) -> lemma_rt::Result<[u16; 4]> {
    let mut size = winsize { ws_row: 9999, ws_col: 9999, ws_xpixel: 9999, ws_ypixel: 9999 };
    ioctl(fd, TIOCGWINSZ, (&raw mut size) as usize)?;
    Ok([size.ws_row, size.ws_col, size.ws_xpixel, size.ws_ypixel])
}

fn set_size(fd: i32, [ws_row, ws_col, ws_xpixel, ws_ypixel]: [u16; 4]) -> lemma_rt::Result<usize> {
    let size = winsize { ws_row, ws_col, ws_xpixel, ws_ypixel };
    ioctl(fd, TIOCSWINSZ, (&raw const size) as usize)
}

fn size() -> Outcome {
    let Ok(fd) = terminal() else { skip!("there is no terminal to be opened") };
    let before = ok!(size_of(fd));
    check!(!before.contains(&9999), " {before:?}");
    ok!(set_size(fd, [33, 111, 0, 0]));
    let found = size_of(fd);
    ok!(set_size(fd, before));
    equal!(found, Ok([33, 111, 0, 0]));
    equal!(size_of(fd), Ok(before));
    fails!(ioctl(fd, TIOCGWINSZ, 8), FAULT);
    fails!(ioctl(fd, TIOCSWINSZ, 8), FAULT);
    ok!(calls::close(fd));
    Ok(())
}
