//! `usertests store FILE TEXT`: stores text at the beginning of a file through a shared mapping, and
//! no more: the tests that restart the machine look for it.

use crate::calls;
use alloc::ffi::CString;
use lemma_rt::general::{MAP_SHARED, O_RDWR, PROT_READ, PROT_WRITE};
use lemma_rt::{eprintln, error_text};

/// Stores; the exit status, or `None` if the options are wrong.
pub(crate) fn main(options: &[&[u8]]) -> Option<i32> {
    let [path, text] = options else { return None };
    let path = CString::new(*path).ok()?;
    let stored = calls::open(&path, O_RDWR, 0).and_then(|fd| {
        let memory = calls::mmap(0, text.len(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)?;
        for (address, &byte) in (memory..).zip(*text) {
            calls::poke(address, byte);
        }
        Ok(())
    });
    Some(match stored {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("usertests: store: {}", error_text(error));
            1
        }
    })
}
