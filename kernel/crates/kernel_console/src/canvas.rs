//! What can be drawn on, and how it keeps a pixel.

/// Bits of one colour in a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The lowest bit.
    pub position: u8,
    /// How many; at most 8 are used.
    pub bits: u8,
}

/// How memory holds a pixel: a little-endian number with three channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelFormat {
    bytes: u8,
    pub red: Channel,
    pub green: Channel,
    pub blue: Channel,
}

/// The most bytes of a pixel.
pub(crate) const PIXEL: usize = 4;

impl PixelFormat {
    /// Blue, green, red and an unused byte in that order in memory: what VirtIO calls
    /// `B8G8R8X8_UNORM`, and what most firmware has.
    pub const BGRX: Self = Self {
        bytes: 4,
        red: Channel { position: 16, bits: 8 },
        green: Channel { position: 8, bits: 8 },
        blue: Channel { position: 0, bits: 8 },
    };

    /// Pixels of 2 to 4 bytes with channels inside them; `None` for anything else.
    #[must_use]
    pub fn new(bytes: u8, red: Channel, green: Channel, blue: Channel) -> Option<Self> {
        let fits = |channel: Channel| {
            let end = u32::from(channel.position) + u32::from(channel.bits);
            channel.bits > 0 && end <= 8 * u32::from(bytes)
        };
        let plausible =
            (2..=PIXEL as u8).contains(&bytes) && [red, green, blue].map(fits) == [true; 3];
        plausible.then_some(Self { bytes, red, green, blue })
    }

    /// Bytes of a pixel.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// A colour as memory holds it; the first [`bytes`](Self::bytes) count.
    #[must_use]
    pub fn encode(&self, rgb: [u8; 3]) -> [u8; 4] {
        let [red, green, blue] = rgb;
        let part = |channel: Channel, value: u8| {
            // The upper bits of a value, where the channel has fewer than eight; the value at
            // the channel's upper end, where it has more.
            let value = u64::from(value);
            let value = match channel.bits {
                bits @ 0..8 => value >> (8 - bits),
                bits => value << (bits - 8).min(24),
            };
            value << channel.position
        };
        let pixel = part(self.red, red) | part(self.green, green) | part(self.blue, blue);
        (pixel as u32).to_le_bytes()
    }
}

/// The size of a picture and how its memory is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// In pixels.
    pub width: u32,
    pub height: u32,
    /// Bytes from a row to the next.
    pub pitch: u32,
    pub format: PixelFormat,
}

/// The most pixels of a side: what no display exceeds.
const LONGEST_SIDE: u32 = 16384;

impl Geometry {
    /// A picture; `None` if its sides are not those of a picture, or its rows overlap.
    #[must_use]
    pub fn new(width: u32, height: u32, pitch: u32, format: PixelFormat) -> Option<Self> {
        let sides = 1..=LONGEST_SIDE;
        let row = u64::from(width) * format.bytes() as u64;
        let plausible = sides.contains(&width)
            && sides.contains(&height)
            && row <= u64::from(pitch)
            && pitch <= LONGEST_SIDE * PIXEL as u32;
        plausible.then_some(Self { width, height, pitch, format })
    }

    /// Bytes of the whole.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.pitch as usize * self.height as usize
    }

    /// Where a pixel is, in bytes from the start.
    #[must_use]
    pub const fn offset(&self, x: u32, y: u32) -> usize {
        y as usize * self.pitch as usize + x as usize * self.format.bytes()
    }

    /// All of it.
    #[must_use]
    pub const fn area(&self) -> Area {
        Area { x: 0, y: 0, width: self.width, height: self.height }
    }

    /// The pixels, in whole rows, that hold bytes of a range.
    #[must_use]
    pub fn rows_of(&self, bytes: core::ops::Range<usize>) -> Area {
        let pitch = self.pitch.max(1) as usize;
        let first = ((bytes.start / pitch) as u32).min(self.height);
        let end = (bytes.end.div_ceil(pitch).min(self.height as usize)) as u32;
        Area { x: 0, y: first, width: self.width, height: end.saturating_sub(first) }
    }
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Area {
    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// The smallest area that holds both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let right = (self.x + self.width).max(other.x + other.width);
        let bottom = (self.y + self.height).max(other.y + other.height);
        Self { x, y, width: right - x, height: bottom - y }
    }
}

/// What can be drawn on.
pub trait Canvas {
    fn geometry(&self) -> Geometry;
    /// Writes encoded pixels into row `y`, from column `x` on. What is outside is not written.
    fn put(&mut self, x: u32, y: u32, pixels: &[u8]);
}

#[cfg(test)]
mod tests {
    use super::{Area, Channel, Geometry, PixelFormat};

    fn channel(position: u8, bits: u8) -> Channel {
        Channel { position, bits }
    }

    #[test]
    fn pixels_are_laid_out_as_the_format_says() {
        assert_eq!(PixelFormat::BGRX.encode([1, 2, 3]), [3, 2, 1, 0]);
        let r5g6b5 = PixelFormat::new(2, channel(11, 5), channel(5, 6), channel(0, 5)).unwrap();
        assert_eq!(r5g6b5.encode([255, 255, 255])[..2], [0xff, 0xff]);
        assert_eq!(r5g6b5.encode([255, 0, 0])[..2], 0xf800_u16.to_le_bytes());
        assert_eq!(r5g6b5.encode([0, 0x84, 7])[..2], 0x0420_u16.to_le_bytes());
        let rgb30 = PixelFormat::new(4, channel(20, 10), channel(10, 10), channel(0, 10)).unwrap();
        assert_eq!(rgb30.encode([0xff, 0, 1]), (0x3fc << 20 | 4_u32).to_le_bytes());
    }

    #[test]
    fn formats_and_pictures_that_cannot_be_are_refused() {
        let bytes = channel(0, 8);
        assert!(PixelFormat::new(1, bytes, bytes, bytes).is_none());
        assert!(PixelFormat::new(5, bytes, bytes, bytes).is_none());
        assert!(PixelFormat::new(3, channel(17, 8), bytes, bytes).is_none());
        assert!(PixelFormat::new(4, bytes, channel(255, 255), bytes).is_none());
        assert!(PixelFormat::new(4, bytes, bytes, channel(3, 0)).is_none());
        let format = PixelFormat::BGRX;
        assert!(Geometry::new(640, 480, 2560, format).is_some());
        for (width, height, pitch) in [
            (0, 480, 2560),
            (640, 0, 2560),
            (641, 480, 2560),
            (640, 20000, 2560),
            (u32::MAX, 1, 4),
            (1 << 30, 1, 0),
            (640, 480, u32::MAX),
        ] {
            assert!(Geometry::new(width, height, pitch, format).is_none(), "{width} {height}");
        }
    }

    #[test]
    fn areas_grow_and_bytes_have_rows() {
        let empty = Area { x: 9, y: 9, width: 0, height: 4 };
        let one = Area { x: 2, y: 3, width: 4, height: 5 };
        assert_eq!(one.union(empty), one);
        assert_eq!(empty.union(one), one);
        let other = Area { x: 10, y: 0, width: 1, height: 1 };
        assert_eq!(one.union(other), Area { x: 2, y: 0, width: 9, height: 8 });
        let geometry = Geometry::new(4, 4, 20, PixelFormat::BGRX).unwrap();
        assert_eq!(geometry.rows_of(20..41), Area { x: 0, y: 1, width: 4, height: 2 });
        assert!(geometry.rows_of(80..1000).is_empty());
        assert_eq!(geometry.rows_of(0..usize::MAX), geometry.area());
    }
}
