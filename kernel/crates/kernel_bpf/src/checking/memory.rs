//! The memory of the checking interpreter: blocks at invented addresses, far apart, each byte
//! with its taint.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::Value;
use crate::map::{MapDef, MapType};

/// Whose block it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    Stack,
    Context,
    /// The value of a key of a map. A deleted one stays readable until the run ends.
    Value {
        map: usize,
        key: Vec<u8>,
        deleted: bool,
    },
    /// A record of a ring buffer.
    Record {
        map: usize,
    },
}

struct Block {
    address: u64,
    bytes: Vec<u8>,
    tainted: Vec<bool>,
    owner: Owner,
}

/// All blocks. Addresses are never used twice.
pub(super) struct Memory {
    blocks: Vec<Block>,
    next: u64,
}

impl Memory {
    /// Memory with the values of all arrays, zero.
    pub(super) fn new(maps: &[MapDef]) -> Self {
        let mut memory = Self { blocks: Vec::new(), next: 0x5100_0000_1000 };
        for (map, def) in maps.iter().enumerate() {
            if matches!(def.map_type, MapType::Array) {
                // One block for all values would let an access run from one into the next.
                for index in 0..def.max_entries {
                    memory.add_value(map, &index.to_ne_bytes(), &vec![0; def.value_size as usize]);
                }
            }
        }
        memory
    }

    /// A block with these bytes.
    pub(super) fn add(&mut self, bytes: &[u8], owner: Owner) -> u64 {
        let address = self.next;
        self.next += (bytes.len() as u64 + 0x1_0000).next_multiple_of(0x1_0000);
        let tainted = vec![false; bytes.len()];
        self.blocks.push(Block { address, bytes: bytes.to_vec(), tainted, owner });
        address
    }

    /// A frame's stack; what is in it differs between runs, so it is tainted.
    pub(super) fn add_stack(&mut self) -> u64 {
        let address = self.add(&[0xd5; 512], Owner::Stack);
        if let Some(block) = self.blocks.last_mut() {
            block.tainted.fill(true);
        }
        address
    }

    pub(super) fn remove_top_stack(&mut self) {
        if let Some(top) = self.blocks.iter().rposition(|block| block.owner == Owner::Stack) {
            self.blocks.remove(top);
        }
    }

    pub(super) fn add_value(&mut self, map: usize, key: &[u8], value: &[u8]) -> u64 {
        self.add(value, Owner::Value { map, key: key.to_vec(), deleted: false })
    }

    /// Removes blocks, and deleted values with them.
    pub(super) fn remove(&mut self, which: impl Fn(&Owner) -> bool) {
        self.blocks.retain(|block| {
            !which(&block.owner) && !matches!(block.owner, Owner::Value { deleted: true, .. })
        });
    }

    pub(super) fn remove_at(&mut self, address: u64) -> bool {
        let before = self.blocks.len();
        self.blocks.retain(|block| block.address != address);
        self.blocks.len() != before
    }

    /// The address of a key's value.
    pub(super) fn value(&self, map: usize, key: &[u8]) -> Option<u64> {
        self.blocks.iter().find_map(|block| match &block.owner {
            Owner::Value { map: m, key: k, deleted: false } if *m == map && k == key => {
                Some(block.address)
            }
            _ => None,
        })
    }

    /// Key and bytes of every value of a map; `None` for bytes that are tainted.
    pub(super) fn values(&self, map: usize) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let live = self.blocks.iter().filter_map(|block| match &block.owner {
            Owner::Value { map: m, key, deleted: false } if *m == map => {
                let clean = !block.tainted.contains(&true);
                Some((key.clone(), clean.then(|| block.bytes.clone())))
            }
            _ => None,
        });
        live.collect()
    }

    pub(super) fn delete(&mut self, map: usize, key: &[u8]) -> bool {
        for block in &mut self.blocks {
            if let Owner::Value { map: m, key: k, deleted } = &mut block.owner
                && *m == map
                && k == key
                && !*deleted
            {
                *deleted = true;
                return true;
            }
        }
        false
    }

    /// Whether the program may access these bytes, and whose they are.
    pub(super) fn check(
        &self,
        address: u64,
        size: u64,
        write: bool,
        maps: &[MapDef],
    ) -> Result<Owner, String> {
        let found = self.blocks.iter().find(|block| {
            address.checked_sub(block.address).is_some_and(|offset| {
                offset.checked_add(size).is_some_and(|end| end <= block.bytes.len() as u64)
            })
        });
        let Some(block) = found else {
            return Err(format!("access to {size} bytes at {address:#x}, which is nobody's"));
        };
        let allowed = match &block.owner {
            Owner::Stack | Owner::Record { .. } => true,
            Owner::Context => !write,
            Owner::Value { map, .. } => {
                if write {
                    maps[*map].program_may_write()
                } else {
                    maps[*map].program_may_read()
                }
            }
        };
        if allowed { Ok(block.owner.clone()) } else { Err(format!("write to {:?}", block.owner)) }
    }

    fn block(&mut self, address: u64) -> Option<(&mut Block, usize)> {
        self.blocks.iter_mut().find_map(|block| {
            let offset = address.checked_sub(block.address)? as usize;
            (offset < block.bytes.len()).then_some((block, offset))
        })
    }

    /// Reads bytes that were checked.
    pub(super) fn load(&mut self, address: u64, size: usize) -> Value {
        let Some((block, offset)) = self.block(address) else { return Value::number(0) };
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&block.bytes[offset..offset + size]);
        let tainted = block.tainted[offset..offset + size].contains(&true);
        Value { bits: u64::from_le_bytes(bytes), tainted }
    }

    /// Writes bytes that were checked.
    pub(super) fn store(&mut self, address: u64, size: usize, value: Value) {
        if let Some((block, offset)) = self.block(address) {
            block.bytes[offset..offset + size].copy_from_slice(&value.bits.to_le_bytes()[..size]);
            block.tainted[offset..offset + size].fill(value.tainted);
        }
    }

    /// Bytes with their taint.
    pub(super) fn bytes(&mut self, address: u64, size: usize) -> (Vec<u8>, bool) {
        let Some((block, offset)) = self.block(address) else { return (vec![0; size], false) };
        let range = offset..offset + size;
        (block.bytes[range.clone()].to_vec(), block.tainted[range].contains(&true))
    }

    /// Sets bytes with a taint.
    pub(super) fn set_bytes(&mut self, address: u64, bytes: &[u8], tainted: bool) {
        if let Some((block, offset)) = self.block(address) {
            block.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
            block.tainted[offset..offset + bytes.len()].fill(tainted);
        }
    }
}
