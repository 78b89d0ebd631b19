//! The README's table of what works on which architecture says what the boot tests have shown.
//! They run before this; where they did not, the table is left as it is. With
//! `LEMMA_WRITE_DOCS=1` in the environment the table is written instead.

use std::path::Path;

use lemma::evidence::{self, CAPABILITIES};
use lemma::machine::Arch;
use lemma::workspace::Workspace;

const BEGINNING: &str = "<!-- What the boot tests have shown; see tests/support.rs. -->\n";

#[test]
fn the_readme_promises_what_tests_have_shown() {
    let workspace = Workspace::locate().unwrap();
    let outcomes = evidence::outcomes(&workspace).unwrap();
    let cells = CAPABILITIES.len() * Arch::ALL.len();
    if outcomes.len() < cells {
        println!("not judged: {} of {cells}, whose boot tests did not run", cells - outcomes.len());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGINNING).unwrap();
    let (shown, after) = rest.split_once("\n\n").unwrap();
    let table = evidence::table(&outcomes, shown);
    if std::env::var_os("LEMMA_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGINNING}{}\n\n{after}", table.trim_end()))
            .unwrap();
    } else if shown != table.trim_end() {
        panic!(
            "README.md promises something else than the tests have shown:\n{table}\
             run `LEMMA_WRITE_DOCS=1 cargo test --test support`"
        );
    }
}
