//! How commands write modes, sizes and bytes.

use alloc::format;
use alloc::string::String;

/// The first ten characters of `ls -l` for an inode's mode.
pub fn mode(mode: u32) -> String {
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o020_000 => 'c',
        0o060_000 => 'b',
        0o010_000 => 'p',
        0o140_000 => 's',
        0o100_000 => '-',
        _ => '?',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift & 7;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
        });
    }
    text
}

/// A size with a unit, as `-h` prints it: `4.0K`, `17M`.
pub fn human(bytes: u64) -> String {
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_240 {
        tenths = tenths.div_ceil(1024);
        unit += 1;
    }
    let letter = b" KMGTPE".get(unit).map_or('?', |letter| char::from(*letter));
    match (unit, tenths) {
        (0, _) => format!("{bytes}"),
        (_, 0..100) => format!("{}.{}{letter}", tenths / 10, tenths % 10),
        _ => format!("{}{letter}", tenths.div_ceil(10)),
    }
}

/// A line of `hexdump -C`: up to 16 bytes at an offset.
pub fn hexdump_line(offset: u64, bytes: &[u8]) -> String {
    let mut text = format!("{offset:08x} ");
    for index in 0..16 {
        if index == 8 {
            text.push(' ');
        }
        match bytes.get(index) {
            Some(byte) => text += &format!(" {byte:02x}"),
            None => text += "   ",
        }
    }
    text += "  |";
    text.extend(bytes.iter().map(|&byte| match byte {
        0x20..0x7f => char::from(byte),
        _ => '.',
    }));
    text.push('|');
    text
}

/// Hours, minutes and seconds, as `ps` prints a time.
pub fn duration(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::{hexdump_line, human, mode};

    #[test]
    fn modes() {
        assert_eq!(mode(0o040_755), "drwxr-xr-x");
        assert_eq!(mode(0o100_644), "-rw-r--r--");
        assert_eq!(mode(0o104_755), "-rwsr-xr-x");
        assert_eq!(mode(0o041_776), "drwxrwxrwT");
        assert_eq!(mode(0o020_620), "crw--w----");
    }

    #[test]
    fn sizes() {
        assert_eq!(human(0), "0");
        assert_eq!(human(1023), "1023");
        assert_eq!(human(1024), "1.0K");
        assert_eq!(human(1025), "1.1K");
        assert_eq!(human(10 << 20), "10M");
        assert_eq!(human((10 << 20) + 1), "11M");
        assert_eq!(human(u64::MAX), "16E");
    }

    #[test]
    fn dumps() {
        assert_eq!(
            hexdump_line(16, b"ab\n"),
            "00000010  61 62 0a                                          |ab.|"
        );
    }
}
