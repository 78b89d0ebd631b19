//! All access to user memory.
//!
//! An address that a user passed is an allegation: nothing is known of it until a copy has
//! succeeded. Every function here checks that the range lies below `USER_END` and then uses
//! the architecture's copy, which resolves page faults and survives those that it cannot.
//! Copies may sleep: **no spin lock is held while one is made.** Long ones let others run. The
//! bytes can change at any time under a second thread, so what was checked is what was copied,
//! never the original.

use core::marker::PhantomData;
use core::mem::MaybeUninit;

use kernel_vfs::{Sink, Source};

use super::fault;
use crate::arch::{Arch, Architecture, PAGE_SIZE};

/// User memory is not accessible: `EFAULT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// A type of which every bit pattern is a value and which has no padding.
///
/// # Safety
/// Both hold.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($type:ty),*) => {
        // SAFETY: integers have no padding and no invalid values.
        $(unsafe impl Plain for $type {})*
    };
}
plain!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);

// SAFETY: an array has no padding of its own.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// What a user says is the address of a `T`.
#[derive(Clone, Copy, Debug)]
pub struct UserPtr<T> {
    address: usize,
    of: PhantomData<*mut T>,
}

impl<T: Plain> UserPtr<T> {
    /// An allegation about `address`.
    pub const fn new(address: usize) -> Self {
        Self { address, of: PhantomData }
    }

    /// Whether it is null.
    pub const fn is_null(self) -> bool {
        self.address == 0
    }

    /// The value.
    ///
    /// # Errors
    /// If it is not accessible.
    #[inline]
    pub fn read(self) -> Result<T, Fault> {
        read_user(self.address)
    }

    /// Stores a value.
    ///
    /// # Errors
    /// If it is not accessible.
    #[inline]
    pub fn write(self, value: T) -> Result<(), Fault> {
        write_user(self.address, value)
    }

    /// The `index`th of several.
    #[must_use]
    pub const fn at(self, index: usize) -> Self {
        Self::new(self.address.wrapping_add(index.wrapping_mul(size_of::<T>())))
    }
}

/// Whether `length` bytes from `address` are all user addresses, if only of another machine of
/// this architecture: those are not mapped here, and an access to them faults.
#[inline]
pub fn is_user_range(address: usize, length: usize) -> bool {
    length <= Arch::USER_END && address <= Arch::USER_END - length
}

/// Copies from the user.
///
/// # Errors
/// If a byte is not accessible; then `target` is partly overwritten.
#[inline]
pub fn copy_from_user(target: &mut [u8], address: usize) -> Result<(), Fault> {
    if copy_in(target, address) == target.len() { Ok(()) } else { Err(Fault) }
}

/// Copies from the user into memory that holds nothing yet; after `Ok` all of it is written.
///
/// # Errors
/// If a byte is not accessible.
#[inline]
pub fn copy_from_user_uninit(target: &mut [MaybeUninit<u8>], address: usize) -> Result<(), Fault> {
    let length = target.len();
    if !is_user_range(address, length) {
        return Err(Fault);
    }
    // SAFETY: `target` is valid for its length; the other side was checked to be the user's.
    let left = unsafe { Arch::copy_user(target.as_mut_ptr() as usize, address, length) };
    if left == 0 { Ok(()) } else { Err(Fault) }
}

/// Copies to the user.
///
/// # Errors
/// If a byte is not accessible; then a part may have been written.
#[inline]
pub fn copy_to_user(address: usize, source: &[u8]) -> Result<(), Fault> {
    if copy_out(address, source) == source.len() { Ok(()) } else { Err(Fault) }
}

#[inline]
fn copy_in(target: &mut [u8], address: usize) -> usize {
    if !is_user_range(address, target.len()) {
        return 0;
    }
    let length = target.len();
    // SAFETY: `target` is valid for its length; the other side was checked to be the user's.
    length - unsafe { Arch::copy_user(target.as_mut_ptr() as usize, address, length) }
}

#[inline]
fn copy_out(address: usize, source: &[u8]) -> usize {
    if !is_user_range(address, source.len()) {
        return 0;
    }
    let length = source.len();
    // SAFETY: `source` is valid for its length; the other side was checked to be the user's.
    length - unsafe { Arch::copy_user(address, source.as_ptr() as usize, length) }
}

/// Reads a value from the user.
///
/// # Errors
/// If it is not accessible.
#[inline]
pub fn read_user<T: Plain>(address: usize) -> Result<T, Fault> {
    if !is_user_range(address, size_of::<T>()) {
        return Err(Fault);
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: `value` is valid for its size; the other side was checked to be the user's.
    let left = unsafe { Arch::copy_user(value.as_mut_ptr() as usize, address, size_of::<T>()) };
    if left != 0 {
        return Err(Fault);
    }
    // SAFETY: all bytes were written, and any bytes are a `T`.
    Ok(unsafe { value.assume_init() })
}

/// Stores a value in the user's memory.
///
/// # Errors
/// If it is not accessible.
#[inline]
pub fn write_user<T: Plain>(address: usize, value: T) -> Result<(), Fault> {
    if !is_user_range(address, size_of::<T>()) {
        return Err(Fault);
    }
    // SAFETY: `value` is valid for its size and has no padding; the other side was checked.
    let left = unsafe { Arch::copy_user(address, (&raw const value) as usize, size_of::<T>()) };
    if left == 0 { Ok(()) } else { Err(Fault) }
}

/// Reads a 32-bit word without resolving a fault, so also while a spin lock is held.
///
/// # Errors
/// If it is not in memory now.
#[inline]
pub fn read_user_nofault(address: usize) -> Result<u32, Fault> {
    if !is_user_range(address, 4) {
        return Err(Fault);
    }
    let mut value = 0u32;
    // SAFETY: `value` is valid for four bytes.
    let left = unsafe { Arch::copy_nofault((&raw mut value).cast(), address, 4) };
    if left == 0 { Ok(value) } else { Err(Fault) }
}

/// Copies a string with its terminator into `target`; its length without the terminator, or
/// `None` if it does not end within `target`.
///
/// # Errors
/// If it is not accessible up to its end.
pub fn strncpy_from_user(target: &mut [u8], address: usize) -> Result<Option<usize>, Fault> {
    let mut done = 0;
    while done < target.len() {
        // Not beyond the page: the string may end in it, and the next may not be there.
        let at = address.checked_add(done).ok_or(Fault)?;
        let piece = (PAGE_SIZE - at % PAGE_SIZE).min(target.len() - done).min(256);
        let Some(part) = target.get_mut(done..done + piece) else { break };
        copy_from_user(part, at)?;
        if let Some(end) = part.iter().position(|&byte| byte == 0) {
            return Ok(Some(done + end));
        }
        done += piece;
    }
    Ok(None)
}

/// Others get to run once in so many bytes of a long copy.
const STRETCH: usize = 64 * 1024;

/// User memory that bytes are read into. Its range is the user's.
pub struct UserSink {
    address: usize,
    length: usize,
}

impl UserSink {
    /// The `length` bytes at `address`.
    ///
    /// # Errors
    /// If they are not all user addresses; whether they are accessible is found out later.
    #[inline]
    pub fn new(address: usize, length: usize) -> Result<Self, Fault> {
        if is_user_range(address, length) { Ok(Self { address, length }) } else { Err(Fault) }
    }

    /// At most the first `limit` of them.
    #[inline]
    #[must_use]
    pub fn limited(self, limit: usize) -> Self {
        Self { length: self.length.min(limit), ..self }
    }

    #[inline]
    fn advance(&mut self, count: usize) -> usize {
        let before = self.address;
        self.address += count;
        self.length -= count;
        give_way_between(before, self.address);
        count
    }
}

/// After a copy that went from one address to another: others may run now and then, however much
/// is copied in one system call.
#[inline]
fn give_way_between(before: usize, after: usize) {
    if (before ^ after) >= STRETCH {
        fault::give_way();
    }
}

impl Sink for UserSink {
    fn remaining(&self) -> usize {
        self.length
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.length);
        // SAFETY: `bytes` is valid for `count` bytes; `new` has checked the user's side.
        let left = unsafe { Arch::copy_user(self.address, bytes.as_ptr() as usize, count) };
        self.advance(count - left)
    }

    fn put_zeros(&mut self, count: usize) -> usize {
        let count = count.min(self.length);
        let left = Arch::clear_user(self.address, count);
        self.advance(count - left)
    }
}

/// User memory that bytes are written from. Its range is the user's.
pub struct UserSource {
    address: usize,
    length: usize,
}

impl UserSource {
    /// The `length` bytes at `address`.
    ///
    /// # Errors
    /// If they are not all user addresses; whether they are accessible is found out later.
    #[inline]
    pub fn new(address: usize, length: usize) -> Result<Self, Fault> {
        if is_user_range(address, length) { Ok(Self { address, length }) } else { Err(Fault) }
    }

    /// At most the first `limit` of them.
    #[inline]
    #[must_use]
    pub fn limited(self, limit: usize) -> Self {
        Self { length: self.length.min(limit), ..self }
    }
}

impl Source for UserSource {
    fn remaining(&self) -> usize {
        self.length
    }

    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.length);
        // SAFETY: `buffer` is valid for `count` bytes; `new` has checked the user's side.
        let left = unsafe { Arch::copy_user(buffer.as_mut_ptr() as usize, self.address, count) };
        let before = self.address;
        let count = self.skip(count - left);
        give_way_between(before, self.address);
        count
    }

    fn skip(&mut self, count: usize) -> usize {
        let count = count.min(self.length);
        self.address += count;
        self.length -= count;
        count
    }
}
