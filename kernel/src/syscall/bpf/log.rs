//! The log that a caller of `BPF_PROG_LOAD` and `BPF_BTF_LOAD` may ask for.
//!
//! Levels as on Linux: 0 none; 1 the verdict; 2 more; 4 the statistics alone. A log that does
//! not fit ends early, with its NUL, and the command fails with `ENOSPC`; `log_true_size`
//! tells how much room it wanted.

use alloc::string::String;
use core::fmt::{self, Write};

use kernel_abi::Errno;
use kernel_bpf::verifier::Rejection;

use super::Request;
use crate::bpf::program::Bounds;
use crate::mem::user::copy_to_user;

/// Longest log (Linux: a quarter of `u32::MAX`).
const SIZE_MAX: u32 = u32::MAX >> 2;
/// Levels that exist.
const LEVELS: u32 = 1 | 2 | 4;

/// Where the text goes, and the text.
pub(super) struct Log {
    level: u32,
    address: usize,
    size: usize,
    text: String,
}

impl Log {
    /// Checks the three fields as Linux does: a buffer, a size and a level, or none of them.
    pub(super) fn open(
        request: &Request,
        level: usize,
        buffer: usize,
        size: usize,
    ) -> Result<Self, Errno> {
        let (level, address, size) =
            (request.u32(level), request.pointer(buffer), request.u32(size));
        if (address != 0) != (size != 0)
            || address != 0 && level == 0
            || size > SIZE_MAX
            || level & !LEVELS != 0
        {
            return Err(Errno::EINVAL);
        }
        Ok(Self { level, address, size: size as usize, text: String::new() })
    }

    /// What the caller asked for.
    pub(super) fn level(&self) -> u32 {
        self.level
    }

    /// The text so far, to be added to.
    pub(super) fn text(&mut self) -> &mut String {
        &mut self.text
    }

    /// Adds a line at any level.
    pub(super) fn line(&mut self, line: fmt::Arguments<'_>) {
        if self.level & 3 != 0 {
            // Writing to a string cannot fail.
            let _ = writeln!(self.text, "{line}");
        }
    }

    /// Why the program was refused.
    pub(super) fn refusal(&mut self, rejection: &Rejection) {
        self.line(format_args!("{rejection}processed {} insns", rejection.processed));
    }

    /// What the proof found.
    pub(super) fn statistics(&mut self, bounds: &Bounds) {
        if self.level != 0 {
            let _ = writeln!(
                self.text,
                "processed {} insns, total_states {} peak_states {}\n\
                 worst case {} instructions, stack depth {}",
                bounds.processed,
                bounds.total_states,
                bounds.peak_states,
                bounds.worst_case,
                bounds.stack_depth
            );
        }
    }

    /// Copies the text out, and its full size if the caller's attributes have the field.
    pub(super) fn finish(self, request: &Request, true_size: usize) -> Result<(), Errno> {
        if self.level == 0 {
            return Ok(());
        }
        let wanted = self.text.len() + 1;
        if request.size >= true_size + 4 {
            request.write_u32(true_size, wanted as u32)?;
        }
        if self.address == 0 {
            return Ok(());
        }
        let kept = self.text.len().min(self.size - 1);
        copy_to_user(self.address, self.text.as_bytes().get(..kept).unwrap_or(&[]))?;
        copy_to_user(self.address.wrapping_add(kept), &[0])?;
        if wanted > self.size { Err(Errno::ENOSPC) } else { Ok(()) }
    }
}
