//! From cells to pixels.

use alloc::vec;
use alloc::vec::Vec;

use crate::canvas::{Area, Canvas, Geometry, PIXEL};
use crate::cell::{Cell, Colour, Style};
use crate::font::{Font, LARGEST_SCALE, WIDEST};

/// The bytes of one row of a cell, at most.
const LINE: usize = WIDEST as usize * LARGEST_SCALE as usize * PIXEL;

/// Draws cells, and remembers which, so that what has not changed is not drawn again.
#[derive(Debug)]
pub struct Painter {
    font: Font,
    columns: usize,
    rows: usize,
    /// What is to be seen; `None` if that is not known.
    shown: Vec<Option<Cell>>,
}

impl Painter {
    /// A painter for pictures of this size, which knows nothing of what is on one.
    #[must_use]
    pub fn new(geometry: &Geometry) -> Self {
        let font = Font::fitting(geometry.width, geometry.height);
        let (columns, rows) = font.grid(geometry.width, geometry.height);
        Self { font, columns, rows, shown: vec![None; columns * rows] }
    }

    /// Columns and rows of cells.
    #[must_use]
    pub fn grid(&self) -> (usize, usize) {
        (self.columns, self.rows)
    }

    /// Makes the picture black, edges included; every cell counts as blank.
    pub fn clear(&mut self, canvas: &mut dyn Canvas) -> Area {
        let geometry = canvas.geometry();
        let pixel = geometry.format.encode(Colour::BLACK.rgb());
        let mut line = [0; LINE];
        let bytes = geometry.format.bytes();
        for place in line.chunks_exact_mut(bytes) {
            place.iter_mut().zip(pixel).for_each(|(to, from)| *to = from);
        }
        let step = LINE / bytes;
        for y in 0..geometry.height {
            for x in (0..geometry.width).step_by(step) {
                let count = (geometry.width - x).min(step as u32) as usize;
                canvas.put(x, y, line.get(..count * bytes).unwrap_or(&[]));
            }
        }
        self.shown.fill(Some(Cell::BLANK));
        geometry.area()
    }

    /// Draws what has changed in a row, which the cursor is in at a column or not. Returns the
    /// smallest area that holds it all; an empty one if nothing has changed.
    pub fn row(
        &mut self,
        row: usize,
        cells: &[Cell],
        cursor: Option<usize>,
        canvas: &mut dyn Canvas,
    ) -> Area {
        let (width, height) = self.font.cell();
        let mut changed = Area { x: 0, y: 0, width: 0, height: 0 };
        if row >= self.rows {
            return changed;
        }
        let top = row as u32 * height;
        let start = row * self.columns;
        let shown = self.shown.get_mut(start..).unwrap_or_default();
        for (column, (shown, cell)) in shown.iter_mut().zip(cells).take(self.columns).enumerate() {
            let mut cell = *cell;
            if cursor == Some(column) {
                cell.style.toggle(Style::REVERSE);
            }
            if *shown == Some(cell) {
                continue;
            }
            *shown = Some(cell);
            let left = column as u32 * width;
            draw(&self.font, cell, left, top, canvas);
            changed = changed.union(Area { x: left, y: top, width, height });
        }
        changed
    }
}

fn draw(font: &Font, cell: Cell, left: u32, top: u32, canvas: &mut dyn Canvas) {
    let format = canvas.geometry().format;
    let (foreground, background) = cell.colours();
    let (on, off) = (format.encode(foreground.rgb()), format.encode(background.rgb()));
    let (bytes, scale) = (format.bytes(), font.scale());
    let glyph = font.glyph(cell.character).0;
    let underlined = cell.style.contains(Style::UNDERLINE);
    let mut y = top;
    for (index, &bits) in glyph.iter().enumerate() {
        let bits = if underlined && index + 1 == glyph.len() { u16::MAX } else { bits };
        let mut line = [0; LINE];
        let mut places = line.chunks_exact_mut(bytes);
        for at in 0..font.width() {
            let pixel = if bits & 0x8000 >> at != 0 { on } else { off };
            for place in places.by_ref().take(scale as usize) {
                place.iter_mut().zip(pixel).for_each(|(to, from)| *to = from);
            }
        }
        let used = (font.width() * scale) as usize * bytes;
        for _ in 0..scale {
            canvas.put(left, y, line.get(..used).unwrap_or(&[]));
            y += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Painter;
    use crate::canvas::{Area, Canvas, Channel, Geometry, PixelFormat};
    use crate::cell::{Cell, Colour};
    use crate::{Font, Terminal};
    use std::vec;
    use std::vec::Vec;

    /// A picture in memory.
    struct Picture {
        geometry: Geometry,
        bytes: Vec<u8>,
        /// Bytes that were written.
        written: usize,
    }

    impl Picture {
        fn new(width: u32, height: u32, format: PixelFormat) -> Self {
            let pitch = width * format.bytes() as u32 + 12;
            let geometry = Geometry::new(width, height, pitch, format).unwrap();
            Self { geometry, bytes: vec![0x77; geometry.length()], written: 0 }
        }

        fn pixel(&self, x: u32, y: u32) -> &[u8] {
            let at = self.geometry.offset(x, y);
            &self.bytes[at..at + self.geometry.format.bytes()]
        }
    }

    impl Canvas for Picture {
        fn geometry(&self) -> Geometry {
            self.geometry
        }

        fn put(&mut self, x: u32, y: u32, pixels: &[u8]) {
            // Nothing that is drawn here may lie outside.
            let at = self.geometry.offset(x, y);
            assert!(y < self.geometry.height);
            let width = (pixels.len() / self.geometry.format.bytes()) as u32;
            assert!(x + width <= self.geometry.width);
            self.bytes[at..at + pixels.len()].copy_from_slice(pixels);
            self.written += pixels.len();
        }
    }

    fn show(painter: &mut Painter, terminal: &Terminal, picture: &mut Picture) -> Area {
        let screen = terminal.screen();
        (0..screen.rows()).fold(Area { x: 0, y: 0, width: 0, height: 0 }, |area, row| {
            area.union(painter.row(row, screen.row(row), screen.cursor_in(row), picture))
        })
    }

    fn check(width: u32, height: u32, format: PixelFormat) {
        let mut picture = Picture::new(width, height, format);
        let mut painter = Painter::new(&picture.geometry);
        let (columns, rows) = painter.grid();
        let mut terminal = Terminal::new(columns, rows);
        terminal.write(b"\x1b[?25l\x1b[2;3H\x1b[1;31;44mA");
        assert_eq!(painter.clear(&mut picture), picture.geometry.area());
        let font = Font::fitting(width, height);
        let (w, h) = font.cell();
        let area = show(&mut painter, &terminal, &mut picture);
        assert_eq!(area, Area { x: 2 * w, y: h, width: w, height: h });
        // Each pixel is the glyph's, and nothing else was touched but to be made black.
        let ink = format.encode(Colour(9).rgb());
        let paper = format.encode(Colour(4).rgb());
        let black = format.encode([0; 3]);
        let glyph = font.glyph('A');
        for y in 0..height {
            for x in 0..width {
                let inside = (2 * w..3 * w).contains(&x) && (h..2 * h).contains(&y);
                let expected = if inside {
                    let row = glyph.0[((y - h) / font.scale()) as usize];
                    if row & 0x8000 >> ((x - 2 * w) / font.scale()) != 0 { ink } else { paper }
                } else {
                    black
                };
                assert_eq!(picture.pixel(x, y), &expected[..format.bytes()], "{x} {y}");
            }
        }
        // Between the rows is nothing of the picture.
        let end = picture.geometry.offset(width, 0);
        assert_eq!(picture.bytes[end..end + 12], [0x77; 12]);
    }

    #[test]
    fn cells_become_pixels_of_every_format() {
        let channel = |position, bits| Channel { position, bits };
        let r5g6b5 = PixelFormat::new(2, channel(11, 5), channel(5, 6), channel(0, 5)).unwrap();
        let rgb = PixelFormat::new(3, channel(16, 8), channel(8, 8), channel(0, 8)).unwrap();
        check(1280, 800, PixelFormat::BGRX);
        check(640, 480, r5g6b5);
        check(801, 600, rgb);
        check(100, 50, PixelFormat::BGRX);
    }

    #[test]
    fn what_has_not_changed_is_not_drawn_again() {
        let mut picture = Picture::new(640, 480, PixelFormat::BGRX);
        let mut painter = Painter::new(&picture.geometry);
        let (columns, rows) = painter.grid();
        let mut terminal = Terminal::new(columns, rows);
        terminal.write(b"some words");
        painter.clear(&mut picture);
        show(&mut painter, &terminal, &mut picture);
        picture.written = 0;
        assert!(show(&mut painter, &terminal, &mut picture).is_empty());
        assert_eq!(picture.written, 0);
        // The cursor leaves its place, and is drawn at another.
        terminal.write(b"\x1b[D");
        let area = show(&mut painter, &terminal, &mut picture);
        assert_eq!(area, Area { x: 72, y: 0, width: 16, height: 13 });
        assert_eq!(picture.written, 2 * 8 * 13 * 4);
    }

    #[test]
    fn rows_that_do_not_exist_are_not_drawn() {
        let mut picture = Picture::new(640, 480, PixelFormat::BGRX);
        let mut painter = Painter::new(&picture.geometry);
        let cells = [Cell { character: 'x', ..Cell::BLANK }; 200];
        assert!(painter.row(10_000, &cells, None, &mut picture).is_empty());
        assert!(painter.row(usize::MAX, &cells, None, &mut picture).is_empty());
        assert_eq!(painter.row(0, &cells, Some(500), &mut picture).width, 640);
    }
}
