//! Expansion: what a word of the tree stands for.
//!
//! The order is POSIX's: `~`, parameters, commands and arithmetic; then splitting into fields
//! where an unquoted expansion holds blanks; then names that match patterns; then quotes fall.

use crate::ast::{Form, List, Part, Word};
use crate::pattern::{self, Symbol};
use crate::{Bytes, arithmetic};
use alloc::string::String;
use alloc::vec::Vec;

/// What expansion asks of the running shell.
pub trait Context {
    /// The value of a variable or special parameter; `None` if it is not set.
    fn parameter(&self, name: &[u8]) -> Option<Bytes>;
    /// The script's arguments, for `$@` and `$*`.
    fn arguments(&self) -> Vec<Bytes>;
    /// Runs commands and returns what they print.
    fn output_of(&mut self, list: &List) -> Result<Bytes, String>;
    /// The names in a directory, `.` and `..` excepted; none if it cannot be read.
    fn names_in(&self, directory: &[u8]) -> Vec<Bytes>;
    /// Whether something has this path.
    fn exists(&self, path: &[u8]) -> bool;
}

/// A field while it is put together.
#[derive(Default)]
struct Field {
    symbols: Vec<Symbol>,
    /// Stays even if it is empty: something was quoted.
    kept: bool,
}

/// Expands a word into any number of fields.
pub fn expand(word: &Word, context: &mut dyn Context) -> Result<Vec<Bytes>, String> {
    let mut expander = Expander { fields: Vec::new(), current: Field::default() };
    expander.word(word, context)?;
    expander.finish_field();
    Ok(expander.fields.iter().flat_map(|field| names(&field.symbols, context)).collect())
}

/// Expands a word into exactly one field, as in assignments and redirections: no splitting, no
/// patterns.
pub fn expand_single(word: &Word, context: &mut dyn Context) -> Result<Bytes, String> {
    let mut text = Bytes::new();
    for (index, part) in word.iter().enumerate() {
        match part {
            Part::Text { text: literal, quoted } => {
                if index == 0 && !quoted {
                    text.extend(tilde(literal, context));
                } else {
                    text.extend_from_slice(literal);
                }
            }
            Part::Parameter { name, .. } if name == b"@" || name == b"*" => {
                text.extend(context.arguments().join(&b' '));
            }
            part => text.extend(value_of(part, context)?),
        }
    }
    Ok(text)
}

struct Expander {
    fields: Vec<Field>,
    current: Field,
}

impl Expander {
    fn finish_field(&mut self) {
        let field = core::mem::take(&mut self.current);
        if field.kept || !field.symbols.is_empty() {
            self.fields.push(field);
        }
    }

    fn literal(&mut self, text: &[u8], quoted: bool) {
        self.current.kept |= quoted;
        self.current.symbols.extend(text.iter().map(|&byte| Symbol { byte, quoted }));
    }

    /// The result of an expansion; unquoted, blanks separate fields.
    fn expanded(&mut self, text: &[u8], quoted: bool) {
        if quoted {
            return self.literal(text, true);
        }
        for &byte in text {
            if byte.is_ascii_whitespace() {
                self.finish_field();
            } else {
                self.current.symbols.push(Symbol { byte, quoted: false });
            }
        }
    }

    fn word(&mut self, word: &Word, context: &mut dyn Context) -> Result<(), String> {
        for (index, part) in word.iter().enumerate() {
            match part {
                Part::Text { text, quoted: false } if index == 0 => {
                    let text = tilde(text, context);
                    self.literal(&text, false);
                }
                Part::Text { text, quoted } => self.literal(text, *quoted),
                Part::Parameter { name, form: Form::Value, quoted: true } if name == b"@" => {
                    for (index, argument) in context.arguments().iter().enumerate() {
                        if index > 0 {
                            self.finish_field();
                        }
                        self.literal(argument, true);
                    }
                }
                Part::Parameter { name, form: Form::Default { word, or_empty }, quoted: false }
                    if lacks(name, *or_empty, context) =>
                {
                    self.default_word(word, context)?;
                }
                Part::Parameter { quoted, .. }
                | Part::Command { quoted, .. }
                | Part::Arithmetic { quoted, .. } => {
                    let text = value_of(part, context)?;
                    self.expanded(&text, *quoted);
                }
            }
        }
        Ok(())
    }
}

impl Expander {
    /// The word of `${NAME:-word}`: its own quotes count, and what is outside them is split.
    fn default_word(&mut self, word: &Word, context: &mut dyn Context) -> Result<(), String> {
        for part in word {
            match part {
                Part::Text { text, quoted: false } => self.expanded(text, false),
                part => self.word(&Word::from([part.clone()]), context)?,
            }
        }
        Ok(())
    }
}

/// Whether a parameter is not set, or is empty where that counts as well.
fn lacks(name: &[u8], or_empty: bool, context: &dyn Context) -> bool {
    parameter(name, context).is_none_or(|value| or_empty && value.is_empty())
}

fn parameter(name: &[u8], context: &dyn Context) -> Option<Bytes> {
    match name {
        b"@" | b"*" => {
            let arguments = context.arguments();
            (!arguments.is_empty()).then(|| arguments.join(&b' '))
        }
        name => context.parameter(name),
    }
}

/// The text of one expansion.
fn value_of(part: &Part, context: &mut dyn Context) -> Result<Bytes, String> {
    match part {
        Part::Text { text, .. } => Ok(text.clone()),
        Part::Parameter { name, form, .. } => match form {
            Form::Value => Ok(parameter(name, context).unwrap_or_default()),
            Form::Length => {
                let length = parameter(name, context).unwrap_or_default().len();
                Ok(alloc::format!("{length}").into_bytes())
            }
            Form::Default { word, or_empty } if lacks(name, *or_empty, context) => {
                expand_single(word, context)
            }
            Form::Default { .. } => Ok(parameter(name, context).unwrap_or_default()),
        },
        Part::Command { list, .. } => {
            let mut text = context.output_of(list)?;
            while text.last() == Some(&b'\n') {
                text.pop();
            }
            Ok(text)
        }
        Part::Arithmetic { expression, .. } => {
            let text = expand_single(expression, context)?;
            let value = arithmetic::evaluate(&text, &|name| context.parameter(name))?;
            Ok(alloc::format!("{value}").into_bytes())
        }
    }
}

/// `~` and `~/…` stand for the home directory.
fn tilde(text: &[u8], context: &dyn Context) -> Bytes {
    match text {
        [b'~'] | [b'~', b'/', ..] => {
            let mut path = context.parameter(b"HOME").unwrap_or_else(|| b"~".to_vec());
            path.extend_from_slice(text.get(1..).unwrap_or(&[]));
            path
        }
        _ => text.to_vec(),
    }
}

/// The paths that a field matches, sorted; the field itself if there are none or it is no pattern.
fn names(field: &[Symbol], context: &dyn Context) -> Vec<Bytes> {
    let plain = || field.iter().map(|symbol| symbol.byte).collect::<Bytes>();
    if !pattern::is_pattern(field) {
        return [plain()].into();
    }
    let mut found = [Bytes::new()].to_vec();
    let mut components = field.split(|symbol| symbol.byte == b'/').peekable();
    while let Some(component) = components.next() {
        let last = components.peek().is_none();
        let mut longer = Vec::new();
        for prefix in &found {
            if pattern::is_pattern(component) {
                let mut names = context.names_in(if prefix.is_empty() { b"." } else { prefix });
                names.retain(|name| pattern::matches(component, name));
                longer.extend(names.into_iter().map(|name| [prefix.as_slice(), &name].concat()));
            } else {
                let name: Bytes = component.iter().map(|symbol| symbol.byte).collect();
                longer.push([prefix.as_slice(), &name].concat());
            }
        }
        if !last {
            for path in &mut longer {
                path.push(b'/');
            }
        }
        found = longer;
    }
    found.retain(|path| context.exists(path));
    found.sort();
    if found.is_empty() { [plain()].into() } else { found }
}

#[cfg(test)]
#[path = "expand_tests.rs"]
mod tests;
