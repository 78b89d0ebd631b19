//! The framebuffer: what it says of itself, and pixels by `write` and by `mmap`. Skipped where
//! there is none, or none that can be opened.
//!
//! `display_pixels` leaves its picture where it is, for who looks at the screen: a square of
//! [`SIDE`] pixels, [`MARGIN`] from the right and lower edge of the screen. Its upper half is
//! red and green, written; its lower half is blue and yellow, mapped.

use super::family;
use crate::calls::{self, mmap, open, peek, poke, pread, pwrite, read};
use crate::check::{Failure, Outcome, check, equal, fails, ok};
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use lemma_rt::general::{MAP_SHARED, O_RDWR, PROT_READ, PROT_WRITE, SEEK_END};

family!("display": information, edges, pixels);

const SIDE: usize = 64;
const MARGIN: usize = 16;
const PAGE: usize = 4096;

// `linux/fb.h`.
const FBIOGET_VSCREENINFO: u32 = 0x4600;
const FBIOPUT_VSCREENINFO: u32 = 0x4601;
const FBIOGET_FSCREENINFO: u32 = 0x4602;
const FBIOPAN_DISPLAY: u32 = 0x4606;

/// An open framebuffer: `struct fb_var_screeninfo` and `struct fb_fix_screeninfo` as words.
struct Screen {
    fd: i32,
    variable: [u32; 40],
    fixed: [u32; 20],
}

impl Screen {
    fn open() -> Result<Self, Failure> {
        let fd = open(c"/dev/fb0", O_RDWR, 0)
            .map_err(|_| Failure::Skipped("there is no framebuffer to be opened".to_string()))?;
        let mut screen = Self { fd, variable: [0; 40], fixed: [0; 20] };
        let variable = screen.variable.as_mut_ptr() as usize;
        let fixed = screen.fixed.as_mut_ptr() as usize;
        ok!(calls::ioctl(fd, FBIOGET_VSCREENINFO, variable));
        ok!(calls::ioctl(fd, FBIOGET_FSCREENINFO, fixed));
        Ok(screen)
    }

    fn width(&self) -> usize {
        self.variable[0] as usize
    }

    fn height(&self) -> usize {
        self.variable[1] as usize
    }

    fn bits(&self) -> usize {
        self.variable[6] as usize
    }

    /// Bytes of memory, and of a row.
    fn length(&self) -> usize {
        self.fixed[6] as usize
    }

    fn pitch(&self) -> usize {
        self.fixed[12] as usize
    }

    /// Bytes of a pixel, where it has whole bytes for each colour.
    fn bytes(&self) -> Option<usize> {
        matches!(self.bits(), 24 | 32).then_some(self.bits() / 8)
    }

    /// A colour as four bytes, of which a smaller pixel has the first ones.
    fn pixel(&self, red: u32, green: u32, blue: u32) -> [u8; 4] {
        let [r, g, b] = [8, 11, 14].map(|channel| self.variable[channel]);
        (red << r | green << g | blue << b).to_le_bytes()
    }

    fn control(&self, command: u32, words: &mut [u32; 40]) -> lemma_rt::Result<usize> {
        calls::ioctl(self.fd, command, words.as_mut_ptr() as usize)
    }
}

fn information() -> Outcome {
    let screen = Screen::open()?;
    check!(screen.width() > 0 && screen.height() > 0);
    check!(screen.variable[2] >= screen.variable[0] && screen.variable[3] >= screen.variable[1]);
    check!(screen.pitch() >= screen.width() * screen.bits() / 8);
    check!(screen.length() >= screen.pitch() * screen.height());
    for channel in [8, 11, 14] {
        let (offset, length) = (screen.variable[channel], screen.variable[channel + 1]);
        check!(length > 0 && (offset + length) as usize <= screen.bits());
    }
    // What there is can be asked for; what cannot be is refused.
    let mut words = screen.variable;
    ok!(screen.control(FBIOPUT_VSCREENINFO, &mut words));
    let mut words = screen.variable;
    words[4] = words[2];
    fails!(screen.control(FBIOPAN_DISPLAY, &mut words), INVAL);
    fails!(calls::ioctl(screen.fd, FBIOGET_VSCREENINFO, 8), FAULT);
    fails!(calls::ioctl(screen.fd, 0x46ff, 0), NOTTY);
    Ok(())
}

fn edges() -> Outcome {
    let screen = Screen::open()?;
    let end = screen.length() as i64;
    equal!(calls::lseek(screen.fd, 0, SEEK_END), Ok(end));
    equal!(read(screen.fd, &mut [0; 16]), Ok(0));
    let mut last = [0; 4];
    equal!(pread(screen.fd, &mut last, end - 4), Ok(4));
    equal!(pread(screen.fd, &mut [0; 16], end - 4), Ok(4));
    equal!(pwrite(screen.fd, &last, end - 4), Ok(4));
    equal!(pwrite(screen.fd, &[last; 4].concat(), end - 4), Ok(4));
    fails!(pwrite(screen.fd, &last, end), NOSPC);
    fails!(pwrite(screen.fd, &last, end + 1), FBIG);
    let whole = screen.length().next_multiple_of(PAGE);
    let protection = PROT_READ | PROT_WRITE;
    fails!(mmap(0, PAGE, protection, MAP_SHARED, screen.fd, whole), INVAL);
    fails!(mmap(0, whole + PAGE, protection, MAP_SHARED, screen.fd, 0), INVAL);
    Ok(())
}

fn pixels() -> Outcome {
    let screen = Screen::open()?;
    let Some(bytes) = screen.bytes() else {
        return Err(Failure::Skipped("the framebuffer's pixels are of another kind".to_string()));
    };
    let colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
        .map(|(red, green, blue)| screen.pixel(red, green, blue));
    let half = SIDE / 2;
    let left = screen.width() - MARGIN - SIDE;
    let top = screen.height() - MARGIN - SIDE;
    let line = |left: usize, right: usize| -> Vec<u8> {
        [colours[left][..bytes].repeat(half), colours[right][..bytes].repeat(half)].concat()
    };
    let place = |row: usize| (top + row) * screen.pitch() + left * bytes;
    for row in 0..half {
        equal!(pwrite(screen.fd, &line(0, 1), place(row) as i64), Ok(SIDE * bytes));
    }
    let protection = PROT_READ | PROT_WRITE;
    let memory = ok!(mmap(0, screen.length(), protection, MAP_SHARED, screen.fd, 0));
    // What was written is in the mapping.
    for (at, &byte) in line(0, 1).iter().enumerate() {
        equal!(peek(memory + place(half - 1) + at), byte);
    }
    for row in half..SIDE {
        for (at, &byte) in line(2, 3).iter().enumerate() {
            poke(memory + place(row) + at, byte);
        }
    }
    // What is in the mapping can be read, through another opening too.
    let other = Screen::open()?;
    let mut found = vec![0; SIDE * bytes];
    equal!(pread(other.fd, &mut found, place(SIDE - 1) as i64), Ok(SIDE * bytes));
    equal!(found, line(2, 3));
    let mut words = screen.variable;
    ok!(screen.control(FBIOPAN_DISPLAY, &mut words));
    Ok(())
}
