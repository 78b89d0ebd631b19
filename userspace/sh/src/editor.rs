//! The line editor: a machine that takes the bytes of a keyboard in raw mode and says what the
//! screen must show and when a line is done. It does no input or output itself. The terminal
//! turns a line feed into carriage return and line feed (`ONLCR`).
//!
//! Keys: arrows, Home, End, Delete; ^A ^E ^B ^F ^P ^N as in other shells; ^U ^K ^W delete to the
//! start, to the end, a word; ^L clears the screen; ^C drops the line; ^D on an empty line ends
//! the input; Tab asks for completions.

use crate::Bytes;
use alloc::format;
use alloc::vec::Vec;

/// What a byte led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing that concerns the caller.
    None,
    /// A line is complete.
    Line(Bytes),
    /// ^C: the line is dropped.
    Interrupted,
    /// ^D on an empty line.
    EndOfInput,
    /// Tab: the caller finds what could stand before the cursor, and calls [`Editor::complete`].
    Complete,
}

/// A line while it is typed.
pub struct Editor {
    prompt: Bytes,
    line: Bytes,
    /// Where the cursor stands in `line`; always on a character's boundary.
    cursor: usize,
    /// Columns of the screen.
    columns: usize,
    /// The cursor's row on the screen, counted from the prompt's.
    row: usize,
    history: Vec<Bytes>,
    /// Which entry of the history is shown; its length while the new line is.
    shown: usize,
    /// The new line, while an entry of the history is shown.
    kept: Bytes,
    escape: Bytes,
    /// A carriage return was the last byte, so a line feed belongs to it.
    after_return: bool,
}

/// Older entries than this are forgotten.
const HISTORY: usize = 500;

impl Editor {
    pub fn new() -> Self {
        Self {
            prompt: Bytes::new(),
            line: Bytes::new(),
            cursor: 0,
            columns: 80,
            row: 0,
            history: Vec::new(),
            shown: 0,
            kept: Bytes::new(),
            escape: Bytes::new(),
            after_return: false,
        }
    }

    /// Starts a new line; writes the prompt to `screen`.
    pub fn start(&mut self, prompt: &[u8], columns: usize, screen: &mut Bytes) {
        self.prompt = prompt.to_vec();
        self.columns = columns.max(10);
        self.line.clear();
        self.cursor = 0;
        self.row = 0;
        self.shown = self.history.len();
        screen.extend_from_slice(prompt);
    }

    /// Remembers a line, unless it is blank or repeats the one before.
    pub fn remember(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() || self.history.last().is_some_and(|last| last == line) {
            return;
        }
        if self.history.len() == HISTORY {
            self.history.remove(0);
        }
        self.history.push(line.to_vec());
    }

    /// The lines remembered, oldest first.
    pub fn history(&self) -> &[Bytes] {
        &self.history
    }

    /// The line up to the cursor.
    pub fn before_cursor(&self) -> &[u8] {
        self.line.get(..self.cursor).unwrap_or(&[])
    }

    /// Takes one byte of input; appends what the screen must show.
    pub fn feed(&mut self, byte: u8, screen: &mut Bytes) -> Event {
        if !self.escape.is_empty() {
            self.escape_sequence(byte, screen);
            return Event::None;
        }
        let after_return = core::mem::replace(&mut self.after_return, byte == b'\r');
        match byte {
            b'\n' if after_return => {}
            b'\r' | b'\n' => {
                self.move_to(self.line.len(), screen);
                screen.extend_from_slice(b"\n");
                return Event::Line(core::mem::take(&mut self.line));
            }
            0x03 => {
                self.move_to(self.line.len(), screen);
                screen.extend_from_slice(b"^C\n");
                self.line.clear();
                return Event::Interrupted;
            }
            // A terminal that was in line mode hands an end of file on as a NUL.
            0x04 | 0x00 if self.line.is_empty() => return Event::EndOfInput,
            0x04 => self.delete(self.cursor, self.next(), screen),
            b'\t' => return Event::Complete,
            0x08 | 0x7f => self.delete(self.previous(), self.cursor, screen),
            0x01 => self.move_to(0, screen),
            0x05 => self.move_to(self.line.len(), screen),
            0x02 => self.move_to(self.previous(), screen),
            0x06 => self.move_to(self.next(), screen),
            0x0b => self.delete(self.cursor, self.line.len(), screen),
            0x15 => self.delete(0, self.cursor, screen),
            0x17 => self.delete(self.word_start(), self.cursor, screen),
            0x10 => self.show(self.shown.wrapping_sub(1), screen),
            0x0e => self.show(self.shown + 1, screen),
            0x0c => {
                screen.extend_from_slice(b"\x1b[H\x1b[2J");
                self.row = 0;
                self.redraw(screen);
            }
            0x1b => self.escape.push(byte),
            0x20.. => self.insert(&[byte], screen),
            _ => {}
        }
        Event::None
    }

    /// Puts in what Tab found. One candidate is completed, with `end` after it; of several, what
    /// they have in common, or if that is nothing new, they are listed.
    /// `typed` is how many bytes before the cursor the candidates begin.
    pub fn complete(&mut self, typed: usize, candidates: &[Bytes], end: u8, screen: &mut Bytes) {
        let Some(first) = candidates.first() else { return };
        let common = candidates.iter().fold(first.len(), |length, candidate| {
            length.min(first.iter().zip(candidate).take_while(|(one, other)| one == other).count())
        });
        let mut addition = first.get(typed..common).unwrap_or(&[]).to_vec();
        if candidates.len() == 1 && !first.ends_with(b"/") {
            addition.push(end);
        }
        if !addition.is_empty() {
            return self.insert(&addition, screen);
        }
        self.move_to_end_of_screen(screen);
        screen.extend_from_slice(b"\n");
        let width = candidates.iter().map(|candidate| width(candidate)).max().unwrap_or(0) + 2;
        let per_row = (self.columns / width).max(1);
        for row in candidates.chunks(per_row) {
            for candidate in row {
                screen.extend_from_slice(candidate);
                let padding = width.saturating_sub(self::width(candidate));
                screen.extend(core::iter::repeat_n(b' ', padding));
            }
            screen.extend_from_slice(b"\n");
        }
        self.row = 0;
        self.redraw(screen);
    }

    /// A byte after ESC: `ESC [ … letter` and `ESC O letter`.
    fn escape_sequence(&mut self, byte: u8, screen: &mut Bytes) {
        self.escape.push(byte);
        let begins = matches!(self.escape.as_slice(), [_, b'[' | b'O']);
        let goes_on = self.escape.len() > 2 && !(0x40..0x7f).contains(&byte);
        if (begins || goes_on) && self.escape.len() < 16 {
            return;
        }
        let sequence = core::mem::take(&mut self.escape);
        match sequence.get(2..).unwrap_or(&[]) {
            b"A" => self.show(self.shown.wrapping_sub(1), screen),
            b"B" => self.show(self.shown + 1, screen),
            b"C" => self.move_to(self.next(), screen),
            b"D" => self.move_to(self.previous(), screen),
            b"H" | b"1~" | b"7~" => self.move_to(0, screen),
            b"F" | b"4~" | b"8~" => self.move_to(self.line.len(), screen),
            b"3~" => self.delete(self.cursor, self.next(), screen),
            _ => {}
        }
    }

    /// The boundary before the cursor's.
    fn previous(&self) -> usize {
        let before = self.before_cursor();
        let tail = before.iter().rev().take_while(|byte| is_continuation(**byte)).count();
        self.cursor.saturating_sub(tail + 1)
    }

    /// The boundary after the cursor's.
    fn next(&self) -> usize {
        let after = self.line.get(self.cursor..).unwrap_or(&[]);
        let tail = after.iter().skip(1).take_while(|byte| is_continuation(**byte)).count();
        (self.cursor + 1 + tail).min(self.line.len())
    }

    fn word_start(&self) -> usize {
        let blanks = |byte: &&u8| **byte == b' ';
        let before = self.before_cursor();
        let spaces = before.iter().rev().take_while(blanks).count();
        let letters = before.iter().rev().skip(spaces).take_while(|byte| !blanks(byte)).count();
        self.cursor - spaces - letters
    }

    fn insert(&mut self, text: &[u8], screen: &mut Bytes) {
        let at_end = self.cursor == self.line.len();
        self.line.splice(self.cursor..self.cursor, text.iter().copied());
        self.cursor += text.len();
        let total = width(&self.prompt) + width(&self.line);
        if at_end && (total / self.columns == self.row || text.len() == 1) {
            screen.extend_from_slice(text);
            if total.is_multiple_of(self.columns) {
                // The terminal waits at the row's end; a blank makes it go on to the next.
                screen.extend_from_slice(b" \r");
            }
            self.row = total / self.columns;
        } else {
            self.redraw(screen);
        }
    }

    fn delete(&mut self, from: usize, to: usize, screen: &mut Bytes) {
        if from < to {
            self.line.drain(from..to);
            self.cursor = from;
            self.redraw(screen);
        }
    }

    fn move_to(&mut self, position: usize, screen: &mut Bytes) {
        if self.cursor != position {
            self.cursor = position;
            self.redraw(screen);
        }
    }

    fn move_to_end_of_screen(&mut self, screen: &mut Bytes) {
        let cursor = self.cursor;
        self.move_to(self.line.len(), screen);
        self.cursor = cursor;
    }

    /// Shows another entry of the history.
    fn show(&mut self, entry: usize, screen: &mut Bytes) {
        if entry > self.history.len() {
            return;
        }
        if self.shown == self.history.len() {
            self.kept.clone_from(&self.line);
        }
        self.shown = entry;
        self.line = self.history.get(entry).unwrap_or(&self.kept).clone();
        self.cursor = self.line.len();
        self.redraw(screen);
    }

    /// Draws prompt and line anew over the old ones, however many rows they take.
    fn redraw(&mut self, screen: &mut Bytes) {
        if self.row > 0 {
            screen.extend(format!("\x1b[{}A", self.row).bytes());
        }
        screen.extend_from_slice(b"\r\x1b[J");
        screen.extend_from_slice(&self.prompt);
        screen.extend_from_slice(&self.line);
        let prompt = width(&self.prompt);
        let total = prompt + width(&self.line);
        if total > 0 && total.is_multiple_of(self.columns) {
            // The terminal waits at the row's end; make it go on to the next.
            screen.extend_from_slice(b"\n");
        }
        let position = prompt + width(self.before_cursor());
        let (last, row) = (total / self.columns, position / self.columns);
        if position < total {
            if last > row {
                screen.extend(format!("\x1b[{}A", last - row).bytes());
            }
            screen.push(b'\r');
            if !position.is_multiple_of(self.columns) {
                screen.extend(format!("\x1b[{}C", position % self.columns).bytes());
            }
        }
        self.row = row;
    }
}

impl Default for Editor {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a byte continues a UTF-8 character.
fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// Columns that a text takes: one for each character.
fn width(text: &[u8]) -> usize {
    text.iter().filter(|byte| !is_continuation(**byte)).count()
}

#[cfg(test)]
mod tests {
    use super::{Editor, Event};
    use crate::Bytes;
    use alloc::vec::Vec;

    /// Types into a fresh line and returns the events that mattered.
    fn type_into(editor: &mut Editor, keys: &[u8]) -> (Vec<Event>, Bytes) {
        let mut screen = Bytes::new();
        editor.start(b"$ ", 80, &mut screen);
        let events = keys.iter().map(|&key| editor.feed(key, &mut screen));
        let events = events.filter(|event| *event != Event::None).collect();
        (events, screen)
    }

    fn line(keys: &[u8]) -> Bytes {
        let (events, _) = type_into(&mut Editor::new(), keys);
        match events.as_slice() {
            [Event::Line(line)] => line.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn editing() {
        assert_eq!(line(b"hello\r"), b"hello");
        assert_eq!(line(b"helo\x1b[Dl\n"), b"hello");
        assert_eq!(line(b"xhello\x01\x1b[3~\x05!\n"), b"hello!");
        assert_eq!(line(b"one two three\x17\x17x\n"), b"one x");
        assert_eq!(line(b"abc\x15def\n"), b"def");
        assert_eq!(line(b"abc\x02\x02\x0bz\n"), b"az");
        assert_eq!(line("äö\u{7f}x\n".as_bytes()), "äx".as_bytes());
        assert_eq!(line(b"a\x1b[200~b\x1bOHc\n"), b"cab");
    }

    #[test]
    fn plain_typing_is_echoed_as_typed() {
        let (events, screen) = type_into(&mut Editor::new(), b"bpf list\r\n");
        assert_eq!(events, [Event::Line(b"bpf list".to_vec())]);
        assert_eq!(screen, b"$ bpf list\n");
    }

    #[test]
    fn ends() {
        assert_eq!(type_into(&mut Editor::new(), b"ab\x03").0, [Event::Interrupted]);
        assert_eq!(type_into(&mut Editor::new(), b"\x04").0, [Event::EndOfInput]);
        assert_eq!(type_into(&mut Editor::new(), b"a\x04").0, []);
    }

    #[test]
    fn history() {
        let mut editor = Editor::new();
        for old in [&b"one"[..], b"two", b"two", b"  "] {
            editor.remember(old);
        }
        assert_eq!(editor.history().len(), 2);
        let mut typed = |keys: &[u8]| type_into(&mut editor, keys).0;
        assert_eq!(typed(b"\x1b[A\x1b[A\x1b[A\r"), [Event::Line(b"one".to_vec())]);
        assert_eq!(typed(b"new\x10\x0e\r"), [Event::Line(b"new".to_vec())]);
    }

    #[test]
    fn completion() {
        let mut editor = Editor::new();
        let mut screen = Bytes::new();
        let mut try_with = |candidates: &[&[u8]]| {
            editor.start(b"", 80, &mut screen);
            editor.feed(b'l', &mut screen);
            let candidates: Vec<Bytes> = candidates.iter().map(|name| name.to_vec()).collect();
            editor.complete(1, &candidates, b' ', &mut screen);
            editor.before_cursor().to_vec()
        };
        assert_eq!(try_with(&[]), b"l");
        assert_eq!(try_with(&[b"ls"]), b"ls ");
        assert_eq!(try_with(&[b"lib/"]), b"lib/");
        assert_eq!(try_with(&[b"lsof", b"lsblk"]), b"ls");
        assert_eq!(try_with(&[b"la", b"lb"]), b"l");
    }

    #[test]
    fn long_lines_take_several_rows() {
        let mut editor = Editor::new();
        let mut screen = Bytes::new();
        editor.start(b"$ ", 10, &mut screen);
        for _ in 0..25 {
            editor.feed(b'x', &mut screen);
        }
        assert_eq!(editor.row, 2);
        screen.clear();
        editor.feed(0x01, &mut screen);
        // Up two rows, clear, draw 27 columns, back to row 0 and behind the prompt.
        assert!(screen.starts_with(b"\x1b[2A\r\x1b[J$ x"));
        assert!(screen.ends_with(b"x\x1b[2A\r\x1b[2C"));
    }
}
