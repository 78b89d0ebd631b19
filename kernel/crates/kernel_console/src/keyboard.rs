//! From keys to the bytes that a terminal sends: an American keyboard, its keys numbered as
//! Linux numbers them (`linux/input-event-codes.h`), the bytes those of a Linux console.

/// Keys 0 to 57 by themselves, and with shift; 0 for those that send nothing.
const PLAIN: &[u8; 58] =
    b"\0\x1b1234567890-=\x7f\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
const SHIFTED: &[u8; 58] =
    b"\0\x1b!@#$%^&*()_+\x7f\tQWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";

/// Keys 71 to 83: the number block.
const NUMBERS: &[u8; 13] = b"789-456+1230.";
const FIRST_NUMBER: u16 = 71;

const LEFT_CONTROL: u16 = 29;
const LEFT_SHIFT: u16 = 42;
const RIGHT_SHIFT: u16 = 54;
const LEFT_ALT: u16 = 56;
const CAPS_LOCK: u16 = 58;
const BESIDE_SHIFT: u16 = 86;
const NUMBER_ENTER: u16 = 96;
const RIGHT_CONTROL: u16 = 97;
const NUMBER_SLASH: u16 = 98;
const RIGHT_ALT: u16 = 100;

/// Keys that send a sequence.
const SEQUENCES: [(u16, &[u8]); 10] = [
    (102, b"\x1b[1~"), // home
    (103, b"\x1b[A"),
    (104, b"\x1b[5~"), // page up
    (105, b"\x1b[D"),
    (106, b"\x1b[C"),
    (107, b"\x1b[4~"), // end
    (108, b"\x1b[B"),
    (109, b"\x1b[6~"), // page down
    (110, b"\x1b[2~"), // insert
    (111, b"\x1b[3~"), // delete
];

/// What a key sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    bytes: [u8; 5],
    length: usize,
}

impl Keys {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

/// A keyboard: which of the keys that change others are down.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keyboard {
    shift: [bool; 2],
    control: [bool; 2],
    alt: [bool; 2],
    caps: bool,
}

impl Keyboard {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes the key if it changes others.
    fn modifier(&mut self, code: u16, down: bool) -> bool {
        let [left_shift, right_shift] = &mut self.shift;
        let [left_control, right_control] = &mut self.control;
        let [left_alt, right_alt] = &mut self.alt;
        let place = match code {
            LEFT_SHIFT => left_shift,
            RIGHT_SHIFT => right_shift,
            LEFT_CONTROL => left_control,
            RIGHT_CONTROL => right_control,
            LEFT_ALT => left_alt,
            RIGHT_ALT => right_alt,
            _ => return false,
        };
        *place = down;
        true
    }

    /// The byte of a key that has one.
    fn byte(&self, code: u16) -> Option<u8> {
        let shift = self.shift.contains(&true);
        let index = usize::from(code);
        match code {
            BESIDE_SHIFT => Some(if shift { b'>' } else { b'<' }),
            NUMBER_ENTER => Some(b'\r'),
            NUMBER_SLASH => Some(b'/'),
            FIRST_NUMBER.. => NUMBERS.get(index - usize::from(FIRST_NUMBER)).copied(),
            _ => {
                let letter = PLAIN.get(index)?.is_ascii_alphabetic();
                let table = if shift != (letter && self.caps) { SHIFTED } else { PLAIN };
                table.get(index).copied().filter(|&byte| byte != 0)
            }
        }
    }

    /// Takes an event of a key: it went up (0), went down (1) or is still down (2). Returns what
    /// it sends, which may be nothing.
    pub fn key(&mut self, code: u16, value: u32) -> Keys {
        let mut keys = Keys::default();
        let down = value != 0;
        if self.modifier(code, down) || !down {
            return keys;
        }
        if code == CAPS_LOCK {
            self.caps ^= value == 1;
            return keys;
        }
        if let Some((_, sequence)) = SEQUENCES.iter().find(|(key, _)| *key == code) {
            sequence.iter().for_each(|&byte| keys.push(byte));
            return keys;
        }
        let Some(mut byte) = self.byte(code) else { return keys };
        if self.control.contains(&true) {
            byte = match byte {
                b'@'..=b'_' | b'a'..=b'z' => byte & 0x1f,
                b' ' => 0,
                _ => byte,
            };
        }
        if self.alt.contains(&true) {
            keys.push(0x1b);
        }
        keys.push(byte);
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::Keyboard;
    use proptest::prelude::{any, prop, proptest};
    use std::vec::Vec;

    /// What is sent when keys go down (positive) and up (negative).
    fn typed(keys: &[i32]) -> Vec<u8> {
        let mut keyboard = Keyboard::new();
        let send = |&key: &i32| {
            let keys = keyboard.key(key.unsigned_abs() as u16, u32::from(key > 0));
            keys.as_bytes().to_vec()
        };
        keys.iter().flat_map(send).collect()
    }

    #[test]
    fn keys_send_what_is_on_them() {
        assert_eq!(typed(&[38, -38, 31, -31, 28]), b"ls\r");
        assert_eq!(typed(&[42, 30, -42, 30, 54, 2, 3]), b"Aa!@");
        assert_eq!(typed(&[14, 15, 1, 57, 53, 43]), b"\x7f\t\x1b /\\");
        assert_eq!(typed(&[71, 83, 96, 98, 86]), b"7.\r/<");
        assert_eq!(typed(&[103, 105, 111]), b"\x1b[A\x1b[D\x1b[3~");
    }

    #[test]
    fn control_alt_and_the_lock_change_them() {
        assert_eq!(typed(&[29, 46, -29, 46, 97, 32, 57]), b"\x03c\x04\0");
        assert_eq!(typed(&[56, 48, -56, 48]), b"\x1bbb");
        assert_eq!(typed(&[58, -58, 30, 2, 42, 30, -42, 58, 30]), b"A1aa");
        // One of two keys is still down.
        assert_eq!(typed(&[42, 54, -42, 30]), b"A");
    }

    #[test]
    fn other_keys_send_nothing() {
        assert_eq!(typed(&[0, 59, 69, 70, 84, 99, 125, 240, 767, 65535]), b"");
    }

    proptest! {
        #[test]
        fn any_event_is_taken(events in prop::collection::vec(any::<(u16, u32)>(), 0..100)) {
            let mut keyboard = Keyboard::new();
            for (code, value) in events {
                assert!(keyboard.key(code, value).as_bytes().len() <= 5);
            }
        }
    }
}
