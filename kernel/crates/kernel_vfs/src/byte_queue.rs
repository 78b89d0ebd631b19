//! [`ByteQueue`]: bytes in a ring that grows as it is needed, for pipes.

use alloc::vec::Vec;

use crate::error::FsError;

/// Bytes of a ring when it is first needed.
const FIRST: usize = 4096;

/// A queue of bytes. The ring's size is a power of two.
#[derive(Default)]
pub struct ByteQueue {
    ring: Vec<u8>,
    /// Where the first byte is, and how many there are.
    start: usize,
    length: usize,
}

impl ByteQueue {
    /// An empty queue, without memory.
    pub const fn new() -> Self {
        Self { ring: Vec::new(), start: 0, length: 0 }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.length
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes that fit without growing.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.ring.len()
    }

    /// Makes room for `more` bytes.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn reserve(&mut self, more: usize) -> Result<(), FsError> {
        let needed = self.length.checked_add(more).ok_or(FsError::OutOfMemory)?;
        if needed <= self.ring.len() {
            return Ok(());
        }
        let size = needed.next_power_of_two().max(FIRST);
        let mut ring = Vec::new();
        ring.try_reserve_exact(size).map_err(|_| FsError::OutOfMemory)?;
        ring.resize(size, 0);
        let length = self.length;
        self.pop(&mut ring);
        (self.ring, self.start, self.length) = (ring, 0, length);
        Ok(())
    }

    /// Appends as many of `bytes` as fit without growing, and says how many.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.ring.len() - self.length);
        let end = (self.start + self.length) & self.ring.len().wrapping_sub(1);
        let first = count.min(self.ring.len() - end);
        if let (Some(to), Some(from)) = (self.ring.get_mut(end..end + first), bytes.get(..first)) {
            to.copy_from_slice(from);
        }
        if first < count
            && let (Some(to), Some(from)) =
                (self.ring.get_mut(..count - first), bytes.get(first..count))
        {
            to.copy_from_slice(from);
        }
        self.length += count;
        count
    }

    /// Moves bytes from the front into `buffer`, and says how many.
    #[inline]
    pub fn pop(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.length);
        let first = count.min(self.ring.len() - self.start);
        if let (Some(to), Some(from)) =
            (buffer.get_mut(..first), self.ring.get(self.start..self.start + first))
        {
            to.copy_from_slice(from);
        }
        if first < count
            && let (Some(to), Some(from)) =
                (buffer.get_mut(first..count), self.ring.get(..count - first))
        {
            to.copy_from_slice(from);
        }
        self.start = (self.start + count) & self.ring.len().wrapping_sub(1);
        self.length -= count;
        count
    }

    /// Puts bytes back in front of the first, as many as fit from the end of `bytes`.
    pub fn push_front(&mut self, bytes: &[u8]) {
        for &byte in bytes.iter().rev() {
            if self.length == self.ring.len() {
                return;
            }
            self.start = self.start.wrapping_sub(1) & self.ring.len().wrapping_sub(1);
            if let Some(place) = self.ring.get_mut(self.start) {
                *place = byte;
                self.length += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ByteQueue;
    use std::collections::VecDeque;
    use std::vec::Vec;

    #[test]
    fn it_behaves_as_a_queue() {
        let mut queue = ByteQueue::new();
        let mut model = VecDeque::new();
        let mut seed = 1u64;
        let mut random = |limit: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((seed >> 33) % limit) as usize
        };
        assert_eq!(queue.push(b"x"), 0);
        assert_eq!(queue.pop(&mut [0]), 0);
        for _ in 0..20_000 {
            match random(5) {
                0 | 1 => {
                    let bytes: Vec<u8> = (0..random(3000)).map(|_| random(256) as u8).collect();
                    if queue.len() + bytes.len() < 60_000 {
                        queue.reserve(bytes.len()).unwrap();
                    }
                    let count = queue.push(&bytes);
                    assert_eq!(count, bytes.len().min(queue.capacity() - model.len()));
                    model.extend(&bytes[..count]);
                }
                2 | 3 => {
                    let mut buffer = std::vec![0; random(4000)];
                    let count = queue.pop(&mut buffer);
                    let expected: Vec<u8> = model.drain(..count).collect();
                    assert_eq!(buffer[..count], expected);
                }
                _ => {
                    let mut buffer = std::vec![0; random(100)];
                    let count = queue.pop(&mut buffer);
                    queue.push_front(&buffer[..count]);
                }
            }
            assert_eq!(queue.len(), model.len());
        }
        assert!(queue.capacity() <= 65_536);
    }
}
