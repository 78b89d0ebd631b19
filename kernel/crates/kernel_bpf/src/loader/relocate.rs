//! CO-RE relocations applied to instructions: [`Object::relocate`].
//!
//! An instruction that the compiler made for its own idea of the kernel's types gets the
//! numbers of the kernel at hand: an offset in a load or store, an immediate in arithmetic, the
//! 64 bits of an `ld_imm64`. What it says beforehand must be what the compiler is known to have
//! written. An instruction that asks for what the kernel lacks becomes a call of a helper that
//! does not exist, which the verifier refuses if the program can get there.

use alloc::format;
use alloc::string::{String, ToString};

use super::link::{instruction, set_imm};
use super::{Object, ObjectError, ObjectProgram, SLOT, opcode};
use crate::btf::core_reloc::{Kernel, Relocation, Resizable, Resolved, Wanted};
use crate::btf::ext::CoreRecord;
use crate::btf::{Btf, TypeId};

/// The number of no helper, easy to recognise in a log (libbpf uses the same).
const NO_HELPER: i32 = 0x0bad_2310;

impl Object {
    /// Fits the programs to the types of `kernel`.
    ///
    /// # Errors
    /// Records that do not fit the instructions or the object's own types, with the program
    /// and instruction. What the kernel lacks is no error here: see [`ObjectProgram::missing`].
    pub fn relocate(&mut self, kernel: &Btf) -> Result<(), ObjectError> {
        if !self.needs_kernel_types() {
            return Ok(());
        }
        let bytes = self.btf.as_deref().unwrap_or_default();
        let local =
            Btf::parse(bytes).map_err(|error| ObjectError::new(".BTF", error.to_string()))?;
        let kernel = Kernel::new(kernel);
        for program in &mut self.programs {
            for record in core::mem::take(&mut program.relocations) {
                let slot = record.insn;
                apply(program, &local, &kernel, record).map_err(|reason| {
                    ObjectError::new(&program.name, format!("instruction {slot}: {reason}"))
                })?;
            }
        }
        Ok(())
    }
}

fn apply(
    program: &mut ObjectProgram,
    local: &Btf,
    kernel: &Kernel<'_>,
    record: CoreRecord,
) -> Result<(), String> {
    let wanted = Wanted::from_number(record.kind)
        .ok_or_else(|| format!("unknown CO-RE relocation {}", record.kind))?;
    let path = local.string(record.access).ok_or("a relocation without a path")?;
    let relocation = Relocation { type_id: record.type_id as TypeId, path, wanted };
    let resolved = kernel.resolve(local, &relocation).map_err(|error| error.to_string())?;
    let slot = record.insn as usize;
    let missing = match resolved.missing {
        Some(missing) => Some(missing),
        None => patch(&mut program.insns, slot, &resolved)?,
    };
    if let Some(missing) = missing {
        poison(&mut program.insns, slot);
        program.missing.push((record.insn, missing));
    }
    Ok(())
}

/// Makes the instruction one that no program may reach.
pub(super) fn poison(insns: &mut [u8], slot: usize) {
    let wide = instruction(insns, slot).is_some_and(|(code, ..)| code == opcode::LD_IMM64);
    for slot in slot..=slot + usize::from(wide) {
        if let Some(bytes) = insns.get_mut(slot * SLOT..(slot + 1) * SLOT) {
            bytes.fill(0);
            if let Some(code) = bytes.first_mut() {
                *code = opcode::CALL;
            }
        }
        set_imm(insns, slot, NO_HELPER);
    }
}

/// Writes the number into the instruction. Returns what is wrong if the instruction must not be
/// reached for another reason than a missing field.
fn patch(insns: &mut [u8], slot: usize, resolved: &Resolved) -> Result<Option<String>, String> {
    let (code, _, imm) = instruction(insns, slot).ok_or("beyond the program")?;
    let expect = |found: u64| match resolved.original {
        Some(original) if original != found => {
            Err(format!("says {found} where the compiler is known to have written {original}"))
        }
        _ => Ok(()),
    };
    match code & opcode::CLASS {
        opcode::ALU | opcode::ALU64 => {
            if code & opcode::SOURCE != 0 {
                return Err("a relocation of arithmetic without an immediate".into());
            }
            expect(u64::from(imm as u32)).or_else(|_| expect(i64::from(imm) as u64))?;
            set_imm(insns, slot, immediate(resolved.value)?);
        }
        opcode::LDX | opcode::ST | opcode::STX => {
            let bytes = insns.get_mut(slot * SLOT..(slot + 1) * SLOT).ok_or("no instruction")?;
            let [first, _, low, high, ..] = bytes else { return Err("no instruction".into()) };
            expect(u64::from(i16::from_le_bytes([*low, *high]) as u16))?;
            let Ok(offset) = i16::try_from(resolved.value) else {
                return Ok(Some(format!("the field's offset {} is too far", resolved.value)));
            };
            [*low, *high] = offset.to_le_bytes();
            if let Some((old, new)) = resolved.access
                && old.size != new.size
            {
                // A narrower or wider number is read as such; others would be cut.
                if old.kind != new.kind || old.kind == Resizable::No {
                    let reason = format!(
                        "the field has {} bytes in this kernel and {} in the program",
                        new.size, old.size
                    );
                    return Ok(Some(reason));
                }
                if size_of_access(*first) != old.size {
                    return Err("accesses another size than the field's".into());
                }
                let Some(size) = size_code(new.size) else {
                    return Ok(Some(format!("no instruction accesses {} bytes", new.size)));
                };
                *first = *first & !opcode::SIZE | size;
            }
        }
        _ if code == opcode::LD_IMM64 => {
            let (_, _, high) = instruction(insns, slot + 1).ok_or("cut short")?;
            let zero_extended = u64::from(imm as u32);
            expect(zero_extended | u64::from(high as u32) << 32)
                .or_else(|error| expect(i64::from(imm) as u64).map_err(|_| error))?;
            set_imm(insns, slot, resolved.value as u32 as i32);
            set_imm(insns, slot + 1, (resolved.value >> 32) as u32 as i32);
        }
        _ => return Err(format!("a relocation of an instruction with opcode {code:#x}")),
    }
    Ok(None)
}

/// A number as a 32-bit immediate: unsigned or sign-extended.
fn immediate(value: u64) -> Result<i32, String> {
    u32::try_from(value)
        .map(|value| value as i32)
        .or_else(|_| i32::try_from(value as i64))
        .map_err(|_| format!("{value} does not fit the instruction"))
}

const fn size_of_access(code: u8) -> u32 {
    match code & opcode::SIZE {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    }
}

const fn size_code(bytes: u32) -> Option<u8> {
    match bytes {
        4 => Some(0x00),
        2 => Some(0x08),
        1 => Some(0x10),
        8 => Some(0x18),
        _ => None,
    }
}
