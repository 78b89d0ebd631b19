//! Functions that a single instruction may end: a tail call leaves the function for good,
//! and a legacy packet load beyond the packet ends it with 0. Its caller sees a number in r0
//! then, so a function other than the first needs BTF that says that it returns one.

use alloc::format;

use super::cfg::Cfg;
use super::refusal::Refusal;
use super::rejection::Cause;
use crate::btf::{Btf, Kind, TypeId};
use crate::helper::proto::id;
use crate::insn::Insn;
use crate::program::Program;

/// Refuses such instructions in functions that are not known to return a number (Linux's
/// `check_abnormal_return` and `check_btf_func`).
pub(super) fn check<M>(program: &Program<M>, cfg: &Cfg) -> Result<(), Refusal> {
    let mut btf = None;
    for (slot, insn) in program.insns.iter().enumerate() {
        let what = match insn {
            Insn::CallHelper { id: id::TAIL_CALL } => "tail_call",
            Insn::LoadAbs { .. } | Insn::LoadInd { .. } => "BPF_LD_[ABS|IND]",
            _ => continue,
        };
        let function = cfg.function_of.get(slot).copied().unwrap_or(0);
        if function == 0 {
            continue;
        }
        let (start, _) = cfg.bounds(function);
        let info = program.func_info.iter().find(|info| info.insn as usize == start);
        let Some(info) = info else {
            let message = format!("{what} is not allowed in subprogs without BTF");
            return Err(Refusal::at(slot, Cause::BadInstruction, message));
        };
        let btf = btf.get_or_insert_with(|| program.btf.as_deref().map(Btf::parse));
        let number = matches!(btf, Some(Ok(btf)) if returns_number(btf, info.type_id));
        if !number {
            let message = format!(
                "{what} is only allowed in functions that return 'int', and {}() does not",
                info.name
            );
            return Err(Refusal::at(slot, Cause::BadInstruction, message));
        }
    }
    Ok(())
}

fn returns_number(btf: &Btf, function: TypeId) -> bool {
    let Some(Kind::Func { proto, .. }) = btf.get(function).map(|ty| &ty.kind) else { return false };
    let Some((_, Kind::FuncProto { result, .. })) = btf.resolve(*proto) else { return false };
    matches!(
        btf.resolve(*result),
        Some((_, Kind::Int { .. } | Kind::Enum { .. } | Kind::Enum64 { .. }))
    )
}
