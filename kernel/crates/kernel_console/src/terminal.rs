//! What programs write to a terminal, understood as a Linux console does (`console_codes(4)`;
//! ECMA-48). Sequences that ask for an answer get none: this terminal only shows.

use anstyle_parse::{Params, Parser, Perform};

use crate::cell::Cell;
use crate::rendition;
use crate::screen::Screen;

/// Columns between tabulator stops.
const TAB: usize = 8;

/// A terminal: feeds what is written to a screen.
pub struct Terminal {
    parser: Parser,
    state: State,
}

/// What escape sequences change.
struct State {
    screen: Screen,
    /// What the next character looks like; its character is not used.
    pen: Cell,
    /// Cursor and pen, to come back to.
    saved: (usize, usize, Cell),
    wraps: bool,
}

impl Terminal {
    /// A terminal with an empty screen.
    #[must_use]
    pub fn new(columns: usize, rows: usize) -> Self {
        Self { parser: Parser::default(), state: State::new(columns, rows) }
    }

    /// Takes output, in pieces of any size.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.parser.advance(&mut self.state, byte);
        }
    }

    #[must_use]
    pub fn screen(&self) -> &Screen {
        &self.state.screen
    }

    pub fn screen_mut(&mut self) -> &mut Screen {
        &mut self.state.screen
    }
}

impl core::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Terminal").field("screen", &self.state.screen).finish_non_exhaustive()
    }
}

impl State {
    fn new(columns: usize, rows: usize) -> Self {
        Self {
            screen: Screen::new(columns, rows),
            pen: Cell::BLANK,
            saved: (0, 0, Cell::BLANK),
            wraps: true,
        }
    }

    /// An erased cell: it has the pen's background.
    fn blank(&self) -> Cell {
        Cell { background: self.pen.background, ..Cell::BLANK }
    }

    fn line_feed(&mut self) {
        let blank = self.blank();
        self.screen.line_feed(blank);
    }

    fn save(&mut self) {
        let (row, column) = self.screen.cursor();
        self.saved = (row, column, self.pen);
    }

    fn restore(&mut self) {
        let (row, column, pen) = self.saved;
        self.pen = pen;
        self.screen.move_to(row, column);
    }

    /// Erases from the cursor on (0), up to it (1), or everything (2, 3), of the screen.
    fn erase_screen(&mut self, what: usize) {
        let ((row, column), blank) = (self.screen.cursor(), self.blank());
        let (rows, columns) = (self.screen.rows(), self.screen.columns());
        match what {
            0 => {
                self.screen.erase_columns(column..columns, blank);
                self.screen.erase_rows(row + 1..rows, blank);
            }
            1 => {
                self.screen.erase_columns(0..column + 1, blank);
                self.screen.erase_rows(0..row, blank);
            }
            2 | 3 => self.screen.erase_rows(0..rows, blank),
            _ => {}
        }
    }

    /// The same of the cursor's row.
    fn erase_line(&mut self, what: usize) {
        let ((_, column), blank) = (self.screen.cursor(), self.blank());
        let columns = self.screen.columns();
        match what {
            0 => self.screen.erase_columns(column..columns, blank),
            1 => self.screen.erase_columns(0..column + 1, blank),
            2 => self.screen.erase_columns(0..columns, blank),
            _ => {}
        }
    }

    /// Modes that are private to terminals like DEC's.
    fn set_mode(&mut self, mode: usize, on: bool) {
        match mode {
            7 => self.wraps = on,
            25 => self.screen.show_cursor(on),
            _ => {}
        }
    }

    /// Inserts (`down`) or deletes rows at the cursor, inside the region that scrolls.
    fn shift_rows(&mut self, count: usize, down: bool) {
        let (region, (row, _)) = (self.screen.region(), self.screen.cursor());
        if !region.contains(&row) {
            return;
        }
        let blank = self.blank();
        if down {
            self.screen.scroll_down(row..region.end, count, blank);
        } else {
            self.screen.scroll_up(row..region.end, count, blank);
        }
    }
}

impl Perform for State {
    fn print(&mut self, character: char) {
        if self.screen.wraps {
            let (row, _) = self.screen.cursor();
            self.screen.move_to(row, 0);
            self.line_feed();
        }
        let last = self.screen.put(Cell { character, ..self.pen });
        self.screen.wraps = last && self.wraps;
    }

    fn execute(&mut self, byte: u8) {
        let (row, column) = self.screen.cursor();
        match byte {
            0x08 => self.screen.move_columns(-1),
            b'\t' => self.screen.move_to(row, (column / TAB + 1) * TAB),
            // Line feed, and vertical tabulator and form feed, which do the same.
            0x0a..=0x0c => self.line_feed(),
            b'\r' => self.screen.move_to(row, 0),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: u8) {
        let value = |index: usize| {
            params.iter().nth(index).and_then(|group| group.first()).map_or(0, |&v| usize::from(v))
        };
        if ignore {
            return;
        }
        match (intermediates, action) {
            (b"?", b'h' | b'l') => {
                for mode in params.iter().filter_map(|group| group.first()) {
                    self.set_mode(usize::from(*mode), action == b'h');
                }
                return;
            }
            (b"", _) => {}
            _ => return,
        }
        let count = value(0).max(1);
        let by = count as isize;
        let ((row, column), blank) = (self.screen.cursor(), self.blank());
        match action {
            b'@' => self.screen.insert_cells(count, blank),
            b'A' => self.screen.move_rows(-by),
            b'B' | b'e' => self.screen.move_rows(by),
            b'C' | b'a' => self.screen.move_columns(by),
            b'D' => self.screen.move_columns(-by),
            b'E' | b'F' => {
                self.screen.move_rows(if action == b'E' { by } else { -by });
                let (row, _) = self.screen.cursor();
                self.screen.move_to(row, 0);
            }
            b'G' | b'`' => self.screen.move_to(row, count - 1),
            b'H' | b'f' => self.screen.move_to(count - 1, value(1).max(1) - 1),
            b'd' => self.screen.move_to(count - 1, column),
            b'J' => self.erase_screen(value(0)),
            b'K' => self.erase_line(value(0)),
            b'L' => self.shift_rows(count, true),
            b'M' => self.shift_rows(count, false),
            b'P' => self.screen.delete_cells(count, blank),
            b'S' => self.screen.scroll_up(self.screen.region(), count, blank),
            b'T' => self.screen.scroll_down(self.screen.region(), count, blank),
            b'X' => self.screen.erase_columns(column..column.saturating_add(count), blank),
            b'm' => rendition::select(&mut self.pen, params),
            b'r' => {
                let end = if value(1) == 0 { self.screen.rows() } else { value(1) };
                self.screen.set_region(count - 1..end);
                self.screen.move_to(0, 0);
            }
            b's' => self.save(),
            b'u' => self.restore(),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], ignore: bool, byte: u8) {
        if ignore || !intermediates.is_empty() {
            return;
        }
        let blank = self.blank();
        match byte {
            b'7' => self.save(),
            b'8' => self.restore(),
            b'D' => self.line_feed(),
            b'E' => {
                self.execute(b'\r');
                self.line_feed();
            }
            b'M' => self.screen.reverse_line_feed(blank),
            b'c' => *self = Self::new(self.screen.columns(), self.screen.rows()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
