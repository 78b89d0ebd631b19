//! The rules of Linux's program types, one entry each.

use super::context::{Access, Context, ContextRule, Field};
use super::{ProgType, TypeDecl, helpers, skb};

/// `struct pt_regs` of x86_64.
const PT_REGS_SIZE: u32 = 168;
/// Linux's `PERF_MAX_TRACE_SIZE`.
const TRACEPOINT_SIZE: u32 = 2048;
/// Linux's `MAX_BPF_FUNC_ARGS` words.
const RAW_TRACEPOINT_SIZE: u32 = 12 * 8;
/// `BPF_XDP_DEVMAP`.
const ATTACH_XDP_DEVMAP: u32 = 33;
/// `BPF_CGROUP_INET_EGRESS`.
const ATTACH_CGROUP_INET_EGRESS: u32 = 1;

const PERF_EVENT_CONTEXT: Context = Context {
    name: "struct bpf_perf_event_data",
    size: PT_REGS_SIZE + 16,
    rule: ContextRule::Words(&[
        Field { read: Access::UpTo(8), ..Field::scalar("sample_period", 168, 8) },
        Field { read: Access::UpTo(8), ..Field::scalar("addr", 176, 8) },
    ]),
};

pub(super) fn decl(prog_type: ProgType, attach_type: u32) -> Option<TypeDecl> {
    let base = TypeDecl {
        name: prog_type.name(),
        context: skb::SOCKET_FILTER,
        helpers: &[],
        returns: None,
        packet_write: false,
        unprivileged: false,
        hook: None,
    };
    Some(match prog_type {
        ProgType::SocketFilter => TypeDecl {
            helpers: &[helpers::BASE, helpers::TRACE, helpers::SOCKET_FILTER],
            unprivileged: true,
            ..base
        },
        ProgType::CgroupSkb => TypeDecl {
            context: skb::CGROUP_SKB,
            helpers: &[helpers::BASE, helpers::TRACE, helpers::SOCKET_FILTER, helpers::CGROUP_SKB],
            // Egress may also ask for congestion notification.
            returns: Some((0, if attach_type == ATTACH_CGROUP_INET_EGRESS { 3 } else { 1 })),
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
            context: if attach_type == ATTACH_XDP_DEVMAP { skb::XDP_DEVMAP } else { skb::XDP },
            helpers: &[helpers::BASE, helpers::TRACE, helpers::XDP],
            packet_write: true,
            ..base
        },
        ProgType::Kprobe => TypeDecl {
            context: Context {
                name: "struct pt_regs",
                size: PT_REGS_SIZE,
                rule: ContextRule::Flat { start: 0 },
            },
            helpers: TRACING,
            ..base
        },
        ProgType::Tracepoint => TypeDecl {
            context: Context {
                name: "the tracepoint's record",
                size: TRACEPOINT_SIZE,
                // The first word is the kernel's own pointer to the registers.
                rule: ContextRule::Flat { start: 8 },
            },
            helpers: TRACING,
            ..base
        },
        ProgType::RawTracepoint => TypeDecl {
            context: Context {
                name: "struct bpf_raw_tracepoint_args",
                size: RAW_TRACEPOINT_SIZE,
                rule: ContextRule::Flat { start: 0 },
            },
            helpers: TRACING,
            ..base
        },
        ProgType::PerfEvent => TypeDecl {
            context: PERF_EVENT_CONTEXT,
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
        ProgType::LemmaHook => return None,
    })
}

const TRACING: &[&[i32]] =
    &[helpers::BASE, helpers::TRACE, helpers::TASK, helpers::USER_MEMORY, helpers::TRACING];
