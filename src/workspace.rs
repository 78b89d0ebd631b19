//! Where things are: the repository, and the folder under `target/` for what is built.
//!
//! [`Workspace`] hands out paths, locks that make parallel runs wait for one another, and
//! the one way in which the orchestrator says what it does ([`say`]).

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The repository and its build folder.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
    out: PathBuf,
}

impl Workspace {
    /// The repository that this program was compiled from.
    pub fn locate() -> Result<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        if !root.join("kernel/Cargo.toml").is_file() {
            anyhow::bail!("the repository is no longer at {}: build again", root.display());
        }
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(directory) => std::path::absolute(directory)?,
            None => root.join("target"),
        };
        Self::at(root, target.join("lemma"))
    }

    /// A workspace with the given folders; `out` is created.
    pub fn at(root: PathBuf, out: PathBuf) -> Result<Self> {
        fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
        Ok(Self { root, out })
    }

    /// The top folder of the repository.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path under the build folder; its parent folder exists afterwards.
    pub fn output(&self, relative: impl AsRef<Path>) -> Result<PathBuf> {
        let path = self.out.join(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot create {}", parent.display()))?;
        }
        Ok(path)
    }

    /// Waits until this process alone holds the lock `name`; dropping the guard frees it.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        let file = self.lock_file(name)?;
        file.lock().with_context(|| format!("cannot take the lock {name}"))?;
        Ok(Lock { _file: file })
    }

    /// The lock `name`, unless another holds it.
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>> {
        let file = self.lock_file(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot take the lock {name}"))
            }
        }
    }

    fn lock_file(&self, name: &str) -> Result<File> {
        let path = self.output(format!("{name}.lock"))?;
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))
    }
}

/// Held while one process does what two must not do at once. Freed when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Tells the user about a step that takes time.
pub fn say(message: impl std::fmt::Display) {
    eprintln!("lemma: {message}");
}

/// Writes a file in one step: a reader sees the old content or the new one, whole.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let parent = path.parent().context("a file needs a folder")?;
    let mut temporary = tempfile::NamedTempFile::new_in(parent)
        .with_context(|| format!("cannot write in {}", parent.display()))?;
    io::Write::write_all(&mut temporary, content)?;
    temporary.persist(path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// A number that tells two contents apart; not for use against malice.
#[must_use]
pub fn fingerprint(parts: &[&[u8]]) -> u64 {
    // FNV-1a, with the length of each part, so that moved borders differ.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |byte: u8| {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x0100_0000_01b3);
    };
    for part in parts {
        (part.len() as u64).to_le_bytes().into_iter().for_each(&mut eat);
        part.iter().copied().for_each(&mut eat);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_see_borders() {
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
        assert_eq!(fingerprint(&[b"ab"]), fingerprint(&[b"ab"]));
    }

    #[test]
    fn a_lock_excludes_and_is_freed() {
        let folder = tempfile::tempdir().unwrap();
        let workspace =
            Workspace::at(folder.path().to_path_buf(), folder.path().join("out")).unwrap();
        let first = workspace.lock("x").unwrap();
        assert!(workspace.try_lock("x").unwrap().is_none());
        let other = workspace.try_lock("y").unwrap();
        drop(first);
        assert!(other.is_some() && workspace.try_lock("x").unwrap().is_some());
    }

    #[test]
    fn atomic_writes_replace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }
}
