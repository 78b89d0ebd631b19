//! Task local storage (`BPF_MAP_TYPE_TASK_STORAGE`): one value for each task that a program
//! asks for one.
//!
//! A value belongs to a task by the task's identity, a number that the embedder never gives to
//! another task while the map lives. It is created by the first
//! `bpf_task_storage_get` with [`CREATE`], and goes with the task
//! ([`Map::forget_task`]). Underneath is a hash map that grows.

use super::def::ValueFields;
use super::error::MapError;
use super::hash::Shape;
use super::object::{Map, Storage};

/// `bpf_task_storage_get` creates the value if there is none (`BPF_LOCAL_STORAGE_GET_F_CREATE`).
pub const CREATE: u64 = 1;

/// A value is smaller than this (Linux: `BPF_LOCAL_STORAGE_MAX_VALUE_SIZE`, 64 KiB less its
/// own heads).
pub(super) const MAX_VALUE: usize = 65_400;

/// Most tasks with a value in one map.
const TASKS: u32 = 32_768;
/// The same where all memory is taken beforehand.
const TASKS_FIXED: u32 = 64;

/// The shape of the hash map: keys are task identities.
pub(super) fn shape(value_bytes: usize, fields: ValueFields, grows: bool) -> Option<Shape> {
    let tasks = if grows { TASKS } else { TASKS_FIXED };
    Shape::new(tasks, 8, value_bytes, 1, false, fields)
}

impl Map {
    /// Copies a task's value out.
    ///
    /// # Errors
    /// No value; another type of map.
    pub fn lookup_task(&self, task: u64, out: &mut [u8]) -> Result<(), MapError> {
        let Storage::Tasks(hash) = &self.storage else { return Err(MapError::NotSupported) };
        hash.read(&task.to_ne_bytes(), out, false)
    }

    /// Sets a task's value.
    ///
    /// # Errors
    /// As [`Map::update`].
    pub fn update_task(&self, task: u64, value: &[u8], flags: u64) -> Result<(), MapError> {
        self.writable()?;
        let Storage::Tasks(hash) = &self.storage else { return Err(MapError::NotSupported) };
        let (mode, lock) = self.mode(flags)?;
        if value.len() < self.value_bytes {
            return Err(MapError::Invalid);
        }
        hash.write(&task.to_ne_bytes(), value, mode, lock, None)
    }

    /// Removes a task's value: by request, or because the task is gone.
    ///
    /// # Errors
    /// No value; another type of map.
    pub fn forget_task(&self, task: u64) -> Result<(), MapError> {
        let Storage::Tasks(hash) = &self.storage else { return Err(MapError::NotSupported) };
        hash.remove(&task.to_ne_bytes())
    }
}
