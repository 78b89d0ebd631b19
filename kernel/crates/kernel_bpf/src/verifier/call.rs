//! Calls and returns: subprograms get a frame of their own, helpers are taken at their
//! declaration.

use alloc::format;

use super::explore::{Flow, Verifier};
use super::global::GLOBAL;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::scalar::Scalar;
use super::state::{Frame, MAX_FRAMES, Reference};
use super::value::{INNER_MAP, Kind, Value};
use crate::helper::proto::id;
use crate::helper::{self, HelperProto, Ret};
use crate::insn::{Insn, Reg};
use crate::map::MapType;
use crate::prog_type::Target;

/// So many things may be acquired and not yet given back.
const MAX_REFERENCES: usize = 64;

/// What the arguments of a call say about its result and cost.
#[derive(Default)]
pub(super) struct Arguments {
    pub(super) map: Option<u32>,
    /// Size of memory that the helper returns.
    pub(super) allocate: Option<u32>,
    /// Sum of the greatest sizes of memory arguments.
    pub(super) bytes: u64,
    /// Greatest size of the last memory argument.
    pub(super) last_size: u64,
    /// The reference that the call gives up.
    pub(super) released: u32,
    /// The reference that the first pointer to a socket depends on.
    pub(super) socket_reference: u32,
    /// First slot of a callback.
    pub(super) callback: Option<u32>,
    /// The map that a timer lies in.
    pub(super) field_map: Option<u32>,
    /// The kernel pointer of a map's value: the map, and its position there.
    pub(super) kptr: Option<(u32, usize)>,
    /// Where on the stack a new object goes: frame and first slot.
    pub(super) object: Option<(u8, usize)>,
    /// The reference or identity of a dynptr that memory is taken from.
    pub(super) object_reference: u32,
    /// The key of an array lookup, when it is a constant in range.
    pub(super) key_in_range: bool,
}

impl Arguments {
    /// The helper goes over so many bytes more.
    pub(super) fn handles(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl Verifier<'_> {
    pub(super) fn call_local(&mut self, offset: i32) -> Result<Flow, Refusal> {
        let target = usize::try_from(self.pc as i64 + 1 + i64::from(offset)).unwrap_or(usize::MAX);
        let Some(subprogram) = self.env.cfg.subprogram_at(target) else {
            return Err(self.refuse(Cause::BadJump, "the called function does not exist".into()));
        };
        let depth = self.state.frames.len();
        if self.globals.get(subprogram as usize).is_some_and(Option::is_some) {
            self.call_global(subprogram, target)?;
            return Ok(Flow::Next);
        }
        if depth >= MAX_FRAMES {
            return Err(self
                .refuse(
                    Cause::StackDepth,
                    format!("the call stack of {} frames is too deep", depth + 1),
                )
                .hint("functions may nest eight deep and not call themselves"));
        }
        let mut frame = Frame::new(depth, self.pc as u32, subprogram);
        let caller = self.state.frame_mut();
        for reg in [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
            frame.regs[reg.index()] = caller.regs[reg.index()];
        }
        scratch(caller);
        self.state.frames.push(frame);
        self.path.new_frame(depth);
        self.proof.call_depth = self.proof.call_depth.max(depth as u32 + 1);
        Ok(Flow::Jump(target))
    }

    pub(super) fn exit(&mut self) -> Result<Flow, Refusal> {
        if let Some(callback) = self.state.frame().callback {
            return self.return_from_callback(callback);
        }
        if self.state.depth() > 0 {
            return self.return_to_caller();
        }
        if self.state.lock.is_some() {
            return Err(self.refuse(
                Cause::Lock,
                "bpf_spin_unlock is missing: the program ends with the lock held".into(),
            ));
        }
        if let Some(reference) = self.state.references.first() {
            return Err(self
                .refuse(
                    Cause::Reference,
                    format!(
                        "Unreleased reference id={} alloc_insn={}: what was acquired at instruction {} is not given back",
                        reference.id, reference.insn, reference.insn
                    ),
                )
                .hint("submit or discard a ring-buffer record, release a socket, on every path"));
        }
        self.check_result()?;
        Ok(Flow::End)
    }

    fn return_to_caller(&mut self) -> Result<Flow, Refusal> {
        let result = *self.state.reg(Reg::R0);
        if matches!(result.kind, Kind::Stack { .. }) {
            return Err(self
                .refuse(
                    Cause::PointerLeak,
                    "cannot return stack pointer to the caller: the frame is gone then".into(),
                )
                .register(Reg::R0));
        }
        let call_site = self.state.frame().call_site;
        self.leave_frame();
        self.state.set(Reg::R0, result);
        Ok(Flow::Jump(call_site as usize + 1))
    }

    /// The instruction may end its function, with `result` in r0: a caller goes on then (`early`).
    pub(super) fn may_return(&mut self, result: Value) -> Result<(), Refusal> {
        // Where a function is verified on its own, nothing is known of its result anyway.
        if self.state.depth() == 0 || self.state.frame().callback.is_some() {
            return Ok(());
        }
        let goes_on = self.state.clone();
        self.state.set(Reg::R0, result);
        let flow = self.return_to_caller();
        let returned = core::mem::replace(&mut self.state, goes_on);
        let exit = self.env.insns.iter().position(|insn| matches!(insn, Insn::Exit));
        match flow? {
            Flow::Jump(target) => self.push_way(returned, target, exit),
            Flow::Next | Flow::End => Ok(()),
        }
    }

    /// Drops the active frame, unless it is the only one. Pointers into it mean nothing
    /// any more.
    pub(super) fn leave_frame(&mut self) {
        if self.state.depth() == 0 {
            return;
        }
        self.state.frames.pop();
        let gone = self.state.frames.len() as u8;
        self.state.for_each_value(|value| {
            if value.kind == (Kind::Stack { frame: gone }) {
                *value = Value::UNINIT;
            }
        });
    }

    /// r0 at the end of the program.
    fn check_result(&mut self) -> Result<(), Refusal> {
        // What is attached to a function without result may leave r0 as it is.
        let may_be_void = matches!(self.env.decl.target, Target::Operation | Target::SecurityHook);
        if may_be_void && self.env.attached.void {
            return Ok(());
        }
        let result = *self.read(Reg::R0)?;
        if result.is_pointer() && !self.env.privileged() {
            return Err(self
                .refuse(Cause::PointerLeak, "R0 leaks addr as return value".into())
                .register(Reg::R0));
        }
        let Some((min, max)) = self.env.decl.returns else { return Ok(()) };
        if !result.is_scalar() {
            return Err(self
                .refuse(
                    Cause::ReturnValue,
                    "At program exit the register R0 is not a known value: it is a pointer".into(),
                )
                .register(Reg::R0));
        }
        self.need_precise(Reg::R0);
        // A hook reads the result as C's `int`; Linux's types as it stands.
        let (low, high) = if self.env.decl.hook.is_some() {
            (result.scalar.r32.smin, result.scalar.r32.smax)
        } else {
            (result.scalar.r64.smin, result.scalar.r64.smax)
        };
        if low < min || high > max {
            return Err(self
                .refuse(
                    Cause::ReturnValue,
                    format!(
                        "At program exit the register R0 has smin={low} smax={high} should have been in [{min}, {max}]"
                    ),
                )
                .register(Reg::R0)
                .hint("return a constant that the hook allows on every path"));
        }
        Ok(())
    }

    pub(super) fn call_helper(&mut self, number: i32) -> Result<Flow, Refusal> {
        let proto = self.check_callable(number)?;
        let arguments = self.check_arguments(proto)?;
        if number == id::SNPRINTF {
            self.check_template()?;
        }
        if number == id::TAIL_CALL {
            if !self.state.references.is_empty() {
                return Err(
                    self.refuse(Cause::Reference, "tail_call would lead to reference leak".into())
                );
            }
            if self.within_callback() {
                return Err(
                    self.refuse(Cause::UnknownFunction, "cannot tail call within callback".into())
                );
            }
            self.proof.tail_calls = true;
            // The unprivileged index is masked by the size of one map.
            let map = arguments.map.unwrap_or(0);
            let first = *self.tail_call_maps.entry(self.pc).or_insert(map);
            if first != map && !self.env.privileged() {
                return Err(self.refuse(
                    Cause::MapMismatch,
                    "tail_call abusing map_ptr: different maps on different paths".into(),
                ));
            }
        }
        if arguments.released != 0 {
            self.release(arguments.released)?;
        }
        let words = arguments.bytes.div_ceil(8);
        let cost = u64::from(proto.cost)
            .saturating_add(u64::from(proto.cost_per_word).saturating_mul(words));
        self.path.cost = self.path.cost.saturating_add(cost);
        let rounds = self.call_back(proto, &arguments)?;
        self.path.cost = self.path.cost.saturating_add(rounds);
        if let Err(at) = self.proof.helpers.binary_search(&number) {
            self.proof.helpers.insert(at, number);
        }
        if let Some(place) = arguments.object {
            self.make_dynptr(place, number == id::RINGBUF_RESERVE_DYNPTR)?;
        }
        let returned = self.returned(proto, &arguments)?;
        scratch(self.state.frame_mut());
        self.state.set(Reg::R0, returned);
        if proto.changes_packet {
            self.forget_packet();
        }
        if number == id::TAIL_CALL {
            // The other program's result.
            self.may_return(Value::UNKNOWN)?;
        }
        Ok(Flow::Next)
    }

    /// Whether the active frame is a callback's, or of what one calls.
    pub(super) fn within_callback(&self) -> bool {
        let callback = |frame: &Frame| frame.callback.is_some_and(|by| by.helper != GLOBAL);
        self.state.frames.iter().any(callback)
    }

    /// What a pointer becomes that leads nowhere any more: to who may see addresses, some number.
    pub(super) fn stale_pointer(&self) -> Value {
        if self.env.privileged() { Value::scalar(Scalar::UNKNOWN) } else { Value::UNINIT }
    }

    /// The packet may lie elsewhere now.
    pub(super) fn forget_packet(&mut self) {
        self.moved_packet = true;
        let stale = self.stale_pointer();
        self.state.for_each_value(|value| {
            if value.is_packet() {
                *value = stale;
            }
        });
    }

    fn check_callable(&self, number: i32) -> Result<&'static HelperProto, Refusal> {
        let Some(proto) = helper::by_id(number) else {
            return Err(self
                .refuse(
                    Cause::UnknownFunction,
                    format!("invalid func unknown#{number}: there is no such helper"),
                )
                .hint("see `bpf hooks` and the book for the helpers that exist"));
        };
        let name = proto.name;
        let there = self.env.options.helper_available.is_none_or(|there| there(number));
        if !self.env.decl.allows(number) || !there {
            return Err(self
                .refuse(
                    Cause::UnknownFunction,
                    format!("program of this type cannot use helper bpf_{name}#{number}: {} does not offer it", self.env.decl.name),
                )
                .hint("see `bpf hooks` and the book for the helpers of each hook"));
        }
        if proto.privileged && !self.env.privileged() {
            return Err(self.refuse(
                Cause::UnknownFunction,
                format!("unknown func bpf_{name}#{number}: for privileged programs only"),
            ));
        }
        if proto.sleeps && !self.env.sleepable {
            return Err(self
                .refuse(
                    Cause::UnknownFunction,
                    format!("helper call might sleep in a non-sleepable prog: bpf_{name}"),
                )
                .hint("load the program as sleepable, if its type allows it"));
        }
        if proto.gpl_only && !self.env.gpl {
            return Err(self
                .refuse(
                    Cause::Licence,
                    format!("cannot call GPL-restricted function bpf_{name} from non-GPL compatible program"),
                )
                .hint("declare `char LICENSE[] SEC(\"license\") = \"GPL\";` if that is your licence"));
        }
        if self.state.lock.is_some() && number != id::SPIN_UNLOCK {
            return Err(self.refuse(
                Cause::Lock,
                format!("function calls are not allowed while holding a lock: bpf_{name}"),
            ));
        }
        Ok(proto)
    }

    /// Gives up a reference: everything that depends on it is gone.
    pub(super) fn release(&mut self, reference: u32) -> Result<(), Refusal> {
        let before = self.state.references.len();
        self.state.references.retain(|held| held.id != reference);
        if self.state.references.len() == before {
            return Err(
                self.refuse(Cause::Reference, "the reference was given back already".into())
            );
        }
        let stale = self.stale_pointer();
        self.state.for_each_value(|value| {
            if value.reference == reference {
                *value = stale;
            }
        });
        Ok(())
    }

    pub(super) fn acquire(&mut self) -> Result<u32, Refusal> {
        if self.state.references.len() >= MAX_REFERENCES {
            return Err(self
                .refuse(
                    Cause::Reference,
                    format!("more than {MAX_REFERENCES} references are held at once"),
                )
                .hint("give back in a loop what it acquires"));
        }
        let id = self.new_id();
        let frame = self.state.depth() as u32;
        self.state.references.push(Reference { id, insn: self.pc as u32, frame });
        Ok(id)
    }

    /// What is acquired has the reference's identity: when it is null, nothing is.
    pub(super) fn acquired(&mut self, kind: Kind) -> Result<Value, Refusal> {
        let id = self.acquire()?;
        Ok(Value { nullable: true, id, reference: id, ..Value::pointer(kind) })
    }

    fn returned(&mut self, proto: &HelperProto, arguments: &Arguments) -> Result<Value, Refusal> {
        let or_null = |this: &mut Self, kind: Kind, reference: u32| {
            let id = this.new_id();
            Value { nullable: true, id, reference, ..Value::pointer(kind) }
        };
        Ok(match proto.ret {
            Ret::Void => Value::UNINIT,
            Ret::Scalar => {
                let range = match proto.id {
                    // Bytes written, or an error.
                    id::GET_STACK
                    | id::GET_TASK_STACK
                    | id::PROBE_READ_STR
                    | id::PROBE_READ_KERNEL_STR
                    | id::PROBE_READ_USER_STR => {
                        Some((-4095, i64::try_from(arguments.last_size).unwrap_or(i64::MAX)))
                    }
                    _ => proto.returns,
                };
                match range {
                    Some((min, max)) => Value::scalar(Scalar::signed(min, max)),
                    None => Value::UNKNOWN,
                }
            }
            Ret::MapValueOrNull => {
                let map = arguments.map.unwrap_or(0);
                let kind = match self.env.map(map).map(|def| def.map_type) {
                    Some(MapType::ArrayOfMaps | MapType::HashOfMaps) => {
                        Kind::MapPtr { map: map | INNER_MAP }
                    }
                    Some(MapType::Xskmap) => Kind::XdpSock,
                    Some(MapType::Sockmap | MapType::Sockhash) => {
                        return self.acquired(Kind::Socket);
                    }
                    _ => Kind::MapValue { map },
                };
                let value = or_null(self, kind, 0);
                if arguments.key_in_range && matches!(kind, Kind::MapValue { .. }) {
                    return Ok(Value { nullable: false, ..value });
                }
                value
            }
            Ret::RingbufMemOrNull => {
                let size = arguments.allocate.unwrap_or(0);
                self.acquired(Kind::Memory { size })?
            }
            Ret::MapValue => Value::pointer(Kind::MapValue { map: arguments.map.unwrap_or(0) }),
            Ret::SocketOrNull => self.acquired(Kind::Socket)?,
            Ret::SockCommonOrNull => self.acquired(Kind::SockCommon)?,
            // A listener lives as long as the program runs.
            Ret::BorrowedSocketOrNull => {
                let listener = proto.id == id::GET_LISTENER_SOCK;
                let reference = if listener { 0 } else { arguments.socket_reference };
                or_null(self, Kind::Socket, reference)
            }
            Ret::Btf(name) => {
                let id = self.returned_struct(name)?;
                Value::pointer(Kind::Btf { id, trusted: true })
            }
            Ret::BtfOrNull(name) => {
                let id = self.returned_struct(name)?;
                let reference = arguments.socket_reference;
                or_null(self, Kind::Btf { id, trusted: true }, reference)
            }
            Ret::KptrOrNull => self.kptr_out(arguments)?,
            Ret::DynptrMemOrNull => {
                let size = arguments.allocate.unwrap_or(0);
                or_null(self, Kind::Lent { size }, arguments.object_reference)
            }
            Ret::PercpuMem | Ret::PercpuMemOrNull => {
                return Err(self.refuse(
                    Cause::UnknownFunction,
                    format!("bpf_{} is not supported", proto.name),
                ));
            }
            Ret::BorrowedTcpSockOrNull => or_null(self, Kind::TcpSock, arguments.socket_reference),
        })
    }
}

/// r0 to r5 hold nothing after a call.
pub(super) fn scratch(frame: &mut Frame) {
    for reg in [Reg::R0, Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
        frame.regs[reg.index()] = Value::UNINIT;
    }
}
