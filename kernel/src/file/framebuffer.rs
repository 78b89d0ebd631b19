//! The display's picture as a file: `/dev/fb0`, as Linux's `fbdev` has it (`linux/fb.h`).
//!
//! What is written is shown soon after; `FBIOPAN_DISPLAY` and `fsync(2)` show everything before
//! they return. A mapping is of the picture itself and is shown again and again while it exists.
//! The size and the layout of pixels cannot be changed.

use alloc::sync::Arc;

use kernel_abi::file::ioctl;
use kernel_console::Channel;
use kernel_sync::SpinLock;
use kernel_vfs::{File, FsError, OpenFlags, SharedFrame, Sink, Source};

use crate::driver::display::{self, Display, Mapped};
use crate::mem::user::{read_user, write_user};

/// Bytes that are moved at a time.
const PIECE: usize = 2048;

/// The words of `struct fb_var_screeninfo`.
type Variable = [u32; 40];

/// The words of `struct fb_fix_screeninfo`.
type Fixed = [u32; 20];

/// The device; each opening of it is one, too.
pub(super) struct Framebuffer {
    display: &'static dyn Display,
    /// This opening has mapped the picture.
    mapped: SpinLock<Option<Mapped>>,
}

impl Framebuffer {
    pub(super) fn new(display: &'static dyn Display) -> Self {
        Self { display, mapped: SpinLock::new(None) }
    }

    /// `struct fb_var_screeninfo`.
    fn variable(&self) -> Variable {
        let geometry = self.display.memory().geometry();
        let format = geometry.format;
        let mut words = [0; 40];
        let size = [geometry.width, geometry.height];
        let bits = format.bytes() as u32 * 8;
        let sizes = [size, size, [0, 0], [bits, 0]];
        let channel = |of: Channel| [u32::from(of.position), u32::from(of.bits), 0];
        let channels = [format.red, format.green, format.blue].map(channel);
        let values = sizes.as_flattened().iter().chain(channels.as_flattened());
        for (word, value) in words.iter_mut().zip(values) {
            *word = *value;
        }
        // Its size in millimetres (words 22 and 23) is not known.
        for word in words.iter_mut().skip(22).take(2) {
            *word = u32::MAX;
        }
        words
    }

    /// `struct fb_fix_screeninfo`: a name of 16 bytes; where memory is, which users are not
    /// told, and its length; packed pixels of true colour, nothing that pans; bytes in a row.
    fn fixed(&self) -> Fixed {
        const TRUE_COLOUR: u32 = 2;
        let memory = self.display.memory();
        let mut name = [0; 16];
        for (to, from) in name.iter_mut().take(15).zip(self.display.name().bytes()) {
            *to = from;
        }
        let mut words = [0; 20];
        for (word, bytes) in words.iter_mut().zip(name.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        let length = memory.length() as u32;
        let pitch = memory.geometry().pitch;
        for (at, value) in [(6, length), (9, TRUE_COLOUR), (12, pitch)] {
            if let Some(word) = words.get_mut(at) {
                *word = value;
            }
        }
        words
    }

    /// Whether this asks for what there is.
    fn is_current(&self, wanted: &Variable) -> bool {
        // Sizes, visible and virtual; offset; bits of a pixel.
        self.variable().iter().zip(wanted).take(7).all(|(is, wanted)| is == wanted)
    }
}

impl File for Framebuffer {
    fn read(&self, offset: &mut u64, sink: &mut dyn Sink, _: OpenFlags) -> Result<usize, FsError> {
        let mut done = 0;
        loop {
            let mut piece = [0; PIECE];
            let length = sink.remaining().min(PIECE);
            let at = usize::try_from(*offset).unwrap_or(usize::MAX);
            let count = self.display.memory().read(at, piece.get_mut(..length).unwrap_or_default());
            let copied = sink.put(piece.get(..count).unwrap_or(&[]));
            *offset += copied as u64;
            done += copied;
            if copied < count && done == 0 {
                return Err(FsError::Fault);
            }
            if copied < count || count == 0 {
                return Ok(done);
            }
        }
    }

    fn write(
        &self,
        offset: &mut u64,
        source: &mut dyn Source,
        flags: OpenFlags,
    ) -> Result<usize, FsError> {
        let memory = self.display.memory();
        if flags.contains(OpenFlags::APPEND) {
            *offset = memory.length() as u64;
        }
        let start = usize::try_from(*offset).unwrap_or(usize::MAX);
        if start > memory.length() {
            return Err(FsError::FileTooLarge);
        }
        let (mut at, mut fault) = (start, false);
        while source.remaining() > 0 && at < memory.length() && !fault {
            let mut piece = [0; PIECE];
            let length = source.remaining().min(PIECE).min(memory.length() - at);
            let taken = source.take(piece.get_mut(..length).unwrap_or_default());
            at += memory.write(at, piece.get(..taken).unwrap_or(&[]));
            fault = taken < length;
        }
        if at == start {
            return match source.remaining() {
                _ if fault => Err(FsError::Fault),
                0 => Ok(0),
                _ => Err(FsError::NoSpace),
            };
        }
        display::damage(memory.geometry().rows_of(start..at));
        *offset = at as u64;
        Ok(at - start)
    }

    fn seekable(&self) -> bool {
        true
    }

    fn size(&self) -> Result<u64, FsError> {
        Ok(self.display.memory().length() as u64)
    }

    fn sync(&self, _data_only: bool) -> Result<(), FsError> {
        display::present();
        Ok(())
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<usize, FsError> {
        let fault = |_| FsError::Fault;
        match command {
            ioctl::FBIOGET_VSCREENINFO => {
                write_user(argument, self.variable()).map_err(fault)?;
            }
            ioctl::FBIOGET_FSCREENINFO => write_user(argument, self.fixed()).map_err(fault)?,
            ioctl::FBIOPUT_VSCREENINFO => {
                let wanted: Variable = read_user(argument).map_err(fault)?;
                if !self.is_current(&wanted) {
                    return Err(FsError::InvalidArgument);
                }
            }
            ioctl::FBIOPAN_DISPLAY => {
                let wanted: Variable = read_user(argument).map_err(fault)?;
                // There is nothing beside what is to be seen.
                if wanted.iter().skip(4).take(2).any(|&offset| offset != 0) {
                    return Err(FsError::InvalidArgument);
                }
                display::present();
            }
            ioctl::FBIO_WAITFORVSYNC => display::present(),
            // The display cannot be switched off.
            ioctl::FBIOBLANK if argument == 0 => {}
            ioctl::FBIOBLANK => return Err(FsError::InvalidArgument),
            _ => return Err(FsError::NotTerminal),
        }
        Ok(0)
    }

    fn opened(&self) -> Option<Arc<dyn File>> {
        Some(Arc::new(Self::new(self.display)))
    }

    fn shared_frame(&self, offset: u64, _writable: bool) -> Result<SharedFrame, FsError> {
        let frame = self.display.memory().frame(offset).ok_or(FsError::InvalidArgument)?;
        let is_new = self.mapped.lock().is_none();
        if is_new {
            // `mmap` asks before it locks anything, so the display's thread can be woken.
            let new = Mapped::new();
            *self.mapped.lock() = Some(new);
        }
        Ok(SharedFrame::new(frame.0))
    }
}
