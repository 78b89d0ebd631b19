//! What the types of a map's keys and values tell: whether they describe that map, and where its
//! values have locks and timers.

use super::{Btf, BtfError, Kind, TypeId};
use crate::map::{MapDef, ValueFields};

/// Name, size and alignment of the structures that are fields of their own.
const SPIN_LOCK: (&str, u32, u32) = ("bpf_spin_lock", 4, 4);
const TIMER: (&str, u32, u32) = ("bpf_timer", 16, 8);

impl Btf {
    /// Whether keys and values of these types are as long as the map's: what is read out of a type
    /// holds for the map's values only then. A key's type may be missing (0), a value's may not
    /// (Linux: `map_check_btf`).
    #[must_use]
    pub fn describes(&self, def: &MapDef, key_type: TypeId, value_type: TypeId) -> bool {
        (key_type == 0 || self.size_of(key_type) == Some(def.key_size))
            && self.size_of(value_type) == Some(def.value_size)
    }

    /// Where the values of this type have locks and timers: members of the structure itself,
    /// one of each at most (Linux: `btf_parse_fields`).
    ///
    /// # Errors
    /// Two of a kind, or one that is not aligned or of another size than Linux's.
    pub fn value_fields(&self, value_type: TypeId) -> Result<ValueFields, BtfError> {
        let mut fields = ValueFields::default();
        let Some((id, Kind::Struct { members, .. })) = self.resolve(value_type) else {
            return Ok(fields);
        };
        for member in members {
            let Some((member_id, Kind::Struct { size, .. })) = self.resolve(member.type_id) else {
                continue;
            };
            let name = self.name(member_id);
            let ((_, wanted, align), field) = if name == SPIN_LOCK.0 {
                (SPIN_LOCK, &mut fields.spin_lock)
            } else if name == TIMER.0 {
                (TIMER, &mut fields.timer)
            } else {
                continue;
            };
            let offset = member.bit_offset / 8;
            if *size != wanted || !offset.is_multiple_of(align) || member.bit_offset % 8 != 0 {
                return Err(BtfError::new(id, "a lock or timer of another size or alignment"));
            }
            if field.replace(offset).is_some() {
                return Err(BtfError::new(id, "two locks or two timers in one value"));
            }
        }
        Ok(fields)
    }
}
