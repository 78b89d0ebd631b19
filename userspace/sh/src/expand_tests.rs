//! Expansion over a made-up shell with a few variables and files.

use super::{Context, expand};
use crate::ast::{Kind, List};
use crate::{Bytes, parser};
use alloc::string::String;
use alloc::vec::Vec;

struct Fake;

const FILES: &[&str] = &["a.c", "b.c", "c.o", ".hidden", "dir/x.c", "dir/y"];

impl Context for Fake {
    fn parameter(&self, name: &[u8]) -> Option<Bytes> {
        match name {
            b"HOME" => Some(b"/home".to_vec()),
            b"two" => Some(b" one  two ".to_vec()),
            b"empty" => Some(Bytes::new()),
            b"star" => Some(b"*.c".to_vec()),
            b"n" => Some(b"41".to_vec()),
            b"?" => Some(b"3".to_vec()),
            _ => None,
        }
    }
    fn arguments(&self) -> Vec<Bytes> {
        [b"a b".to_vec(), b"c".to_vec()].into()
    }
    fn output_of(&mut self, list: &List) -> Result<Bytes, String> {
        assert_eq!(list.len(), 1);
        Ok(b"out put\n\n".to_vec())
    }
    fn names_in(&self, directory: &[u8]) -> Vec<Bytes> {
        let prefix = match directory {
            b"." => "",
            b"dir/" => "dir/",
            _ => return Vec::new(),
        };
        let mut names: Vec<Bytes> = FILES
            .iter()
            .filter_map(|path| path.strip_prefix(prefix))
            .map(|path| path.split('/').next().unwrap().as_bytes().to_vec())
            .collect();
        names.dedup();
        names
    }
    fn exists(&self, path: &[u8]) -> bool {
        FILES.iter().any(|file| file.as_bytes().starts_with(path))
    }
}

/// Expands all words of one command and joins the fields with `|`.
fn fields(text: &str) -> String {
    let list = parser::parse(text.as_bytes()).unwrap();
    let Kind::Simple { words, .. } = &list[0].first.commands[0].kind else { panic!() };
    let mut fields: Vec<Bytes> = Vec::new();
    for word in words {
        fields.extend(expand(word, &mut Fake).unwrap());
    }
    String::from_utf8(fields.join(&b'|')).unwrap()
}

#[test]
fn parameters_split_unless_quoted() {
    assert_eq!(fields("$two x$two\"$two\"y"), "one|two|x|one|two| one  two y");
    assert_eq!(fields("$empty \"$empty\" $unset '$two'"), "|$two");
    assert_eq!(fields("$?${n}1 ${#two}"), "3411|10");
    assert_eq!(fields("${unset:-a b} ${empty:-x} ${empty-x} \"${unset-p q}\""), "a|b|x|p q");
    assert_eq!(fields("\"$@\" x\"$@\"y $*"), "a b|c|xa b|cy|a|b|c");
}

#[test]
fn commands_and_arithmetic() {
    assert_eq!(fields("$(x) \"$(x)\" $((n + 1)) $(($n*2))"), "out|put|out put|42|82");
}

#[test]
fn patterns() {
    assert_eq!(fields("*.c $star '*.c' \\*.c \"$star\""), "a.c|b.c|a.c|b.c|*.c|*.c|*.c");
    assert_eq!(fields("*/*.c d*/y [ab].c x*"), "dir/x.c|dir/y|a.c|b.c|x*");
    assert_eq!(fields(".h* *idden"), ".hidden|*idden");
}

#[test]
fn home() {
    assert_eq!(fields("~ ~/x '~' a~"), "/home|/home/x|~|a~");
}
