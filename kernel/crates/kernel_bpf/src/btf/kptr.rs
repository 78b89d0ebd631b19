//! Pointers to kernel objects in map values: members whose type carries the tag `kptr` or
//! `kptr_untrusted` (Linux `btf_find_kptr`).

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Btf, Kind, TypeId};
use crate::map::KernelPointer;

/// Most that one value may have (Linux: `BTF_FIELDS_MAX` is 11).
const MAX_POINTERS: usize = 11;
/// How deep structures are searched.
const MAX_DEPTH: u32 = 8;

impl Btf {
    /// The pointers to kernel objects in a value of a type, by offset; `None` when there
    /// are more than a map may have.
    #[must_use]
    pub fn kernel_pointers(&self, value_type: TypeId) -> Option<Vec<KernelPointer>> {
        let mut found = Vec::new();
        self.find_pointers(value_type, 0, 0, &mut found)?;
        found.sort_by_key(|field: &KernelPointer| field.offset);
        Some(found)
    }

    fn find_pointers(
        &self,
        id: TypeId,
        base: u32,
        depth: u32,
        found: &mut Vec<KernelPointer>,
    ) -> Option<()> {
        let Some((_, Kind::Struct { members, .. })) = self.resolve(id) else { return Some(()) };
        if depth >= MAX_DEPTH {
            return None;
        }
        for member in members.iter().filter(|member| member.bit_size == 0) {
            let offset = base.checked_add(member.bit_offset / 8)?;
            match self.resolve(member.type_id) {
                Some((_, Kind::Struct { .. })) => {
                    self.find_pointers(member.type_id, offset, depth + 1, found)?;
                }
                Some((_, Kind::Ptr(pointee))) => {
                    if let Some((target, referenced)) = self.kptr_target(*pointee) {
                        if found.len() >= MAX_POINTERS || offset % 8 != 0 {
                            return None;
                        }
                        found.push(KernelPointer { offset, target, referenced });
                    }
                }
                _ => {}
            }
        }
        Some(())
    }

    /// What a tagged pointer points to, and whether it holds a reference.
    fn kptr_target(&self, pointee: TypeId) -> Option<(Arc<str>, bool)> {
        let ty = self.get(pointee)?;
        let Kind::TypeTag(_) = ty.kind else { return None };
        let referenced = match self.string(ty.name)? {
            "kptr_untrusted" => false,
            "kptr_ref" => true,
            // Before Linux 6.4 references had a tag of their own, and this one none.
            "kptr" => !self.has_tag("kptr_ref"),
            _ => return None,
        };
        let (id, kind) = self.resolve(pointee)?;
        matches!(kind, Kind::Struct { .. } | Kind::Fwd { union: false })
            .then(|| (Arc::from(self.name(id)), referenced))
    }

    fn has_tag(&self, name: &str) -> bool {
        self.iter().any(|(id, ty)| matches!(ty.kind, Kind::TypeTag(_)) && self.name(id) == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec as StdVec;

    /// `struct value { int n; struct { struct obj *in; } s; struct obj *q; struct obj *p; }`
    /// with `in` tagged `kptr`, `q` tagged `tag` and `p` not tagged.
    fn btf(tag: &str) -> Btf {
        let mut strings = StdVec::from(*b"\0obj\0kptr\0");
        let other = strings.len() as u32;
        strings.extend_from_slice(tag.as_bytes());
        strings.push(0);
        let types: [&[u32]; 8] = [
            &[0, 1 << 24, 4, 32],                                           // 1 int
            &[1, 7 << 24, 0],                                               // 2 struct obj;
            &[5, 18 << 24, 2],                                              // 3 kptr
            &[other, 18 << 24, 2],                                          // 4 the other tag
            &[0, 2 << 24, 3],                                               // 5 pointers
            &[0, 2 << 24, 4],                                               // 6
            &[0, 4 << 24 | 1, 8, 0, 5, 0],                                  // 7 the inner structure
            &[0, 4 << 24 | 4, 40, 0, 1, 0, 0, 7, 64, 0, 6, 128, 0, 9, 192], // 8
        ];
        let mut words: StdVec<u32> = types.concat();
        words.extend([0, 2 << 24, 2]); // 9 struct obj *
        let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let body: StdVec<u8> = bytes(&words);
        let (types, length) = (body.len() as u32, strings.len() as u32);
        let mut all: StdVec<u8> = bytes(&[0x0001_eb9f, 24, 0, types, types, length]);
        all.extend(body);
        all.extend(strings);
        Btf::parse(&all).expect("it is well-formed")
    }

    #[test]
    fn tags_say_which_pointers_are_the_kernels() {
        let found = |tag| {
            let fields = btf(tag).kernel_pointers(8).expect("they are few");
            fields
                .iter()
                .map(|field| (field.offset, field.referenced, field.target.clone()))
                .collect::<StdVec<_>>()
        };
        let obj: Arc<str> = Arc::from("obj");
        assert_eq!(found("kptr_untrusted"), [(8, true, obj.clone()), (16, false, obj.clone())]);
        // With the old name of references, the other one has none.
        assert_eq!(found("kptr_ref"), [(8, false, obj.clone()), (16, true, obj.clone())]);
        assert_eq!(found("user"), [(8, true, obj)]);
        assert_eq!(btf("kptr").kernel_pointers(1), Some(StdVec::new()));
    }
}
