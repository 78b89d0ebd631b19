//! A small stack of free frames in front of the buddy allocator, so that the frame that was
//! freed last is the next one handed out, and a pair of the two costs no splitting and joining.

/// Up to `N` frame numbers.
pub struct Magazine<const N: usize> {
    frames: [u32; N],
    length: usize,
}

impl<const N: usize> Magazine<N> {
    /// An empty magazine.
    pub const fn new() -> Self {
        Self { frames: [0; N], length: 0 }
    }

    /// Keeps a frame, or returns `false` if there is no room.
    #[inline]
    pub fn push(&mut self, frame: u32) -> bool {
        match self.frames.get_mut(self.length) {
            Some(slot) => {
                *slot = frame;
                self.length += 1;
                true
            }
            None => false,
        }
    }

    /// The frame that was kept last.
    #[inline]
    pub fn pop(&mut self) -> Option<u32> {
        let top = self.length.checked_sub(1)?;
        self.length = top;
        self.frames.get(top).copied()
    }

    /// How many frames are kept.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether none is kept.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<const N: usize> Default for Magazine<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Magazine;

    #[test]
    fn last_in_first_out_and_bounded() {
        let mut magazine = Magazine::<2>::new();
        assert_eq!(magazine.pop(), None);
        assert!(magazine.push(7) && magazine.push(8) && !magazine.push(9));
        assert_eq!((magazine.pop(), magazine.pop(), magazine.pop()), (Some(8), Some(7), None));
        assert!(magazine.is_empty());
    }
}
