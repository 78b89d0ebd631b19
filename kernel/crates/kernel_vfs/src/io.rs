//! Where the bytes of a read go and those of a write come from.
//!
//! The kernel implements both over copies to and from user memory, so data is copied once,
//! between the file's memory and the user's. Such a copy may page-fault and sleep:
//! **no lock is held while a method of these traits is called.**

/// Takes the bytes that a read produces.
pub trait Sink {
    /// How many bytes it still takes.
    fn remaining(&self) -> usize;
    /// Takes bytes from the front of `bytes` and says how many: all of them, or as many as
    /// `remaining` said, or fewer because the memory behind it is not accessible.
    fn put(&mut self, bytes: &[u8]) -> usize;
    /// Takes `count` zero bytes, or as many as `remaining` says; as `put`.
    fn put_zeros(&mut self, count: usize) -> usize {
        const ZEROS: [u8; 512] = [0; 512];
        let count = count.min(self.remaining());
        let mut done = 0;
        while done < count {
            let part = (count - done).min(ZEROS.len());
            let taken = self.put(ZEROS.get(..part).unwrap_or(&ZEROS));
            done += taken;
            if taken < part {
                break;
            }
        }
        done
    }
}

/// Gives the bytes that a write consumes.
pub trait Source {
    /// How many bytes it still has.
    fn remaining(&self) -> usize;
    /// Fills the front of `buffer` and says how far: all of it, or as much as `remaining` said,
    /// or less because the memory behind it is not accessible.
    fn take(&mut self, buffer: &mut [u8]) -> usize;
    /// Drops up to `count` bytes unread, and says how many.
    fn skip(&mut self, count: usize) -> usize;
}

/// A sink over kernel memory.
pub struct SliceSink<'a> {
    rest: &'a mut [u8],
}

impl<'a> SliceSink<'a> {
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { rest: buffer }
    }
}

impl Sink for SliceSink<'_> {
    fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.rest.len());
        let (front, rest) = core::mem::take(&mut self.rest).split_at_mut(count);
        if let Some(bytes) = bytes.get(..count) {
            front.copy_from_slice(bytes);
        }
        self.rest = rest;
        count
    }
}

/// A source over kernel memory.
pub struct SliceSource<'a> {
    rest: &'a [u8],
}

impl<'a> SliceSource<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl Source for SliceSource<'_> {
    fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.rest.len());
        let (front, rest) = self.rest.split_at(count);
        if let Some(buffer) = buffer.get_mut(..count) {
            buffer.copy_from_slice(front);
        }
        self.rest = rest;
        count
    }

    fn skip(&mut self, count: usize) -> usize {
        let count = count.min(self.rest.len());
        self.rest = self.rest.get(count..).unwrap_or(&[]);
        count
    }
}

#[cfg(test)]
mod tests {
    use super::{Sink, SliceSink, SliceSource, Source};

    #[test]
    fn slices_take_and_give_what_they_hold() {
        let mut buffer = [9u8; 5];
        let mut sink = SliceSink::new(&mut buffer);
        assert_eq!(sink.put(b"ab"), 2);
        assert_eq!(sink.put_zeros(2), 2);
        assert_eq!(sink.put(b"cd"), 1);
        assert_eq!(sink.remaining(), 0);
        assert_eq!(&buffer, b"ab\0\0c");

        let mut source = SliceSource::new(b"abcd");
        let mut two = [0; 2];
        assert_eq!(source.take(&mut two), 2);
        assert_eq!(&two, b"ab");
        assert_eq!(source.skip(1), 1);
        assert_eq!(source.take(&mut two), 1);
        assert_eq!(source.remaining(), 0);
    }
}
