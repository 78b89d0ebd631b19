//! Printing, whole files, and the text of errors.

use crate::{Errno, Result, sys};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{Mode, OFlags};
use rustix::path::Arg;

/// Writes all bytes, however many `write` calls that takes.
pub fn write_all(fd: impl AsFd, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&fd, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => bytes = bytes.get(written..).unwrap_or(&[]),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads to the end of the file.
pub fn read_all(fd: impl AsFd) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match rustix::io::read(&fd, &mut buffer) {
            Ok(0) => return Ok(content),
            Ok(count) => content.extend_from_slice(buffer.get(..count).unwrap_or(&[])),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The content of the file at `path`.
pub fn read_file(path: impl Arg) -> Result<Vec<u8>> {
    read_all(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Standard input, output or error by number; also any other descriptor that stays open.
pub fn descriptor(number: i32) -> BorrowedFd<'static> {
    // SAFETY: 0 to 2 are open from the start in every program started by init or a shell; if one
    // is not, calls on it return EBADF, which is all that can happen.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// What `print!` and `eprint!` expand to: formats the whole text, then writes it at once.
/// Failures are dropped: there is nowhere to report them (SIGPIPE ends a program whose reader
/// has gone).
#[doc(hidden)]
pub fn print(number: i32, text: fmt::Arguments<'_>) {
    let _ = match text.as_str() {
        Some(text) => write_all(descriptor(number), text.as_bytes()),
        None => write_all(descriptor(number), alloc::fmt::format(text).as_bytes()),
    };
}

/// The same, with a line's end.
#[doc(hidden)]
pub fn print_line(number: i32, text: fmt::Arguments<'_>) {
    let mut line = alloc::fmt::format(text);
    line.push('\n');
    let _ = write_all(descriptor(number), line.as_bytes());
}

/// Prints to standard output.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::io::print(1, format_args!($($argument)*)) };
}

/// Prints a line to standard output.
#[macro_export]
macro_rules! println {
    () => { $crate::io::print(1, format_args!("\n")) };
    ($($argument:tt)*) => { $crate::io::print_line(1, format_args!($($argument)*)) };
}

/// Prints to standard error.
#[macro_export]
macro_rules! eprint {
    ($($argument:tt)*) => { $crate::io::print(2, format_args!($($argument)*)) };
}

/// Prints a line to standard error.
#[macro_export]
macro_rules! eprintln {
    () => { $crate::io::print(2, format_args!("\n")) };
    ($($argument:tt)*) => { $crate::io::print_line(2, format_args!($($argument)*)) };
}

/// The text of an error, as `strerror(3)` has it.
pub fn error_text(error: Errno) -> ErrorText {
    ErrorText(error.raw_os_error())
}

/// Displays an error number as text.
pub struct ErrorText(i32);

impl fmt::Display for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kernel_abi::Errno::from_number(self.0) {
            Some(errno) => f.write_str(errno.message()),
            None => write!(f, "Unknown error {}", self.0),
        }
    }
}

/// Displays bytes that are most likely text: what is not UTF-8 becomes U+FFFD.
pub fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reports a panic on standard error and exits with status 101, as Rust programs do.
pub fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    /// Writes without a heap, which may be what has failed.
    struct Unbuffered;
    impl fmt::Write for Unbuffered {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            write_all(descriptor(2), text.as_bytes()).map_err(|_| fmt::Error)
        }
    }
    let _ = fmt::Write::write_fmt(&mut Unbuffered, format_args!("{info}\n"));
    sys::exit(101)
}
