//! The README's first minute, typed as it stands there: each command gives the output shown.
//! Numbers, times and the width of columns may differ; words may not.

use lemma::machine::Arch;

use crate::guest::{boot_on, on_each_architecture};

const PROMPT: &str = "lemma:/# ";

/// The session in the README: what stands before the first prompt, then commands with output.
fn session() -> (String, Vec<(String, String)>) {
    let readme = include_str!("../../README.md");
    let block = readme.split("```").find(|block| block.contains(PROMPT)).unwrap();
    let (banner, rest) = block.split_at(block.find(PROMPT).unwrap());
    let commands = rest.split(PROMPT).filter(|part| !part.is_empty());
    let commands = commands.map(|part| {
        let (command, output) = part.split_once('\n').unwrap();
        (command.to_owned(), output.to_owned())
    });
    (banner.to_owned(), commands.collect())
}

/// The words of a text: each number becomes `#`, each unit of time `s`, blanks become one,
/// and lines that are then alike become one.
fn words(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.trim().lines().map(line_words).collect();
    lines.dedup();
    lines
}

fn line_words(line: &str) -> String {
    let word = |word: &str| match word {
        "ns" | "us" | "ms" => "s".to_owned(),
        word => {
            let mut text = String::new();
            for character in word.chars() {
                if !character.is_ascii_digit() {
                    text.push(character);
                } else if !text.ends_with('#') {
                    text.push('#');
                }
            }
            text.replace("#.#", "#")
        }
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

on_each_architecture!(the_first_minute_is_as_the_readme_shows_it);

fn the_first_minute_is_as_the_readme_shows_it(arch: Arch) {
    let (banner, commands) = session();
    let banner = banner.replace(Arch::X86_64.name(), arch.name());
    assert!(commands.len() >= 6, "{commands:?}");
    let mut guest = boot_on(arch);
    let greeting = guest.prompt();
    for line in words(&banner) {
        assert!(words(&greeting).contains(&line), "no {line:?} in: {greeting}");
    }
    for (command, shown) in commands {
        let output = guest.run(&command);
        assert_eq!(words(&output), words(&shown), "`{command}` printed:\n{output}");
    }
    guest.run("true");
    guest.shut_down(0);
}

#[test]
fn numbers_and_widths_do_not_matter_and_words_do() {
    assert_eq!(words("a  12.5 us\nb 3"), words("a 1 ms\nb  44"));
    assert_eq!(words("key: 1  value: 2\nkey: 3  value: 4\n"), ["key: # value: #"]);
    assert_ne!(words("accepted 1"), words("refused 1"));
}
