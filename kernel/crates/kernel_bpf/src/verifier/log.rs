//! The verbose log, in the spirit of Linux's `log_level` 1 and 2.

use core::fmt::Write;

use super::explore::Verifier;
use super::value::{Kind, Value};
use crate::insn::{Insn, Reg};

/// The log is not let grow beyond this.
const MAX_LOG: usize = 4 << 20;

impl Verifier<'_> {
    /// The instruction about to be explored, with the registers before it at level 2.
    pub(super) fn log_step(&mut self, insn: &Insn) {
        if self.log.len() > MAX_LOG {
            return;
        }
        let mut log = core::mem::take(&mut self.log);
        // Writing to a string does not fail.
        let _ = write!(log, "{}: {insn}", self.pc);
        if self.env.options.log_level & 2 != 0 {
            log.push_str("  ;");
            for reg in Reg::ALL {
                let value = self.state.reg(reg);
                if value.kind != Kind::Uninit && reg != Reg::FP {
                    let _ = write!(log, " R{}=", reg as u8);
                    self.log_value(&mut log, value);
                }
            }
        }
        log.push('\n');
        self.log = log;
    }

    fn log_value(&self, log: &mut alloc::string::String, value: &Value) {
        if let Some(x) = value.as_constant() {
            let _ = write!(log, "{}", x as i64);
            return;
        }
        log.push_str(self.kind_name(value));
        if value.nullable {
            log.push_str("_or_null");
        }
        if value.is_pointer() {
            let _ = write!(log, "({:+}", value.offset);
            if value.scalar.as_constant() != Some(0) {
                let r = &value.scalar.r64;
                let _ = write!(log, ",smin={},umax={}", r.smin, r.umax);
            }
            log.push(')');
        } else {
            let r = &value.scalar.r64;
            let _ = write!(
                log,
                "({}..{},s{}..{},var=({:#x};{:#x}))",
                r.umin, r.umax, r.smin, r.smax, value.scalar.bits.value, value.scalar.bits.mask
            );
        }
    }
}
