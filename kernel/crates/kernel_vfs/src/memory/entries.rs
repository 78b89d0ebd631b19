//! The entries of a directory in memory: found by name, listed in an order that removals and
//! additions during the listing do not disturb.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::dentry::Name;
use crate::inode::Inode;

/// One entry. Its place in [`Entries::slots`] is the offset that `readdir` uses.
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) inode: Arc<dyn Inode>,
    pub(super) number: u64,
}

/// A directory's entries, without `.` and `..`.
#[derive(Default)]
pub(super) struct Entries {
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    names: BTreeMap<Name, u32>,
    /// Set when the directory has been removed: nothing is added any more.
    pub(super) dead: bool,
}

impl Entries {
    pub(super) fn get(&self, name: &[u8]) -> Option<&Entry> {
        let slot = *self.names.get(name)?;
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Adds an entry, whose name is not there.
    pub(super) fn insert(&mut self, entry: Entry) {
        let name = entry.name.clone();
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                self.slots.len() as u32 - 1
            }
        };
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(entry);
            self.names.insert(name, slot);
        }
    }

    /// Makes a name that is there lead elsewhere.
    pub(super) fn redirect(&mut self, name: &[u8], inode: Arc<dyn Inode>, number: u64) {
        let slot = self.names.get(name).and_then(|&slot| self.slots.get_mut(slot as usize));
        let Some(entry) = slot.and_then(Option::as_mut) else { return };
        let before = core::mem::replace(&mut entry.inode, inode);
        entry.number = number;
        // The caller has it under its other name.
        drop(before);
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Entry> {
        let slot = self.names.remove(name)?;
        let entry = self.slots.get_mut(slot as usize)?.take();
        self.free.push(slot);
        entry
    }

    /// The first entry at or after `slot`, and its slot.
    pub(super) fn next(&self, slot: u64) -> Option<(u64, &Entry)> {
        let start = usize::try_from(slot).ok()?;
        let rest = self.slots.get(start..)?;
        let (skipped, entry) =
            rest.iter().enumerate().find_map(|(index, entry)| Some((index, entry.as_ref()?)))?;
        Some(((start + skipped) as u64, entry))
    }
}
