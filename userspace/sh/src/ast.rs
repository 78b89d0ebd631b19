//! The tree that the parser makes of a script.

use crate::Bytes;
use alloc::vec::Vec;

/// Commands one after another.
pub type List = Vec<Item>;

/// Pipelines joined by `&&` and `||`, and whether to wait for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub first: Pipeline,
    pub rest: Vec<(Connector, Pipeline)>,
    /// Ended by `&`.
    pub background: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connector {
    /// `&&`: the next runs if this succeeded.
    And,
    /// `||`: the next runs if this failed.
    Or,
}

/// Commands joined by `|`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Begun by `!`: the status is inverted.
    pub negated: bool,
    pub commands: Vec<Command>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub kind: Kind,
    pub redirections: Vec<Redirection>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `NAME=value… program arguments…`, either part possibly empty.
    Simple { assignments: Vec<(Bytes, Word)>, words: Vec<Word> },
    /// `{ …; }`
    Group(List),
    /// `( … )`
    Subshell(List),
    /// Conditions with what follows each, and the `else` part.
    If { branches: Vec<(List, List)>, otherwise: Option<List> },
    /// `while`, or `until` if `inverted`.
    While { condition: List, body: List, inverted: bool },
    /// `for variable in words`; without `in`, the script's arguments.
    For { variable: Bytes, words: Option<Vec<Word>>, body: List },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// The descriptor that is redirected.
    pub descriptor: i32,
    pub how: Direction,
    /// A path; for `Duplicate`, a descriptor's number or `-`.
    pub target: Word,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `<`
    Read,
    /// `>`
    Write,
    /// `>>`
    Append,
    /// `<>`
    ReadWrite,
    /// `>&` and `<&`
    Duplicate,
}

/// A word before expansion.
pub type Word = Vec<Part>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text that stands for itself; `quoted` text is neither a pattern nor `~`.
    Text { text: Bytes, quoted: bool },
    /// `$NAME`, `${NAME}` and its forms.
    Parameter { name: Bytes, form: Form, quoted: bool },
    /// `$(…)`
    Command { list: List, quoted: bool },
    /// `$((…))`
    Arithmetic { expression: Word, quoted: bool },
}

/// What is made of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Its value.
    Value,
    /// `${#NAME}`: the length of its value.
    Length,
    /// `${NAME:-word}`; `${NAME-word}` if not `or_empty`.
    Default { word: Word, or_empty: bool },
}
