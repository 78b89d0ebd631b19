//! What `test` and `[` decide.

use crate::{Bytes, arithmetic};
use alloc::format;
use alloc::string::String;

/// What the conditions ask of the system: whether `operator` (`f` for `-f` and so on) holds for a
/// path, or for a descriptor's number with `t`.
pub type FileTest<'a> = &'a dyn Fn(u8, &[u8]) -> bool;

/// Evaluates the arguments of `test`.
pub fn evaluate(arguments: &[Bytes], file_test: FileTest<'_>) -> Result<bool, String> {
    let mut evaluator = Evaluator { arguments, position: 0, file_test };
    if arguments.is_empty() {
        return Ok(false);
    }
    let value = evaluator.either()?;
    match evaluator.peek() {
        None => Ok(value),
        Some(extra) => Err(format!("unexpected operator `{}'", String::from_utf8_lossy(extra))),
    }
}

struct Evaluator<'a> {
    arguments: &'a [Bytes],
    position: usize,
    file_test: FileTest<'a>,
}

impl<'a> Evaluator<'a> {
    fn peek(&self) -> Option<&'a [u8]> {
        self.arguments.get(self.position).map(Bytes::as_slice)
    }

    fn next(&mut self) -> Result<&'a [u8], String> {
        let argument = self.peek().ok_or_else(|| String::from("argument expected"))?;
        self.position += 1;
        Ok(argument)
    }

    fn either(&mut self) -> Result<bool, String> {
        let mut value = self.both()?;
        while self.peek() == Some(b"-o") {
            self.position += 1;
            value |= self.both()?;
        }
        Ok(value)
    }

    fn both(&mut self) -> Result<bool, String> {
        let mut value = self.negated()?;
        while self.peek() == Some(b"-a") {
            self.position += 1;
            value &= self.negated()?;
        }
        Ok(value)
    }

    fn negated(&mut self) -> Result<bool, String> {
        let mut inverted = false;
        while self.peek() == Some(b"!") && self.arguments.len() > self.position + 1 {
            self.position += 1;
            inverted = !inverted;
        }
        Ok(self.primary()? != inverted)
    }

    fn primary(&mut self) -> Result<bool, String> {
        let first = self.next()?;
        // A binary operator in second place wins over everything that the first may mean.
        if let Some(operator) = self.peek().filter(|operator| is_binary(operator)) {
            self.position += 1;
            return compare(first, operator, self.next()?);
        }
        if first == b"(" && self.peek().is_some() {
            let value = self.either()?;
            return if self.next()? == b")" { Ok(value) } else { Err("`)' expected".into()) };
        }
        match first {
            [b'-', operator] if self.peek().is_some() => {
                let operand = self.next()?;
                match operator {
                    b'n' => Ok(!operand.is_empty()),
                    b'z' => Ok(operand.is_empty()),
                    b'b' | b'c' | b'd' | b'e' | b'f' | b'h' | b'L' | b'p' | b'r' | b's' | b't'
                    | b'w' | b'x' => Ok((self.file_test)(*operator, operand)),
                    _ => Err(format!("-{}: unknown operator", char::from(*operator))),
                }
            }
            text => Ok(!text.is_empty()),
        }
    }
}

fn is_binary(operator: &[u8]) -> bool {
    matches!(operator, b"=" | b"==" | b"!=" | b"-eq" | b"-ne" | b"-lt" | b"-le" | b"-gt" | b"-ge")
}

fn compare(left: &[u8], operator: &[u8], right: &[u8]) -> Result<bool, String> {
    match operator {
        b"=" | b"==" => return Ok(left == right),
        b"!=" => return Ok(left != right),
        _ => {}
    }
    let number = |text: &[u8]| {
        arithmetic::number(text.trim_ascii())
            .ok_or_else(|| format!("{}: integer expected", String::from_utf8_lossy(text)))
    };
    let (left, right) = (number(left)?, number(right)?);
    Ok(match operator {
        b"-eq" => left == right,
        b"-ne" => left != right,
        b"-lt" => left < right,
        b"-le" => left <= right,
        b"-gt" => left > right,
        _ => left >= right,
    })
}

#[cfg(test)]
mod tests {
    use super::evaluate;
    use crate::Bytes;
    use alloc::vec::Vec;

    fn holds(text: &str) -> Result<bool, alloc::string::String> {
        let arguments: Vec<Bytes> = text.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        evaluate(&arguments, &|operator, path| operator == b'f' && path == b"/file")
    }

    #[test]
    fn conditions() {
        assert_eq!(holds("a = a"), Ok(true));
        assert_eq!(holds("a != a"), Ok(false));
        assert_eq!(holds("3 -lt 10"), Ok(true));
        assert_eq!(holds("-f /file"), Ok(true));
        assert_eq!(holds("! -f /other -a x"), Ok(true));
        assert_eq!(holds("( 1 -eq 2 -o a = a ) -a -n x"), Ok(true));
        assert_eq!(holds("-f = -f"), Ok(true));
        assert_eq!(holds("-f"), Ok(true));
        assert_eq!(holds("!"), Ok(true));
        assert_eq!(evaluate(&[], &|_, _| true), Ok(false));
    }

    #[test]
    fn errors() {
        assert!(holds("a -eq b").is_err());
        assert!(holds("a b").is_err());
        assert!(holds("-q x").is_err());
        assert!(holds("( a").is_err());
        assert!(holds("a =").is_err());
    }
}
