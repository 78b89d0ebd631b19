//! Names of sections: which program type and attach point each stands for, as libbpf has them,
//! and Lemma's own `hook/NAME`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Attach, ObjectError};
use crate::hook;
use crate::prog_type::ProgType;

/// What the name of a program's section says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Meaning {
    pub(super) prog_type: ProgType,
    pub(super) expected_attach_type: u32,
    pub(super) attach: Attach,
}

/// Sections whose name alone, or followed by `/` and anything, names a type:
/// name, type, Linux's `expected_attach_type`.
const PLAIN: &[(&str, ProgType, u32)] = &[
    ("socket", ProgType::SocketFilter, 0),
    ("xdp/devmap", ProgType::Xdp, 33),
    ("xdp/cpumap", ProgType::Xdp, 35),
    ("xdp", ProgType::Xdp, 37),
    ("tc", ProgType::SchedCls, 0),
    ("classifier", ProgType::SchedCls, 0),
    ("action", ProgType::SchedAct, 0),
    ("cgroup_skb/ingress", ProgType::CgroupSkb, 0),
    ("cgroup_skb/egress", ProgType::CgroupSkb, 1),
    ("cgroup/skb", ProgType::CgroupSkb, 0),
    ("lwt_in", ProgType::LwtIn, 0),
    ("lwt_out", ProgType::LwtOut, 0),
    ("lwt_xmit", ProgType::LwtXmit, 0),
    ("kprobe", ProgType::Kprobe, 0),
    ("kretprobe", ProgType::Kprobe, 0),
    ("uprobe", ProgType::Kprobe, 0),
    ("uretprobe", ProgType::Kprobe, 0),
    ("tcx/ingress", ProgType::SchedCls, 46),
    ("tcx/egress", ProgType::SchedCls, 47),
    ("tcx", ProgType::SchedCls, 46),
    ("lwt_seg6local", ProgType::LwtSeg6Local, 0),
    ("sockops", ProgType::SockOps, 3),
    ("sk_skb/stream_parser", ProgType::SkSkb, 4),
    ("sk_skb/stream_verdict", ProgType::SkSkb, 5),
    ("sk_skb/verdict", ProgType::SkSkb, 38),
    ("sk_skb", ProgType::SkSkb, 0),
    ("sk_msg", ProgType::SkMsg, 7),
    ("lirc_mode2", ProgType::LircMode2, 16),
    ("flow_dissector", ProgType::FlowDissector, 17),
    ("sk_reuseport/migrate", ProgType::SkReuseport, 40),
    ("sk_reuseport", ProgType::SkReuseport, 39),
    ("sk_lookup", ProgType::SkLookup, 36),
    ("syscall", ProgType::Syscall, 0),
    ("netfilter", ProgType::Netfilter, 45),
    ("cgroup/dev", ProgType::CgroupDevice, 6),
    ("cgroup/sysctl", ProgType::CgroupSysctl, 18),
    ("cgroup/getsockopt", ProgType::CgroupSockopt, 21),
    ("cgroup/setsockopt", ProgType::CgroupSockopt, 22),
    ("cgroup/sock_create", ProgType::CgroupSock, 2),
    ("cgroup/sock_release", ProgType::CgroupSock, 34),
    ("cgroup/sock", ProgType::CgroupSock, 2),
    ("cgroup/post_bind4", ProgType::CgroupSock, 12),
    ("cgroup/post_bind6", ProgType::CgroupSock, 13),
    ("cgroup/bind4", ProgType::CgroupSockAddr, 8),
    ("cgroup/bind6", ProgType::CgroupSockAddr, 9),
    ("cgroup/connect4", ProgType::CgroupSockAddr, 10),
    ("cgroup/connect6", ProgType::CgroupSockAddr, 11),
    ("cgroup/sendmsg4", ProgType::CgroupSockAddr, 14),
    ("cgroup/sendmsg6", ProgType::CgroupSockAddr, 15),
    ("cgroup/recvmsg4", ProgType::CgroupSockAddr, 19),
    ("cgroup/recvmsg6", ProgType::CgroupSockAddr, 20),
    ("cgroup/getpeername4", ProgType::CgroupSockAddr, 29),
    ("cgroup/getpeername6", ProgType::CgroupSockAddr, 30),
    ("cgroup/getsockname4", ProgType::CgroupSockAddr, 31),
    ("cgroup/getsockname6", ProgType::CgroupSockAddr, 32),
];

/// Sections of programs that are attached to functions and structures of a kernel by their
/// types, which a kernel of ours does not have.
const BY_TYPE: &[&str] = &[
    "fentry",
    "fentry.s",
    "fexit",
    "fexit.s",
    "fmod_ret",
    "fmod_ret.s",
    "freplace",
    "iter",
    "iter.s",
    "lsm",
    "lsm.s",
    "lsm_cgroup",
    "struct_ops",
    "struct_ops.s",
    "tp_btf",
];

/// The meaning of a section with code.
pub(super) fn meaning(name: &str) -> Result<Meaning, ObjectError> {
    // libbpf: a question mark says "not loaded unless asked for".
    let plain = name.strip_prefix('?').unwrap_or(name);
    let meaning = |prog_type, expected_attach_type, attach| {
        Ok(Meaning { prog_type, expected_attach_type, attach })
    };
    let (kind, rest) = match plain.split_once('/') {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (plain, None),
    };
    match (kind, rest) {
        ("hook", Some(hook_name)) => {
            let Some(decl) = hook::by_name(hook_name) else {
                let names: Vec<&str> = hook::HOOKS.iter().map(|decl| decl.name).collect();
                let names = names.join(", ");
                return Err(ObjectError::new(name, format!("no such hook; there are {names}")));
            };
            meaning(ProgType::LemmaHook, decl.attach_type, Attach::Hook(decl.attach_type))
        }
        ("raw_tp" | "raw_tracepoint", Some(point)) if !point.is_empty() => {
            meaning(ProgType::RawTracepoint, 0, Attach::RawTracepoint(point.to_string()))
        }
        ("raw_tp" | "raw_tracepoint", None) => meaning(ProgType::RawTracepoint, 0, Attach::Nowhere),
        ("tp" | "tracepoint", None) => meaning(ProgType::Tracepoint, 0, Attach::Nowhere),
        ("tp" | "tracepoint", Some(point)) => match point.split_once('/') {
            Some((category, event)) if !category.is_empty() && !event.is_empty() => {
                let (category, name) = (category.to_string(), event.to_string());
                meaning(ProgType::Tracepoint, 0, Attach::Tracepoint { category, name })
            }
            _ => Err(ObjectError::new(name, "a tracepoint is CATEGORY/NAME")),
        },
        ("perf_event", None) => meaning(ProgType::PerfEvent, 0, Attach::PerfEvent),
        _ => {
            let known = PLAIN.iter().find(|(prefix, ..)| {
                plain
                    .strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            match known {
                Some((_, prog_type, attach_type)) => {
                    meaning(*prog_type, *attach_type, Attach::Nowhere)
                }
                None if BY_TYPE.contains(&kind) => {
                    let reason = "programs of this kind are attached to types of a kernel that \
                                  Lemma's does not have";
                    Err(ObjectError::new(name, reason))
                }
                None => Err(ObjectError::new(name, unknown())),
            }
        }
    }
}

fn unknown() -> String {
    String::from(
        "unknown section name; programs are in hook/NAME, raw_tp/NAME, tp/CATEGORY/NAME, \
         perf_event, socket, xdp, tc and their like",
    )
}
