//! Program types: what a program's context is, which helpers it may call, and what
//! it may return, as tables of data.
//!
//! [`ProgType`] has Linux's numbers plus Lemma's own [`ProgType::LemmaHook`];
//! [`decl`] finds the rules for a type and attach type. [`context`] has the shape of
//! context tables; [`skb`], [`socket`], [`stream`], [`cgroup`] and [`perf_event`] those of
//! packets, sockets, control groups and perf events; [`helpers`] the lists of helpers.

pub mod attach;
pub mod cgroup;
pub mod context;
pub mod helpers;
pub mod perf_event;
pub mod skb;
pub mod socket;
pub mod stream;
mod table;

use crate::hook::{self, HookDecl};
use context::Context;

/// `BPF_PROG_TYPE_LEMMA_HOOK`: outside the numbers that Linux uses.
pub const LEMMA_HOOK_NUMBER: u32 = 0x4c00;

/// The program types that the engine knows, with Linux's numbers
/// (`enum bpf_prog_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u32)]
pub enum ProgType {
    SocketFilter = 1,
    Kprobe = 2,
    SchedCls = 3,
    SchedAct = 4,
    Tracepoint = 5,
    Xdp = 6,
    PerfEvent = 7,
    CgroupSkb = 8,
    CgroupSock = 9,
    LwtIn = 10,
    LwtOut = 11,
    LwtXmit = 12,
    SockOps = 13,
    SkSkb = 14,
    CgroupDevice = 15,
    SkMsg = 16,
    RawTracepoint = 17,
    CgroupSockAddr = 18,
    LwtSeg6Local = 19,
    LircMode2 = 20,
    SkReuseport = 21,
    FlowDissector = 22,
    CgroupSysctl = 23,
    RawTracepointWritable = 24,
    CgroupSockopt = 25,
    Tracing = 26,
    StructOps = 27,
    Ext = 28,
    Lsm = 29,
    SkLookup = 30,
    Syscall = 31,
    Netfilter = 32,
    /// Lemma's own: `expected_attach_type` names the hook.
    LemmaHook = LEMMA_HOOK_NUMBER,
}

impl ProgType {
    /// Every type.
    pub const ALL: [ProgType; 33] = [
        ProgType::SocketFilter,
        ProgType::Kprobe,
        ProgType::SchedCls,
        ProgType::SchedAct,
        ProgType::Tracepoint,
        ProgType::Xdp,
        ProgType::PerfEvent,
        ProgType::CgroupSkb,
        ProgType::CgroupSock,
        ProgType::LwtIn,
        ProgType::LwtOut,
        ProgType::LwtXmit,
        ProgType::SockOps,
        ProgType::SkSkb,
        ProgType::CgroupDevice,
        ProgType::SkMsg,
        ProgType::RawTracepoint,
        ProgType::CgroupSockAddr,
        ProgType::LwtSeg6Local,
        ProgType::LircMode2,
        ProgType::SkReuseport,
        ProgType::FlowDissector,
        ProgType::CgroupSysctl,
        ProgType::RawTracepointWritable,
        ProgType::CgroupSockopt,
        ProgType::Tracing,
        ProgType::StructOps,
        ProgType::Ext,
        ProgType::Lsm,
        ProgType::SkLookup,
        ProgType::Syscall,
        ProgType::Netfilter,
        ProgType::LemmaHook,
    ];

    /// The type with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<ProgType> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The number in `union bpf_attr`.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The name as bpftool prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ProgType::SocketFilter => "socket_filter",
            ProgType::Kprobe => "kprobe",
            ProgType::SchedCls => "sched_cls",
            ProgType::SchedAct => "sched_act",
            ProgType::Tracepoint => "tracepoint",
            ProgType::Xdp => "xdp",
            ProgType::PerfEvent => "perf_event",
            ProgType::CgroupSkb => "cgroup_skb",
            ProgType::CgroupSock => "cgroup_sock",
            ProgType::LwtIn => "lwt_in",
            ProgType::LwtOut => "lwt_out",
            ProgType::LwtXmit => "lwt_xmit",
            ProgType::SockOps => "sock_ops",
            ProgType::SkSkb => "sk_skb",
            ProgType::CgroupDevice => "cgroup_device",
            ProgType::SkMsg => "sk_msg",
            ProgType::RawTracepoint => "raw_tracepoint",
            ProgType::CgroupSockAddr => "cgroup_sock_addr",
            ProgType::LwtSeg6Local => "lwt_seg6local",
            ProgType::LircMode2 => "lirc_mode2",
            ProgType::SkReuseport => "sk_reuseport",
            ProgType::FlowDissector => "flow_dissector",
            ProgType::CgroupSysctl => "cgroup_sysctl",
            ProgType::RawTracepointWritable => "raw_tracepoint_writable",
            ProgType::CgroupSockopt => "cgroup_sockopt",
            ProgType::Tracing => "tracing",
            ProgType::StructOps => "struct_ops",
            ProgType::Ext => "ext",
            ProgType::Lsm => "lsm",
            ProgType::SkLookup => "sk_lookup",
            ProgType::Syscall => "syscall",
            ProgType::Netfilter => "netfilter",
            ProgType::LemmaHook => "lemma_hook",
        }
    }

    /// Whether programs of this type can be run here: their context can be made of plain bytes, or
    /// is a [`PacketContext`](crate::context::PacketContext). The others are verified only.
    #[must_use]
    pub const fn has_run_time(self) -> bool {
        matches!(
            self,
            ProgType::SocketFilter
                | ProgType::Kprobe
                | ProgType::SchedCls
                | ProgType::SchedAct
                | ProgType::Tracepoint
                | ProgType::Xdp
                | ProgType::PerfEvent
                | ProgType::CgroupSkb
                | ProgType::CgroupSock
                | ProgType::SockOps
                | ProgType::SkSkb
                | ProgType::SkMsg
                | ProgType::CgroupSockAddr
                | ProgType::SkReuseport
                | ProgType::CgroupSockopt
                | ProgType::SkLookup
                | ProgType::LwtIn
                | ProgType::LwtOut
                | ProgType::LwtXmit
                | ProgType::LwtSeg6Local
                | ProgType::CgroupDevice
                | ProgType::CgroupSysctl
                | ProgType::LircMode2
                | ProgType::RawTracepoint
                | ProgType::Syscall
                | ProgType::LemmaHook
        )
    }
}

/// What a program is attached to, when that decides its context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Nothing that matters to the verifier.
    None,
    /// Entry of a kernel function.
    FunctionEntry,
    /// Return of a kernel function.
    FunctionExit,
    /// A kernel function whose result the program may replace.
    FunctionResult,
    /// A raw tracepoint with typed arguments.
    RawTracepoint,
    /// An iterator over kernel objects.
    Iterator,
    /// A security hook.
    SecurityHook,
    /// A member of a structure of operations; `expected_attach_type` counts them.
    Operation,
}

/// The rules for one program type at one attach type.
#[derive(Clone, Copy, Debug)]
pub struct TypeDecl {
    pub name: &'static str,
    pub context: Context,
    pub helpers: &'static [&'static [i32]],
    /// What a program may return, as a signed number (of 32 bits at Lemma's hooks, of
    /// 64 elsewhere); `None`: anything.
    pub returns: Option<(i64, i64)>,
    /// Whether the program may write to packet data.
    pub packet_write: bool,
    /// Whether an unprivileged loader may load it (Linux: socket filter and cgroup skb).
    pub unprivileged: bool,
    /// The hook, for Lemma's own type.
    pub hook: Option<&'static HookDecl>,
    /// What it is attached to, by a type of the kernel's BTF.
    pub target: Target,
    /// Whether programs may be loaded as sleepable (`BPF_F_SLEEPABLE`).
    pub sleepable: Sleepable,
}

/// Whether programs of a type may sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sleepable {
    Never,
    /// When the loader says so.
    Allowed,
    /// They must.
    Always,
}

impl TypeDecl {
    /// Whether programs may call the helper with Linux's number.
    #[must_use]
    pub fn allows(&self, helper: i32) -> bool {
        match self.hook {
            Some(hook) => hook.allows(helper),
            None => self.helpers.iter().any(|list| list.contains(&helper)),
        }
    }
}

/// The rules for a type; `None` when the attach type does not name a hook of
/// Lemma's or is not one of the type's. Perf events are as on x86_64.
#[must_use]
pub fn decl(prog_type: ProgType, expected_attach_type: u32) -> Option<TypeDecl> {
    if prog_type == ProgType::LemmaHook {
        let hook = hook::by_attach_type(expected_attach_type)?;
        return Some(TypeDecl {
            name: hook.name,
            context: hook.context,
            helpers: hook.helpers,
            returns: Some(hook.returns),
            packet_write: false,
            unprivileged: false,
            hook: Some(hook),
            target: Target::None,
            sleepable: Sleepable::Never,
        });
    }
    table::decl(prog_type, expected_attach_type)
}
