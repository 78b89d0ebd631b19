//! What programs write, and what is then on the screen.

use super::Terminal;
use crate::cell::{Cell, Colour, Style};
use proptest::prelude::{any, prop, proptest};
use std::string::String;
use std::vec::Vec;

fn terminal(columns: usize, rows: usize, text: &str) -> Terminal {
    let mut terminal = Terminal::new(columns, rows);
    terminal.write(text.as_bytes());
    terminal
}

/// The rows, without blanks at their ends.
fn rows(terminal: &Terminal) -> Vec<String> {
    let screen = terminal.screen();
    (0..screen.rows()).map(|row| screen.text(row).trim_end().into()).collect()
}

fn shows(text: &str, expected: [&str; 4]) {
    let terminal = terminal(8, 4, text);
    assert_eq!(rows(&terminal), expected, "{text:?}");
}

#[test]
fn lines_wrap_and_scroll() {
    shows("ab\r\ncd", ["ab", "cd", "", ""]);
    shows("ab\ncd", ["ab", "  cd", "", ""]);
    shows("12345678", ["12345678", "", "", ""]);
    shows("123456789", ["12345678", "9", "", ""]);
    // The cursor stays on the last column until the next character comes.
    shows("12345678\rx", ["x2345678", "", "", ""]);
    shows("12345678\x1b[Dx", ["123456x8", "", "", ""]);
    shows("1\r\n2\r\n3\r\n4\r\n5\r\n6", ["3", "4", "5", "6"]);
    shows("\x1b[?7l123456789", ["12345679", "", "", ""]);
}

#[test]
fn the_cursor_goes_where_it_is_told() {
    shows("\x1b[2;3Hx\x1b[Hy\x1b[99;99Hz", ["y", "  x", "", "       z"]);
    shows("a\tb\x08c", ["a     cb", "", "", ""]);
    shows("\x1b[3Bx\x1b[2Ay\x1b[2Dz", ["", "zy", "", "x"]);
    shows("abc\x1b[2Gx\x1b[3dy", ["axc", "", "  y", ""]);
    shows("a\x1b[Eb\x1b[Fc", ["c", "b", "", ""]);
    shows("ab\x1b7\x1b[4;4Hx\x1b8y", ["aby", "", "", "   x"]);
    shows("ab\x1b[s\x1b[4;4Hx\x1b[uy", ["aby", "", "", "   x"]);
}

#[test]
fn erasing_leaves_the_rest() {
    let full = "12345678\r\nabcdefgh\r\nABCDEFGH\r\nqrstuvwx\x1b[2;4H";
    for (sequence, expected) in [
        ("\x1b[K", ["12345678", "abc", "ABCDEFGH", "qrstuvwx"]),
        ("\x1b[1K", ["12345678", "    efgh", "ABCDEFGH", "qrstuvwx"]),
        ("\x1b[2K", ["12345678", "", "ABCDEFGH", "qrstuvwx"]),
        ("\x1b[J", ["12345678", "abc", "", ""]),
        ("\x1b[1J", ["", "    efgh", "ABCDEFGH", "qrstuvwx"]),
        ("\x1b[2J", ["", "", "", ""]),
        ("\x1b[2X", ["12345678", "abc  fgh", "ABCDEFGH", "qrstuvwx"]),
        ("\x1b[2P", ["12345678", "abcfgh", "ABCDEFGH", "qrstuvwx"]),
        ("\x1b[2@", ["12345678", "abc  def", "ABCDEFGH", "qrstuvwx"]),
        ("\x1b[L", ["12345678", "", "abcdefgh", "ABCDEFGH"]),
        ("\x1b[M", ["12345678", "ABCDEFGH", "qrstuvwx", ""]),
        ("\x1b[S", ["abcdefgh", "ABCDEFGH", "qrstuvwx", ""]),
        ("\x1b[T", ["", "12345678", "abcdefgh", "ABCDEFGH"]),
        ("\x1b[99P\x1b[99L", ["12345678", "", "", ""]),
    ] {
        shows(&std::format!("{full}{sequence}"), expected);
    }
}

#[test]
fn a_region_scrolls_by_itself() {
    shows("1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[3;1H\nx", ["1", "3", "x", "4"]);
    shows("1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[2;1H\x1bMx", ["1", "x", "2", "4"]);
    // Outside of it, the cursor stops at the edge of the screen.
    shows("1\r\n2\r\n3\r\n4\x1b[2;3r\x1b[4;1H\n\nx", ["1", "2", "3", "x"]);
    shows("\x1b[3;2r\x1b[4;1Ha\r\nb", ["", "", "a", "b"]);
}

#[test]
fn colours_are_the_pen_s() {
    let look = |text: &str| terminal(8, 1, text).screen().row(0)[0];
    let plain = Cell { character: 'x', ..Cell::BLANK };
    assert_eq!(look("x"), plain);
    assert_eq!(look("\x1b[31mx"), Cell { foreground: Colour(1), ..plain });
    assert_eq!(look("\x1b[1;4;7mx").style, Style::all());
    assert_eq!(look("\x1b[1;4;7;22;24;27mx").style, Style::empty());
    assert_eq!(
        look("\x1b[94;103mx"),
        Cell { foreground: Colour(12), background: Colour(11), ..plain }
    );
    assert_eq!(look("\x1b[31;42;39;49mx"), plain);
    assert_eq!(look("\x1b[31m\x1b[mx"), plain);
    assert_eq!(look("\x1b[38;5;208;1mx").colours(), (Colour(208), Colour(0)));
    assert_eq!(look("\x1b[48;2;255;135;0mx").background, Colour(208));
    assert_eq!(look("\x1b[38:5:208mx").foreground, Colour(208));
    assert_eq!(look("\x1b[38:2::255:135:0mx").foreground, Colour(208));
    // What cannot be a colour changes nothing.
    assert_eq!(look("\x1b[38;5;999mx\x1b[38;9mx"), plain);
    // Erased cells have the pen's background.
    assert_eq!(look("\x1b[41m\x1b[2J").background, Colour(1));
}

#[test]
fn characters_come_in_pieces_and_unknown_sequences_are_passed_over() {
    let mut terminal = Terminal::new(8, 1);
    for byte in "\x1b[3?mö\x1b]0;a long title of a window\x07\x1b(Bü\x1b[>0c\x1b[6n".bytes() {
        terminal.write(&[byte]);
    }
    assert_eq!(rows(&terminal), ["öü"]);
    terminal.write(b"\x1bc\xff!");
    assert_eq!(rows(&terminal), ["!"]);
}

#[test]
fn rows_tell_that_they_have_changed_once() {
    let mut terminal = Terminal::new(8, 4);
    let mut changed = |text: &str| {
        terminal.write(text.as_bytes());
        (0..5).filter(|&row| terminal.screen_mut().take_changed(row)).collect::<Vec<_>>()
    };
    assert_eq!(changed(""), [0, 1, 2, 3]);
    assert_eq!(changed(""), []);
    assert_eq!(changed("x"), [0]);
    // Where the cursor was, and where it is.
    assert_eq!(changed("\x1b[3;1H"), [0, 2]);
    assert_eq!(changed("\n\n"), [0, 1, 2, 3]);
    assert_eq!(changed("\x1b[?25l"), [3]);
}

proptest! {
    /// Sequences of what occurs in sequences reach more than random bytes do.
    #[test]
    fn anything_can_be_written(
        columns in 0_usize..20,
        lines in 0_usize..10,
        pieces in prop::collection::vec(
            proptest::prelude::prop_oneof![
                "\x1b\\[[?>]?[0-9;:]{0,12}[@-~]",
                "\x1b[ -~]",
                "[\r\n\t\x08a-zäß]{0,12}",
                "\x1b\\[(9999999999|65535|0)?;?(65535)?[A-Za-z@`]",
            ],
            0..40,
        ),
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut terminal = Terminal::new(columns, lines);
        for piece in &pieces {
            terminal.write(piece.as_bytes());
        }
        terminal.write(&bytes);
        let screen = terminal.screen();
        let (row, column) = screen.cursor();
        assert!(row < screen.rows() && column < screen.columns());
        assert!((0..screen.rows()).all(|row| screen.row(row).len() == screen.columns()));
    }
}
