//! The grammar, case by case.

use super::{ParseError, parse};
use crate::ast::{Connector, Direction, Kind, Part};
use alloc::vec::Vec;

/// The words of the first simple command, text parts only.
fn words(text: &str) -> Vec<Vec<u8>> {
    let list = parse(text.as_bytes()).unwrap();
    match &list[0].first.commands[0].kind {
        Kind::Simple { words, .. } => words
            .iter()
            .map(|word| {
                word.iter()
                    .flat_map(|part| match part {
                        Part::Text { text, .. } => text.clone(),
                        _ => b"<?>".to_vec(),
                    })
                    .collect()
            })
            .collect(),
        other => panic!("not a simple command: {other:?}"),
    }
}

#[test]
fn quotes_and_blanks() {
    assert_eq!(words("a  'b c'\td\\ e \"f $x\" # g"), [&b"a"[..], b"b c", b"d e", b"f <?>"]);
    assert_eq!(words(r#"echo "a\"b\\c\d" '' """#), [&b"echo"[..], b"a\"b\\c\\d", b"", b""]);
    assert_eq!(words("a\\\nb c\\\n d"), [&b"ab"[..], b"c", b"d"]);
    assert_eq!(words("a#b $"), [&b"a#b"[..], b"$"]);
}

#[test]
fn operators() {
    let list = parse(b"a && b || ! c | d; e & f\ng").unwrap();
    assert_eq!(list.len(), 4);
    assert_eq!(list[0].rest[0].0, Connector::And);
    assert_eq!(list[0].rest[1].0, Connector::Or);
    assert!(list[0].rest[1].1.negated);
    assert_eq!(list[0].rest[1].1.commands.len(), 2);
    assert!(list[1].background);
    assert!(!list[2].background);
}

#[test]
fn redirections() {
    let list = parse(b"a <in 2>&1 >>out 3<>x 2>err").unwrap();
    let found: Vec<_> = list[0].first.commands[0]
        .redirections
        .iter()
        .map(|redirection| (redirection.descriptor, redirection.how))
        .collect();
    assert_eq!(
        found,
        [
            (0, Direction::Read),
            (2, Direction::Duplicate),
            (1, Direction::Append),
            (3, Direction::ReadWrite),
            (2, Direction::Write)
        ]
    );
    // A number is a descriptor only right before the operator.
    assert_eq!(words("echo 2 >x"), [&b"echo"[..], b"2"]);
}

#[test]
fn compound_commands() {
    let list =
        parse(b"if a; then b; elif c\nthen d; else e; fi >x; for i in 1 2; do f; done").unwrap();
    let command = &list[0].first.commands[0];
    assert!(matches!(&command.kind, Kind::If { branches, otherwise: Some(_) }
        if branches.len() == 2));
    assert_eq!(command.redirections.len(), 1);
    assert!(matches!(&list[1].first.commands[0].kind, Kind::For { words: Some(words), .. }
        if words.len() == 2));
    assert!(parse(b"while a; do { b; (c); } | d; done &").unwrap()[0].background);
    assert!(parse(b"until a\ndo\n\nb\n\ndone").is_ok());
    // Reserved words are ordinary elsewhere.
    assert_eq!(words("echo if then }"), [&b"echo"[..], b"if", b"then", b"}"]);
}

#[test]
fn incomplete_and_wrong() {
    for text in [
        "a 'b",
        "a \"b",
        "a \\",
        "if a; then b",
        "while a",
        "{ a",
        "( a",
        "a |",
        "a &&",
        "echo $(b",
        "echo ${x",
        "echo $((1+",
        "for i in a; do b",
    ] {
        assert_eq!(parse(text.as_bytes()), Err(ParseError::Incomplete), "{text}");
    }
    for text in [
        "a | | b",
        ")",
        "fi",
        "if ; then b; fi",
        "a ;; b",
        "&& a",
        "a > ; b",
        "for 1 in a",
        "echo ${x!y}",
        "a << b",
        "{ }",
        "; a",
    ] {
        assert!(matches!(parse(text.as_bytes()), Err(ParseError::Syntax(_))), "{text}");
    }
    let deep: Vec<u8> = core::iter::repeat_n(b'(', 100_000).collect();
    assert!(matches!(parse(&deep), Err(ParseError::Syntax(_))));
    let deep: Vec<u8> = core::iter::repeat_n(*b"$(", 100_000).flatten().collect();
    assert!(matches!(parse(&deep), Err(ParseError::Syntax(_))));
    let deep: Vec<u8> = core::iter::repeat_n(*b"${a:-", 100_000).flatten().collect();
    assert!(matches!(parse(&deep), Err(ParseError::Syntax(_))));
}
