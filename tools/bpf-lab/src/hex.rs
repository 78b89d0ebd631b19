//! Bytes as hexadecimal text.

#![forbid(unsafe_code)]

use anyhow::{Result, bail};

/// Reads pairs of digits; white space anywhere, a `0x` before a pair and commas are ignored.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    for word in text.split(|c: char| c.is_whitespace() || c == ',') {
        let digits =
            word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")).unwrap_or(word).as_bytes();
        for pair in digits.chunks(2) {
            let [high, low] = *pair else { bail!("an odd number of hexadecimal digits") };
            bytes.push(digit(high)? << 4 | digit(low)?);
        }
    }
    Ok(bytes)
}

fn digit(byte: u8) -> Result<u8> {
    match char::from(byte).to_digit(16) {
        // A digit is below 16.
        Some(digit) => Ok(digit as u8),
        None => bail!("`{}` is not a hexadecimal digit", char::from(byte)),
    }
}

/// Writes pairs of lower-case digits.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_tools_write() {
        assert_eq!(decode("b7 00 0a\n").unwrap(), [0xb7, 0, 10]);
        assert_eq!(decode("0xB7,0x00").unwrap(), [0xb7, 0]);
        assert_eq!(decode(" 0XB70a\r\n\tFf ").unwrap(), [0xb7, 10, 255]);
        assert_eq!(decode("").unwrap(), Vec::<u8>::new());
        assert!(decode("b70").is_err());
        assert!(decode("zz").is_err());
        assert_eq!(encode(&[0, 0xab]), "00ab");
    }
}
