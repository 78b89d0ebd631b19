//! The helpers of the checking interpreter: maps and ring buffers as lists, everything else a
//! number that both interpreters are given alike.

use alloc::format;
use alloc::string::String;
use alloc::vec;

use super::memory::Owner;
use super::{Machine, Step, Value};
use crate::helper::proto::id;
use crate::insn::Reg;
use crate::map::{MapDef, MapType};

const HANDLE: u64 = 0x3a90_0000_0000;

/// What a program gets for the address of a map.
pub(super) const fn map_handle(index: u32) -> u64 {
    HANDLE + ((index as u64) << 16)
}

/// Linux's error numbers, negated.
const ENOENT: u64 = -2i64 as u64;
const E2BIG: u64 = -7i64 as u64;
const EEXIST: u64 = -17i64 as u64;
const EINVAL: u64 = -22i64 as u64;

impl Machine<'_> {
    fn map(&self, handle: Value) -> Step<(usize, MapDef)> {
        let index = handle.bits.checked_sub(HANDLE).map(|offset| (offset >> 16) as usize);
        let def = index.and_then(|index| Some((index, *self.defs.get(index)?)));
        def.filter(|(index, _)| map_handle(*index as u32) == handle.bits)
            .ok_or_else(|| format!("{:#x} is not a map", handle.bits))
    }

    fn argument(&mut self, address: Value, size: u32, write: bool) -> Step<alloc::vec::Vec<u8>> {
        self.memory.check(address.bits, u64::from(size), write, &self.defs)?;
        let (bytes, tainted) = self.memory.bytes(address.bits, size as usize);
        // What is stored under a tainted key, or as a tainted value, cannot be compared.
        self.tainted |= tainted;
        Ok(bytes)
    }

    pub(super) fn call(&mut self, id: i32) -> Step<()> {
        let result = match id {
            id::KTIME_GET_NS => {
                self.clock += 1000;
                Value::number(self.clock - 1000)
            }
            id::GET_PRANDOM_U32 => Value::number(4),
            id::GET_SMP_PROCESSOR_ID => Value::number(0),
            id::GET_CURRENT_PID_TGID => Value::number(42 << 32 | 43),
            id::MAP_LOOKUP_ELEM => {
                let (index, def) = self.map(self.read(Reg::R1)?)?;
                let key = self.argument(self.read(Reg::R2)?, def.key_size, false)?;
                let address = self.memory.value(index, &key).unwrap_or(0);
                Value { bits: address, tainted: address != 0 }
            }
            id::MAP_UPDATE_ELEM => Value::number(self.update()?),
            id::MAP_DELETE_ELEM => {
                let (index, def) = self.map(self.read(Reg::R1)?)?;
                let key = self.argument(self.read(Reg::R2)?, def.key_size, false)?;
                Value::number(match def.map_type {
                    MapType::Array => EINVAL,
                    _ if self.memory.delete(index, &key) => 0,
                    _ => ENOENT,
                })
            }
            id::RINGBUF_RESERVE => {
                let (index, _) = self.map(self.read(Reg::R1)?)?;
                let size = self.read(Reg::R2)?.bits as usize;
                let bytes = vec![0x77; size];
                let address = self.memory.add(&bytes, Owner::Record { map: index });
                self.reserved += 1;
                Value { bits: address, tainted: true }
            }
            id::RINGBUF_SUBMIT | id::RINGBUF_DISCARD => {
                let record = self.read(Reg::R1)?;
                self.memory.check(record.bits, 1, true, &self.defs)?;
                if !self.memory.remove_at(record.bits) {
                    return Err(String::from("gives back what is no record"));
                }
                self.reserved -= 1;
                Value::number(0)
            }
            other => return Err(format!("helper {other} is not modelled")),
        };
        self.write(Reg::R0, result);
        for register in 1..6 {
            self.registers[register] = None;
        }
        Ok(())
    }

    fn update(&mut self) -> Step<u64> {
        let (index, def) = self.map(self.read(Reg::R1)?)?;
        let key = self.argument(self.read(Reg::R2)?, def.key_size, false)?;
        let source = self.read(Reg::R3)?;
        self.memory.check(source.bits, u64::from(def.value_size), false, &self.defs)?;
        let (value, tainted) = self.memory.bytes(source.bits, def.value_size as usize);
        let flags = self.read(Reg::R4)?.bits;
        if flags > 2 {
            return Ok(EINVAL);
        }
        let old = self.memory.value(index, &key);
        if def.map_type == MapType::Array {
            return Ok(match old {
                None => E2BIG,
                Some(_) if flags == 1 => EEXIST,
                Some(address) => {
                    self.memory.set_bytes(address, &value, tainted);
                    0
                }
            });
        }
        match (old, flags) {
            (Some(_), 1) => return Ok(EEXIST),
            (None, 2) => return Ok(ENOENT),
            (None, _) if self.memory.values(index).len() >= def.max_entries as usize => {
                return Ok(E2BIG);
            }
            // Whoever holds the old value keeps it.
            (Some(_), _) => {
                self.memory.delete(index, &key);
            }
            (None, _) => {}
        }
        let address = self.memory.add_value(index, &key, &value);
        self.memory.set_bytes(address, &value, tainted);
        Ok(0)
    }
}
