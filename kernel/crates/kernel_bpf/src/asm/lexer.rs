//! Words and signs of one line.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Number(i128),
    Sign(&'a str),
}

/// Longest first, so that `s>>=` is not read as `s`.
const SIGNS: [&str; 45] = [
    "s>>=", "s<=", "s>=", "s/=", "s%=", "<<=", ">>=", "s<", "s>", "+=", "-=", "*=", "/=", "%=",
    "|=", "&=", "^=", "==", "!=", "<=", ">=", "=", "<", ">", "&", "(", ")", "[", "]", "*", "+",
    "-", ",", "#", "|", "^", "%", "/", "!", "~", "{", "}", "?", "@", ":",
];

pub(super) fn tokens(line: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        // `s>` is a comparison, `s8` a word.
        let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
        if let Some(sign) = sign {
            tokens.push(Token::Sign(sign));
            rest = rest.get(sign.len()..).unwrap_or("").trim_start();
            continue;
        }
        let length =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or("");
        if word.is_empty() {
            return Err(format!("`{first}` has no meaning here"));
        }
        tokens.push(if first.is_ascii_digit() {
            Token::Number(number(word).ok_or_else(|| format!("`{word}` is not a number"))?)
        } else {
            Token::Word(word)
        });
        rest = rest.get(length..).unwrap_or("").trim_start();
    }
    Ok(tokens)
}

fn number(word: &str) -> Option<i128> {
    match word.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

impl core::fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Token::Word(text) | Token::Sign(text) => f.write_str(text),
            Token::Number(x) => f.write_str(&x.to_string()),
        }
    }
}
