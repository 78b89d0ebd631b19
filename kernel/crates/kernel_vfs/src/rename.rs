//! Renaming: a name moves, in place of another or not, or two change places (`rename(2)`).

use alloc::sync::Arc;

use kernel_sync::{Mutex, MutexGuard};

use crate::dentry::Dentry;
use crate::error::FsError;
use crate::types::FileType;
use crate::walk::{Last, Parent, Walk};

/// Held while a directory may change its place in the tree, so that ancestry stands still.
static RENAME: Mutex<()> = Mutex::new(());

/// The locks that a change of two directories takes, in order: the rename lock, then an ancestor
/// before its descendant, two unrelated directories by number. In one directory there is one.
struct Locks<'a> {
    _rename: Option<MutexGuard<'static, ()>>,
    _first: MutexGuard<'a, ()>,
    _second: Option<MutexGuard<'a, ()>>,
}

impl<'a> Locks<'a> {
    fn take(one: &'a Arc<Dentry>, two: &'a Arc<Dentry>) -> Self {
        let apart = !Arc::ptr_eq(one, two);
        let rename = apart.then(|| RENAME.lock());
        let two_first =
            apart && (two.is_ancestor_of(one) || (!one.is_ancestor_of(two) && two.id() < one.id()));
        let (first, second) = if two_first { (two, one) } else { (one, two) };
        Self {
            _rename: rename,
            _first: first.lock_directory(),
            _second: apart.then(|| second.lock_directory()),
        }
    }
}

fn is_directory(dentry: &Dentry) -> bool {
    dentry.file_type() == FileType::Directory
}

impl Walk<'_> {
    /// Renames `old` to `new`. With `no_replace`, an existing `new` is an error.
    pub fn rename(
        &self,
        old_start: &Arc<Dentry>,
        old: &[u8],
        new_start: &Arc<Dentry>,
        new: &[u8],
        no_replace: bool,
    ) -> Result<(), FsError> {
        let (from, to) = self.two_parents((old_start, old), (new_start, new))?;
        let Last::Name(old_name) = from.last else { return Err(FsError::Busy) };
        let Last::Name(new_name) = to.last else {
            return Err(if no_replace { FsError::Exists } else { FsError::Busy });
        };
        let (old_dir, new_dir) = (&from.directory, &to.directory);
        let same_directory = Arc::ptr_eq(old_dir, new_dir);
        let _locks = Locks::take(old_dir, new_dir);

        let moved = self.look_up_locked(old_dir, old_name)?.ok_or(FsError::NotFound)?;
        let replaced = self.look_up_locked(new_dir, new_name)?;
        if no_replace && replaced.is_some() {
            return Err(FsError::Exists);
        }
        let is_directory = is_directory(&moved);
        if !is_directory && (from.trailing_slash || to.trailing_slash) {
            return Err(FsError::NotDirectory);
        }
        if !same_directory {
            if is_directory && moved.is_ancestor_of(new_dir) {
                return Err(FsError::InvalidArgument);
            }
            if replaced.as_ref().is_some_and(|replaced| replaced.is_ancestor_of(old_dir)) {
                return Err(FsError::NotEmpty);
            }
        }
        if replaced.as_ref().is_some_and(|replaced| Arc::ptr_eq(replaced.inode(), moved.inode())) {
            return Ok(());
        }
        self.check_remove(old_dir, &moved, is_directory)?;
        match &replaced {
            Some(replaced) => self.check_remove(new_dir, replaced, is_directory)?,
            None => self.check_add(new_dir)?,
        }
        if is_directory && !same_directory {
            // Its `..` changes.
            self.check_access(&moved, 2)?;
        }
        let _inner = match &replaced {
            Some(replaced) if is_directory => Some(replaced.lock_directory()),
            _ => None,
        };
        old_dir.inode().rename(
            old_name,
            &**moved.inode(),
            &**new_dir.inode(),
            new_name,
            replaced.as_ref().map(|replaced| &**replaced.inode()),
        )?;
        if let Some(replaced) = &replaced {
            replaced.mark_unlinked();
        }
        let before = moved.relocate(new_dir, new_name);
        if old_dir.inode().cacheable() {
            self.remember(old_dir, old_name, None);
            self.remember(new_dir, new_name, Some(Arc::clone(&moved)));
        }
        drop(before);
        Ok(())
    }

    /// Lets `one` and `two`, which exist and may be of different types, change places.
    pub fn exchange(
        &self,
        one_start: &Arc<Dentry>,
        one: &[u8],
        two_start: &Arc<Dentry>,
        two: &[u8],
    ) -> Result<(), FsError> {
        let (from, to) = self.two_parents((one_start, one), (two_start, two))?;
        let (Last::Name(one_name), Last::Name(two_name)) = (from.last, to.last) else {
            return Err(FsError::Busy);
        };
        let (one_dir, two_dir) = (&from.directory, &to.directory);
        let same_directory = Arc::ptr_eq(one_dir, two_dir);
        let _locks = Locks::take(one_dir, two_dir);

        let one = self.look_up_locked(one_dir, one_name)?.ok_or(FsError::NotFound)?;
        let two = self.look_up_locked(two_dir, two_name)?.ok_or(FsError::NotFound)?;
        for (dentry, parent) in [(&one, &from), (&two, &to)] {
            if parent.trailing_slash && !is_directory(dentry) {
                return Err(FsError::NotDirectory);
            }
        }
        if !same_directory && (one.is_ancestor_of(two_dir) || two.is_ancestor_of(one_dir)) {
            return Err(FsError::InvalidArgument);
        }
        if Arc::ptr_eq(one.inode(), two.inode()) {
            return Ok(());
        }
        for (directory, dentry) in [(one_dir, &one), (two_dir, &two)] {
            self.check_remove(directory, dentry, is_directory(dentry))?;
        }
        for dentry in [&one, &two] {
            if is_directory(dentry) && !same_directory {
                // Its `..` changes.
                self.check_access(dentry, 2)?;
            }
        }
        one_dir.inode().exchange(
            (one_name, &**one.inode()),
            &**two_dir.inode(),
            (two_name, &**two.inode()),
        )?;
        let before = (one.relocate(two_dir, two_name), two.relocate(one_dir, one_name));
        if one_dir.inode().cacheable() {
            self.remember(one_dir, one_name, Some(Arc::clone(&two)));
            self.remember(two_dir, two_name, Some(Arc::clone(&one)));
        }
        drop(before);
        Ok(())
    }

    /// The directories of two paths, which are on one mount.
    fn two_parents<'p>(
        &self,
        (one_start, one): (&Arc<Dentry>, &'p [u8]),
        (two_start, two): (&Arc<Dentry>, &'p [u8]),
    ) -> Result<(Parent<'p>, Parent<'p>), FsError> {
        let one = self.resolve_parent(one_start, one)?;
        let two = self.resolve_parent(two_start, two)?;
        if Arc::ptr_eq(one.directory.mount(), two.directory.mount()) {
            Ok((one, two))
        } else {
            Err(FsError::CrossDevice)
        }
    }
}
