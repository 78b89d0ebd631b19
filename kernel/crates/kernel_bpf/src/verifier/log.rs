//! The verbose log, after Linux's `log_level`.
//!
//! Level 1 shows each explored instruction, the state where a branch is taken up again
//! (`from 3 to 7: …`) and where a path was covered by an earlier one (`7: safe`); level 2
//! the state before every instruction; level 4 the statistics at the end (written by
//! [`super::verify_with_log`]).

use alloc::string::String;
use core::fmt::Write;

use super::explore::Verifier;
use super::scalar::Scalar;
use super::scalar::range::Range;
use super::scalar::tnum::Tnum;
use super::state::{Byte, Slot};
use super::value::{Kind, Value};
use crate::insn::{Insn, Reg};

/// The log is not let grow beyond this.
const MAX_LOG: usize = 4 << 20;

impl Verifier<'_> {
    pub(super) fn logging(&self) -> bool {
        self.env.options.log_level & 3 != 0 && self.log.len() <= MAX_LOG
    }

    /// The instruction about to be explored, with the state before it at level 2.
    pub(super) fn log_step(&mut self, insn: &Insn) {
        if !self.logging() {
            return;
        }
        let mut log = core::mem::take(&mut self.log);
        // Writing to a string does not fail.
        let _ = write!(log, "{}: {insn}", self.pc);
        if self.env.options.log_level & 2 != 0 {
            log.push_str("  ;");
            self.log_state(&mut log);
        }
        log.push('\n');
        self.log = log;
    }

    /// A branch is taken up, with the state that it starts from.
    pub(super) fn log_taken_up(&mut self, from: u32) {
        if !self.logging() {
            return;
        }
        let mut log = core::mem::take(&mut self.log);
        let _ = write!(log, "\nfrom {from} to {}:", self.pc);
        self.log_state(&mut log);
        log.push('\n');
        self.log = log;
    }

    /// An earlier path covers this one.
    pub(super) fn log_safe(&mut self) {
        if self.logging() {
            let _ = writeln!(self.log, "{}: safe", self.pc);
        }
    }

    fn log_state(&self, log: &mut String) {
        let depth = self.state.depth();
        if depth > 0 {
            let _ = write!(log, " frame{depth}:");
        }
        let frame = self.state.frame();
        for (reg, value) in Reg::ALL.into_iter().zip(&frame.regs) {
            if value.kind != Kind::Uninit && reg != Reg::FP {
                let _ = write!(log, " R{}=", reg as u8);
                self.log_value(log, value);
            }
        }
        for (index, slot) in frame.stack.iter().enumerate() {
            if *slot == Slot::INVALID {
                continue;
            }
            let _ = write!(log, " fp-{}=", (index + 1) * 8);
            if slot.whole_spill().is_some() {
                self.log_value(log, &slot.value);
                continue;
            }
            // Byte by byte, the highest address first, as Linux does.
            for byte in slot.bytes.iter().rev() {
                log.push(match byte {
                    Byte::Invalid => '?',
                    Byte::Misc => 'm',
                    Byte::Zero => '0',
                    Byte::Spill => 'r',
                    Byte::Special => 'd',
                });
            }
        }
        for reference in &self.state.references {
            let _ = write!(log, " ref={}", reference.id);
        }
    }

    fn log_value(&self, log: &mut String, value: &Value) {
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
            log_number(log, &value.scalar);
        }
    }
}

/// What is known of a number, and nothing else.
fn log_number(log: &mut String, scalar: &Scalar) {
    let (all, all32) = (Range::<64>::FULL, Range::<32>::FULL);
    let (r64, r32) = (&scalar.r64, &scalar.r32);
    let bounds = [
        ("smin", r64.smin, all.smin),
        ("smax", r64.smax, all.smax),
        ("smin32", r32.smin, all32.smin),
        ("smax32", r32.smax, all32.smax),
    ];
    let unsigned = [
        ("umin", r64.umin, all.umin),
        ("umax", r64.umax, all.umax),
        ("umin32", r32.umin, all32.umin),
        ("umax32", r32.umax, all32.umax),
    ];
    let mut before = '(';
    // Writing to a string does not fail.
    for (name, x, unknown) in bounds {
        if x != unknown {
            let _ = write!(log, "{before}{name}={x}");
            before = ',';
        }
    }
    for (name, x, unknown) in unsigned {
        if x != unknown {
            let _ = write!(log, "{before}{name}={x}");
            before = ',';
        }
    }
    if scalar.bits != Tnum::UNKNOWN {
        let _ = write!(log, "{before}var_off=({:#x}; {:#x})", scalar.bits.value, scalar.bits.mask);
        before = ',';
    }
    log.push_str(if before == '(' { "()" } else { ")" });
}
