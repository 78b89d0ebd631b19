//! The display, judged by screenshots: text is read off the picture by comparing each cell with
//! the glyphs of the console's font, and what a program has drawn is looked at pixel by pixel.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kernel_console::{Colour, Font};
use lemma::build::Options;
use lemma::display::Graphics;
use lemma::machine::{Arch, Virtio};
use lemma::monitor::Screenshot;

use crate::guest::{Boot, boot_with, on_each_architecture};

on_each_architecture!(
    the_console_shows_text_colours_and_pixels_and_takes_keys,
    the_last_words_of_a_panic_are_on_the_display,
);

/// How long the picture may lag behind the serial line. It ends a hung guest.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is read where the pixels are no glyph.
const UNREADABLE: char = '\u{fffd}';

/// A screenshot, and how to read it.
struct Picture {
    shot: Screenshot,
    font: Font,
}

impl Picture {
    fn new(shot: Screenshot) -> Self {
        let font = Font::fitting(shot.width, shot.height);
        Self { shot, font }
    }

    /// The colours of a cell: what is behind the character at its upper left corner, where no
    /// glyph has ink, and the ink, if there is any.
    fn colours(&self, row: u32, column: u32) -> ([u8; 3], Option<[u8; 3]>) {
        let (width, height) = self.font.cell();
        let (left, top) = (column * width, row * height);
        let paper = self.shot.pixel(left, top);
        let mut pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let ink = pixels.find_map(|(x, y)| {
            Some(self.shot.pixel(left + x, top + y)).filter(|pixel| *pixel != paper)
        });
        (paper, ink)
    }

    /// The character of a cell.
    fn character(&self, row: u32, column: u32) -> char {
        let (width, height) = self.font.cell();
        let (left, top, scale) = (column * width, row * height, self.font.scale());
        let (paper, Some(ink)) = self.colours(row, column) else { return ' ' };
        let mut rows = vec![0_u16; (height / scale) as usize];
        for (y, row) in (0..).zip(&mut rows) {
            for x in 0..width / scale {
                // Every pixel of the enlarged one has to be alike.
                let mut square = (0..scale * scale).map(|at| {
                    let (x, y) = (x * scale + at % scale, y * scale + at / scale);
                    self.shot.pixel(left + x, top + y)
                });
                let first = square.next().unwrap();
                if !square.all(|pixel| pixel == first) || (first != ink && first != paper) {
                    return UNREADABLE;
                }
                if first == ink {
                    *row |= 0x8000 >> x;
                }
            }
        }
        let all = ('!'..='~').chain('\u{a1}'..='\u{ff}');
        all.into_iter()
            .find(|&character| self.font.glyph(character).0 == rows)
            .unwrap_or(UNREADABLE)
    }

    /// The text, without the blanks at the ends of rows and the empty rows at the end.
    fn text(&self) -> Vec<String> {
        let (columns, rows) = self.font.grid(self.shot.width, self.shot.height);
        let row = |row| (0..columns as u32).map(|column| self.character(row, column)).collect();
        let mut rows: Vec<String> =
            (0..rows as u32).map(row).map(|text: String| text.trim_end().to_owned()).collect();
        while rows.last().is_some_and(String::is_empty) {
            rows.pop();
        }
        rows
    }
}

/// Takes screenshots until one's text is as wanted.
fn wait(guest: &Boot, what: &str, wanted: impl Fn(&[String]) -> bool) -> (Picture, Vec<String>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let picture = Picture::new(guest.session.screenshot().unwrap());
        let text = picture.text();
        if wanted(&text) {
            return (picture, text);
        }
        assert!(Instant::now() < deadline, "no {what} on the display:\n{}", text.join("\n"));
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The picture when the prompt is the last text on it, with nothing typed, and these words begin a
/// row above: what is drawn comes after what the serial console says, and there was a prompt
/// before.
fn at_prompt(guest: &Boot, after: &str) -> (Picture, Vec<String>) {
    let is_text = |row: &&String| !row.is_empty() && !row.contains(UNREADABLE);
    wait(guest, &format!("prompt after {after:?}"), |text| {
        text.iter().any(|row| row.starts_with(after))
            && text.iter().rfind(is_text).is_some_and(|row| row == "lemma:/#")
    })
}

fn options(arch: Arch) -> Options {
    Options { arch, graphics: Some(Graphics::None), ..Options::default() }
}

fn the_console_shows_text_colours_and_pixels_and_takes_keys(arch: Arch) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| -> (PathBuf, String) {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        (path, format!("/root/{name}"))
    };
    let copies = vec![
        file("colours", "\x1b[31mred \x1b[1;33;44mgold\x1b[0m grün\x1b[2;10H\x1b[7mhere\x1b[m\r\n"),
        file("numbers", &(1..=200).map(|number| format!("line {number}\n")).collect::<String>()),
    ];
    let mut guest = boot_with(Options { copies, ..options(arch) });
    guest.prompt();

    // The log from its first line on, though the display was found later.
    let (_, text) = at_prompt(&guest, "Commands are in");
    let first = text.first().unwrap();
    assert!(
        first.starts_with("[    0.000000] Lemma ") && first.contains(", started by"),
        "{text:?}"
    );
    assert!(text.iter().any(|row| row.contains("display: virtio gpu, 1280 x 800")), "{text:?}");

    // What is typed and what is answered.
    guest.succeed("echo seen twice");
    let (_, text) = at_prompt(&guest, "seen twice");
    let at = text.iter().position(|row| row == "lemma:/# echo seen twice").expect("the echo");
    assert_eq!(text[at + 1], "seen twice");

    // Sequences: clearing, colours, moving the cursor.
    guest.succeed("clear");
    guest.succeed("clear; cat /root/colours");
    let (picture, text) = at_prompt(&guest, "red gold");
    assert_eq!(text[..2], ["red gold grün", "         here"], "{text:?}");
    let rgb = |colour| Colour(colour).rgb();
    assert_eq!(picture.colours(0, 0), (rgb(0), Some(rgb(1))));
    assert_eq!(picture.colours(0, 4), (rgb(4), Some(rgb(11))));
    assert_eq!(picture.colours(0, 9), (rgb(0), Some(rgb(7))));
    assert_eq!(picture.colours(1, 9), (rgb(7), Some(rgb(0))));

    // More than fits: what is left is the end.
    guest.succeed("clear; cat /root/numbers");
    let (_, text) = at_prompt(&guest, "line 200");
    let numbers = text.iter().filter_map(|row| row.strip_prefix("line ")?.parse::<u32>().ok());
    let numbers: Vec<u32> = numbers.collect();
    assert!(numbers.len() > 20, "{text:?}");
    assert!(numbers.is_sorted_by(|one, next| one + 1 == *next), "{numbers:?}");
    assert_eq!(numbers.last(), Some(&200));

    shows_a_program_s_pixels(&mut guest);
    takes_keys(&mut guest);
    guest.shut_down(0);
}

/// A program's own pixels: `usertests` says where.
fn shows_a_program_s_pixels(guest: &mut Boot) {
    guest.succeed("clear");
    let report = guest.succeed("usertests display");
    assert!(report.contains("3 passed"), "{report}");
    let (Picture { shot, .. }, _) = at_prompt(guest, "usertests: 3 passed");
    let (left, top) = (shot.width - 16 - 64, shot.height - 16 - 64);
    for y in 0..64 {
        for x in 0..64 {
            let expected = match (x < 32, y < 32) {
                (true, true) => [255, 0, 0],
                (false, true) => [0, 255, 0],
                (true, false) => [0, 0, 255],
                (false, false) => [255, 255, 0],
            };
            assert_eq!(shot.pixel(left + x, top + y), expected, "at {x}, {y}");
        }
    }
    for (x, y) in [(left - 1, top), (left, top - 1), (left + 64, top), (left, top + 64)] {
        assert_eq!(shot.pixel(x, y), [0; 3], "beside it");
    }
}

/// Keys of the display's own keyboard.
fn takes_keys(guest: &mut Boot) {
    // One after another: the device keeps few that were not read.
    for key in "echo Typed There".chars() {
        guest.session.press(&key.to_string()).unwrap();
        guest.session.wait_for(&key.to_string()).unwrap();
    }
    guest.session.press("\n").unwrap();
    guest.session.wait_for("\nTyped There\n").unwrap();
    guest.prompt();
}

/// The guest is a PC with a display that firmware knows and the boot loader has set up; it is at
/// its prompt.
pub(crate) fn the_boot_loader_s_picture_is_a_console(guest: &mut Boot) {
    let (_, text) = at_prompt(guest, "Commands are in");
    assert!(text.iter().any(|row| row.contains("display: boot loader's, ")), "{text:?}");
    guest.succeed("echo seen twice");
    let (_, text) = at_prompt(guest, "seen twice");
    let at = text.iter().position(|row| row == "lemma:/# echo seen twice").expect("the echo");
    assert_eq!(text[at + 1], "seen twice");
    shows_a_program_s_pixels(guest);
    takes_keys(guest);
}

fn the_last_words_of_a_panic_are_on_the_display(arch: Arch) {
    let append = vec!["selftest=panic".to_owned(), "panic=600".to_owned()];
    // On AArch64 the device is one in memory, so that those are tried too.
    let virtio = if arch == Arch::Aarch64 { Virtio::Mmio } else { Virtio::Auto };
    let mut guest = boot_with(Options { append, virtio, ..options(arch) });
    guest.session.wait_for("end of kernel panic").unwrap();
    let (_, text) = wait(&guest, "last words", |text| {
        text.last().is_some_and(|row| row == "end of kernel panic")
    });
    for words in ["KERNEL PANIC on CPU 0", "selftest.rs", "backtrace:", "kernel_main"] {
        assert!(text.iter().any(|row| row.contains(words)), "no {words:?} in {text:?}");
    }
    guest.cut_power();
}

/// A display that does not say where it is, or a machine without one, changes nothing else.
#[test]
fn without_a_display_there_is_no_framebuffer() {
    let mut guest = boot_with(Options::default());
    guest.prompt();
    guest.fail("ls /dev/fb0");
    let report = guest.succeed("usertests display");
    assert!(report.contains("3 skipped"), "{report}");
    guest.shut_down(0);
}
