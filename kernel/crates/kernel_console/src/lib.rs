//! A text console for a picture, without any hardware.
//!
//! | type | what |
//! |---|---|
//! | [`Terminal`] | takes what programs write, with its escape sequences; keeps a [`Screen`] |
//! | [`Screen`] | a grid of [`Cell`]s, a cursor, and which rows have changed |
//! | [`Font`] | glyphs, chosen for a picture's size |
//! | [`Canvas`] | what can be drawn on: the small trait that a display implements |
//! | [`Painter`] | draws the cells that differ from those it has drawn before |
//! | [`Keyboard`] | turns keys into what a terminal sends |
//!
//! Writing to a [`Terminal`] touches cells only, so that scrolling costs a row's cells and no
//! pixels; a [`Painter`] draws later what is then to be seen, however much was written meanwhile.
//!
//! ```
//! use kernel_console::Terminal;
//!
//! let mut terminal = Terminal::new(80, 25);
//! terminal.write(b"\x1b[2J\x1b[3;5H\x1b[31mhello");
//! assert_eq!(terminal.screen().text(2).trim(), "hello");
//! assert_eq!(terminal.screen().cursor(), (2, 9));
//! ```
//!
//! Escape sequences are parsed by the `anstyle-parse` crate, glyphs are those of `embedded-graphics`.
//! Nothing here panics, whatever is written.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::expect_used, clippy::indexing_slicing)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod canvas;
mod cell;
mod font;
mod keyboard;
mod paint;
mod rendition;
mod screen;
mod terminal;

pub use canvas::{Area, Canvas, Channel, Geometry, PixelFormat};
pub use cell::{Cell, Colour, Style};
pub use font::{Font, Glyph};
pub use keyboard::{Keyboard, Keys};
pub use paint::Painter;
pub use screen::Screen;
pub use terminal::Terminal;
