//! Glyphs: those of two fonts of the `embedded-graphics` crate (Latin-1), drawn once by that crate
//! into rows of bits, and enlarged by whole numbers when they are painted.

use alloc::vec;
use alloc::vec::Vec;

use embedded_graphics::Drawable;
use embedded_graphics::Pixel;
use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::iso_8859_1::{FONT_8X13, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::BinaryColor;
use embedded_graphics::text::{Baseline, Text};

/// Columns that programs count on: what a serial terminal has, which shows the same.
const COLUMNS: u32 = 80;
/// Rows that should be there at least.
const ROWS: u32 = 24;
/// The most that glyphs are enlarged.
pub(crate) const LARGEST_SCALE: u32 = 4;
/// The most pixels of a glyph's row, before it is enlarged.
pub(crate) const WIDEST: u32 = 16;

/// Latin-1 without its controls, in two ranges.
const LOW: core::ops::RangeInclusive<char> = ' '..='~';
const HIGH: core::ops::RangeInclusive<char> = '\u{a0}'..='\u{ff}';
const LOW_COUNT: usize = 95;
/// What stands for a character that the font lacks.
const UNKNOWN: char = '?';

/// The rows of a glyph, from the top. A row's leftmost pixel is its highest bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glyph<'a>(pub &'a [u16]);

/// A font at one size.
#[derive(Clone, Debug)]
pub struct Font {
    /// Of a glyph before it is enlarged.
    width: u32,
    height: u32,
    scale: u32,
    rows: Vec<u16>,
}

/// Where a character's glyph is.
fn index(character: char) -> Option<usize> {
    let from = |first: char| character as usize - first as usize;
    if LOW.contains(&character) {
        Some(from(*LOW.start()))
    } else if HIGH.contains(&character) {
        Some(LOW_COUNT + from(*HIGH.start()))
    } else {
        None
    }
}

/// A character of the font that looks like one that it lacks.
fn similar(character: char) -> char {
    match character {
        '─' | '━' | '═' | '–' | '—' | '−' => '-',
        '│' | '┃' | '║' => '|',
        '\u{250c}'..='\u{254b}' | '\u{2552}'..='\u{256c}' | '╭' | '╮' | '╯' | '╰' => '+',
        '█' | '▓' | '▒' | '░' | '■' => '#',
        '‘' | '’' => '\'',
        '“' | '”' => '"',
        '•' | '●' => '*',
        '→' => '>',
        '←' => '<',
        '↑' => '^',
        '↓' => 'v',
        '…' => '.',
        _ => UNKNOWN,
    }
}

impl Font {
    /// The largest font that shows 80 columns and 24 rows on a picture of this size; the smallest
    /// if none does.
    #[must_use]
    pub fn fitting(width: u32, height: u32) -> Self {
        let (mut best, mut best_size) = ((&FONT_8X13, 1), 0);
        for font in [&FONT_8X13, &FONT_10X20] {
            for scale in 1..=LARGEST_SCALE {
                let Size { width: glyph, height: line } = font.character_size * scale;
                if glyph * COLUMNS <= width && line * ROWS <= height && glyph * line > best_size {
                    (best, best_size) = ((font, scale), glyph * line);
                }
            }
        }
        Self::draw(best.0, best.1)
    }

    fn draw(font: &MonoFont<'_>, scale: u32) -> Self {
        let Size { width, height } = font.character_size;
        let style = MonoTextStyle::new(font, BinaryColor::On);
        let mut rows = Vec::new();
        for character in LOW.chain(HIGH) {
            let mut sheet = Sheet { rows: vec![0; height as usize] };
            let mut text = [0; 4];
            let text = character.encode_utf8(&mut text);
            // A sheet takes everything that is drawn.
            let _ = Text::with_baseline(text, Point::zero(), style, Baseline::Top).draw(&mut sheet);
            rows.append(&mut sheet.rows);
        }
        Self { width, height, scale, rows }
    }

    /// Width and height of a cell, in pixels of the picture.
    #[must_use]
    pub fn cell(&self) -> (u32, u32) {
        (self.width * self.scale, self.height * self.scale)
    }

    /// How many pixels of the picture make a glyph's pixel, in each direction.
    #[must_use]
    pub fn scale(&self) -> u32 {
        self.scale
    }

    /// Columns and rows on a picture of this size.
    #[must_use]
    pub fn grid(&self, width: u32, height: u32) -> (usize, usize) {
        let (cell_width, cell_height) = self.cell();
        ((width / cell_width).clamp(1, COLUMNS) as usize, (height / cell_height).max(1) as usize)
    }

    /// Pixels of a row of a glyph, before it is enlarged.
    pub(crate) fn width(&self) -> u32 {
        self.width
    }

    /// The glyph of a character, or of one that looks like it.
    #[must_use]
    pub fn glyph(&self, character: char) -> Glyph<'_> {
        let index = index(character).or_else(|| index(similar(character))).unwrap_or(0);
        let height = self.height as usize;
        Glyph(self.rows.get(index * height..(index + 1) * height).unwrap_or(&[]))
    }
}

/// What one glyph is drawn on.
struct Sheet {
    rows: Vec<u16>,
}

impl OriginDimensions for Sheet {
    fn size(&self) -> Size {
        Size::new(WIDEST, self.rows.len() as u32)
    }
}

impl DrawTarget for Sheet {
    type Color = BinaryColor;
    type Error = core::convert::Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Self::Error>
    where
        I: IntoIterator<Item = Pixel<BinaryColor>>,
    {
        for Pixel(Point { x, y }, colour) in pixels {
            let row = usize::try_from(y).ok().and_then(|y| self.rows.get_mut(y));
            if let Some(row) = row
                && (0..WIDEST as i32).contains(&x)
                && colour.is_on()
            {
                *row |= 0x8000 >> x;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Font, HIGH, LOW};

    #[test]
    fn the_font_suits_the_picture() {
        for ((width, height), cell, grid) in [
            ((1280, 800), (16, 26), (80, 30)),
            ((1024, 768), (10, 20), (80, 38)),
            ((640, 480), (8, 13), (80, 36)),
            ((1920, 1080), (24, 39), (80, 27)),
            ((800, 600), (10, 20), (80, 30)),
            ((320, 200), (8, 13), (40, 15)),
            ((1, 1), (8, 13), (1, 1)),
        ] {
            let font = Font::fitting(width, height);
            assert_eq!((font.cell(), font.grid(width, height)), (cell, grid), "{width}");
        }
    }

    #[test]
    fn every_visible_character_has_a_glyph_of_its_own() {
        for font in [Font::fitting(640, 480), Font::fitting(800, 600)] {
            let mut seen = std::vec::Vec::new();
            for character in LOW.chain(HIGH) {
                let glyph = font.glyph(character);
                assert_eq!(glyph.0.len() as u32, font.cell().1);
                // The corner shows what is behind the character.
                assert_eq!(glyph.0[0] & 0x8000, 0, "{character:?}");
                let blank = glyph.0.iter().all(|&row| row == 0);
                assert_eq!(blank, matches!(character, ' ' | '\u{a0}'), "{character:?}");
                // A soft hyphen looks like a hyphen.
                if !blank && character != '\u{ad}' {
                    assert!(!seen.contains(&glyph), "{character:?}");
                    seen.push(glyph);
                }
            }
        }
    }

    #[test]
    fn an_a_is_an_a() {
        let font = Font::fitting(640, 480);
        let lines: std::vec::Vec<_> =
            font.glyph('A').0.iter().map(|row| std::format!("{:08b}", row >> 8)).collect();
        assert_eq!(
            lines[2..11],
            [
                "00011000", "00100100", "01000010", "01000010", "01000010", "01111110", "01000010",
                "01000010", "01000010",
            ]
        );
    }

    #[test]
    fn what_the_font_lacks_is_shown_as_something_like_it() {
        let font = Font::fitting(640, 480);
        assert_eq!(font.glyph('│'), font.glyph('|'));
        assert_eq!(font.glyph('漢'), font.glyph('?'));
        assert_eq!(font.glyph('\u{7f}'), font.glyph('?'));
    }
}
