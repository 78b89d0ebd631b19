//! What a terminal does with what is typed and written, key by key.

use super::input_flags::{IXANY, IXON};
use super::{Effect, INPUT_LIMIT, LINE_MAX, LineDiscipline, Patience, control, local_flags};
use std::string::String;
use std::vec::Vec;

struct Typist {
    tty: LineDiscipline,
    screen: Vec<u8>,
    signals: Vec<u32>,
}

impl Typist {
    fn new() -> Self {
        Self { tty: LineDiscipline::new(), screen: Vec::new(), signals: Vec::new() }
    }

    fn types(&mut self, text: &[u8]) -> &mut Self {
        for &byte in text {
            let screen = &mut self.screen;
            if let Effect::Signal(signal) =
                self.tty.input(byte, |bytes| screen.extend_from_slice(bytes))
            {
                self.signals.push(signal);
            }
        }
        self
    }

    fn reads(&mut self) -> Option<String> {
        if !self.tty.has_input() {
            return None;
        }
        let mut buffer = [0; 8192];
        let count = self.tty.read(&mut buffer);
        Some(String::from_utf8(buffer[..count].to_vec()).unwrap())
    }

    fn raw(&mut self, off: u32) {
        let mut termios = *self.tty.termios();
        termios.local &= !off;
        self.tty.set_termios(termios);
    }
}

#[test]
fn lines_are_edited_before_they_are_read() {
    let mut typist = Typist::new();
    typist.types(b"helo\x7flo");
    assert_eq!(typist.reads(), None);
    assert_eq!(typist.types(b"\r").reads().unwrap(), "hello\n");
    assert_eq!(typist.screen, b"helo\x08 \x08lo\r\n");
    assert_eq!(typist.types(b"some words  \x17more\n").reads().unwrap(), "some more\n");
    // Words are runs of letters and digits; the rest goes with the word before it.
    assert_eq!(typist.types(b"/usr/lib_2--\x17b\x17\x17/x\n").reads().unwrap(), "//x\n");
    assert_eq!(typist.types("so sch\u{f6}n!\x17a\n".as_bytes()).reads().unwrap(), "so a\n");
    assert_eq!(typist.types(b"!!\x17x\n").reads().unwrap(), "x\n");
    assert_eq!(typist.types(b"wrong\x15right\n").reads().unwrap(), "right\n");
    assert_eq!(typist.types(b"\x7f\x7fa\n").reads().unwrap(), "a\n");
    assert_eq!(typist.types("ä\x7f€\x7fu\n".as_bytes()).reads().unwrap(), "u\n");
    assert_eq!(typist.types(b"a\x16\x03b\n").reads().unwrap(), "a\x03b\n");
}

#[test]
fn one_line_is_read_at_a_time_and_in_parts() {
    let mut typist = Typist::new();
    typist.types(b"one\ntwo\n");
    let mut two = [0; 2];
    assert_eq!(typist.tty.read(&mut two), 2);
    assert_eq!(typist.reads().unwrap(), "e\n");
    assert_eq!(typist.reads().unwrap(), "two\n");
    assert_eq!(typist.reads(), None);
}

#[test]
fn end_of_file_ends_a_line_or_is_read_as_nothing() {
    let mut typist = Typist::new();
    assert_eq!(typist.types(b"\x04").reads().unwrap(), "");
    assert_eq!(typist.reads(), None);
    assert_eq!(typist.types(b"part\x04").reads().unwrap(), "part");
    assert_eq!(typist.reads(), None);
}

#[test]
fn signals_flush_what_was_typed() {
    let mut typist = Typist::new();
    typist.types(b"abc\x03\x1c\x1a");
    assert_eq!(typist.signals, [2, 3, 20]);
    assert_eq!(typist.types(b"x\n").reads().unwrap(), "x\n");
    assert!(typist.screen.starts_with(b"abc^C"));
    typist.raw(local_flags::ISIG);
    assert_eq!(typist.types(b"\x03\n").reads().unwrap(), "\x03\n");
}

#[test]
fn without_canonical_mode_bytes_are_read_as_they_come() {
    let mut typist = Typist::new();
    typist.types(b"early");
    typist.raw(local_flags::ICANON | local_flags::ECHO);
    assert_eq!(typist.reads().unwrap(), "early");
    typist.screen.clear();
    assert_eq!(typist.types(b"\x7f\x04").reads().unwrap(), "\x7f\x04");
    assert!(typist.screen.is_empty());
}

#[test]
fn without_canonical_mode_reads_end_by_bytes_or_time() {
    let mut typist = Typist::new();
    let mut set = |minimum, time, text: &[u8]| {
        let mut termios = *typist.tty.termios();
        termios.local &= !local_flags::ICANON;
        termios.characters[control::MIN] = minimum;
        termios.characters[control::TIME] = time;
        typist.tty.set_termios(termios);
        typist.tty.flush_input();
        assert!(!typist.tty.is_readable());
        typist.types(text);
        assert_eq!(typist.tty.has_input(), !text.is_empty());
        (typist.tty.patience(), typist.tty.is_readable())
    };
    let patience = |bytes, first, next| Patience { bytes, first, next };
    assert_eq!(set(3, 0, b"ab"), (patience(3, None, None), false));
    assert_eq!(set(3, 0, b"abc"), (patience(3, None, None), true));
    assert_eq!(set(3, 7, b"a"), (patience(3, None, Some(7)), true));
    assert_eq!(set(0, 7, b"a"), (patience(1, Some(7), None), true));
    assert_eq!(set(0, 0, b""), (patience(1, Some(0), None), false));
}

#[test]
fn output_is_stopped_and_started() {
    let mut typist = Typist::new();
    assert!(typist.types(b"a\x13").tty.is_stopped());
    assert!(typist.types(b"b").tty.is_stopped());
    assert!(!typist.types(b"\x11").tty.is_stopped());
    assert_eq!(typist.types(b"\n").reads().unwrap(), "ab\n");
    // A signal starts it, and settings under which nothing could.
    assert!(!typist.types(b"\x13\x03").tty.is_stopped());
    typist.types(b"\x13");
    let mut termios = *typist.tty.termios();
    termios.input |= IXANY;
    typist.tty.set_termios(termios);
    assert!(typist.tty.is_stopped());
    assert!(!typist.types(b"x").tty.is_stopped());
    typist.types(b"\x13");
    termios.input &= !IXON;
    typist.tty.set_termios(termios);
    assert!(!typist.tty.is_stopped());
    assert_eq!(typist.types(b"\x13\x11\n").reads().unwrap(), "x\x13\x11\n");
}

#[test]
fn tabs_and_controls_are_erased_as_wide_as_they_were_shown() {
    let mut typist = Typist::new();
    typist.tty.write(b"$ ", |_| {});
    typist.types(b"a\t");
    typist.screen.clear();
    typist.types(b"\x7f");
    assert_eq!(typist.screen, b"\x08 \x08".repeat(5));
    typist.types(b"\x01");
    typist.screen.clear();
    typist.types(b"\x7f");
    assert_eq!(typist.screen, b"\x08 \x08".repeat(2));
}

#[test]
fn output_gets_carriage_returns() {
    let mut tty = LineDiscipline::new();
    let mut out = Vec::new();
    tty.write(b"a\nb\n\nc", |bytes| out.extend_from_slice(bytes));
    assert_eq!(out, b"a\r\nb\r\n\r\nc");
}

#[test]
fn input_is_held_back_and_not_lost() {
    let mut typist = Typist::new();
    let mut sent = 0;
    while typist.tty.has_room() {
        typist.types(b"0123456789\n");
        sent += 11;
    }
    assert!(sent >= INPUT_LIMIT);
    let mut total = 0;
    while let Some(line) = typist.reads() {
        total += line.len();
    }
    assert_eq!(total, sent);
    // One endless line does not grow for ever, nor does it block.
    typist.types(&std::vec![b'x'; 3 * LINE_MAX]);
    assert!(typist.tty.has_room());
    assert_eq!(typist.types(b"\n").reads().unwrap().len(), LINE_MAX + 1);
}
