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
