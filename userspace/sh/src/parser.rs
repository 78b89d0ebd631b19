//! The shell's grammar, by recursive descent over the text: what POSIX's chapter "Shell Command
//! Language" has, without here-documents, `case` and functions.

use crate::Bytes;
use crate::ast::{Command, Connector, Direction, Form, Item, Kind, List, Part, Pipeline};
use crate::ast::{Redirection, Word};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Why a text is not a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// It could become one with more lines: a quote or a compound command is open.
    Incomplete,
    /// It cannot.
    Syntax(String),
}

type Result<T> = core::result::Result<T, ParseError>;

/// Deeper nesting than this is refused, so that the parser's stack is bounded.
const MAX_DEPTH: usize = 100;

/// Words that end a list inside a compound command.
const CLOSING: &[&[u8]] = &[b"then", b"elif", b"else", b"fi", b"do", b"done", b"}"];

/// Parses a whole script.
pub fn parse(text: &[u8]) -> Result<List> {
    let mut parser = Parser { text, position: 0, depth: 0 };
    let list = parser.list()?;
    match parser.peek() {
        None => Ok(list),
        Some(_) => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    text: &'a [u8],
    position: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.position).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.position..).unwrap_or(&[])
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.position += 1;
        Some(byte)
    }

    /// Takes `expected` if it comes next.
    fn take(&mut self, expected: &[u8]) -> bool {
        let found = self.rest().starts_with(expected);
        if found {
            self.position += expected.len();
        }
        found
    }

    fn unexpected(&self) -> ParseError {
        match self.rest() {
            [] => ParseError::Incomplete,
            [b'\n', ..] => ParseError::Syntax("syntax error: unexpected end of line".into()),
            rest => {
                let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
                let token = rest.get(..end.max(1)).unwrap_or(rest);
                ParseError::Syntax(format!(
                    "syntax error: unexpected `{}'",
                    String::from_utf8_lossy(token)
                ))
            }
        }
    }

    /// Skips blanks, continued lines and a comment, not the end of the line.
    fn skip_blanks(&mut self) {
        loop {
            match self.rest() {
                [b' ' | b'\t' | b'\r', ..] => self.position += 1,
                [b'\\', b'\n', ..] => self.position += 2,
                [b'#', ..] => {
                    let rest = self.rest();
                    let end = rest.iter().position(|&byte| byte == b'\n');
                    self.position += end.unwrap_or(rest.len());
                    return;
                }
                _ => return,
            }
        }
    }

    fn skip_lines(&mut self) {
        self.skip_blanks();
        while self.take(b"\n") {
            self.skip_blanks();
        }
    }

    /// Takes a reserved word if it comes next.
    fn take_word(&mut self, word: &[u8]) -> bool {
        self.skip_lines();
        let found = self.next_is_word(word);
        if found {
            self.position += word.len();
        }
        found
    }

    fn next_is_word(&self, word: &[u8]) -> bool {
        let rest = self.rest();
        rest.starts_with(word) && rest.get(word.len()).is_none_or(|&byte| ends_word(byte))
    }

    fn expect_word(&mut self, word: &[u8]) -> Result<()> {
        if self.take_word(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn list(&mut self) -> Result<List> {
        self.deeper()?;
        let mut list = List::new();
        loop {
            self.skip_lines();
            let closing = CLOSING.iter().any(|word| self.next_is_word(word));
            if closing || matches!(self.peek(), None | Some(b')')) {
                break;
            }
            let mut item = self.item()?;
            self.skip_blanks();
            match self.peek() {
                Some(b'&') => {
                    self.position += 1;
                    item.background = true;
                }
                Some(b';') if !self.rest().starts_with(b";;") => self.position += 1,
                Some(b'\n') => self.position += 1,
                None | Some(b')') => {}
                Some(_) => return Err(self.unexpected()),
            }
            list.push(item);
        }
        self.depth -= 1;
        Ok(list)
    }

    /// Notes one more level of nesting; whoever calls it takes it back.
    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ParseError::Syntax("syntax error: nested too deeply".into()));
        }
        Ok(())
    }

    /// A list that must hold something, as inside `if` and loops.
    fn body(&mut self) -> Result<List> {
        let list = self.list()?;
        if list.is_empty() { Err(self.unexpected()) } else { Ok(list) }
    }

    fn item(&mut self) -> Result<Item> {
        let first = self.pipeline()?;
        let mut rest = Vec::new();
        loop {
            self.skip_blanks();
            let connector = if self.take(b"&&") {
                Connector::And
            } else if self.take(b"||") {
                Connector::Or
            } else {
                return Ok(Item { first, rest, background: false });
            };
            self.skip_lines();
            rest.push((connector, self.pipeline()?));
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline> {
        let mut negated = false;
        self.skip_blanks();
        while self.next_is_word(b"!") {
            self.position += 1;
            negated = !negated;
            self.skip_blanks();
        }
        let mut commands = Vec::from([self.command()?]);
        loop {
            self.skip_blanks();
            if self.rest().starts_with(b"||") || !self.take(b"|") {
                return Ok(Pipeline { negated, commands });
            }
            self.skip_lines();
            commands.push(self.command()?);
        }
    }

    fn command(&mut self) -> Result<Command> {
        self.skip_blanks();
        let kind = if self.take(b"(") {
            let list = self.body()?;
            if !self.take(b")") {
                return Err(self.unexpected());
            }
            Kind::Subshell(list)
        } else if self.next_is_word(b"{") {
            self.position += 1;
            let list = self.body()?;
            self.expect_word(b"}")?;
            Kind::Group(list)
        } else if self.next_is_word(b"if") {
            self.position += 2;
            self.conditional()?
        } else if self.next_is_word(b"while") || self.next_is_word(b"until") {
            let inverted = self.next_is_word(b"until");
            self.position += 5;
            let condition = self.body()?;
            Kind::While { condition, body: self.loop_body()?, inverted }
        } else if self.next_is_word(b"for") {
            self.position += 3;
            self.for_loop()?
        } else {
            return self.simple();
        };
        let mut redirections = Vec::new();
        while let Some(redirection) = self.redirection()? {
            redirections.push(redirection);
        }
        Ok(Command { kind, redirections })
    }

    /// After `if`.
    fn conditional(&mut self) -> Result<Kind> {
        let mut branches = Vec::new();
        loop {
            let condition = self.body()?;
            self.expect_word(b"then")?;
            branches.push((condition, self.body()?));
            if self.take_word(b"elif") {
                continue;
            }
            let otherwise = if self.take_word(b"else") { Some(self.body()?) } else { None };
            self.expect_word(b"fi")?;
            return Ok(Kind::If { branches, otherwise });
        }
    }

    fn loop_body(&mut self) -> Result<List> {
        self.expect_word(b"do")?;
        let body = self.body()?;
        self.expect_word(b"done")?;
        Ok(body)
    }

    /// After `for`.
    fn for_loop(&mut self) -> Result<Kind> {
        self.skip_blanks();
        let variable = self.name();
        if variable.is_empty() {
            return Err(self.unexpected());
        }
        let mut words = None;
        if self.take_word(b"in") {
            let mut list = Vec::new();
            while let Some(word) = self.word()? {
                list.push(word);
            }
            words = Some(list);
        }
        self.skip_blanks();
        let _ = self.take(b";");
        Ok(Kind::For { variable, words, body: self.loop_body()? })
    }

    fn simple(&mut self) -> Result<Command> {
        let mut assignments = Vec::new();
        let mut words = Vec::new();
        let mut redirections = Vec::new();
        loop {
            if let Some(redirection) = self.redirection()? {
                redirections.push(redirection);
                continue;
            }
            if words.is_empty()
                && let Some(name) = self.assignment_name()
            {
                assignments.push((name, self.word_here()?));
                continue;
            }
            match self.word()? {
                Some(word) => words.push(word),
                None => break,
            }
        }
        if assignments.is_empty() && words.is_empty() && redirections.is_empty() {
            return Err(self.unexpected());
        }
        Ok(Command { kind: Kind::Simple { assignments, words }, redirections })
    }

    /// Takes `NAME=` if that comes next.
    fn assignment_name(&mut self) -> Option<Bytes> {
        self.skip_blanks();
        let start = self.position;
        let name = self.name();
        if !name.is_empty() && self.take(b"=") {
            return Some(name);
        }
        self.position = start;
        None
    }

    /// Takes a variable's name; empty if none comes next.
    fn name(&mut self) -> Bytes {
        let rest = self.rest();
        if rest.first().is_none_or(u8::is_ascii_digit) {
            return Bytes::new();
        }
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let end = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        self.position += end;
        rest.get(..end).unwrap_or(&[]).to_vec()
    }

    fn redirection(&mut self) -> Result<Option<Redirection>> {
        self.skip_blanks();
        let start = self.position;
        let mut number: Option<i32> = None;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            let value = number.unwrap_or(0).saturating_mul(10);
            number = Some(value.saturating_add(i32::from(digit - b'0')));
            self.position += 1;
        }
        let (how, usual) = match self.rest() {
            [b'<', b'<', ..] => {
                return Err(ParseError::Syntax("here-documents are not supported".into()));
            }
            [b'<', b'&', ..] => (Direction::Duplicate, 0),
            [b'<', b'>', ..] => (Direction::ReadWrite, 0),
            [b'<', ..] => (Direction::Read, 0),
            [b'>', b'&', ..] => (Direction::Duplicate, 1),
            [b'>', b'>', ..] => (Direction::Append, 1),
            [b'>', ..] => (Direction::Write, 1),
            _ => {
                self.position = start;
                return Ok(None);
            }
        };
        self.position += match how {
            Direction::Read | Direction::Write => 1,
            _ => 2,
        };
        let _ = how == Direction::Write && self.take(b"|");
        let target = self.word()?.ok_or_else(|| self.unexpected())?;
        Ok(Some(Redirection { descriptor: number.unwrap_or(usual), how, target }))
    }

    /// A word, if one comes next.
    fn word(&mut self) -> Result<Option<Word>> {
        self.skip_blanks();
        match self.peek() {
            Some(byte) if !ends_word(byte) => self.word_here().map(Some),
            _ => Ok(None),
        }
    }

    /// The word that begins right here; possibly empty, as after `NAME=`.
    fn word_here(&mut self) -> Result<Word> {
        self.parts(ends_word)
    }

    /// Parts up to a byte for which `ends` holds.
    fn parts(&mut self, ends: impl Fn(u8) -> bool) -> Result<Word> {
        let mut word = Word::new();
        while let Some(byte) = self.peek().filter(|&byte| !ends(byte)) {
            match byte {
                b'\'' => {
                    self.position += 1;
                    let rest = self.rest();
                    let end = rest.iter().position(|&byte| byte == b'\'');
                    let end = end.ok_or(ParseError::Incomplete)?;
                    self.position += end + 1;
                    push_text(&mut word, rest.get(..end).unwrap_or(&[]), true);
                }
                b'"' => {
                    self.position += 1;
                    self.double_quoted(&mut word)?;
                }
                b'\\' => {
                    self.position += 1;
                    match self.next() {
                        Some(b'\n') => {}
                        Some(byte) => push_text(&mut word, &[byte], true),
                        None => return Err(ParseError::Incomplete),
                    }
                }
                b'$' => self.dollar(&mut word, false)?,
                _ => {
                    self.position += 1;
                    push_text(&mut word, &[byte], false);
                }
            }
        }
        Ok(word)
    }

    /// After an opening double quote, up to and with the closing one.
    fn double_quoted(&mut self, word: &mut Word) -> Result<()> {
        // Even an empty pair makes the word exist.
        push_text(word, b"", true);
        loop {
            match self.peek().ok_or(ParseError::Incomplete)? {
                b'"' => {
                    self.position += 1;
                    return Ok(());
                }
                b'$' => self.dollar(word, true)?,
                b'\\' => {
                    self.position += 1;
                    match self.next().ok_or(ParseError::Incomplete)? {
                        b'\n' => {}
                        byte @ (b'$' | b'`' | b'"' | b'\\') => push_text(word, &[byte], true),
                        byte => push_text(word, &[b'\\', byte], true),
                    }
                }
                byte => {
                    self.position += 1;
                    push_text(word, &[byte], true);
                }
            }
        }
    }

    /// At a `$`.
    fn dollar(&mut self, word: &mut Word, quoted: bool) -> Result<()> {
        self.position += 1;
        if self.take(b"((") {
            self.deeper()?;
            let expression = self.arithmetic()?;
            self.depth -= 1;
            word.push(Part::Arithmetic { expression, quoted });
        } else if self.take(b"(") {
            let list = self.list()?;
            if !self.take(b")") {
                return Err(self.unexpected());
            }
            word.push(Part::Command { list, quoted });
        } else if self.take(b"{") {
            self.deeper()?;
            word.push(self.braced(quoted)?);
            self.depth -= 1;
        } else if let Some(special) = self.special() {
            word.push(Part::Parameter { name: special, form: Form::Value, quoted });
        } else {
            let name = self.name();
            if name.is_empty() {
                push_text(word, b"$", quoted);
            } else {
                word.push(Part::Parameter { name, form: Form::Value, quoted });
            }
        }
        Ok(())
    }

    /// Takes the one-byte name of a special or positional parameter.
    fn special(&mut self) -> Option<Bytes> {
        let byte = self.peek()?;
        (b"?$!#@*-".contains(&byte) || byte.is_ascii_digit()).then(|| {
            self.position += 1;
            [byte].into()
        })
    }

    /// After `${`.
    fn braced(&mut self, quoted: bool) -> Result<Part> {
        let bad = || ParseError::Syntax("syntax error: bad substitution".into());
        let length = self.rest().first() == Some(&b'#') && self.rest().get(1) != Some(&b'}');
        if length {
            self.position += 1;
        }
        let name = match self.name() {
            name if !name.is_empty() => name,
            _ => {
                let digits = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
                let name = self.rest().get(..digits).unwrap_or(&[]).to_vec();
                self.position += digits;
                if digits > 0 { name } else { self.special().ok_or_else(bad)? }
            }
        };
        let form = if length {
            Form::Length
        } else if self.rest().starts_with(b":-") || self.rest().starts_with(b"-") {
            let or_empty = self.take(b":");
            self.position += 1;
            Form::Default { word: self.parts(|byte| byte == b'}')?, or_empty }
        } else {
            Form::Value
        };
        match self.next() {
            Some(b'}') => Ok(Part::Parameter { name, form, quoted }),
            Some(_) => Err(bad()),
            None => Err(ParseError::Incomplete),
        }
    }

    /// After `$((`, up to and with `))`.
    fn arithmetic(&mut self) -> Result<Word> {
        let mut word = Word::new();
        let mut depth = 0;
        loop {
            match self.peek().ok_or(ParseError::Incomplete)? {
                b')' if depth == 0 => {
                    self.position += 1;
                    return if self.take(b")") { Ok(word) } else { Err(self.unexpected()) };
                }
                b'$' => self.dollar(&mut word, true)?,
                byte => {
                    depth += i32::from(byte == b'(') - i32::from(byte == b')');
                    self.position += 1;
                    push_text(&mut word, &[byte], true);
                }
            }
        }
    }
}

/// Whether an unquoted byte ends a word.
fn ends_word(byte: u8) -> bool {
    b" \t\r\n;&|<>()".contains(&byte)
}

/// Adds text to a word, to the part before if that is of the same kind.
fn push_text(word: &mut Word, text: &[u8], quoted: bool) {
    match word.last_mut() {
        Some(Part::Text { text: before, quoted: same }) if *same == quoted => {
            before.extend_from_slice(text);
        }
        _ => word.push(Part::Text { text: text.to_vec(), quoted }),
    }
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
