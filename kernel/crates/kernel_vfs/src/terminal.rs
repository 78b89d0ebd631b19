//! [`LineDiscipline`]: what a terminal does between its device and its readers and writers
//! (`termios(3)`): line editing, echo, signals, and the translation of line ends.
//!
//! Pure: bytes go in, bytes and [`Effect`]s come out. The caller locks it, wakes readers and
//! sends signals.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// `c_iflag`.
pub mod input_flags {
    pub const IGNCR: u32 = 0o200;
    pub const INLCR: u32 = 0o100;
    pub const ICRNL: u32 = 0o400;
    pub const IXON: u32 = 0o2000;
    pub const IXANY: u32 = 0o4000;
    pub const IUTF8: u32 = 0o40000;
}

/// `c_oflag`.
pub mod output_flags {
    pub const OPOST: u32 = 0o1;
    pub const ONLCR: u32 = 0o4;
}

/// `c_lflag`.
pub mod local_flags {
    pub const ISIG: u32 = 0o1;
    pub const ICANON: u32 = 0o2;
    pub const ECHO: u32 = 0o10;
    pub const ECHOE: u32 = 0o20;
    pub const ECHOK: u32 = 0o40;
    pub const ECHONL: u32 = 0o100;
    pub const NOFLSH: u32 = 0o200;
    pub const ECHOCTL: u32 = 0o1000;
    pub const ECHOKE: u32 = 0o4000;
    pub const IEXTEN: u32 = 0o100000;
}

/// Places in `c_cc`.
pub mod control {
    pub const INTR: usize = 0;
    pub const QUIT: usize = 1;
    pub const ERASE: usize = 2;
    pub const KILL: usize = 3;
    pub const EOF: usize = 4;
    pub const TIME: usize = 5;
    pub const MIN: usize = 6;
    pub const START: usize = 8;
    pub const STOP: usize = 9;
    pub const SUSP: usize = 10;
    pub const EOL: usize = 11;
    pub const REPRINT: usize = 12;
    pub const WERASE: usize = 14;
    pub const LNEXT: usize = 15;
    pub const EOL2: usize = 16;
}

use input_flags::{ICRNL, IGNCR, INLCR, IUTF8, IXANY, IXON};
use local_flags::{ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, ECHONL, ICANON, IEXTEN, ISIG, NOFLSH};
use output_flags::{ONLCR, OPOST};

/// The settings of a terminal, as Linux's `struct termios` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termios {
    pub input: u32,
    pub output: u32,
    pub control: u32,
    pub local: u32,
    pub line: u8,
    pub characters: [u8; 19],
}

impl Default for Termios {
    /// As Linux sets up a new terminal, at 115,200 baud.
    fn default() -> Self {
        let mut characters = [0; 19];
        for (place, value) in [
            (control::INTR, 3),
            (control::QUIT, 0x1c),
            (control::ERASE, 0x7f),
            (control::KILL, 0x15),
            (control::EOF, 4),
            (control::MIN, 1),
            (control::START, 0x11),
            (control::STOP, 0x13),
            (control::SUSP, 0x1a),
            (control::REPRINT, 0x12),
            (control::WERASE, 0x17),
            (control::LNEXT, 0x16),
        ] {
            if let Some(slot) = characters.get_mut(place) {
                *slot = value;
            }
        }
        Self {
            input: ICRNL | IXON | IUTF8,
            output: OPOST | ONLCR,
            // B115200, CS8, CREAD, CLOCAL.
            control: 0o10002 | 0o60 | 0o200 | 0o4000,
            local: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
            line: 0,
            characters,
        }
    }
}

/// When a read is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// With this many bytes; a read that has more room gets what else there is.
    pub bytes: usize,
    /// If the first byte does not come in time, or a further one; in tenths of a second.
    pub first: Option<u64>,
    pub next: Option<u64>,
}

/// What a byte of input leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// There is something to read.
    Readable,
    /// The foreground process group gets this signal.
    Signal(u32),
}

const SIGINT: u32 = 2;
const SIGQUIT: u32 = 3;
const SIGTSTP: u32 = 20;

/// Longest line that is being edited (Linux `MAX_CANON` of its terminals).
const LINE_MAX: usize = 4095;
/// No more input is taken while this much waits to be read.
const INPUT_LIMIT: usize = 4096;

/// A byte of the line being edited, and the columns that its echo took.
#[derive(Clone, Copy)]
struct Typed {
    byte: u8,
    width: u8,
}

/// The state of a terminal.
pub struct LineDiscipline {
    termios: Termios,
    /// What can be read.
    ready: VecDeque<u8>,
    /// In canonical mode, the lengths of the lines in `ready`; an empty one is an end of file.
    lines: VecDeque<usize>,
    edited: Vec<Typed>,
    /// The next byte is taken literally (`^V`).
    literal: bool,
    /// Output has been stopped (`^S`).
    stopped: bool,
    column: usize,
}

impl LineDiscipline {
    pub fn new() -> Self {
        Self {
            termios: Termios::default(),
            ready: VecDeque::new(),
            lines: VecDeque::new(),
            edited: Vec::new(),
            literal: false,
            stopped: false,
            column: 0,
        }
    }

    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Changes the settings. Between canonical mode and the other, what was typed stays readable.
    pub fn set_termios(&mut self, termios: Termios) {
        let (was, is) = (self.canonical(), termios.local & ICANON != 0);
        self.termios = termios;
        // Nothing could start it any more.
        self.stopped &= self.flow_is_controlled();
        if was && !is {
            self.ready.extend(self.edited.drain(..).map(|typed| typed.byte));
            self.lines.clear();
        } else if is && !was && !self.ready.is_empty() {
            self.lines.push_back(self.ready.len());
        }
    }

    /// Drops what was typed and not read (`TCSETSF`, `TCFLSH`).
    pub fn flush_input(&mut self) {
        self.ready.clear();
        self.lines.clear();
        self.edited.clear();
        self.literal = false;
    }

    fn local(&self, flag: u32) -> bool {
        self.termios.local & flag != 0
    }

    fn canonical(&self) -> bool {
        self.local(ICANON)
    }

    /// Whether `byte` is the control character at `place`, and that is not disabled.
    fn is(&self, byte: u8, place: usize) -> bool {
        byte != 0 && self.termios.characters.get(place) == Some(&byte)
    }

    fn flow_is_controlled(&self) -> bool {
        self.termios.input & IXON != 0
    }

    /// Whether output waits for the user (`^S`): then nothing should be written. A byte of input or
    /// other settings change that.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether another byte of input is taken now. If not, the device should not be read.
    pub fn has_room(&self) -> bool {
        self.ready.len() < INPUT_LIMIT
    }

    /// Bytes that a reader would get at once (`FIONREAD`).
    pub fn available(&self) -> usize {
        if self.canonical() { self.lines.front().copied().unwrap_or(0) } else { self.ready.len() }
    }

    /// Whether there is something to read, be it an end of file.
    pub fn has_input(&self) -> bool {
        if self.canonical() { !self.lines.is_empty() } else { !self.ready.is_empty() }
    }

    /// Whether a reader would be done without waiting, as `poll` tells. Without canonical mode MIN
    /// bytes have to be there, unless it is a matter of time.
    pub fn is_readable(&self) -> bool {
        let character = |place: usize| self.termios.characters.get(place).copied().unwrap_or(0);
        let is_timed = character(control::TIME) > 0;
        let minimum = if is_timed || self.canonical() { 1 } else { character(control::MIN) };
        self.has_input() && (self.canonical() || self.ready.len() >= usize::from(minimum))
    }

    /// When a read is done (`termios(3)`). In canonical mode that is a line.
    pub fn patience(&self) -> Patience {
        let character = |place: usize| self.termios.characters.get(place).copied().unwrap_or(0);
        let time = u64::from(character(control::TIME));
        match usize::from(character(control::MIN)) {
            _ if self.canonical() => Patience { bytes: 0, first: None, next: None },
            0 => Patience { bytes: 1, first: Some(time), next: None },
            bytes => Patience { bytes, first: None, next: (time > 0).then_some(time) },
        }
    }

    /// Moves what can be read into `buffer` and says how much: at most one line in canonical
    /// mode. Meaningful when there [is input](Self::has_input).
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        let limit = self.available().min(buffer.len());
        for (place, byte) in buffer.iter_mut().zip(self.ready.drain(..limit)) {
            *place = byte;
        }
        if self.canonical()
            && let Some(line) = self.lines.front_mut()
        {
            *line -= limit;
            if *line == 0 {
                self.lines.pop_front();
            }
        }
        limit
    }

    /// Translates output and hands it on in pieces.
    pub fn write(&mut self, bytes: &[u8], mut out: impl FnMut(&[u8])) {
        if self.termios.output & OPOST == 0 {
            self.advance(bytes);
            return out(bytes);
        }
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            match piece {
                [text @ .., b'\n'] if self.termios.output & ONLCR != 0 => {
                    out(text);
                    out(b"\r\n");
                    self.column = 0;
                }
                piece => {
                    self.advance(piece);
                    out(piece);
                }
            }
        }
    }

    /// Follows the cursor over what is written.
    fn advance(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.column = match byte {
                b'\r' => 0,
                8 => self.column.saturating_sub(1),
                b'\t' => self.column / 8 * 8 + 8,
                // The rest of a UTF-8 sequence, and control characters.
                0x80..=0xbf | 0..=0x1f | 0x7f => self.column,
                _ => self.column + 1,
            };
        }
    }

    /// Takes a byte that was typed; `echo` gets what is to be shown.
    pub fn input(&mut self, byte: u8, mut echo: impl FnMut(&[u8])) -> Effect {
        let echo = &mut echo;
        if core::mem::take(&mut self.literal) {
            return self.add(byte, echo);
        }
        let was_stopped = self.stopped;
        if self.flow_is_controlled() && self.controls_flow(byte) {
            return Effect::Nothing;
        }
        if self.local(ISIG) {
            for (place, signal) in
                [(control::INTR, SIGINT), (control::QUIT, SIGQUIT), (control::SUSP, SIGTSTP)]
            {
                if self.is(byte, place) {
                    if !self.local(NOFLSH) {
                        self.flush_input();
                    }
                    self.stopped = false;
                    self.show(byte, echo);
                    return Effect::Signal(signal);
                }
            }
        }
        if self.termios.input & IXANY != 0 && was_stopped {
            self.stopped = false;
        }
        let byte = match byte {
            b'\r' if self.termios.input & IGNCR != 0 => return Effect::Nothing,
            b'\r' if self.termios.input & ICRNL != 0 => b'\n',
            b'\n' if self.termios.input & INLCR != 0 => b'\r',
            byte => byte,
        };
        if self.canonical() { self.edit(byte, echo) } else { self.add(byte, echo) }
    }

    /// Stops or starts output if that is what the byte is for.
    fn controls_flow(&mut self, byte: u8) -> bool {
        let (starts, stops) = (self.is(byte, control::START), self.is(byte, control::STOP));
        if starts || stops {
            self.stopped = !starts;
        }
        starts || stops
    }

    /// A byte in canonical mode.
    fn edit(&mut self, byte: u8, echo: &mut impl FnMut(&[u8])) -> Effect {
        if self.is(byte, control::ERASE) {
            self.erase(echo);
            return Effect::Nothing;
        }
        if self.is(byte, control::KILL) {
            if self.local(ECHOKE) && self.local(ECHOE) {
                while !self.edited.is_empty() {
                    self.erase(echo);
                }
            } else {
                self.edited.clear();
                self.show(byte, echo);
                if self.local(ECHOK) && self.local(ECHO) {
                    self.new_line(echo);
                }
            }
            return Effect::Nothing;
        }
        if self.local(IEXTEN) {
            if self.is(byte, control::WERASE) {
                self.erase_word(echo);
                return Effect::Nothing;
            }
            if self.is(byte, control::LNEXT) {
                self.literal = true;
                if self.local(ECHO) && self.local(ECHOCTL) {
                    echo(b"^\x08");
                }
                return Effect::Nothing;
            }
            if self.is(byte, control::REPRINT) && self.local(ECHO) {
                self.show(byte, echo);
                self.new_line(echo);
                for typed in core::mem::take(&mut self.edited) {
                    let width = self.show(typed.byte, echo);
                    self.edited.push(Typed { width, ..typed });
                }
                return Effect::Nothing;
            }
        }
        if self.is(byte, control::EOF) {
            return self.finish_line();
        }
        if byte == b'\n' || self.is(byte, control::EOL) || self.is(byte, control::EOL2) {
            if byte == b'\n' {
                if self.local(ECHO) || self.local(ECHONL) {
                    self.new_line(echo);
                }
            } else {
                self.show(byte, echo);
            }
            self.edited.push(Typed { byte, width: 0 });
            return self.finish_line();
        }
        self.add(byte, echo)
    }

    /// Adds a byte to the line, or without canonical mode to what can be read.
    fn add(&mut self, byte: u8, echo: &mut impl FnMut(&[u8])) -> Effect {
        if self.canonical() {
            if self.edited.len() >= LINE_MAX {
                // Too long: the byte is refused, audibly, as Linux does.
                echo(b"\x07");
                return Effect::Nothing;
            }
            let width = self.show(byte, echo);
            self.edited.push(Typed { byte, width });
            return Effect::Nothing;
        }
        if byte == b'\n' && self.local(ECHO) {
            self.new_line(echo);
        } else {
            self.show(byte, echo);
        }
        self.ready.push_back(byte);
        Effect::Readable
    }

    fn finish_line(&mut self) -> Effect {
        self.lines.push_back(self.edited.len());
        self.ready.extend(self.edited.drain(..).map(|typed| typed.byte));
        Effect::Readable
    }

    fn new_line(&mut self, echo: &mut impl FnMut(&[u8])) {
        if self.termios.output & (OPOST | ONLCR) == OPOST | ONLCR {
            echo(b"\r\n");
            self.column = 0;
        } else {
            echo(b"\n");
        }
    }

    /// Echoes a byte, and says how many columns that took.
    fn show(&mut self, byte: u8, echo: &mut impl FnMut(&[u8])) -> u8 {
        if !self.local(ECHO) {
            return 0;
        }
        let before = self.column;
        match byte {
            b'\t' => {
                echo(b"\t");
                self.advance(b"\t");
            }
            0..=0x1f | 0x7f if self.local(ECHOCTL) => {
                let text = [b'^', byte ^ 0x40];
                echo(&text);
                self.advance(&text);
            }
            byte => {
                echo(&[byte]);
                self.advance(&[byte]);
            }
        }
        (self.column - before.min(self.column)) as u8
    }

    /// Takes the last character back.
    fn erase(&mut self, echo: &mut impl FnMut(&[u8])) {
        let utf8 = self.termios.input & IUTF8 != 0;
        while let Some(typed) = self.edited.pop() {
            if self.local(ECHO) && self.local(ECHOE) {
                for _ in 0..typed.width {
                    echo(b"\x08 \x08");
                }
                self.column = self.column.saturating_sub(typed.width.into());
            }
            if !(utf8 && matches!(typed.byte, 0x80..=0xbf)) {
                break;
            }
        }
    }

    /// The first byte of the last character of the line.
    fn last_character(&self) -> Option<u8> {
        let utf8 = self.termios.input & IUTF8 != 0;
        let mut bytes = self.edited.iter().rev().map(|typed| typed.byte);
        bytes.find(|byte| !(utf8 && matches!(byte, 0x80..=0xbf)))
    }

    /// Takes the last word back, with what is behind it. As Linux has it, a word is of letters,
    /// digits and `_`; letters are ASCII's and, by their first bytes, all beyond.
    fn erase_word(&mut self, echo: &mut impl FnMut(&[u8])) {
        let mut in_word = false;
        while let Some(byte) = self.last_character() {
            let is_part =
                byte.is_ascii_alphanumeric() || byte == b'_' || matches!(byte, 0xc0..=0xff);
            if in_word && !is_part {
                break;
            }
            in_word |= is_part;
            self.erase(echo);
        }
    }
}

impl Default for LineDiscipline {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
