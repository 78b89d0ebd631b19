//! Helpers about packets, sockets and control groups that [`super::CORE`] does not have.

use super::proto;
use crate::helper::proto::Arg::{
    self, Any, Ctx, CtxOrNull, MapKey, Mem, MemOrNull, Size, SizeOrZero, UninitMem,
};
use crate::helper::proto::Ret::{self, Scalar};
use crate::helper::proto::{HelperProto, id};

const MAP: Arg = Arg::ConstMapPtr;
const SOCK: Arg = Arg::BtfSockCommon;

/// Sorted by number.
pub(super) static HELPERS: &[HelperProto] = &[
    proto(id::SKB_GET_TUNNEL_KEY, "skb_get_tunnel_key", &[Ctx, UninitMem, Size, Any], Scalar, 40),
    proto(id::SKB_SET_TUNNEL_KEY, "skb_set_tunnel_key", &[Ctx, Mem, Size, Any], Scalar, 80),
    proto(id::GET_ROUTE_REALM, "get_route_realm", &[Ctx], Scalar, 10),
    proto(id::SKB_GET_TUNNEL_OPT, "skb_get_tunnel_opt", &[Ctx, UninitMem, Size], Scalar, 40)
        .per_word(2),
    proto(id::SKB_SET_TUNNEL_OPT, "skb_set_tunnel_opt", &[Ctx, Mem, Size], Scalar, 40).per_word(2),
    proto(id::SKB_UNDER_CGROUP, "skb_under_cgroup", &[Ctx, MAP, Any], Scalar, 30),
    proto(id::CURRENT_TASK_UNDER_CGROUP, "current_task_under_cgroup", &[MAP, Any], Scalar, 30),
    proto(id::SETSOCKOPT, "setsockopt", &[Ctx, Any, Any, Mem, Size], Scalar, 300),
    proto(id::SK_REDIRECT_MAP, "sk_redirect_map", &[Ctx, MAP, Any, Any], Scalar, 60),
    proto(id::SOCK_MAP_UPDATE, "sock_map_update", &[Ctx, MAP, MapKey, Any], Scalar, 200),
    proto(id::GETSOCKOPT, "getsockopt", &[Ctx, Any, Any, UninitMem, Size], Scalar, 300),
    proto(id::SOCK_OPS_CB_FLAGS_SET, "sock_ops_cb_flags_set", &[Ctx, Any], Scalar, 10),
    proto(id::MSG_REDIRECT_MAP, "msg_redirect_map", &[Ctx, MAP, Any, Any], Scalar, 60),
    proto(id::MSG_APPLY_BYTES, "msg_apply_bytes", &[Ctx, Any], Scalar, 10),
    proto(id::MSG_CORK_BYTES, "msg_cork_bytes", &[Ctx, Any], Scalar, 10),
    proto(id::MSG_PULL_DATA, "msg_pull_data", &[Ctx, Any, Any, Any], Scalar, 200).moves_packet(),
    proto(id::BIND, "bind", &[Ctx, Mem, Size], Scalar, 300),
    proto(
        id::SKB_GET_XFRM_STATE,
        "skb_get_xfrm_state",
        &[Ctx, Any, UninitMem, Size, Any],
        Scalar,
        40,
    ),
    proto(id::FIB_LOOKUP, "fib_lookup", &[Ctx, Arg::MemInOut, Size, Any], Scalar, 500),
    proto(id::SOCK_HASH_UPDATE, "sock_hash_update", &[Ctx, MAP, MapKey, Any], Scalar, 200),
    proto(id::MSG_REDIRECT_HASH, "msg_redirect_hash", &[Ctx, MAP, MapKey, Any], Scalar, 80),
    proto(id::SK_REDIRECT_HASH, "sk_redirect_hash", &[Ctx, MAP, MapKey, Any], Scalar, 80),
    proto(id::LWT_PUSH_ENCAP, "lwt_push_encap", &[Ctx, Any, Mem, Size], Scalar, 300).moves_packet(),
    proto(id::LWT_SEG6_STORE_BYTES, "lwt_seg6_store_bytes", &[Ctx, Any, Mem, Size], Scalar, 60)
        .per_word(2)
        .moves_packet(),
    proto(id::LWT_SEG6_ADJUST_SRH, "lwt_seg6_adjust_srh", &[Ctx, Any, Any], Scalar, 100)
        .moves_packet(),
    proto(id::LWT_SEG6_ACTION, "lwt_seg6_action", &[Ctx, Any, Mem, Size], Scalar, 300)
        .moves_packet(),
    proto(id::RC_REPEAT, "rc_repeat", &[Ctx], Scalar, 50).gpl(),
    proto(id::RC_KEYDOWN, "rc_keydown", &[Ctx, Any, Any, Any], Scalar, 50).gpl(),
    proto(id::SKB_CGROUP_ID, "skb_cgroup_id", &[Ctx], Scalar, 15),
    proto(id::GET_CURRENT_CGROUP_ID, "get_current_cgroup_id", &[], Scalar, 15),
    proto(id::SK_SELECT_REUSEPORT, "sk_select_reuseport", &[Ctx, MAP, MapKey, Any], Scalar, 100),
    proto(id::SKB_ANCESTOR_CGROUP_ID, "skb_ancestor_cgroup_id", &[Ctx, Any], Scalar, 20),
    proto(id::MSG_PUSH_DATA, "msg_push_data", &[Ctx, Any, Any, Any], Scalar, 300).moves_packet(),
    proto(id::MSG_POP_DATA, "msg_pop_data", &[Ctx, Any, Any, Any], Scalar, 300).moves_packet(),
    proto(id::RC_POINTER_REL, "rc_pointer_rel", &[Ctx, Any, Any], Scalar, 50).gpl(),
    proto(id::SKB_ECN_SET_CE, "skb_ecn_set_ce", &[Ctx], Scalar, 30).moves_packet(),
    proto(
        id::TCP_CHECK_SYNCOOKIE,
        "tcp_check_syncookie",
        &[SOCK, Mem, Size, Mem, Size],
        Scalar,
        100,
    ),
    proto(id::SYSCTL_GET_NAME, "sysctl_get_name", &[Ctx, UninitMem, Size, Any], Scalar, 60)
        .per_word(2),
    proto(
        id::SYSCTL_GET_CURRENT_VALUE,
        "sysctl_get_current_value",
        &[Ctx, UninitMem, Size],
        Scalar,
        60,
    )
    .per_word(2),
    proto(id::SYSCTL_GET_NEW_VALUE, "sysctl_get_new_value", &[Ctx, UninitMem, Size], Scalar, 60)
        .per_word(2),
    proto(id::SYSCTL_SET_NEW_VALUE, "sysctl_set_new_value", &[Ctx, Mem, Size], Scalar, 60)
        .per_word(2),
    proto(id::TCP_GEN_SYNCOOKIE, "tcp_gen_syncookie", &[SOCK, Mem, Size, Mem, Size], Scalar, 100),
    proto(id::GET_NETNS_COOKIE, "get_netns_cookie", &[CtxOrNull], Scalar, 15),
    proto(id::GET_CURRENT_ANCESTOR_CGROUP_ID, "get_current_ancestor_cgroup_id", &[Any], Scalar, 20),
    proto(id::SK_ASSIGN, "sk_assign", &[Ctx, Arg::SockCommonOrNull, Any], Scalar, 50),
    proto(id::SK_CGROUP_ID, "sk_cgroup_id", &[SOCK], Scalar, 15),
    proto(id::SK_ANCESTOR_CGROUP_ID, "sk_ancestor_cgroup_id", &[SOCK, Any], Scalar, 20),
    proto(id::SKC_TO_TCP6_SOCK, "skc_to_tcp6_sock", &[SOCK], Ret::BtfOrNull("tcp6_sock"), 10),
    proto(id::SKC_TO_TCP_SOCK, "skc_to_tcp_sock", &[SOCK], Ret::BtfOrNull("tcp_sock"), 10),
    proto(
        id::SKC_TO_TCP_TIMEWAIT_SOCK,
        "skc_to_tcp_timewait_sock",
        &[SOCK],
        Ret::BtfOrNull("tcp_timewait_sock"),
        10,
    ),
    proto(
        id::SKC_TO_TCP_REQUEST_SOCK,
        "skc_to_tcp_request_sock",
        &[SOCK],
        Ret::BtfOrNull("tcp_request_sock"),
        10,
    ),
    proto(id::SKC_TO_UDP6_SOCK, "skc_to_udp6_sock", &[SOCK], Ret::BtfOrNull("udp6_sock"), 10),
    proto(id::LOAD_HDR_OPT, "load_hdr_opt", &[Ctx, Arg::MemInOut, Size, Any], Scalar, 60)
        .per_word(2),
    proto(id::STORE_HDR_OPT, "store_hdr_opt", &[Ctx, Mem, Size, Any], Scalar, 60)
        .per_word(2)
        .moves_packet(),
    proto(id::RESERVE_HDR_OPT, "reserve_hdr_opt", &[Ctx, Any, Any], Scalar, 20),
    proto(id::SKB_CGROUP_CLASSID, "skb_cgroup_classid", &[Ctx], Scalar, 15),
    proto(id::REDIRECT_NEIGH, "redirect_neigh", &[Any, MemOrNull, SizeOrZero, Any], Scalar, 40),
    proto(id::REDIRECT_PEER, "redirect_peer", &[Any, Any], Scalar, 20),
    proto(id::SOCK_FROM_FILE, "sock_from_file", &[Arg::Btf("file")], Ret::BtfOrNull("socket"), 10),
    proto(id::SKC_TO_UNIX_SOCK, "skc_to_unix_sock", &[SOCK], Ret::BtfOrNull("unix_sock"), 10),
    proto(id::GET_RETVAL, "get_retval", &[], Scalar, 5),
    proto(id::SET_RETVAL, "set_retval", &[Any], Scalar, 5),
    proto(id::SKB_SET_TSTAMP, "skb_set_tstamp", &[Ctx, Any, Any], Scalar, 15),
    proto(id::SKC_TO_MPTCP_SOCK, "skc_to_mptcp_sock", &[SOCK], Ret::BtfOrNull("mptcp_sock"), 10),
    proto(
        id::TCP_RAW_GEN_SYNCOOKIE_IPV4,
        "tcp_raw_gen_syncookie_ipv4",
        &[Arg::FixedMem(20), Mem, Size],
        Scalar,
        100,
    ),
    proto(
        id::TCP_RAW_GEN_SYNCOOKIE_IPV6,
        "tcp_raw_gen_syncookie_ipv6",
        &[Arg::FixedMem(40), Mem, Size],
        Scalar,
        100,
    ),
    proto(
        id::TCP_RAW_CHECK_SYNCOOKIE_IPV4,
        "tcp_raw_check_syncookie_ipv4",
        &[Arg::FixedMem(20), Arg::FixedMem(20)],
        Scalar,
        80,
    ),
    proto(
        id::TCP_RAW_CHECK_SYNCOOKIE_IPV6,
        "tcp_raw_check_syncookie_ipv6",
        &[Arg::FixedMem(40), Arg::FixedMem(20)],
        Scalar,
        80,
    ),
];
