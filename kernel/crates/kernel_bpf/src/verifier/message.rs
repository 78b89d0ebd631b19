//! Words for values, and the dressing up of a bare refusal.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::explore::Verifier;
use super::refusal::{Refusal, Seen};
use super::rejection::{PathStep, Rejection, SourceLine};
use super::scalar::Scalar;
use super::value::{INNER_MAP, Kind, Value};
use crate::program::Program;

impl Verifier<'_> {
    /// Linux's short name of a value's type.
    pub(super) fn kind_name(&self, value: &Value) -> &'static str {
        match value.kind {
            Kind::Uninit => "?",
            Kind::Scalar => "scalar",
            Kind::Ctx => "ctx",
            Kind::Stack { .. } => "fp",
            Kind::MapPtr { .. } => "map_ptr",
            Kind::MapValue { .. } => "map_value",
            Kind::MapKey { .. } => "map_key",
            Kind::Packet => "pkt",
            Kind::PacketMeta => "pkt_meta",
            Kind::PacketEnd => "pkt_end",
            Kind::Memory { .. } => "ringbuf_mem",
            Kind::Lent { .. } => "mem",
            Kind::DynptrSlot { .. } => "dynptr",
            Kind::IteratorSlot { .. } => "iter_num",
            Kind::SockCommon => "sock_common",
            Kind::Socket => "sock",
            Kind::TcpSock => "tcp_sock",
            Kind::XdpSock => "xdp_sock",
            Kind::FlowKeys => "flow_keys",
            Kind::TraceBuffer => "tp_buffer",
            Kind::Btf { trusted: true, .. } => "trusted_ptr_",
            Kind::Btf { .. } => "untrusted_ptr_",
            Kind::Func { .. } => "func",
        }
    }

    /// A value in words.
    pub(super) fn describe(&self, value: &Value) -> String {
        let place = |what: String| -> String {
            let mut text = what;
            if value.nullable {
                text.push_str(", or null");
            }
            let variable = match value.scalar.as_constant() {
                Some(0) => String::new(),
                Some(x) => format!(" {:+}", x as i64),
                None => format!(" plus {}", range_in_words(&value.scalar)),
            };
            if value.offset != 0 || !variable.is_empty() {
                text.push_str(&format!(", at offset {}{variable}", value.offset));
            }
            text
        };
        match value.kind {
            Kind::Uninit => {
                "uninitialised: nothing was ever written to it on this path".to_string()
            }
            Kind::Scalar => match value.scalar.as_constant() {
                Some(x) => format!("the number {}", x as i64),
                None => format!("a number, {}", range_in_words(&value.scalar)),
            },
            Kind::Ctx => place(format!("a pointer to the context, {}", self.env.decl.context.name)),
            Kind::Stack { frame } if frame as usize == self.state.depth() => {
                place("a pointer into the stack".to_string())
            }
            Kind::Stack { .. } => place("a pointer into the stack of a caller".to_string()),
            Kind::MapPtr { map } => place(format!("the address of map {}", map & !INNER_MAP)),
            Kind::MapValue { map } => {
                let size = self.env.map(map).map_or(0, |def| def.value_size);
                place(format!("a pointer to a value of map {} ({size} bytes)", map & !INNER_MAP))
            }
            Kind::MapKey { map } => {
                let size = self.env.map(map).map_or(0, |def| def.key_size);
                place(format!("a pointer to a key of map {} ({size} bytes)", map & !INNER_MAP))
            }
            Kind::Packet => place(format!(
                "a pointer into the packet, {} bytes of it known to be there",
                value.range
            )),
            Kind::PacketMeta => place("a pointer into the packet's metadata".to_string()),
            Kind::PacketEnd => "a pointer to the end of the packet".to_string(),
            Kind::Memory { size } => place(format!("a pointer to a record of {size} bytes")),
            Kind::Lent { size } => {
                place(format!("a pointer to {size} bytes that the caller lends"))
            }
            Kind::SockCommon | Kind::Socket | Kind::TcpSock | Kind::XdpSock => {
                place("a pointer to a socket".to_string())
            }
            Kind::FlowKeys => place("a pointer to the flow's keys".to_string()),
            Kind::TraceBuffer => place("a pointer to the tracepoint's buffer".to_string()),
            Kind::Btf { id, trusted } => {
                let name = self.env.options.kernel_btf.map_or("", |btf| btf.name(id));
                let what = if trusted { "" } else { " that was read out of another object" };
                place(format!("a pointer to a kernel's struct {name}{what}"))
            }
            Kind::DynptrSlot { .. } => "a dynptr".to_string(),
            Kind::IteratorSlot { .. } => "an iterator over numbers".to_string(),
            Kind::Func { .. } => "the address of a function".to_string(),
        }
    }

    fn blamed(&self, refusal: &Refusal) -> Option<String> {
        refusal.register.map(|register| self.describe(self.state.reg(register)))
    }

    /// Keeps what the message needs of a state that is about to be left.
    pub(super) fn remember(&self, mut refusal: Refusal) -> Refusal {
        if refusal.seen.is_none() {
            let register_state = self.blamed(&refusal);
            refusal.seen = Some(Seen { register_state, steps: self.steps() });
        }
        refusal
    }

    /// Adds what a reader needs.
    pub(super) fn dress<M>(&self, program: &Program<M>, refusal: Refusal) -> Rejection {
        let (state, steps) = match refusal.seen.clone() {
            Some(seen) => (seen.register_state, seen.steps),
            None => (self.blamed(&refusal), self.steps()),
        };
        // Refusals of the whole program or of its shape have no path.
        let (path, shortened) = if refusal.insn.is_some() { steps } else { (Vec::new(), false) };
        let mut rejection = undressed(program, refusal, path);
        rejection.register_state = state;
        rejection.path_shortened = shortened;
        rejection.processed = self.proof.processed;
        rejection
    }
}

/// A rejection without register state.
pub(super) fn undressed<M>(
    program: &Program<M>,
    refusal: Refusal,
    path: Vec<PathStep>,
) -> Rejection {
    let insn = refusal.insn;
    let source = insn.and_then(|slot| program.line_of(slot)).map(|line| SourceLine {
        file: line.file.clone(),
        line: line.line,
        column: line.column,
        text: line.text.clone(),
    });
    let disassembly = insn.and_then(|slot| program.insns.get(slot)).map(ToString::to_string);
    Rejection {
        cause: refusal.cause,
        insn: insn.map(|slot| slot as u32),
        disassembly,
        register: refusal.register,
        register_state: None,
        message: refusal.message,
        hint: refusal.hint,
        source,
        path,
        path_shortened: false,
        processed: 0,
    }
}

/// Bounds of a number that is not a constant.
fn range_in_words(scalar: &Scalar) -> String {
    let r = &scalar.r64;
    let unsigned_known = r.umin > 0 || r.umax < u64::MAX;
    let signed_known = r.smin > i64::MIN || r.smax < i64::MAX;
    let half_known = scalar.r32.umin > 0 || scalar.r32.umax < u64::from(u32::MAX);
    if r.umax <= i64::MAX as u64 {
        format!("{} to {}", r.umin, r.umax)
    } else if signed_known {
        format!("{} to {} (signed)", r.smin, r.smax)
    } else if unsigned_known {
        format!("{} to {}", r.umin, r.umax)
    } else if half_known {
        format!("low half {} to {}", scalar.r32.umin, scalar.r32.umax)
    } else {
        "with no known bounds".to_string()
    }
}
