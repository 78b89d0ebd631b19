//! `union bpf_attr`: a block of bytes with fields at the offsets that `kernel_abi::bpf` names.

use kernel_abi::bpf::ATTR_SIZE;

/// The attributes of one command. Pointers in it borrow from what the caller keeps alive.
pub struct Attributes([u8; ATTR_SIZE]);

impl Attributes {
    /// All zeros.
    pub const fn new() -> Self {
        Self([0; ATTR_SIZE])
    }

    /// With a field of 32 bits set.
    #[must_use]
    pub fn with(mut self, offset: usize, value: u32) -> Self {
        self.put(offset, &value.to_ne_bytes());
        self
    }

    /// With a field of 64 bits set.
    #[must_use]
    pub fn with64(mut self, offset: usize, value: u64) -> Self {
        self.put(offset, &value.to_ne_bytes());
        self
    }

    /// With a pointer set.
    #[must_use]
    pub fn with_pointer<T>(self, offset: usize, pointer: *const T) -> Self {
        self.with64(offset, pointer as u64)
    }

    /// With a descriptor set.
    #[must_use]
    pub fn with_fd(self, offset: usize, fd: i32) -> Self {
        self.with(offset, fd as u32)
    }

    /// With a name set: cut to 15 bytes, and of the characters that Linux allows in names.
    #[must_use]
    pub fn with_name(mut self, offset: usize, name: &str) -> Self {
        let mut bytes = [0; kernel_abi::bpf::OBJ_NAME_LEN];
        for (place, byte) in bytes.iter_mut().zip(name.bytes().take(15)) {
            let allowed = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
            *place = if allowed { byte } else { b'_' };
        }
        self.put(offset, &bytes);
        self
    }

    /// A field of 32 bits, as the kernel left it.
    pub fn get(&self, offset: usize) -> u32 {
        let bytes = self.0.get(offset..offset + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    }

    /// The first `length` bytes, to pass to the kernel.
    pub fn bytes_mut(&mut self, length: usize) -> &mut [u8] {
        self.0.get_mut(..length).unwrap_or(&mut [])
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(offset..offset + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

impl Default for Attributes {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Attributes;

    #[test]
    fn fields() {
        let mut attributes =
            Attributes::new().with(4, 7).with_fd(8, -1).with_name(16, "a-name-that-is-too-long");
        assert_eq!((attributes.get(4), attributes.get(8)), (7, u32::MAX));
        assert_eq!(&attributes.bytes_mut(32)[16..32], b"a_name_that_is_\0");
        // Outside of the union nothing is written or read.
        assert_eq!(Attributes::new().with(150, 1).get(150), 0);
    }
}
