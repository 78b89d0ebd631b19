//! The rules of Linux's program types, one entry each.

use super::context::{Context, ContextRule};
use super::perf_event::{self, PerfEvent};
use super::{ProgType, Sleepable, Target, TypeDecl, attach, cgroup, helpers, skb, socket, stream};

/// `struct pt_regs` of x86_64.
const PT_REGS_SIZE: u32 = perf_event::X86_64_REGISTERS as u32;
/// Linux's `PERF_MAX_TRACE_SIZE`.
const TRACEPOINT_SIZE: u32 = 8192;
/// Linux's `MAX_BPF_FUNC_ARGS` words.
const RAW_TRACEPOINT_SIZE: u32 = 12 * 8;

pub(super) fn decl(prog_type: ProgType, attach_type: u32) -> Option<TypeDecl> {
    let base = TypeDecl {
        name: prog_type.name(),
        context: skb::SOCKET_FILTER,
        helpers: &[],
        returns: None,
        packet_write: false,
        unprivileged: false,
        hook: None,
        target: Target::None,
        sleepable: Sleepable::Never,
    };
    Some(match prog_type {
        ProgType::SocketFilter => TypeDecl {
            helpers: &[helpers::BASE, helpers::TRACE, helpers::SOCKET_FILTER],
            unprivileged: true,
            ..base
        },
        ProgType::CgroupSkb if attach_type > attach::CGROUP_INET_EGRESS => return None,
        ProgType::CgroupSkb => TypeDecl {
            context: skb::CGROUP_SKB,
            helpers: &[helpers::BASE, helpers::TRACE, helpers::SOCKET_FILTER, helpers::CGROUP_SKB],
            // Egress may also ask for congestion notification.
            returns: Some((0, if attach_type == attach::CGROUP_INET_EGRESS { 3 } else { 1 })),
            unprivileged: true,
            ..base
        },
        ProgType::SchedCls | ProgType::SchedAct => TypeDecl {
            context: skb::SCHED_CLS,
            helpers: &[helpers::BASE, helpers::TRACE, helpers::SCHED_CLS],
            packet_write: true,
            ..base
        },
        ProgType::LwtIn | ProgType::LwtOut => TypeDecl {
            context: skb::LWT,
            helpers: &[helpers::BASE, helpers::TRACE, helpers::LWT],
            ..base
        },
        ProgType::LwtXmit => TypeDecl {
            context: skb::LWT,
            helpers: &[helpers::BASE, helpers::TRACE, helpers::LWT, helpers::LWT_XMIT],
            packet_write: true,
            ..base
        },
        ProgType::Xdp => TypeDecl {
            context: if attach_type == attach::XDP_DEVMAP { skb::XDP_DEVMAP } else { skb::XDP },
            helpers: &[helpers::BASE, helpers::TRACE, helpers::XDP],
            packet_write: true,
            ..base
        },
        ProgType::Kprobe => TypeDecl {
            context: Context {
                name: "struct pt_regs",
                size: PT_REGS_SIZE,
                rule: ContextRule::Flat { start: 0, writable: false },
            },
            helpers: TRACING,
            returns: (attach_type == attach::TRACE_KPROBE_SESSION).then_some((0, 1)),
            sleepable: Sleepable::Allowed,
            ..base
        },
        ProgType::Tracepoint => TypeDecl {
            context: Context {
                name: "the tracepoint's record",
                size: TRACEPOINT_SIZE,
                // The first word is the kernel's own pointer to the registers.
                rule: ContextRule::Flat { start: 8, writable: false },
            },
            helpers: TRACING,
            ..base
        },
        ProgType::RawTracepoint => TypeDecl {
            context: Context {
                name: "struct bpf_raw_tracepoint_args",
                size: RAW_TRACEPOINT_SIZE,
                rule: ContextRule::Flat { start: 0, writable: false },
            },
            helpers: TRACING,
            ..base
        },
        ProgType::PerfEvent => TypeDecl {
            context: PerfEvent::<{ perf_event::X86_64_REGISTERS }>::CONTEXT.rules(),
            helpers: &[
                helpers::BASE,
                helpers::TRACE,
                helpers::TASK,
                helpers::USER_MEMORY,
                helpers::TRACING,
                helpers::PERF_EVENT,
            ],
            ..base
        },
        ProgType::CgroupSock => TypeDecl {
            context: match attach_type {
                // Linux takes 0 for creation.
                0 | attach::CGROUP_INET_SOCK_CREATE | attach::CGROUP_INET_SOCK_RELEASE => {
                    socket::CGROUP_SOCK
                }
                attach::CGROUP_INET4_POST_BIND => socket::CGROUP_SOCK_BIND4,
                attach::CGROUP_INET6_POST_BIND => socket::CGROUP_SOCK_BIND6,
                _ => return None,
            },
            helpers: &[helpers::BASE, helpers::TRACE, helpers::CGROUP, helpers::CGROUP_SOCK],
            returns: Some((0, 1)),
            ..base
        },
        ProgType::CgroupSockAddr => sock_addr(attach_type, base)?,
        ProgType::CgroupDevice => TypeDecl {
            context: cgroup::DEVICE,
            helpers: &[helpers::BASE, helpers::TRACE, helpers::CGROUP],
            returns: Some((0, 1)),
            ..base
        },
        ProgType::CgroupSysctl => TypeDecl {
            context: cgroup::SYSCTL,
            helpers: &[helpers::BASE, helpers::TRACE, helpers::CGROUP, helpers::CGROUP_SYSCTL],
            returns: Some((0, 1)),
            ..base
        },
        ProgType::CgroupSockopt => TypeDecl {
            context: match attach_type {
                attach::CGROUP_GETSOCKOPT => cgroup::GETSOCKOPT,
                attach::CGROUP_SETSOCKOPT => cgroup::SETSOCKOPT,
                _ => return None,
            },
            helpers: &[helpers::BASE, helpers::TRACE, helpers::CGROUP, helpers::CGROUP_SOCKOPT],
            returns: Some((0, 1)),
            packet_write: true,
            ..base
        },
        ProgType::SockOps => TypeDecl {
            context: stream::SOCK_OPS,
            helpers: &[helpers::BASE, helpers::TRACE, helpers::SOCK_OPS],
            returns: Some((0, 1)),
            ..base
        },
        ProgType::SkSkb => TypeDecl {
            context: skb::SK_SKB,
            helpers: &[helpers::BASE, helpers::TRACE, helpers::SK_SKB],
            packet_write: true,
            ..base
        },
        ProgType::SkMsg => TypeDecl {
            context: stream::SK_MSG,
            helpers: &[helpers::BASE, helpers::TRACE, helpers::SK_MSG],
            packet_write: true,
            ..base
        },
        ProgType::SkReuseport => TypeDecl {
            context: match attach_type {
                // Linux takes 0 for selection.
                0 | attach::SK_REUSEPORT_SELECT | attach::SK_REUSEPORT_SELECT_OR_MIGRATE => {
                    stream::SK_REUSEPORT
                }
                _ => return None,
            },
            helpers: &[helpers::BASE, helpers::TRACE, helpers::SK_REUSEPORT],
            ..base
        },
        ProgType::SkLookup => TypeDecl {
            context: if attach_type == attach::SK_LOOKUP {
                stream::SK_LOOKUP
            } else {
                return None;
            },
            helpers: &[helpers::BASE, helpers::TRACE, helpers::SK_LOOKUP],
            returns: Some((0, 1)),
            ..base
        },
        ProgType::FlowDissector => TypeDecl {
            context: stream::FLOW_DISSECTOR,
            helpers: &[helpers::BASE, helpers::TRACE, helpers::FLOW_DISSECTOR],
            ..base
        },
        ProgType::LwtSeg6Local => TypeDecl {
            context: skb::LWT,
            helpers: &[helpers::BASE, helpers::TRACE, helpers::LWT, helpers::LWT_SEG6],
            ..base
        },
        ProgType::LircMode2 => TypeDecl {
            context: stream::LIRC_MODE2,
            helpers: &[helpers::BASE, helpers::TRACE, helpers::LIRC],
            ..base
        },
        ProgType::RawTracepointWritable => {
            TypeDecl { context: stream::RAW_TRACEPOINT_WRITABLE, helpers: TRACING, ..base }
        }
        ProgType::Netfilter => TypeDecl {
            context: if attach_type == attach::NETFILTER {
                stream::NETFILTER
            } else {
                return None;
            },
            helpers: &[helpers::BASE, helpers::TRACE],
            returns: Some((0, 1)),
            ..base
        },
        ProgType::Syscall => TypeDecl {
            context: stream::SYSCALL,
            helpers: &[
                helpers::BASE,
                helpers::TRACE,
                helpers::TASK,
                helpers::USER_MEMORY,
                helpers::TRACING,
                helpers::SYSCALL,
            ],
            sleepable: Sleepable::Always,
            ..base
        },
        ProgType::Tracing => tracing(attach_type, base)?,
        ProgType::Lsm => TypeDecl {
            context: ARGUMENTS,
            helpers: &[
                helpers::BASE,
                helpers::TRACE,
                helpers::TASK,
                helpers::USER_MEMORY,
                helpers::TRACING,
                helpers::TRACING_BTF,
                helpers::LSM,
            ],
            // Denials are error numbers; at a control group's hook 0 denies.
            returns: match attach_type {
                attach::LSM_MAC => Some((-4095, 0)),
                attach::LSM_CGROUP => Some((0, 1)),
                _ => return None,
            },
            target: Target::SecurityHook,
            sleepable: Sleepable::Allowed,
            ..base
        },
        ProgType::StructOps => TypeDecl {
            context: ARGUMENTS,
            helpers: &[helpers::BASE, helpers::TRACE, helpers::TASK],
            target: Target::Operation,
            sleepable: Sleepable::Allowed,
            ..base
        },
        // An extension has the rules of the program that it replaces a function of.
        ProgType::Ext | ProgType::LemmaHook => return None,
    })
}

/// Programs about addresses of sockets: the fields are those of the address family.
fn sock_addr(attach_type: u32, base: TypeDecl) -> Option<TypeDecl> {
    use attach as a;
    let context = match attach_type {
        a::CGROUP_INET4_BIND
        | a::CGROUP_INET4_CONNECT
        | a::CGROUP_INET4_GETPEERNAME
        | a::CGROUP_INET4_GETSOCKNAME
        | a::CGROUP_UDP4_RECVMSG => cgroup::SOCK_ADDR4,
        a::CGROUP_INET6_BIND
        | a::CGROUP_INET6_CONNECT
        | a::CGROUP_INET6_GETPEERNAME
        | a::CGROUP_INET6_GETSOCKNAME
        | a::CGROUP_UDP6_RECVMSG => cgroup::SOCK_ADDR6,
        a::CGROUP_UDP4_SENDMSG => cgroup::SOCK_ADDR4_SEND,
        a::CGROUP_UDP6_SENDMSG => cgroup::SOCK_ADDR6_SEND,
        a::CGROUP_UNIX_CONNECT
        | a::CGROUP_UNIX_SENDMSG
        | a::CGROUP_UNIX_RECVMSG
        | a::CGROUP_UNIX_GETPEERNAME
        | a::CGROUP_UNIX_GETSOCKNAME => cgroup::SOCK_ADDR_UNIX,
        _ => return None,
    };
    let returns = match attach_type {
        // Names and received messages cannot be refused.
        a::CGROUP_UDP4_RECVMSG
        | a::CGROUP_UDP6_RECVMSG
        | a::CGROUP_UNIX_RECVMSG
        | a::CGROUP_INET4_GETPEERNAME
        | a::CGROUP_INET6_GETPEERNAME
        | a::CGROUP_UNIX_GETPEERNAME
        | a::CGROUP_INET4_GETSOCKNAME
        | a::CGROUP_INET6_GETSOCKNAME
        | a::CGROUP_UNIX_GETSOCKNAME => (1, 1),
        // The second bit lets unprivileged ports be bound.
        a::CGROUP_INET4_BIND | a::CGROUP_INET6_BIND => (0, 3),
        _ => (0, 1),
    };
    let connects = matches!(attach_type, a::CGROUP_INET4_CONNECT | a::CGROUP_INET6_CONNECT);
    let helpers: &[&[i32]] = if connects {
        &[
            helpers::BASE,
            helpers::TRACE,
            helpers::CGROUP,
            helpers::CGROUP_SOCK_ADDR,
            helpers::CGROUP_CONNECT,
        ]
    } else {
        &[helpers::BASE, helpers::TRACE, helpers::CGROUP, helpers::CGROUP_SOCK_ADDR]
    };
    Some(TypeDecl { context, helpers, returns: Some(returns), ..base })
}

const ARGUMENTS: Context =
    Context { name: "the function's arguments", size: 12 * 8, rule: ContextRule::Arguments };

/// Programs at kernel functions and typed tracepoints.
fn tracing(attach_type: u32, base: TypeDecl) -> Option<TypeDecl> {
    let (target, returns) = match attach_type {
        attach::TRACE_RAW_TP => (Target::RawTracepoint, None),
        attach::TRACE_FENTRY => (Target::FunctionEntry, Some((0, 0))),
        attach::TRACE_FEXIT => (Target::FunctionExit, Some((0, 0))),
        attach::MODIFY_RETURN => (Target::FunctionResult, None),
        attach::TRACE_ITER => (Target::Iterator, Some((0, 1))),
        _ => return None,
    };
    let functions =
        matches!(target, Target::FunctionEntry | Target::FunctionExit | Target::FunctionResult);
    let helpers: &[&[i32]] = match target {
        Target::Iterator => TRACING_ITER,
        _ if functions => TRACING_FUNCTION,
        _ => TRACING_TYPED,
    };
    let sleepable = functions || target == Target::Iterator;
    Some(TypeDecl {
        context: ARGUMENTS,
        helpers,
        returns,
        target,
        sleepable: if sleepable { Sleepable::Allowed } else { Sleepable::Never },
        ..base
    })
}

const TRACING_TYPED: &[&[i32]] = &[
    helpers::BASE,
    helpers::TRACE,
    helpers::TASK,
    helpers::USER_MEMORY,
    helpers::TRACING,
    helpers::TRACING_BTF,
];
const TRACING_FUNCTION: &[&[i32]] = &[
    helpers::BASE,
    helpers::TRACE,
    helpers::TASK,
    helpers::USER_MEMORY,
    helpers::TRACING,
    helpers::TRACING_BTF,
    helpers::TRACING_FUNCTION,
];
const TRACING_ITER: &[&[i32]] = &[
    helpers::BASE,
    helpers::TRACE,
    helpers::TASK,
    helpers::USER_MEMORY,
    helpers::TRACING,
    helpers::TRACING_BTF,
    helpers::TRACING_ITER,
];

const TRACING: &[&[i32]] =
    &[helpers::BASE, helpers::TRACE, helpers::TASK, helpers::USER_MEMORY, helpers::TRACING];
