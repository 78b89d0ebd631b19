//! Fields of the socket structures that programs may read: `struct bpf_sock`, its
//! common part, and `struct bpf_tcp_sock` (Linux `bpf_sock_is_valid_access` and
//! `bpf_tcp_sock_is_valid_access`), and the contexts made of the first.

use super::context::{Access, Context, ContextRule, Field};

const fn word(name: &'static str, offset: u16) -> Field {
    Field::whole(name, offset, 4, 4)
}

/// Also in parts, from its first byte on.
const fn narrow(name: &'static str, offset: u16) -> Field {
    Field { read: Access::Head(4), ..Field::scalar(name, offset, 4) }
}

/// Also in parts, anywhere.
const fn parts(name: &'static str, offset: u16, size: u16) -> Field {
    Field { read: Access::UpTo(4), ..Field::scalar(name, offset, size) }
}

const SRC_IP4: Field = parts("src_ip4", 24, 4);
const SRC_IP6: Field = parts("src_ip6", 28, 16);
const DST_PORT: Field = Field::scalar("dst_port", 48, 2);
const DST_PORT_WORD: Field = word("dst_port", 48);
const DST_IP4: Field = parts("dst_ip4", 52, 4);
const DST_IP6: Field = parts("dst_ip6", 56, 16);

/// `struct bpf_sock` of a full socket.
pub const SOCK: &[Field] = &[
    word("bound_dev_if", 0),
    narrow("family", 4),
    narrow("type", 8),
    narrow("protocol", 12),
    word("mark", 16),
    word("priority", 20),
    SRC_IP4,
    SRC_IP6,
    narrow("src_port", 44),
    DST_PORT_WORD,
    DST_PORT,
    DST_IP4,
    DST_IP6,
    narrow("state", 72),
    narrow("rx_queue_mapping", 76),
];

/// The part that every kind of socket has.
pub const SOCK_COMMON: &[Field] = &[
    word("bound_dev_if", 0),
    narrow("family", 4),
    SRC_IP4,
    SRC_IP6,
    narrow("src_port", 44),
    DST_PORT_WORD,
    DST_PORT,
    DST_IP4,
    DST_IP6,
    narrow("state", 72),
    narrow("rx_queue_mapping", 76),
];

/// `struct bpf_xdp_sock`.
pub const XDP_SOCK: &[Field] = &[word("queue_id", 0)];

/// `struct bpf_tcp_sock`.
pub const TCP_SOCK: &[Field] = &[
    Field::whole("snd_cwnd to sacked_out", 0, 80, 4),
    Field::whole("bytes_received", 80, 8, 8),
    Field::whole("bytes_acked", 88, 8, 8),
    Field::whole("dsack_dups to icsk_retransmits", 96, 16, 4),
];

/// `struct bpf_sock` as the context of a control group's socket programs. What may be
/// accessed depends on the attach type (Linux `__sock_filter_check_attach_type`).
const fn cgroup_sock(fields: &'static [Field]) -> Context {
    Context { name: "struct bpf_sock", size: 80, rule: ContextRule::Fields(fields) }
}

/// Creation and release of a socket.
pub const CGROUP_SOCK: Context = cgroup_sock(&[
    word("bound_dev_if", 0).writable(),
    narrow("family", 4),
    narrow("type", 8),
    narrow("protocol", 12),
    word("mark", 16).writable(),
    word("priority", 20).writable(),
    DST_PORT_WORD,
    DST_PORT,
    DST_IP4,
    DST_IP6,
    narrow("state", 72),
    narrow("rx_queue_mapping", 76),
]);

/// After an IPv4 address was bound.
pub const CGROUP_SOCK_BIND4: Context = cgroup_sock(&[
    narrow("family", 4),
    narrow("type", 8),
    narrow("protocol", 12),
    SRC_IP4,
    narrow("src_port", 44),
    DST_PORT_WORD,
    DST_PORT,
    DST_IP4,
    DST_IP6,
    narrow("state", 72),
    narrow("rx_queue_mapping", 76),
]);

/// After an IPv6 address was bound.
pub const CGROUP_SOCK_BIND6: Context = cgroup_sock(&[
    narrow("family", 4),
    narrow("type", 8),
    narrow("protocol", 12),
    SRC_IP6,
    narrow("src_port", 44),
    DST_PORT_WORD,
    DST_PORT,
    DST_IP4,
    DST_IP6,
    narrow("state", 72),
    narrow("rx_queue_mapping", 76),
]);
