//! Arrays and per-CPU arrays: `max_entries` values in a row, never created or deleted.
//!
//! A value takes a multiple of eight bytes. In a per-CPU array each CPU's values lie
//! together, so that a program's access is the same multiplication as in an array, from
//! another base. Operations take no lock: values are shared words (`crate::memory`), and a
//! reader of a value that is being written may see a mixture, as on Linux.

use core::sync::atomic::AtomicU64;

use super::def::ValueFields;
use super::error::{MapError, UpdateMode};
use crate::memory::{Memory, PAGE_SIZE, Region, load_bytes, store_bytes};

/// The values of an array or a per-CPU array.
pub(super) struct Array {
    region: Region,
    entries: u32,
    value_size: usize,
    /// Words from one value to the next.
    stride: usize,
    /// Words from one CPU's values to the next CPU's.
    cpu_stride: usize,
    cpus: usize,
    fields: ValueFields,
}

/// What a program's inlined lookup needs, at fixed places.
#[derive(Clone, Copy, Debug)]
pub struct ArrayLookup {
    /// Address of the first value (of CPU 0).
    pub base: usize,
    /// Number of values.
    pub entries: u32,
    /// Bytes from one value to the next.
    pub stride: usize,
    /// Bytes from one CPU's values to the next CPU's; 0 for a plain array.
    pub cpu_stride: usize,
    /// Number of CPUs that have values; 1 for a plain array.
    pub cpus: usize,
}

impl Array {
    /// Words that an array takes, or `None` if that cannot be counted.
    pub(super) fn words(entries: u32, value_size: usize, cpus: usize) -> Option<usize> {
        (entries as usize).checked_mul(value_size.div_ceil(8))?.checked_mul(cpus)
    }

    /// An array of zeros. `cpus` is 1 for a plain array.
    pub(super) fn new(
        memory: &'static dyn Memory,
        entries: u32,
        value_size: usize,
        cpus: usize,
        page_aligned: bool,
        fields: ValueFields,
    ) -> Result<Self, MapError> {
        let mut words = Self::words(entries, value_size, cpus).ok_or(MapError::Full)?;
        if page_aligned {
            words = words.checked_next_multiple_of(PAGE_SIZE / 8).ok_or(MapError::Full)?;
        }
        let align = if page_aligned { PAGE_SIZE } else { 64 };
        let region = Region::new(memory, words, align).ok_or(MapError::OutOfMemory)?;
        let stride = value_size.div_ceil(8);
        let cpu_stride = stride * entries as usize;
        Ok(Self { region, entries, value_size, stride, cpu_stride, cpus, fields })
    }

    /// The words of one value, on one CPU.
    #[inline]
    fn value(&self, index: u32, cpu: usize) -> Option<&[AtomicU64]> {
        if index >= self.entries || cpu >= self.cpus {
            return None;
        }
        let start = cpu * self.cpu_stride + index as usize * self.stride;
        self.region.words().get(start..)?.get(..self.stride)
    }

    /// Copies a value out; of a per-CPU array, every CPU's, each in a multiple of 8 bytes.
    #[inline]
    pub(super) fn read(&self, index: u32, out: &mut [u8], lock: bool) -> Result<(), MapError> {
        if self.cpus == 1 {
            let value = self.value(index, 0).ok_or(MapError::NotFound)?;
            let out = out.get_mut(..self.value_size).ok_or(MapError::Invalid)?;
            if lock {
                self.fields.locked(value, || self.fields.load(value, out));
            } else {
                self.fields.load(value, out);
            }
            return Ok(());
        }
        for (cpu, chunk) in out.chunks_exact_mut(self.stride * 8).take(self.cpus).enumerate() {
            load_bytes(self.value(index, cpu).ok_or(MapError::NotFound)?, chunk);
        }
        Ok(())
    }

    /// Writes a value from user space; to a per-CPU array, every CPU's.
    #[inline]
    pub(super) fn write(
        &self,
        index: u32,
        bytes: &[u8],
        mode: UpdateMode,
        lock: bool,
    ) -> Result<(), MapError> {
        self.check(index, mode)?;
        if self.cpus == 1 {
            let value = self.value(index, 0).ok_or(MapError::Full)?;
            let bytes = bytes.get(..self.value_size).ok_or(MapError::Invalid)?;
            if lock {
                self.fields.locked(value, || self.fields.store(value, bytes));
            } else {
                self.fields.store(value, bytes);
            }
            return Ok(());
        }
        for (cpu, chunk) in bytes.chunks_exact(self.stride * 8).take(self.cpus).enumerate() {
            store_bytes(self.value(index, cpu).ok_or(MapError::Full)?, chunk);
        }
        Ok(())
    }

    /// Writes this CPU's value, from a program.
    pub(super) fn write_on(
        &self,
        index: u32,
        bytes: &[u8],
        mode: UpdateMode,
        lock: bool,
        cpu: usize,
    ) -> Result<(), MapError> {
        if self.cpus == 1 {
            return self.write(index, bytes, mode, lock);
        }
        self.check(index, mode)?;
        store_bytes(self.value(index, cpu).ok_or(MapError::Full)?, bytes);
        Ok(())
    }

    #[inline]
    fn check(&self, index: u32, mode: UpdateMode) -> Result<(), MapError> {
        if index >= self.entries {
            return Err(MapError::Full);
        }
        // Every index exists.
        if mode == UpdateMode::NoExist { Err(MapError::Exists) } else { Ok(()) }
    }

    /// The address of a value for a program on `cpu`.
    #[inline]
    pub(super) fn address(&self, index: u32, cpu: usize) -> Option<usize> {
        let cpu = if self.cpus == 1 { 0 } else { cpu };
        self.value(index, cpu).map(|words| words.as_ptr().expose_provenance())
    }

    /// Shows every value to a program: `visit` gets the index and the value's address on
    /// `cpu`, and says whether to go on. Returns how many were visited.
    pub(super) fn each(&self, cpu: usize, mut visit: impl FnMut(u32, usize) -> bool) -> u64 {
        let mut visited = 0;
        for index in 0..self.entries {
            let Some(address) = self.address(index, cpu) else { break };
            visited += 1;
            if !visit(index, address) {
                break;
            }
        }
        visited
    }

    /// Number of CPUs that have values.
    pub(super) fn cpus(&self) -> usize {
        self.cpus
    }

    /// What an inlined lookup needs.
    pub(super) fn lookup_parts(&self) -> ArrayLookup {
        ArrayLookup {
            base: self.region.address(),
            entries: self.entries,
            stride: self.stride * 8,
            cpu_stride: if self.cpus == 1 { 0 } else { self.cpu_stride * 8 },
            cpus: self.cpus,
        }
    }

    /// Reads bytes of all values as one block, as user space maps them.
    pub(super) fn read_at(&self, offset: usize, into: &mut [u8]) -> bool {
        let Some(end) = offset.checked_add(into.len()) else { return false };
        if end > self.stride * 8 * self.entries as usize {
            return false;
        }
        for (position, byte) in (offset..end).zip(into) {
            let Some(word) = self.region.words().get(position / 8) else { return false };
            let bytes = word.load(core::sync::atomic::Ordering::Relaxed).to_ne_bytes();
            *byte = bytes.get(position % 8).copied().unwrap_or(0);
        }
        true
    }

    /// The memory behind the values.
    pub(super) fn region(&self) -> &Region {
        &self.region
    }
}
