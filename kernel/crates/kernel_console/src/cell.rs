//! What stands at one place of the screen: a character and how it looks.

bitflags::bitflags! {
    /// How a character is set off.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Style: u8 {
        /// Shown by the brighter of two colours, as on a Linux console.
        const BOLD = 1;
        const UNDERLINE = 2;
        /// Foreground and background change places.
        const REVERSE = 4;
    }
}

/// An entry of xterm's palette of 256: 16 named colours, a cube of 6 × 6 × 6, 24 greys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub u8);

/// The 16 named colours as a Linux console has them.
const NAMED: [[u8; 3]; 16] = [
    [0x00, 0x00, 0x00],
    [0xaa, 0x00, 0x00],
    [0x00, 0xaa, 0x00],
    [0xaa, 0x55, 0x00],
    [0x00, 0x00, 0xaa],
    [0xaa, 0x00, 0xaa],
    [0x00, 0xaa, 0xaa],
    [0xaa, 0xaa, 0xaa],
    [0x55, 0x55, 0x55],
    [0xff, 0x55, 0x55],
    [0x55, 0xff, 0x55],
    [0xff, 0xff, 0x55],
    [0x55, 0x55, 0xff],
    [0xff, 0x55, 0xff],
    [0x55, 0xff, 0xff],
    [0xff, 0xff, 0xff],
];
/// The levels of each side of the cube.
const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
const CUBE: u8 = 16;
const GREYS: u8 = 232;

impl Colour {
    pub const BLACK: Self = Self(0);
    pub const GREY: Self = Self(7);

    /// The colour's parts: red, green, blue.
    #[must_use]
    pub fn rgb(self) -> [u8; 3] {
        match self.0 {
            named @ 0..CUBE => NAMED.get(usize::from(named)).copied().unwrap_or_default(),
            cube @ CUBE..GREYS => {
                let place = cube - CUBE;
                [place / 36, place / 6 % 6, place % 6]
                    .map(|level| LEVELS.get(usize::from(level)).copied().unwrap_or(0))
            }
            grey => [8 + 10 * (grey - GREYS); 3],
        }
    }

    /// The nearest colour of the cube.
    #[must_use]
    pub fn nearest(rgb: [u8; 3]) -> Self {
        let [red, green, blue] = rgb.map(|part| {
            let distance = |level: &u8| level.abs_diff(part);
            (0..).zip(&LEVELS).min_by_key(|(_, level)| distance(level)).map_or(0, |(at, _)| at)
        });
        Self(CUBE + 36 * red + 6 * green + blue)
    }

    /// The brighter of two colours, where there are two.
    pub(crate) fn bright(self) -> Self {
        if self.0 < 8 { Self(self.0 + 8) } else { self }
    }
}

/// A place of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub character: char,
    pub foreground: Colour,
    pub background: Colour,
    pub style: Style,
}

impl Cell {
    /// An empty place.
    pub const BLANK: Self = Self {
        character: ' ',
        foreground: Colour::GREY,
        background: Colour::BLACK,
        style: Style::empty(),
    };

    /// The colours that are to be seen: of the character, and of what is behind it.
    #[must_use]
    pub fn colours(&self) -> (Colour, Colour) {
        let foreground = if self.style.contains(Style::BOLD) {
            self.foreground.bright()
        } else {
            self.foreground
        };
        if self.style.contains(Style::REVERSE) {
            (self.background, foreground)
        } else {
            (foreground, self.background)
        }
    }
}

impl Default for Cell {
    fn default() -> Self {
        Self::BLANK
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Colour, Style};

    #[test]
    fn the_palette_is_xterm_s() {
        for (colour, rgb) in [
            (0, [0, 0, 0]),
            (9, [255, 85, 85]),
            (16, [0, 0, 0]),
            (196, [255, 0, 0]),
            (208, [255, 135, 0]),
            (231, [255, 255, 255]),
            (232, [8, 8, 8]),
            (255, [238, 238, 238]),
        ] {
            assert_eq!(Colour(colour).rgb(), rgb, "{colour}");
        }
        for cube in 16..232 {
            assert_eq!(Colour::nearest(Colour(cube).rgb()), Colour(cube));
        }
        assert_eq!(Colour::nearest([250, 140, 10]), Colour(208));
    }

    #[test]
    fn bold_brightens_and_reverse_swaps() {
        let cell = Cell { foreground: Colour(1), style: Style::BOLD, ..Cell::BLANK };
        assert_eq!(cell.colours(), (Colour(9), Colour(0)));
        let cell = Cell { style: Style::BOLD | Style::REVERSE, ..cell };
        assert_eq!(cell.colours(), (Colour(0), Colour(9)));
        let cell = Cell { foreground: Colour(200), style: Style::BOLD, ..Cell::BLANK };
        assert_eq!(cell.colours(), (Colour(200), Colour(0)));
    }
}
