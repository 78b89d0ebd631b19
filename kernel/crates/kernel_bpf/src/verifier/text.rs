//! Arguments that are constant text: zero-terminated strings in maps that never change, and the
//! templates of `bpf_snprintf` among them.

use alloc::format;

use super::explore::Verifier;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::value::{Kind, Value};
use crate::helper::template;
use crate::insn::Reg;

/// A string in a map.
#[derive(Clone, Copy)]
pub(super) struct ConstantString {
    map: usize,
    start: u32,
    /// Where its zero is.
    end: u32,
}

impl Verifier<'_> {
    /// A zero-terminated string in a map that never changes.
    pub(super) fn constant_string(
        &self,
        reg: Reg,
        value: &Value,
    ) -> Result<ConstantString, Refusal> {
        let refuse = |message| Err(self.refuse(Cause::BadArgument, message).register(reg));
        let number = reg as u8;
        let Kind::MapValue { map } = value.kind else {
            return refuse(format!("R{number} type={} expected=map_value", self.kind_name(value)));
        };
        let Some(x) = value.scalar.as_constant().filter(|_| !value.nullable) else {
            return refuse(format!("R{number} is not a constant address'"));
        };
        let start = i64::from(value.offset).saturating_add(x as i64);
        let size = self.env.map(map).map_or(0, |def| def.value_size);
        let start = u32::try_from(start).unwrap_or(u32::MAX);
        for end in start..size {
            match self.constant_byte(map as usize, end) {
                None => return refuse(format!("R{number} does not point to a readonly map'")),
                Some(0) => return Ok(ConstantString { map: map as usize, start, end }),
                Some(_) => {}
            }
        }
        refuse(format!("R{number} string is not zero-terminated"))
    }

    fn constant_byte(&self, map: usize, at: u32) -> Option<u8> {
        let mut byte = [0];
        (self.env.read_frozen)(map, at, &mut byte).then_some(byte[0])
    }

    /// The template of `bpf_snprintf` in r3 is one, and takes no more numbers than the bytes in r5
    /// hold (Linux: `check_bpf_snprintf_call`).
    pub(super) fn check_template(&mut self) -> Result<(), Refusal> {
        self.need_precise(Reg::R5);
        let bytes = self.state.reg(Reg::R5).scalar.bits.value;
        if !bytes.is_multiple_of(8) {
            return Err(self
                .refuse(Cause::BadTemplate, format!("{bytes} bytes are no array of numbers"))
                .register(Reg::R5)
                .hint("pass an array of __u64 and its size in bytes"));
        }
        let text = self.constant_string(Reg::R3, self.state.reg(Reg::R3))?;
        let at = |place: usize| {
            let place = u32::try_from(place).ok().and_then(|place| text.start.checked_add(place));
            let place = place.filter(|place| *place < text.end);
            place.and_then(|place| self.constant_byte(text.map, place)).unwrap_or(0)
        };
        if template::is_good(at, (bytes / 8) as usize) {
            return Ok(());
        }
        Err(self
            .refuse(Cause::BadTemplate, "Invalid format string".into())
            .register(Reg::R3)
            .hint("use %d %i %u %x %X (l, ll), %c, %s, %p… and no more of them than numbers"))
    }
}
