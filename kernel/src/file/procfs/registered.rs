//! Files that other parts of the kernel put into `/proc`, each in a directory of theirs:
//! `/proc/bpf/hooks`. What is registered stays.

use alloc::vec::Vec;
use core::fmt;

use kernel_sync::SpinLock;

/// Writes a file's text when it is opened.
pub type Text = fn(&mut dyn fmt::Write) -> fmt::Result;

/// A registered file.
#[derive(Clone, Copy)]
pub(super) struct Registered {
    pub(super) directory: &'static str,
    pub(super) name: &'static str,
    pub(super) text: Text,
}

static REGISTERED: SpinLock<Vec<Registered>> = SpinLock::new(Vec::new());

/// Makes `/proc/DIRECTORY/NAME` show what `text` writes.
pub fn register(directory: &'static str, name: &'static str, text: Text) {
    REGISTERED.lock().push(Registered { directory, name, text });
}

/// The file with this index, in the order of registration.
pub(super) fn get(index: usize) -> Option<Registered> {
    REGISTERED.lock().get(index).copied()
}

/// All files, with their indices.
pub(super) fn all() -> Vec<(usize, Registered)> {
    REGISTERED.lock().iter().copied().enumerate().collect()
}

/// The index of the first file in the directory called `name`: it stands for the directory.
pub(super) fn directory(name: &str) -> Option<usize> {
    REGISTERED.lock().iter().position(|file| file.directory == name)
}
