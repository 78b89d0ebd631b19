//! How it is measured: an operation is repeated, a batch of repetitions is timed, and the best
//! of a few batches counts.

use alloc::string::String;
use alloc::vec::Vec;
use lemma_rt::{Errno, arch, println};

/// What is to be measured.
pub(crate) struct Bench {
    /// Beginnings of the names of rows; all rows if it is empty.
    pub(crate) wanted: Vec<String>,
    /// Repetitions, in percent of the usual.
    pub(crate) scale: usize,
    /// Where the rows `file_*` work.
    pub(crate) directory: String,
    /// Whether these are measured, and whether others are.
    pub(crate) on_disk: bool,
    pub(crate) elsewhere: bool,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let directory = "/mnt".into();
        Self { wanted: Vec::new(), scale: 100, directory, on_disk: true, elsewhere: true }
    }

    /// Whether a row is asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }

    /// Whether a group is needed: a row in it may be asked for.
    pub(crate) fn wants_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.wants(name))
    }

    /// Prints a row; `hundredths` of the unit.
    pub(crate) fn report(&self, name: &str, hundredths: u64, unit: &str) {
        println!("{name} {}.{:02} {unit}", hundredths / 100, hundredths % 100);
    }

    /// Remarks that a row could not be measured.
    pub(crate) fn failed(&self, name: &str, error: Errno) {
        println!("# {name} failed: {}", lemma_rt::error_text(error));
    }

    /// How often an operation is repeated.
    pub(crate) fn repetitions(&self, usual: usize) -> usize {
        (usual * self.scale / 100).max(1)
    }

    /// Measures a row: `operation` gets the number of the repetition. What it returns is
    /// ignored, but for the first time: an error there means that the row cannot be measured.
    #[inline(always)]
    pub(crate) fn row<T>(
        &self,
        name: &str,
        repetitions: usize,
        batches: usize,
        mut operation: impl FnMut(usize) -> lemma_rt::Result<T>,
    ) {
        if !self.wants(name) {
            return;
        }
        let repetitions = self.repetitions(repetitions);
        if let Err(error) = operation(0) {
            return self.failed(name, error);
        }
        let mut best = u64::MAX;
        for _ in 0..batches {
            let start = arch::counter();
            for repetition in 0..repetitions {
                let _ = operation(repetition);
            }
            best = best.min(arch::counter().wrapping_sub(start));
        }
        self.report(name, best * 100 / repetitions as u64, "t/op");
    }
}
