//! Owner, mode, link count and times of an inode in memory.

use kernel_sync::TaskLock;

use crate::clock::now;
use crate::types::{FileType, Metadata, Ownership, Permissions, SetAttributes, Time};

#[derive(Clone, Copy)]
struct Fields {
    permissions: Permissions,
    links: u32,
    accessed: Time,
    modified: Time,
    changed: Time,
}

/// The attributes that every inode in memory has; to be embedded in one.
pub struct NodeAttributes {
    number: u64,
    fields: TaskLock<Fields>,
}

impl NodeAttributes {
    /// Attributes of a new inode; all times are now.
    pub fn new(number: u64, owner: Ownership, links: u32) -> Self {
        let time = now();
        let Ownership { mode, uid, gid } = owner;
        let fields = Fields {
            permissions: Permissions { mode, uid, gid },
            links,
            accessed: time,
            modified: time,
            changed: time,
        };
        Self { number, fields: TaskLock::new(fields) }
    }

    /// The inode number.
    #[inline]
    pub fn number(&self) -> u64 {
        self.number
    }

    #[inline]
    pub fn permissions(&self) -> Permissions {
        self.fields.lock().permissions
    }

    /// Metadata with these attributes, of an empty inode without a device.
    pub fn metadata(&self, file_type: FileType) -> Metadata {
        let fields = *self.fields.lock();
        Metadata {
            inode: self.number,
            file_type,
            mode: fields.permissions.mode,
            links: fields.links,
            uid: fields.permissions.uid,
            gid: fields.permissions.gid,
            device: 0,
            size: 0,
            block_size: super::PAGE as u32,
            blocks: 0,
            accessed: fields.accessed,
            modified: fields.modified,
            changed: fields.changed,
        }
    }

    /// Makes the change, and notes when.
    pub fn set(&self, change: &SetAttributes) {
        let time = now();
        let mut fields = self.fields.lock();
        let permissions = &mut fields.permissions;
        permissions.mode = change.mode.unwrap_or(permissions.mode) & !change.without & 0o7777;
        permissions.uid = change.uid.unwrap_or(permissions.uid);
        permissions.gid = change.gid.unwrap_or(permissions.gid);
        fields.accessed = change.accessed.unwrap_or(fields.accessed);
        fields.modified = change.modified.unwrap_or(fields.modified);
        fields.changed = time;
    }

    /// Changes the link count by `by` and notes when; returns the new count.
    pub fn add_links(&self, by: i32) -> u32 {
        let time = now();
        let mut fields = self.fields.lock();
        fields.links = fields.links.saturating_add_signed(by);
        fields.changed = time;
        fields.links
    }

    /// Notes that the contents have changed.
    pub fn touch_modified(&self) {
        let time = now();
        let mut fields = self.fields.lock();
        fields.modified = time;
        fields.changed = time;
    }

    /// Notes a reading, unless one since the last change has been noted (as Linux's `relatime`).
    #[inline]
    pub fn touch_accessed(&self) {
        let mut fields = self.fields.lock();
        if fields.accessed <= fields.modified {
            fields.accessed = now();
        }
    }
}
