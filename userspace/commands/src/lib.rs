//! The parts of the commands that need no system: how things are written, and the options.
//! They are tested on the host; `main.rs` has the commands.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod calendar;
pub mod format;
pub mod options;

/// The names of all commands, one a line: each is a link to the binary on the root disk.
pub const NAMES: &str = include_str!("../names.txt");

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    /// The table in `main.rs` cannot be linked into a test, so its text is compared.
    #[test]
    fn the_names_are_those_of_the_table() {
        let table = include_str!("main.rs")
            .split_once("const COMMANDS")
            .and_then(|(_, rest)| rest.split_once("];"))
            .map(|(table, _)| table)
            .unwrap();
        let in_table: Vec<&str> = table
            .lines()
            .filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next())
            .collect();
        assert!(in_table.is_sorted());
        assert_eq!(in_table, super::NAMES.lines().collect::<Vec<_>>());
    }
}
