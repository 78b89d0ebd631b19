//! Kernel functions that programs may call by the number of their BTF type. The kernel's
//! BTF gives the number its name; [`KFUNCS`] says what the function wants and does.

use alloc::format;

use super::callback::MAX_LOOPS;
use super::explore::{Flow, Verifier};
use super::refusal::Refusal;
use super::rejection::Cause;
use super::value::{Kind, Value};
use crate::btf;
use crate::insn::Reg;

/// What a kernel function does, as far as the verifier is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    IterNumNew,
    IterNumNext,
    IterNumDestroy,
    /// Takes a number; gives an object that must be released, or null.
    AcquireByNumber {
        object: &'static str,
    },
    /// Takes an object and gives it again with a reference, or null.
    Acquire {
        object: &'static str,
    },
    Release {
        object: &'static str,
    },
}

struct Kfunc {
    name: &'static str,
    action: Action,
    /// In instructions.
    cost: u64,
}

const fn kfunc(name: &'static str, action: Action, cost: u64) -> Kfunc {
    Kfunc { name, action, cost }
}

const TASK: &str = "task_struct";
const CGROUP: &str = "cgroup";

static KFUNCS: &[Kfunc] = &[
    kfunc("bpf_iter_num_new", Action::IterNumNew, 10),
    kfunc("bpf_iter_num_next", Action::IterNumNext, 10),
    kfunc("bpf_iter_num_destroy", Action::IterNumDestroy, 5),
    kfunc("bpf_task_acquire", Action::Acquire { object: TASK }, 15),
    kfunc("bpf_task_from_pid", Action::AcquireByNumber { object: TASK }, 100),
    kfunc("bpf_task_release", Action::Release { object: TASK }, 30),
    kfunc("bpf_cgroup_acquire", Action::Acquire { object: CGROUP }, 15),
    kfunc("bpf_cgroup_from_id", Action::AcquireByNumber { object: CGROUP }, 100),
    kfunc("bpf_cgroup_release", Action::Release { object: CGROUP }, 30),
];

impl Verifier<'_> {
    fn kfunc(&self, id: i32) -> Result<&'static Kfunc, Refusal> {
        let name = self.kfunc_name(id);
        let found = name.and_then(|name| KFUNCS.iter().find(|kfunc| kfunc.name == name));
        found.ok_or_else(|| {
            let what = name.map_or_else(
                || format!("kernel function with BTF id {id} is not known here"),
                |name| format!("calling kernel function {name} is not allowed"),
            );
            self.refuse(Cause::UnknownFunction, what)
        })
    }

    fn kfunc_name(&self, id: i32) -> Option<&'static str> {
        let btf = self.env.options.kernel_btf?;
        let id = u32::try_from(id).ok()?;
        matches!(btf.get(id)?.kind, btf::Kind::Func { .. }).then(|| btf.name(id))
    }

    /// Whether a call asks an iterator for its next number: the head of a loop.
    pub(super) fn asks_iterator(&self, id: i32) -> bool {
        self.kfunc_name(id) == Some("bpf_iter_num_next")
    }

    /// How many numbers the iterator in r1 may still have.
    pub(super) fn iterator_rounds(&self) -> Option<u64> {
        let value = self.state.reg(Reg::R1);
        let Kind::Stack { frame } = value.kind else { return None };
        let at = i64::from(value.offset) + value.scalar.as_constant()? as i64;
        let index = usize::try_from(-at / 8 - 1).ok()?;
        let slot = self.slot(frame, index);
        matches!(slot.value.kind, Kind::IteratorSlot { .. }).then_some(slot.value.scalar.r64.umax)
    }

    pub(super) fn call_kfunc(&mut self, id: i32) -> Result<Flow, Refusal> {
        let kfunc = self.kfunc(id)?;
        if self.state.lock.is_some() {
            return Err(self.refuse(
                Cause::Lock,
                format!("function calls are not allowed while holding a lock: {}", kfunc.name),
            ));
        }
        self.path.cost = self.path.cost.saturating_add(kfunc.cost);
        let result = match kfunc.action {
            Action::IterNumNew => {
                let count = self.count_of_numbers()?;
                self.new_iterator(Reg::R1, count)?;
                Value::UNKNOWN
            }
            Action::IterNumNext => return self.next_number(),
            Action::IterNumDestroy => {
                self.destroy_iterator(Reg::R1)?;
                Value::UNINIT
            }
            Action::AcquireByNumber { object } => {
                if !self.read(Reg::R1)?.is_scalar() {
                    return Err(self
                        .refuse(Cause::BadArgument, "R1 is not a scalar".into())
                        .register(Reg::R1));
                }
                let id = self.kernel_struct(object)?;
                self.acquired(Kind::Btf { id, trusted: true })?
            }
            Action::Acquire { object } => {
                let id = self.trusted_object(kfunc, object)?;
                self.acquired(Kind::Btf { id, trusted: true })?
            }
            Action::Release { object } => {
                self.trusted_object(kfunc, object)?;
                let reference = self.state.reg(Reg::R1).reference;
                if reference == 0 {
                    return Err(self
                        .refuse(
                            Cause::Reference,
                            format!(
                                "release kernel function {} expects refcounted PTR_TO_BTF_ID",
                                kfunc.name
                            ),
                        )
                        .register(Reg::R1));
                }
                self.release(reference)?;
                Value::UNINIT
            }
        };
        super::call::scratch(self.state.frame_mut());
        self.state.set(Reg::R0, result);
        Ok(Flow::Next)
    }

    /// r1 as an object of this structure.
    fn trusted_object(&self, kfunc: &Kfunc, object: &str) -> Result<u32, Refusal> {
        let value = self.read(Reg::R1)?;
        let whole = value.offset == 0 && value.scalar.as_constant() == Some(0);
        if let Kind::Btf { id, trusted: true } = value.kind
            && !value.nullable
            && whole
            && self.begins_with(id, object)
        {
            return Ok(id);
        }
        Err(self
            .refuse(
                if value.nullable { Cause::MayBeNull } else { Cause::BadArgument },
                format!("R1 must be a trusted struct {object} for kernel function {}", kfunc.name),
            )
            .register(Reg::R1))
    }

    /// The greatest count of numbers from r2 up to r3, both 32 bits and signed.
    fn count_of_numbers(&mut self) -> Result<u64, Refusal> {
        let mut ends = [0i64; 2];
        for (end, reg) in ends.iter_mut().zip([Reg::R2, Reg::R3]) {
            let value = *self.read(reg)?;
            if !value.is_scalar() {
                return Err(self
                    .refuse(Cause::BadArgument, format!("R{} is not a scalar", reg as u8))
                    .register(reg));
            }
            self.need_precise(reg);
            let range = value.scalar.r32;
            *end = if reg == Reg::R2 { range.smin } else { range.smax };
        }
        // More than the machine allows, and there is none at all.
        Ok(u64::try_from(ends[1] - ends[0]).unwrap_or(0).min(MAX_LOOPS))
    }

    /// Another number, or the end.
    fn next_number(&mut self) -> Result<Flow, Refusal> {
        let ((frame, index), reference, _, drained) = self.iterator(Reg::R1)?;
        super::call::scratch(self.state.frame_mut());
        let mut end = self.state.clone();
        let slot = end.frames.get_mut(frame as usize).and_then(|frame| frame.stack.get_mut(index));
        if let Some(slot) = slot {
            Self::drain_iterator(slot);
        }
        end.set(Reg::R0, Value::constant(0));
        if drained {
            self.state = end;
            return Ok(Flow::Next);
        }
        self.push_branch(end, self.pc + 1)?;
        self.state.numbers = self.state.numbers.wrapping_add(1);
        // The number lies in the iterator.
        let number = Value { reference, ..Value::pointer(Kind::Lent { size: 4 }) };
        self.state.set(Reg::R0, number);
        Ok(Flow::Next)
    }
}
