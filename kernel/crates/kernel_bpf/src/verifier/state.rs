//! [`State`]: all that is known at one point of one path: a frame of registers and
//! stack per active call, and what is held.

use alloc::vec::Vec;

use super::value::{Kind, Value};
use crate::insn::Reg;

/// Linux's `MAX_BPF_STACK`: bytes of stack over a whole call chain.
pub(super) const MAX_STACK: i32 = 512;
/// Linux's `MAX_CALL_FRAMES`.
pub(super) const MAX_FRAMES: usize = 8;
/// 8-byte slots of one frame.
pub(super) const SLOTS: usize = MAX_STACK as usize / 8;

/// What one byte of the stack holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Byte {
    /// Never written.
    Invalid,
    /// Some number.
    Misc,
    Zero,
    /// Part of the spilled value of its slot.
    Spill,
    /// Part of an object of the kernel's, such as a dynptr or an iterator, which the
    /// slot's value describes.
    Special,
}

/// Eight bytes of stack. A spilled value takes all bytes, or the low four or fewer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    pub(super) bytes: [Byte; 8],
    pub(super) value: Value,
}

impl Slot {
    pub(super) const INVALID: Slot = Slot { bytes: [Byte::Invalid; 8], value: Value::UNINIT };

    /// How many low bytes a spilled value takes; 0 when there is none.
    pub(super) fn spill_size(&self) -> u32 {
        self.bytes.iter().take_while(|&&byte| byte == Byte::Spill).count() as u32
    }

    pub(super) fn is_special(&self) -> bool {
        self.bytes.first() == Some(&Byte::Special)
    }

    pub(super) fn is_spill(&self) -> bool {
        self.bytes.first() == Some(&Byte::Spill)
    }

    /// A spilled value, when it takes the whole slot.
    pub(super) fn whole_spill(&self) -> Option<&Value> {
        (self.bytes.last() == Some(&Byte::Spill)).then_some(&self.value)
    }

    /// Forgets a spilled value: its bytes become numbers of unknown value.
    pub(super) fn scrub(&mut self) {
        for byte in &mut self.bytes {
            if *byte == Byte::Spill {
                *byte = Byte::Misc;
            }
        }
        self.value = Value::UNINIT;
    }
}

/// Why a callback is running, and what happens when it returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Callback {
    /// The helper that calls it.
    pub(super) helper: i32,
}

/// One active function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub(super) regs: [Value; 11],
    /// Slot 0 is the 8 bytes below the frame pointer.
    pub(super) stack: Vec<Slot>,
    /// Slot of the call that made this frame.
    pub(super) call_site: u32,
    /// Index of the subprogram.
    pub(super) subprogram: u32,
    pub(super) callback: Option<Callback>,
}

impl Frame {
    pub(super) fn new(number: usize, call_site: u32, subprogram: u32) -> Frame {
        let mut regs = [Value::UNINIT; 11];
        regs[Reg::FP.index()] = Value::pointer(Kind::Stack { frame: number as u8 });
        Frame { regs, stack: Vec::new(), call_site, subprogram, callback: None }
    }

    /// Makes sure that the first `slots` slots are there.
    pub(super) fn grow(&mut self, slots: usize) {
        if self.stack.len() < slots {
            self.stack.resize(slots.min(SLOTS), Slot::INVALID);
        }
    }
}

/// A reference that must be given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reference {
    pub(super) id: u32,
    /// Slot of the call that acquired it.
    pub(super) insn: u32,
    /// Number of the frame that acquired it.
    pub(super) frame: u32,
}

/// The spin lock that is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lock {
    pub(super) map: u32,
    pub(super) id: u32,
}

/// All that is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub(super) frames: Vec<Frame>,
    pub(super) references: Vec<Reference>,
    pub(super) lock: Option<Lock>,
    /// How often a `may_goto` went on, and an iterator gave a number: the machine bounds both, so
    /// that is progress.
    pub(super) may_gotos: u32,
    pub(super) numbers: u32,
}

impl State {
    /// At the program's entry.
    pub(super) fn entry() -> State {
        let mut frame = Frame::new(0, 0, 0);
        frame.regs[Reg::R1.index()] = Value::pointer(Kind::Ctx);
        State {
            frames: alloc::vec![frame],
            references: Vec::new(),
            lock: None,
            may_gotos: 0,
            numbers: 0,
        }
    }

    /// Memory that it takes beyond its own size.
    pub(super) fn bytes(&self) -> usize {
        let stacks: usize = self.frames.iter().map(|frame| frame.stack.len()).sum();
        self.frames.len() * size_of::<Frame>()
            + stacks * size_of::<Slot>()
            + self.references.len() * size_of::<Reference>()
    }

    pub(super) fn depth(&self) -> usize {
        self.frames.len() - 1
    }

    pub(super) fn frame(&self) -> &Frame {
        let top = self.frames.len() - 1;
        &self.frames[top]
    }

    pub(super) fn frame_mut(&mut self) -> &mut Frame {
        let top = self.frames.len() - 1;
        &mut self.frames[top]
    }

    pub(super) fn reg(&self, reg: Reg) -> &Value {
        &self.frame().regs[reg.index()]
    }

    pub(super) fn reg_mut(&mut self, reg: Reg) -> &mut Value {
        &mut self.frame_mut().regs[reg.index()]
    }

    pub(super) fn set(&mut self, reg: Reg, value: Value) {
        *self.reg_mut(reg) = value;
    }

    /// Calls `each` on every register and every spilled value of every frame.
    pub(super) fn for_each_value(&mut self, mut each: impl FnMut(&mut Value)) {
        for frame in &mut self.frames {
            for value in &mut frame.regs {
                each(value);
            }
            for slot in &mut frame.stack {
                if slot.is_spill() {
                    each(&mut slot.value);
                    // What is no longer a value must not be read as a number either: the bits of
                    // a pointer are still there.
                    if slot.value.kind == Kind::Uninit {
                        *slot = Slot::INVALID;
                    }
                }
            }
        }
    }
}
