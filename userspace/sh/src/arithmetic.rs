//! `$((…))`: signed 64-bit integers, C's operators and precedence, without assignment.

use crate::Bytes;
use alloc::format;
use alloc::string::String;

/// Binary operators, loosest first; longer ones before those they begin with.
const LEVELS: &[&[&str]] = &[
    &["||"],
    &["&&"],
    &["|"],
    &["^"],
    &["&"],
    &["==", "!="],
    &["<=", ">=", "<", ">"],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

const MAX_DEPTH: usize = 50;

/// Evaluates an expression; `variable` gives the value of a name.
pub fn evaluate(text: &[u8], variable: &dyn Fn(&[u8]) -> Option<Bytes>) -> Result<i64, String> {
    let mut evaluator = Evaluator { text, position: 0, depth: 0, variable };
    evaluator.skip_blanks();
    if evaluator.rest().is_empty() {
        return Ok(0);
    }
    let value = evaluator.level(0)?;
    if evaluator.rest().is_empty() { Ok(value) } else { Err(evaluator.error()) }
}

struct Evaluator<'a> {
    text: &'a [u8],
    position: usize,
    depth: usize,
    variable: &'a dyn Fn(&[u8]) -> Option<Bytes>,
}

impl<'a> Evaluator<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.position..).unwrap_or(&[])
    }

    fn skip_blanks(&mut self) {
        self.position += self.rest().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }

    fn error(&self) -> String {
        format!("arithmetic: syntax error at `{}'", String::from_utf8_lossy(self.rest()))
    }

    /// Takes one of the operators if it comes next, and is not the beginning of a longer one.
    fn operator(&mut self, level: &[&'static str]) -> Option<&'static str> {
        let rest = self.rest();
        let longest = LEVELS
            .iter()
            .flat_map(|operators| operators.iter())
            .filter(|operator| rest.starts_with(operator.as_bytes()))
            .max_by_key(|operator| operator.len())?;
        level.contains(longest).then(|| {
            self.position += longest.len();
            self.skip_blanks();
            *longest
        })
    }

    fn level(&mut self, level: usize) -> Result<i64, String> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.level(level + 1)?;
        while let Some(operator) = self.operator(operators) {
            let right = self.level(level + 1)?;
            left = apply(operator, left, right)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<i64, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("arithmetic: nested too deeply".into());
        }
        self.skip_blanks();
        let first = self.rest().first().copied();
        let value = match first {
            Some(sign @ (b'-' | b'+' | b'!' | b'~')) => {
                self.position += 1;
                let value = self.unary()?;
                match sign {
                    b'-' => value.wrapping_neg(),
                    b'!' => i64::from(value == 0),
                    b'~' => !value,
                    _ => value,
                }
            }
            Some(b'(') => {
                self.position += 1;
                let value = self.level(0)?;
                if self.rest().first() != Some(&b')') {
                    return Err(self.error());
                }
                self.position += 1;
                value
            }
            _ => self.primary()?,
        };
        self.depth -= 1;
        self.skip_blanks();
        Ok(value)
    }

    fn primary(&mut self) -> Result<i64, String> {
        let rest = self.rest();
        let length =
            rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        let token = rest.get(..length).unwrap_or(&[]);
        let value = match token.first() {
            None => return Err(self.error()),
            Some(b'0'..=b'9') => number(token).ok_or_else(|| self.error())?,
            Some(_) => match (self.variable)(token) {
                Some(text) => number(text.trim_ascii()).unwrap_or(0),
                None => 0,
            },
        };
        self.position += length;
        Ok(value)
    }
}

/// Reads a number as C writes it: decimal, `0x…`, or octal after a 0; possibly negative.
pub fn number(text: &[u8]) -> Option<i64> {
    let text = core::str::from_utf8(text).ok()?;
    let (digits, negative) = match text.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let value = if let Some(digits) = digits.strip_prefix("0x") {
        i64::from_str_radix(digits, 16).ok()?
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8).ok()?
    } else {
        digits.parse().ok()?
    };
    Some(if negative { value.wrapping_neg() } else { value })
}

fn apply(operator: &str, left: i64, right: i64) -> Result<i64, String> {
    let divided =
        |value: Option<i64>| value.ok_or_else(|| String::from("arithmetic: division by zero"));
    Ok(match operator {
        "||" => i64::from(left != 0 || right != 0),
        "&&" => i64::from(left != 0 && right != 0),
        "|" => left | right,
        "^" => left ^ right,
        "&" => left & right,
        "==" => i64::from(left == right),
        "!=" => i64::from(left != right),
        "<=" => i64::from(left <= right),
        ">=" => i64::from(left >= right),
        "<" => i64::from(left < right),
        ">" => i64::from(left > right),
        "<<" => left.wrapping_shl(right as u32),
        ">>" => left.wrapping_shr(right as u32),
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        "/" => divided((right != 0).then(|| left.wrapping_div(right)))?,
        _ => divided((right != 0).then(|| left.wrapping_rem(right)))?,
    })
}

#[cfg(test)]
mod tests {
    use super::evaluate;

    fn value(text: &str) -> Result<i64, alloc::string::String> {
        evaluate(text.as_bytes(), &|name| (name == b"x").then(|| b"7".to_vec()))
    }

    #[test]
    fn operators_and_precedence() {
        assert_eq!(value("1 + 2 * 3"), Ok(7));
        assert_eq!(value("(1 + 2) * -3"), Ok(-9));
        assert_eq!(value("10 - 4 - 3"), Ok(3));
        assert_eq!(value("x % 4 == 3 && !0"), Ok(1));
        assert_eq!(value("1 << 4 | 0x0f"), Ok(31));
        assert_eq!(value("5 > 3 | 0"), Ok(1));
        assert_eq!(value("2 <= 1"), Ok(0));
        assert_eq!(value("unset + 010"), Ok(8));
        assert_eq!(value(""), Ok(0));
        assert_eq!(value("-9223372036854775807 - 1"), Ok(i64::MIN));
        assert_eq!(value("(-9223372036854775807 - 1) / -1"), Ok(i64::MIN));
    }

    #[test]
    fn errors() {
        assert!(value("1 / 0").is_err());
        assert!(value("1 % (x - 7)").is_err());
        assert!(value("1 +").is_err());
        assert!(value("(1").is_err());
        assert!(value("1 2").is_err());
        assert!(value("09").is_err());
        assert!(value(&"(".repeat(100_000)).is_err());
    }
}
