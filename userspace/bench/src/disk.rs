//! A file on a disk's file system, its pages in memory.

use crate::basic::{close, open, unlink};
use crate::measure::Bench;
use alloc::ffi::CString;
use lemma_rt::general::{__NR_pread64, __NR_pwrite64, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC};
use lemma_rt::syscall;

const ROWS: [&str; 4] =
    ["file_pread4k_hot", "file_pread1_hot", "file_pwrite4k_hot", "file_create_unlink_ext2"];

pub(crate) fn run(bench: &Bench) {
    if !bench.wants_any(&ROWS) {
        return;
    }
    let path =
        |name: &str| CString::new(alloc::format!("{}/{name}", bench.directory)).unwrap_or_default();
    let mut buffer = alloc::vec![1u8; 128 << 10];
    match open(&path("data"), O_RDONLY) {
        Ok(data) => {
            // Everything is read once, so that it is in memory.
            while crate::basic::read(data, &mut buffer).is_ok_and(|count| count > 0) {}
            let address = buffer.as_mut_ptr();
            let pread = |length: usize, index: usize| {
                // SAFETY: the buffer is longer than what is read.
                unsafe { syscall!(__NR_pread64, data, address, length, (index & 255) << 12) }
            };
            bench.row("file_pread4k_hot", 500, 5, |index| pread(4096, index));
            bench.row("file_pread1_hot", 500, 5, |index| pread(1, index));
            let _ = close(data);
        }
        Err(error) => bench.failed("file_pread: data", error),
    }
    let written = path("w");
    match open(&written, O_RDWR | O_CREAT | O_TRUNC) {
        Ok(file) => {
            let address = buffer.as_ptr();
            let pwrite = |index: usize| {
                // SAFETY: the buffer is longer than what is written.
                unsafe { syscall!(__NR_pwrite64, file, address, 4096, (index & 255) << 12) }
            };
            bench.row("file_pwrite4k_hot", 256, 5, pwrite);
            let new = path("n");
            bench.row("file_create_unlink_ext2", 50, 3, |_| {
                open(&new, O_RDWR | O_CREAT | O_TRUNC).and_then(close)?;
                unlink(&new)
            });
            let _ = close(file);
            let _ = unlink(&written);
        }
        Err(error) => bench.failed("file_pwrite4k_hot", error),
    }
}
