//! Options as POSIX's utility conventions have them: `-abn VALUE`, `--` ends them.

use alloc::vec::Vec;

/// The arguments of a command, options apart from operands.
#[derive(Debug, Default)]
pub struct Options<'a> {
    given: Vec<(u8, Option<&'a [u8]>)>,
    pub operands: Vec<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// Takes arguments apart. `known` lists the letters, each followed by `:` if it has a value.
    /// The error is the letter that is unknown or lacks its value.
    pub fn parse(arguments: &[&'a [u8]], known: &str) -> Result<Self, u8> {
        let known = known.as_bytes();
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(&argument) = arguments.next() {
            let letters = match argument {
                b"--" => {
                    options.operands.extend(arguments);
                    break;
                }
                [b'-', letters @ ..] if !letters.is_empty() => letters,
                operand => {
                    options.operands.push(operand);
                    continue;
                }
            };
            let mut letters = letters;
            while let Some((&letter, rest)) = letters.split_first() {
                letters = rest;
                let place = known.iter().position(|&byte| byte == letter && byte != b':');
                let place = place.ok_or(letter)?;
                let mut value = None;
                if known.get(place + 1) == Some(&b':') {
                    let rest = (!rest.is_empty()).then_some(rest);
                    value = rest.or_else(|| arguments.next().copied());
                    if value.is_none() {
                        return Err(letter);
                    }
                    letters = &[];
                }
                options.given.push((letter, value));
            }
        }
        Ok(options)
    }

    /// Whether an option was given.
    pub fn has(&self, letter: u8) -> bool {
        self.given.iter().any(|(given, _)| *given == letter)
    }

    /// The value of an option; the last one counts.
    pub fn value(&self, letter: u8) -> Option<&'a [u8]> {
        self.given.iter().rev().find(|(given, _)| *given == letter).and_then(|(_, value)| *value)
    }
}

/// Reads a decimal number.
pub fn number<T: core::str::FromStr>(text: &[u8]) -> Option<T> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Options, number};

    #[test]
    fn options() {
        let options = Options::parse(&[b"-ln5", b"a", b"-n", b"7", b"--", b"-x"], "aln:").unwrap();
        assert!(options.has(b'l') && !options.has(b'a'));
        assert_eq!(options.value(b'n'), Some(&b"7"[..]));
        assert_eq!(options.operands, [&b"a"[..], b"-x"]);
        assert_eq!(Options::parse(&[b"-"], "").unwrap().operands, [b"-"]);
        assert_eq!(Options::parse(&[b"-q"], "a").unwrap_err(), b'q');
        assert_eq!(Options::parse(&[b"-:"], "n:").unwrap_err(), b':');
        assert_eq!(Options::parse(&[b"-n"], "n:").unwrap_err(), b'n');
        assert_eq!(number::<u32>(b"12"), Some(12));
        assert_eq!(number::<u32>(b"-1"), None);
    }
}
