//! A VirtIO device on the command line: the value of Linux's `virtio_mmio.device`
//! (`Documentation/admin-guide/kernel-parameters.txt`), `SIZE@ADDRESS:INTERRUPT[:ID]`.

/// Registers in memory, and an interrupt by the interrupt controller's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmioDevice {
    pub start: u64,
    pub length: u64,
    pub interrupt: u32,
}

/// A number as C writes it: `0x` for hexadecimal, a leading 0 for octal.
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    // `from_str_radix` would take a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    u64::from_str_radix(digits, radix).ok().filter(|_| plain)
}

/// A number with a suffix: K, M or G for powers of 1024.
fn size(text: &str) -> Option<u64> {
    let factor = match text.bytes().last()? {
        b'k' | b'K' => 1 << 10,
        b'm' | b'M' => 1 << 20,
        b'g' | b'G' => 1 << 30,
        _ => return number(text),
    };
    number(text.get(..text.len() - 1)?)?.checked_mul(factor)
}

impl MmioDevice {
    /// Reads the value. `None` if it is not one: the range is empty or wraps, a part is missing.
    pub fn parse(text: &str) -> Option<Self> {
        let (length, rest) = text.split_once('@')?;
        let mut parts = rest.split(':');
        let start = number(parts.next()?)?;
        let interrupt = u32::try_from(number(parts.next()?)?).ok()?;
        // The identifier only names the device.
        if parts.next().is_some_and(|id| number(id).is_none()) || parts.next().is_some() {
            return None;
        }
        let length = size(length).filter(|&length| length > 0)?;
        start.checked_add(length)?;
        Some(Self { start, length, interrupt })
    }
}

#[cfg(test)]
mod tests {
    use super::MmioDevice;
    use proptest::prelude::{any, proptest};

    #[test]
    fn devices_are_read_as_linux_reads_them() {
        let device = |start, length, interrupt| Some(MmioDevice { start, length, interrupt });
        for (text, expected) in [
            ("512@0xfeb00e00:12", device(0xfeb0_0e00, 512, 12)),
            ("1K@0x1001e000:74", device(0x1001_e000, 1024, 74)),
            ("0x200@4096:010:3", device(4096, 512, 8)),
        ] {
            assert_eq!(MmioDevice::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_device_is_refused() {
        for text in [
            "",
            "512",
            "512@",
            "512@0x1000",
            "512@0x1000:",
            "@0x1000:5",
            "0@0x1000:5",
            "512@0x1000:-5",
            "512@+4096:5",
            "512@0xffffffffffffffff:5",
            "512@0x1000:5:x",
            "512@0x1000:5:1:2",
            "999999999999G@0:5",
            "512@0x1000:4294967296",
            "é@0:1",
        ] {
            assert_eq!(MmioDevice::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in any::<std::string::String>()) {
            MmioDevice::parse(&text);
        }
    }
}
