//! Contexts of programs of control groups: addresses, devices, sysctls, socket options
//! (Linux `net/core/filter.c` and `kernel/bpf/cgroup.c`).

use super::context::{Access, Context, ContextRule, Field, FieldKind};

/// A field of a socket's address: read in parts, or eight bytes at once where aligned;
/// written whole.
const fn address(name: &'static str, offset: u16, size: u16) -> Field {
    let wide = size > 4;
    Field {
        read: Access::UpTo(if wide { 8 } else { 4 }),
        write: if wide { Access::Either(4, 8) } else { Access::Exact(4) },
        ..Field::scalar(name, offset, size)
    }
}

const fn word(name: &'static str, offset: u16) -> Field {
    Field::whole(name, offset, 4, 4)
}

const USER_FAMILY: Field = word("user_family", 0);
const USER_IP4: Field = address("user_ip4", 4, 4);
const USER_IP6: Field = address("user_ip6", 8, 16);
const USER_PORT: Field = address("user_port", 24, 4);
const FAMILY: Field = word("family", 28);
const TYPE: Field = word("type", 32);
const PROTOCOL: Field = word("protocol", 36);
const MSG_SRC_IP4: Field = address("msg_src_ip4", 40, 4);
const MSG_SRC_IP6: Field = address("msg_src_ip6", 44, 16);
const SK: Field = Field::address("sk", 64, FieldKind::Socket);

const fn sock_addr(fields: &'static [Field]) -> Context {
    Context { name: "struct bpf_sock_addr", size: 72, rule: ContextRule::Fields(fields) }
}

/// IPv4: bind, connect, names, received messages.
pub const SOCK_ADDR4: Context =
    sock_addr(&[USER_FAMILY, USER_IP4, USER_PORT, FAMILY, TYPE, PROTOCOL, SK]);
/// The same for IPv6.
pub const SOCK_ADDR6: Context =
    sock_addr(&[USER_FAMILY, USER_IP6, USER_PORT, FAMILY, TYPE, PROTOCOL, SK]);
/// IPv4 messages that are sent.
pub const SOCK_ADDR4_SEND: Context =
    sock_addr(&[USER_FAMILY, USER_IP4, USER_PORT, FAMILY, TYPE, PROTOCOL, MSG_SRC_IP4, SK]);
/// The same for IPv6.
pub const SOCK_ADDR6_SEND: Context =
    sock_addr(&[USER_FAMILY, USER_IP6, USER_PORT, FAMILY, TYPE, PROTOCOL, MSG_SRC_IP6, SK]);
/// Unix sockets.
pub const SOCK_ADDR_UNIX: Context =
    sock_addr(&[USER_FAMILY, USER_PORT, FAMILY, TYPE, PROTOCOL, SK]);

/// Access to a device.
pub const DEVICE: Context = Context {
    name: "struct bpf_cgroup_dev_ctx",
    size: 12,
    rule: ContextRule::Fields(&[
        Field::scalar("access_type", 0, 4),
        word("major", 4),
        word("minor", 8),
    ]),
};

/// Access to a sysctl.
pub const SYSCTL: Context = Context {
    name: "struct bpf_sysctl",
    size: 8,
    rule: ContextRule::Fields(&[
        Field::scalar("write", 0, 4),
        Field::scalar("file_pos", 4, 4).writable(),
    ]),
};

const OPT_SK: Field = Field::address("sk", 0, FieldKind::Socket);
const OPT_VAL: Field = Field::address("optval", 8, FieldKind::PacketData);
const OPT_END: Field = Field::address("optval_end", 16, FieldKind::PacketEnd);
const OPT_LEVEL: Field = word("level", 24);
const OPT_NAME: Field = word("optname", 28);
const OPT_LEN: Field = word("optlen", 32).writable();

const fn sockopt(fields: &'static [Field]) -> Context {
    Context { name: "struct bpf_sockopt", size: 40, rule: ContextRule::Fields(fields) }
}

/// A socket option is read.
pub const GETSOCKOPT: Context = sockopt(&[
    OPT_SK,
    OPT_VAL,
    OPT_END,
    OPT_LEVEL,
    OPT_NAME,
    OPT_LEN,
    word("retval", 36).writable(),
]);
/// A socket option is set.
pub const SETSOCKOPT: Context =
    sockopt(&[OPT_SK, OPT_VAL, OPT_END, OPT_LEVEL.writable(), OPT_NAME.writable(), OPT_LEN]);
