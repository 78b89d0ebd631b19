//! Contexts of packets: `struct __sk_buff` as each program type sees it, and
//! `struct xdp_md` (Linux `include/uapi/linux/bpf.h`; access rules as in
//! `net/core/filter.c`).

use super::context::{Access, Context, ContextRule, Field, FieldKind};

const fn num(name: &'static str, offset: u16) -> Field {
    Field::scalar(name, offset, 4)
}

const LEN: Field = num("len", 0);
const PKT_TYPE: Field = num("pkt_type", 4);
const MARK: Field = num("mark", 8);
const QUEUE_MAPPING: Field = num("queue_mapping", 12);
const PROTOCOL: Field = num("protocol", 16);
const VLAN_PRESENT: Field = num("vlan_present", 20);
const VLAN_TCI: Field = num("vlan_tci", 24);
const VLAN_PROTO: Field = num("vlan_proto", 28);
const PRIORITY: Field = num("priority", 32);
const INGRESS_IFINDEX: Field = num("ingress_ifindex", 36);
const IFINDEX: Field = num("ifindex", 40);
const TC_INDEX: Field = num("tc_index", 44);
const CB: Field =
    Field { write: Access::UpTo(8), read: Access::UpTo(8), ..Field::scalar("cb", 48, 20) };
const HASH: Field = num("hash", 68);
const TC_CLASSID: Field = num("tc_classid", 72);
const DATA: Field = Field::pointer("data", 76, FieldKind::PacketData);
const DATA_END: Field = Field::pointer("data_end", 80, FieldKind::PacketEnd);
const NAPI_ID: Field = num("napi_id", 84);
const FAMILY: Field = num("family", 88);
const REMOTE_IP4: Field = Field::whole("remote_ip4", 92, 4, 4);
const LOCAL_IP4: Field = Field::whole("local_ip4", 96, 4, 4);
const REMOTE_IP6: Field = Field::whole("remote_ip6", 100, 16, 4);
const LOCAL_IP6: Field = Field::whole("local_ip6", 116, 16, 4);
const REMOTE_PORT: Field = num("remote_port", 132);
const LOCAL_PORT: Field = num("local_port", 136);
const DATA_META: Field = Field::pointer("data_meta", 140, FieldKind::PacketMeta);
const TSTAMP: Field = Field::whole("tstamp", 152, 8, 8);
const WIRE_LEN: Field = num("wire_len", 160);
const GSO_SEGS: Field = num("gso_segs", 164);
const SK: Field = Field { kind: FieldKind::SockCommonOrNull, ..Field::whole("sk", 168, 8, 8) };
const GSO_SIZE: Field = num("gso_size", 176);
const TSTAMP_TYPE: Field = Field::scalar("tstamp_type", 180, 1);
const HWTSTAMP: Field = Field::whole("hwtstamp", 184, 8, 8);

const fn skb(fields: &'static [Field]) -> Context {
    Context { name: "struct __sk_buff", size: 192, rule: ContextRule::Fields(fields) }
}

/// Socket filters: may write `cb` only, no packet pointers.
pub const SOCKET_FILTER: Context = skb(&[
    LEN,
    PKT_TYPE,
    MARK,
    QUEUE_MAPPING,
    PROTOCOL,
    VLAN_PRESENT,
    VLAN_TCI,
    VLAN_PROTO,
    PRIORITY,
    INGRESS_IFINDEX,
    IFINDEX,
    TC_INDEX,
    CB,
    HASH,
    NAPI_ID,
    GSO_SEGS,
    SK,
    GSO_SIZE,
]);

/// Traffic control classifiers and actions.
pub const SCHED_CLS: Context = skb(&[
    LEN,
    PKT_TYPE,
    MARK.writable(),
    QUEUE_MAPPING.writable(),
    PROTOCOL,
    VLAN_PRESENT,
    VLAN_TCI,
    VLAN_PROTO,
    PRIORITY.writable(),
    INGRESS_IFINDEX,
    IFINDEX,
    TC_INDEX.writable(),
    CB,
    HASH,
    TC_CLASSID.writable(),
    DATA,
    DATA_END,
    NAPI_ID,
    DATA_META,
    TSTAMP.writable(),
    WIRE_LEN,
    GSO_SEGS,
    SK,
    GSO_SIZE,
    TSTAMP_TYPE,
    HWTSTAMP,
]);

/// Control-group socket buffers.
pub const CGROUP_SKB: Context = skb(&[
    LEN,
    PKT_TYPE,
    MARK.writable(),
    QUEUE_MAPPING,
    PROTOCOL,
    VLAN_PRESENT,
    VLAN_TCI,
    VLAN_PROTO,
    PRIORITY.writable(),
    INGRESS_IFINDEX,
    IFINDEX,
    TC_INDEX,
    CB,
    HASH,
    DATA.privileged(),
    DATA_END.privileged(),
    NAPI_ID,
    FAMILY,
    REMOTE_IP4,
    LOCAL_IP4,
    REMOTE_IP6,
    LOCAL_IP6,
    REMOTE_PORT,
    LOCAL_PORT,
    // Linux lets everybody read it and only privileged loaders write it.
    TSTAMP.writable().privileged(),
    GSO_SEGS,
    SK,
    GSO_SIZE,
    HWTSTAMP,
]);

/// Lightweight tunnels.
pub const LWT: Context = skb(&[
    LEN,
    PKT_TYPE,
    MARK.writable(),
    QUEUE_MAPPING,
    PROTOCOL,
    VLAN_PRESENT,
    VLAN_TCI,
    VLAN_PROTO,
    PRIORITY.writable(),
    INGRESS_IFINDEX,
    IFINDEX,
    TC_INDEX,
    CB,
    HASH,
    DATA,
    DATA_END,
    NAPI_ID,
    GSO_SEGS,
    SK,
    GSO_SIZE,
]);

/// Parsers and verdicts of socket streams.
pub const SK_SKB: Context = skb(&[
    LEN,
    PKT_TYPE,
    QUEUE_MAPPING,
    PROTOCOL,
    VLAN_PRESENT,
    VLAN_TCI,
    VLAN_PROTO,
    PRIORITY.writable(),
    INGRESS_IFINDEX,
    IFINDEX,
    TC_INDEX.writable(),
    Field { write: Access::None, ..CB },
    HASH,
    DATA,
    DATA_END,
    NAPI_ID,
    FAMILY,
    REMOTE_IP4,
    LOCAL_IP4,
    REMOTE_IP6,
    LOCAL_IP6,
    REMOTE_PORT,
    LOCAL_PORT,
    GSO_SEGS,
    SK,
    GSO_SIZE,
]);

/// `struct xdp_md` where there is no egress device.
pub const XDP: Context = xdp(&[
    Field::pointer("data", 0, FieldKind::PacketData),
    Field::pointer("data_end", 4, FieldKind::PacketEnd),
    Field::pointer("data_meta", 8, FieldKind::PacketMeta),
    Field::whole("ingress_ifindex", 12, 4, 4),
    Field::whole("rx_queue_index", 16, 4, 4),
]);

/// `struct xdp_md` of programs that run for an egress device.
pub const XDP_DEVMAP: Context = xdp(&[
    Field::pointer("data", 0, FieldKind::PacketData),
    Field::pointer("data_end", 4, FieldKind::PacketEnd),
    Field::pointer("data_meta", 8, FieldKind::PacketMeta),
    Field::whole("ingress_ifindex", 12, 4, 4),
    Field::whole("rx_queue_index", 16, 4, 4),
    Field::whole("egress_ifindex", 20, 4, 4),
]);

const fn xdp(fields: &'static [Field]) -> Context {
    Context { name: "struct xdp_md", size: 24, rule: ContextRule::Fields(fields) }
}
