//! The set-user-ID and set-group-ID bits of a program, which others lose by changing it: what they
//! put into it must not run with its owner's rights.

use crate::dentry::Dentry;
use crate::error::FsError;
use crate::types::{FileType, Identity, Permissions, SetAttributes};

/// `S_ISUID` and `S_ISGID`.
pub const SET_USER: u16 = 0o4000;
pub const SET_GROUP: u16 = 0o2000;
const GROUP_EXECUTE: u16 = 0o010;

/// What is left of a mode when its file's owner is changed, by whomever (`chown(2)`).
pub fn left_by_owner(permissions: &Permissions, who: &Identity<'_>) -> u16 {
    let mode = permissions.mode & !SET_USER;
    // Without the group's execute bit it once meant mandatory locking, and stays.
    if mode & GROUP_EXECUTE != 0 || !who.has_group(permissions.gid) {
        mode & !SET_GROUP
    } else {
        mode
    }
}

/// To be called before `who` changes what is in the file: takes the bits off it (`write(2)`,
/// `truncate(2)`); the superuser leaves them.
pub fn before_change(who: &Identity<'_>, dentry: &Dentry) -> Result<(), FsError> {
    if who.uid == 0 || dentry.file_type() != FileType::Regular {
        return Ok(());
    }
    let permissions = dentry.inode().permissions();
    let mode = left_by_owner(&permissions, who);
    if mode == permissions.mode {
        return Ok(());
    }
    // Only the bits: somebody may be changing the rest of the mode.
    let without = permissions.mode & !mode;
    dentry.inode().set_attributes(&SetAttributes { without, ..SetAttributes::default() })
}
