//! The verifier: accepts a program only when every path through it is safe.
//!
//! [`verify`] first looks at the program's structure (`cfg`, `early`, `liveness`), then follows
//! every path with a state of what is known (`explore`, `state`, `value`, `scalar`).
//! A path ends at the program's exit, or where an earlier state covers the present one
//! (`prune`, `compare`, `checkpoint`, `path`). The rules for each instruction are in `step`,
//! `alu`, `pointer`, `branch`, `memory`, `stack`, `context`, `objects`, `call`,
//! `arguments`, `callback` (with `join`), `global`, `kfunc`, `maps`, `fields` and
//! `special`. What compilers ask of an accepted program's text is found last (`shape`, with
//! `stack_use` and `form`).
//!
//! # Why an accepted program is safe
//!
//! Each state stands for a set of machine states, and every rule keeps the sets large
//! enough: whatever a run does, some explored path has a state that holds it. The
//! rules for numbers are tested against concrete arithmetic (`scalar`), the whole on
//! random programs in a machine that watches every step (`tests/verifier`). A path is
//! cut short only where a completely explored state includes the present one; numbers
//! are left out of that comparison only if no decision, offset, size or result was
//! ever derived from their bounds (`path`), registers and slots only if nothing reads
//! them afterwards. It is assumed that helpers do what their declarations say, that
//! maps keep their definitions, and that the frame pointer of each frame has 512 bytes
//! below it.
//!
//! The worst case counts each instruction as one and each helper at its declared cost,
//! over all explored paths; a pruned path counts with the worst case of what includes
//! it; a callback counts as often as its helper may call it. A tail call ends the count:
//! the program called has its own. So does a timer's callback ([`Proof::deferred`]).
//!
//! # Where this differs from Linux
//!
//! * Ranges are somewhat more precise (division, remainders, negative offsets), so that
//!   a few more programs are accepted.
//! * Global functions are verified once where the program's BTF tells their prototypes
//!   (`global`); without BTF they are explored at each call, as static ones are.
//! * A callback is walked until what it changes is stable (`callback`); its index is known
//!   to be less than the number of rounds.
//! * A round of a loop that the machine bounds (`may_goto`, iterators) widens what it
//!   changes as Linux does; the bound counts as many rounds as the machine allows.
//! * For unprivileged programs both sides of a decided branch are explored, the
//!   impossible one with unknown operands, as the processor may guess it.
//!
//! The result is [`Verified`], which nothing else can make, with a [`Proof`]; or a
//! [`Rejection`] that says one cause, where, and why.

#![forbid(unsafe_code)]

mod alu;
mod arguments;
mod branch;
mod call;
mod callback;
mod callgraph;
mod cfg;
mod checkpoint;
mod compare;
mod context;
mod early;
mod explore;
mod fields;
mod form;
mod global;
mod join;
mod json;
mod kfunc;
mod liveness;
mod log;
mod maps;
mod memory;
mod message;
mod objects;
mod options;
mod path;
mod pointer;
mod proof;
mod prune;
mod refusal;
mod rejection;
pub mod scalar;
mod shape;
mod special;
mod stack;
mod stack_use;
mod state;
mod step;
mod text;
mod value;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

pub use options::{VerifyOptions, load_flags};
pub use proof::{BranchFact, Claim, InsnFacts, Proof, Region, Subprogram, Verified};
pub use rejection::{Cause, PathStep, Rejection, SourceLine};

pub(crate) use form::Form;
pub(crate) use liveness::{RegSet, live_registers, uses};
pub(crate) use shape::{LoopConstant, Mark, Outline, Shape, StackSlot};

use crate::insn::{Imm64, Insn};
use crate::map::{MapRef, MapType};
use crate::prog_type::{self, ProgType, Sleepable, TypeDecl};
use crate::program::Program;
use cfg::Cfg;
use explore::{Env, MapInfo, Verifier};
use objects::Attached;
use refusal::{Refusal, filled};

/// Verifies a program.
///
/// # Errors
/// Why the program is refused.
pub fn verify<M: MapRef>(
    program: Program<M>,
    options: &VerifyOptions,
) -> Result<Verified<Program<M>>, Box<Rejection>> {
    verify_with_log(program, options, &mut String::new())
}

/// As [`verify`], and writes a log as `options.log_level` says. A refusal is not
/// written to the log: it is the caller's to print.
///
/// # Errors
/// Why the program is refused.
pub fn verify_with_log<M: MapRef>(
    program: Program<M>,
    options: &VerifyOptions,
    log: &mut String,
) -> Result<Verified<Program<M>>, Box<Rejection>> {
    let (decl, attached, cfg) = match check_shape(&program, options) {
        Ok(shape) => shape,
        Err(refusal) => return Err(Box::new(message::undressed(&program, refusal, Vec::new()))),
    };
    let proof = {
        let maps = program
            .maps
            .iter()
            .map(|map| MapInfo {
                def: map.def(),
                inner: map.inner_def(),
                fields: map.value_fields(),
                inner_fields: map.inner_fields(),
                pointers: map.kernel_pointers().to_vec(),
            })
            .collect();
        let read_frozen = |map: usize, offset: u32, into: &mut [u8]| {
            // Of a map of several values nobody knows which one is read.
            let one = |map: &M| {
                let def = map.def();
                def.map_type == MapType::Array && def.max_entries == 1
            };
            program.maps.get(map).is_some_and(|map| one(map) && map.read_frozen(offset, into))
        };
        let globals = global::prototypes(&program, &cfg.subprograms, decl.context.name);
        let globals = match globals {
            Ok(globals) => globals,
            Err(refusal) => {
                return Err(Box::new(message::undressed(&program, refusal, Vec::new())));
            }
        };
        let live = filled(0 as RegSet, program.insns.len()).map(|mut live| {
            live_registers(&program.insns, uses, &mut live);
            live
        });
        let budget = decl
            .hook
            .map(|hook| if options.embedded { hook.budget_embedded } else { hook.budget_cloud });
        let verifier = live.and_then(|live| {
            Verifier::new(Env {
                insns: &program.insns,
                options,
                decl,
                prog_type: program.prog_type,
                gpl: program.gpl_compatible,
                maps,
                read_frozen: &read_frozen,
                live,
                cfg,
                budget,
                attached,
                sleepable: program.sleepable,
            })
        });
        let mut verifier = match verifier {
            Ok(verifier) => verifier,
            Err(refusal) => {
                return Err(Box::new(message::undressed(&program, refusal, Vec::new())));
            }
        };
        verifier.globals = globals;
        let outcome = verifier.verify();
        log.push_str(&verifier.log);
        if options.log_level & 4 != 0 {
            let proof = &verifier.proof;
            // Writing to a string does not fail.
            let _ = writeln!(
                log,
                "processed {} insns (limit {}) max_states_per_insn {} total_states {} worst_case {} insns stack depth {}",
                proof.processed,
                options.max_processed,
                proof.peak_states,
                proof.total_states,
                proof.worst_case,
                proof.stack_depth
            );
        }
        if let Err(refusal) = outcome {
            return Err(Box::new(verifier.dress(&program, refusal)));
        }
        let mut proof = core::mem::take(&mut verifier.proof);
        proof.live = core::mem::take(&mut verifier.env.live);
        let starts = core::mem::take(&mut verifier.env.cfg.subprograms);
        // What the search has taken is given back before more is.
        drop(verifier);
        // The embedded profile interprets programs: who compiles one there looks at it himself.
        if cfg!(not(feature = "profile-embedded")) {
            proof.shape = Shape::of(&program.insns, &starts, &proof.live, &proof.facts);
            if proof.shape.is_none() {
                let refusal = Refusal::out_of_memory();
                return Err(Box::new(message::undressed(&program, refusal, Vec::new())));
            }
        }
        proof
    };
    Ok(Verified::new(program, proof))
}

/// What can be refused without following any path.
fn check_shape<M: MapRef>(
    program: &Program<M>,
    options: &VerifyOptions,
) -> Result<(TypeDecl, Attached, Cfg), Refusal> {
    let (kind, attach) = (program.prog_type, program.expected_attach_type);
    let Some(mut decl) = prog_type::decl(kind, attach) else {
        let message = if kind == ProgType::Ext {
            "programs of type ext replace a function of another program, which cannot be named here"
                .into()
        } else {
            format!("there is no attach type {attach} for programs of type {}", kind.name())
        };
        return Err(Refusal::program(Cause::ProgramType, message));
    };
    if kind == ProgType::PerfEvent {
        decl.context = options.perf_event.rules();
    }
    match decl.sleepable {
        Sleepable::Always if !program.sleepable => {
            return Err(Refusal::program(
                Cause::ProgramType,
                format!("programs of type {} can only be sleepable", kind.name()),
            ));
        }
        Sleepable::Never if program.sleepable => {
            return Err(Refusal::program(
                Cause::ProgramType,
                format!("programs of type {} cannot be sleepable", kind.name()),
            )
            .hint(
                "fentry, fexit, fmod_ret, iter, LSM, uprobe, struct_ops and syscall programs can",
            ));
        }
        _ => {}
    }
    if options.unprivileged && !decl.unprivileged {
        return Err(Refusal::program(
            Cause::ProgramType,
            format!("only privileged loaders may load programs of type {}", kind.name()),
        ));
    }
    let attached = objects::attached(program, &decl, options.kernel_btf)?;
    let length = program.insns.len();
    let most = options.max_insns.min(path::MAX_INSNS);
    if length == 0 || length > most {
        return Err(Refusal::program(
            Cause::ProgramSize,
            format!("the program has {length} instructions, and 1 to {most} are allowed"),
        ));
    }
    let calls = |insn: &Insn| {
        matches!(
            insn,
            Insn::CallLocal { .. }
                | Insn::CallKfunc { .. }
                | Insn::LoadImm64 { value: Imm64::Func { .. }, .. }
        )
    };
    if options.unprivileged
        && let Some(slot) = program.insns.iter().position(calls)
    {
        return Err(Refusal::at(
            slot,
            Cause::UnknownFunction,
            "calling other bpf or kernel functions is allowed for privileged loaders only".into(),
        ));
    }
    let cfg = cfg::build(&program.insns, !options.unprivileged)?;
    early::check(program, &cfg)?;
    Ok((decl, attached, cfg))
}
