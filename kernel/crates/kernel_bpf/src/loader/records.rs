//! The records of `.BTF.ext`, found by section and instruction.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::SLOT;
use crate::btf::Btf;
use crate::btf::ext::{CoreRecord, FuncRecord, LineRecord, SectionRecords};

/// What says to which instruction it belongs, in bytes from the start of the section.
pub(super) trait Record: Copy {
    fn insn(&self) -> u32;
}

macro_rules! records {
    ($($name:ty),*) => { $(
        impl Record for $name {
            fn insn(&self) -> u32 {
                self.insn
            }
        }
    )* };
}

records!(FuncRecord, LineRecord, CoreRecord);

/// Records of one kind, by the name of their section, in the order of the instructions.
pub(super) struct Records<'b, T>(BTreeMap<&'b str, Vec<T>>);

impl<'b, T: Record> Records<'b, T> {
    pub(super) fn new(btf: Option<&'b Btf>, sections: Vec<SectionRecords<T>>) -> Self {
        let mut by_name: BTreeMap<&str, Vec<T>> = BTreeMap::new();
        for section in sections {
            if let Some(name) = btf.and_then(|btf| btf.string(section.section)) {
                by_name.entry(name).or_default().extend(section.records);
            }
        }
        for list in by_name.values_mut() {
            list.sort_by_key(Record::insn);
        }
        Self(by_name)
    }

    /// The records of the slots from `first` to before `end`, with their slots. One that points into
    /// the middle of an instruction belongs to none.
    pub(super) fn of(
        &self,
        section: &str,
        first: usize,
        end: usize,
    ) -> impl Iterator<Item = (usize, T)> {
        let list = self.0.get(section).map(Vec::as_slice).unwrap_or_default();
        let before = |slot: usize| {
            list.partition_point(|record| (record.insn() as usize) < slot.saturating_mul(SLOT))
        };
        let inside = list.get(before(first)..before(end)).unwrap_or_default();
        let whole = inside.iter().filter(|record| (record.insn() as usize).is_multiple_of(SLOT));
        whole.map(|record| (record.insn() as usize / SLOT, *record))
    }
}
