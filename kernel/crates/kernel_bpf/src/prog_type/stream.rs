//! Contexts of programs about sockets and their messages: lookup, port reuse, socket
//! operations and messages (Linux `net/core/filter.c`), and of some small types.

use super::context::{Access, Context, ContextRule, Field, FieldKind};

const fn word(name: &'static str, offset: u16) -> Field {
    Field::whole(name, offset, 4, 4)
}

/// Read in parts of at most four bytes.
const fn parts(name: &'static str, offset: u16, size: u16) -> Field {
    Field { read: Access::UpTo(4), ..Field::scalar(name, offset, size) }
}

/// `struct bpf_sk_lookup`.
pub const SK_LOOKUP: Context = Context {
    name: "struct bpf_sk_lookup",
    size: 72,
    rule: ContextRule::Fields(&[
        Field::address("sk", 0, FieldKind::SocketOrNull),
        parts("family", 8, 4),
        parts("protocol", 12, 4),
        parts("remote_ip4", 16, 4),
        parts("remote_ip6", 20, 16),
        // Four bytes are allowed as well, with the padding behind it.
        Field::scalar("remote_port", 36, 2),
        word("remote_port", 36),
        Field::scalar("padding", 38, 2),
        parts("local_ip4", 40, 4),
        parts("local_ip6", 44, 16),
        parts("local_port", 60, 4),
        parts("ingress_ifindex", 64, 4),
    ]),
};

/// `struct sk_msg_md`.
pub const SK_MSG: Context = Context {
    name: "struct sk_msg_md",
    size: 80,
    rule: ContextRule::Fields(&[
        Field::address("data", 0, FieldKind::PacketData),
        Field::address("data_end", 8, FieldKind::PacketEnd),
        word("family", 16),
        word("remote_ip4", 20),
        word("local_ip4", 24),
        Field::whole("remote_ip6", 28, 16, 4),
        Field::whole("local_ip6", 44, 16, 4),
        word("remote_port", 60),
        word("local_port", 64),
        word("size", 68),
        Field::address("sk", 72, FieldKind::Socket),
    ]),
};

/// `struct sk_reuseport_md`.
pub const SK_REUSEPORT: Context = Context {
    name: "struct sk_reuseport_md",
    size: 56,
    rule: ContextRule::Fields(&[
        Field::address("data", 0, FieldKind::PacketData),
        Field::address("data_end", 8, FieldKind::PacketEnd),
        parts("len", 16, 4),
        Field { read: Access::Either(2, 4), ..Field::scalar("eth_protocol", 20, 4) },
        parts("ip_protocol", 24, 4),
        parts("bind_inany", 28, 4),
        word("hash", 32),
        Field::address("sk", 40, FieldKind::Socket),
        Field::address("migrating_sk", 48, FieldKind::SockCommonOrNull),
    ]),
};

/// `struct bpf_sock_ops`.
pub const SOCK_OPS: Context = Context {
    name: "struct bpf_sock_ops",
    size: 224,
    rule: ContextRule::Fields(&[
        word("op", 0),
        word("reply", 4).writable(),
        Field::whole("args", 8, 12, 4),
        word("family", 20),
        word("remote_ip4", 24),
        word("local_ip4", 28),
        Field::whole("remote_ip6", 32, 16, 4),
        Field::whole("local_ip6", 48, 16, 4),
        word("remote_port", 64),
        word("local_port", 68),
        Field::whole("is_fullsock to sacked_out", 72, 92, 4),
        word("sk_txhash", 164).writable(),
        Field::whole("bytes_received", 168, 8, 8),
        Field::whole("bytes_acked", 176, 8, 8),
        Field::address("sk", 184, FieldKind::SocketOrNull),
        Field::address("skb_data", 192, FieldKind::PacketData),
        Field::address("skb_data_end", 200, FieldKind::PacketEnd),
        word("skb_len", 208),
        parts("skb_tcp_flags", 212, 4),
        Field::whole("skb_hwtstamp", 216, 8, 8),
    ]),
};

/// What the dissector of flows sees of `struct __sk_buff`.
pub const FLOW_DISSECTOR: Context = Context {
    name: "struct __sk_buff",
    size: 192,
    rule: ContextRule::Fields(&[
        Field::pointer("data", 76, FieldKind::PacketData),
        Field::pointer("data_end", 80, FieldKind::PacketEnd),
        Field::address("flow_keys", 144, FieldKind::FlowKeys),
    ]),
};

/// Bytes of `struct bpf_flow_keys`.
pub const FLOW_KEYS_SIZE: u32 = 56;

/// A sample of an infrared receiver.
pub const LIRC_MODE2: Context =
    Context { name: "the sample", size: 4, rule: ContextRule::Fields(&[word("sample", 0)]) };

/// `struct bpf_nf_ctx`.
pub const NETFILTER: Context = Context {
    name: "struct bpf_nf_ctx",
    size: 16,
    rule: ContextRule::Fields(&[
        Field::address("state", 0, FieldKind::Btf("nf_hook_state")),
        Field::address("skb", 8, FieldKind::Btf("sk_buff")),
    ]),
};

/// `struct bpf_raw_tracepoint_args` of a writable tracepoint: the first word is its buffer.
pub const RAW_TRACEPOINT_WRITABLE: Context = Context {
    name: "struct bpf_raw_tracepoint_args",
    size: 12 * 8,
    rule: ContextRule::Fields(&[
        Field::address("buffer", 0, FieldKind::TraceBuffer),
        Field { read: Access::UpTo(8), ..Field::scalar("args", 8, 88) },
    ]),
};

/// `BPF_PROG_TYPE_SYSCALL`: whatever the caller hands in.
pub const SYSCALL: Context = Context {
    name: "the caller's context",
    size: 0xffff,
    rule: ContextRule::Flat { start: 0, writable: true },
};
