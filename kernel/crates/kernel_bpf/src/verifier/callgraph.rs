//! Stack over the call graph: the deepest chain of calls must fit.

use alloc::format;
use alloc::vec::Vec;

use super::explore::Verifier;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::state::MAX_STACK;
use crate::insn::{Imm64, Insn};

/// Frames are rounded up to this, as Linux does for compiled programs.
const FRAME_UNIT: u32 = 16;

impl Verifier<'_> {
    /// Follows every path, then adds up the stack.
    pub(super) fn verify(&mut self) -> Result<(), Refusal> {
        let count = self.env.cfg.subprograms.len();
        for index in 0..count {
            let (start, end) = self.env.cfg.bounds(index as u32);
            self.proof.subprograms.push(super::proof::Subprogram {
                start: start as u32,
                end: end as u32,
                stack: 0,
            });
        }
        self.proof.call_depth = 1;
        self.run()?;
        self.add_up_stack()
    }

    fn runs_later(&self, slot: usize) -> bool {
        self.proof.deferred.iter().any(|&(start, _)| start as usize == slot)
    }

    fn add_up_stack(&mut self) -> Result<(), Refusal> {
        // Every call counts, as in Linux, also one that no path turned out to reach.
        let subprograms = self.proof.subprograms.len();
        let mut calls: Vec<Vec<usize>> = alloc::vec![Vec::new(); subprograms];
        for (slot, insn) in self.env.insns.iter().enumerate() {
            // A callback counts with whoever names it, as in Linux.
            let (Insn::CallLocal { offset }
            | Insn::LoadImm64 { value: Imm64::Func { offset }, .. }) = insn
            else {
                continue;
            };
            let target = usize::try_from(slot as i64 + 1 + i64::from(*offset)).ok();
            let address = matches!(insn, Insn::LoadImm64 { .. });
            // What runs on its own, later, has the whole stack.
            if address && target.is_some_and(|at| self.runs_later(at)) {
                continue;
            }
            if let Some(callee) = target.and_then(|at| self.env.cfg.subprogram_at(at)) {
                let caller = self.env.cfg.function_of[slot] as usize;
                calls[caller].push(callee as usize);
            }
        }
        // It runs on top of whoever had it called, which may be another.
        for &(caller, callee) in &self.callbacks {
            let known = &mut calls[caller as usize];
            if !known.contains(&(callee as usize)) {
                known.push(callee as usize);
            }
        }
        let mut deepest = 0;
        // (function, depth above it, frames above it)
        let mut work = alloc::vec![(0usize, 0u32, 0usize)];
        for &(start, _) in &self.proof.deferred {
            if let Some(root) = self.env.cfg.subprogram_at(start as usize) {
                work.push((root as usize, 0, 0));
            }
        }
        let mut visited = 0u32;
        while let Some((function, above, frames)) = work.pop() {
            visited += 1;
            let own = self.proof.subprograms[function].stack.next_multiple_of(FRAME_UNIT);
            let depth = above + own;
            deepest = deepest.max(depth);
            self.proof.call_depth = self.proof.call_depth.max(frames as u32 + 1);
            if depth > MAX_STACK as u32 {
                return Err(Refusal::program(
                    Cause::StackDepth,
                    format!(
                        "combined stack size of {} calls is {depth}. Too large: 512 bytes are allowed",
                        frames + 1
                    ),
                )
                .hint("keep large variables in a per-CPU array map"));
            }
            if frames >= super::state::MAX_FRAMES || visited > 100_000 {
                return Err(Refusal::program(
                    Cause::StackDepth,
                    format!("the call stack of {frames} frames is too deep"),
                ));
            }
            for &callee in &calls[function] {
                work.push((callee, depth, frames + 1));
            }
        }
        self.proof.stack_depth = deepest;
        Ok(())
    }
}
