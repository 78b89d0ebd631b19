//! What the boot tests have shown to work on which architecture: the table in the README.
//!
//! Each boot test that runs on every architecture records how it ended, in a file of its own
//! under the build folder. A cell of the table says yes only where the newest record does, so
//! the table cannot promise more than a test run has seen.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::machine::Arch;
use crate::workspace::Workspace;

/// The rows of the table: what a user gets, and the boot test that shows it.
pub const CAPABILITIES: &[(&str, &str)] = &[
    ("the README's first minute, word for word", "the_first_minute_is_as_the_readme_shows_it"),
    ("system calls as Linux has them", "system_calls_behave_as_linux_s"),
    ("the same on four CPUs", "system_calls_behave_as_linux_s_on_four_cpus"),
    ("hostile and random system calls do no harm", "a_hundred_thousand_hostile_calls_do_no_harm"),
    ("the BPF examples", "examples_give_the_output_they_promise"),
    ("the BPF examples on four CPUs", "examples_give_the_output_they_promise_on_four_cpus"),
    (
        "system calls and examples with the embedded profile",
        "the_embedded_profile_does_what_the_other_does",
    ),
    (
        "system calls and examples with the embedded profile on four CPUs",
        "the_embedded_profile_does_so_on_four_cpus",
    ),
    (
        "replacing programs under load loses no event",
        "programs_are_replaced_under_load_and_no_event_is_lost",
    ),
    ("wrong BPF programs are refused in words", "wrong_programs_are_refused_in_words"),
    ("objects are fitted to the kernel's types (CO-RE)", "objects_are_fitted_to_the_kernels_types"),
    (
        "unsigned objects are refused where there are keys",
        "with_keys_only_signed_objects_are_loaded",
    ),
    ("no page is writable and executable; users are kept out", "protection_is_enforced"),
    ("the console on a display", "the_console_shows_text_colours_and_pixels_and_takes_keys"),
    ("a root file system that the boot loader loads", "a_disk_in_memory_is_the_root"),
    (
        "a panic that tells where, and a failing exit status",
        "a_panic_tells_where_and_is_never_success",
    ),
];

/// How a test ended, by its name and architecture; those that never ran are missing.
pub type Outcomes = BTreeMap<(&'static str, &'static str), bool>;

fn record(workspace: &Workspace, test: &str, arch: Arch) -> Result<PathBuf> {
    workspace.output(format!("evidence/{}/{test}", arch.name()))
}

/// Runs a test and records how it ended: as failed until it has returned.
///
/// # Errors
/// If the record cannot be written.
pub fn observe(workspace: &Workspace, name: &str, arch: Arch, test: fn(Arch)) -> Result<()> {
    let path = record(workspace, name, arch)?;
    let write = |outcome: &str| {
        fs::write(&path, outcome).with_context(|| format!("cannot write {}", path.display()))
    };
    write("failed")?;
    test(arch);
    write("passed")
}

/// The newest records.
///
/// # Errors
/// If the build folder cannot be used.
pub fn outcomes(workspace: &Workspace) -> Result<Outcomes> {
    let mut outcomes = Outcomes::new();
    for &(_, test) in CAPABILITIES {
        for arch in Arch::ALL {
            if let Ok(text) = fs::read_to_string(record(workspace, test, arch)?) {
                outcomes.insert((test, arch.name()), text == "passed");
            }
        }
    }
    Ok(outcomes)
}

/// The table; where no test ran, it says what `earlier`, an earlier table, says.
#[must_use]
pub fn table(outcomes: &Outcomes, earlier: &str) -> String {
    let names = Arch::ALL.map(Arch::name);
    let mut table = format!("| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for &(words, test) in CAPABILITIES {
        let line = earlier.lines().find(|line| line.starts_with(&format!("| {words} |")));
        let cells: Vec<&str> = line.unwrap_or_default().split('|').map(str::trim).collect();
        let _ = write!(table, "| {words} |");
        for (column, arch) in names.iter().enumerate() {
            let cell = match outcomes.get(&(test, *arch)) {
                Some(true) => "yes",
                Some(false) => "no",
                // Before the cells: nothing, then the words.
                None => {
                    cells.get(column + 2).copied().filter(|cell| *cell == "yes").unwrap_or("no")
                }
            };
            let _ = write!(table, " {cell} |");
        }
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> (tempfile::TempDir, Workspace) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_path_buf();
        let workspace = Workspace::at(path.clone(), path.join("out")).unwrap();
        (folder, workspace)
    }

    #[test]
    fn a_cell_says_yes_after_its_test_has_passed() {
        let (_folder, workspace) = workspace();
        let (words, test) = CAPABILITIES[0];
        let before = table(&outcomes(&workspace).unwrap(), "");
        assert!(!before.contains("yes"), "{before}");
        observe(&workspace, test, Arch::ALL[1], |_| {}).unwrap();
        let after = table(&outcomes(&workspace).unwrap(), &before);
        assert!(after.contains(&format!("| {words} | no | yes |")), "{after}");
        assert_eq!(after.matches("yes").count(), 1, "{after}");
    }

    #[test]
    fn what_did_not_run_stays_as_it_was_and_what_failed_does_not() {
        let (_folder, workspace) = workspace();
        let (words, test) = CAPABILITIES[0];
        observe(&workspace, test, Arch::ALL[0], |_| {}).unwrap();
        let earlier = table(&outcomes(&workspace).unwrap(), "");
        assert_eq!(table(&Outcomes::new(), &earlier), earlier);
        let failed = Outcomes::from([((test, Arch::ALL[0].name()), false)]);
        let after = table(&failed, &earlier);
        assert!(after.contains(&format!("| {words} | no |")), "{after}");
    }
}
