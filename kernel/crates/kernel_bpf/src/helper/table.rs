//! Every helper that the verifier knows, as tables sorted by Linux's number: those of
//! general use here, the others in `network` and `kernel`. [`by_id`] finds one, [`all`]
//! goes through all of them.
//!
//! Arguments are those of Linux's `bpf_func_proto`s. Costs are what a call counts
//! in the worst-case bound; they are declared here, deliberately generous, and say
//! in BPF instructions how long a call takes at most for fixed sizes.

mod kernel;
mod network;

use super::proto::{Arg, HelperProto, Ret, id};

const fn proto(
    id: i32,
    name: &'static str,
    args: &'static [Arg],
    ret: Ret,
    cost: u32,
) -> HelperProto {
    HelperProto::new(id, name, args, ret, cost)
}

/// Helpers of general use, sorted by number.
static CORE: &[HelperProto] = &[
    proto(
        id::MAP_LOOKUP_ELEM,
        "map_lookup_elem",
        &[Arg::ConstMapPtr, Arg::MapKey],
        Ret::MapValueOrNull,
        50,
    )
    .per_word(2),
    proto(
        id::MAP_UPDATE_ELEM,
        "map_update_elem",
        &[Arg::ConstMapPtr, Arg::MapKey, Arg::MapValue, Arg::Any],
        Ret::Scalar,
        150,
    )
    .per_word(2),
    proto(
        id::MAP_DELETE_ELEM,
        "map_delete_elem",
        &[Arg::ConstMapPtr, Arg::MapKey],
        Ret::Scalar,
        120,
    )
    .per_word(2),
    proto(
        id::PROBE_READ,
        "probe_read",
        &[Arg::UninitMem, Arg::SizeOrZero, Arg::Any],
        Ret::Scalar,
        60,
    )
    .per_word(2)
    .gpl(),
    proto(id::KTIME_GET_NS, "ktime_get_ns", &[], Ret::Scalar, 20),
    proto(
        id::TRACE_PRINTK,
        "trace_printk",
        // The values to print follow unchecked, as in Linux.
        &[Arg::Mem, Arg::Size],
        Ret::Scalar,
        400,
    )
    .variadic()
    .per_word(40)
    .gpl()
    .privileged(),
    proto(id::GET_PRANDOM_U32, "get_prandom_u32", &[], Ret::Scalar, 10),
    proto(id::GET_SMP_PROCESSOR_ID, "get_smp_processor_id", &[], Ret::Scalar, 5),
    proto(
        id::SKB_STORE_BYTES,
        "skb_store_bytes",
        &[Arg::Ctx, Arg::Any, Arg::Mem, Arg::Size, Arg::Any],
        Ret::Scalar,
        60,
    )
    .per_word(2)
    .moves_packet(),
    proto(
        id::L3_CSUM_REPLACE,
        "l3_csum_replace",
        &[Arg::Ctx, Arg::Any, Arg::Any, Arg::Any, Arg::Any],
        Ret::Scalar,
        40,
    )
    .moves_packet(),
    proto(
        id::L4_CSUM_REPLACE,
        "l4_csum_replace",
        &[Arg::Ctx, Arg::Any, Arg::Any, Arg::Any, Arg::Any],
        Ret::Scalar,
        40,
    )
    .moves_packet(),
    // The other program may move the packet; where a function makes the call, its caller goes on.
    proto(id::TAIL_CALL, "tail_call", &[Arg::Ctx, Arg::ConstMapPtr, Arg::Any], Ret::Void, 20)
        .moves_packet(),
    proto(id::CLONE_REDIRECT, "clone_redirect", &[Arg::Ctx, Arg::Any, Arg::Any], Ret::Scalar, 500)
        .moves_packet(),
    proto(id::GET_CURRENT_PID_TGID, "get_current_pid_tgid", &[], Ret::Scalar, 10),
    proto(id::GET_CURRENT_UID_GID, "get_current_uid_gid", &[], Ret::Scalar, 15),
    proto(id::GET_CURRENT_COMM, "get_current_comm", &[Arg::UninitMem, Arg::Size], Ret::Scalar, 20)
        .per_word(2),
    proto(id::GET_CGROUP_CLASSID, "get_cgroup_classid", &[Arg::Ctx], Ret::Scalar, 20),
    proto(id::SKB_VLAN_PUSH, "skb_vlan_push", &[Arg::Ctx, Arg::Any, Arg::Any], Ret::Scalar, 100)
        .moves_packet(),
    proto(id::SKB_VLAN_POP, "skb_vlan_pop", &[Arg::Ctx], Ret::Scalar, 100).moves_packet(),
    proto(id::PERF_EVENT_READ, "perf_event_read", &[Arg::ConstMapPtr, Arg::Any], Ret::Scalar, 50)
        .gpl(),
    proto(id::REDIRECT, "redirect", &[Arg::Any, Arg::Any], Ret::Scalar, 20),
    proto(
        id::PERF_EVENT_OUTPUT,
        "perf_event_output",
        &[Arg::Ctx, Arg::ConstMapPtr, Arg::Any, Arg::Mem, Arg::SizeOrZero],
        Ret::Scalar,
        120,
    )
    .per_word(2)
    .gpl(),
    proto(
        id::SKB_LOAD_BYTES,
        "skb_load_bytes",
        &[Arg::Ctx, Arg::Any, Arg::UninitMem, Arg::Size],
        Ret::Scalar,
        30,
    )
    .per_word(2),
    proto(
        id::GET_STACKID,
        "get_stackid",
        &[Arg::Ctx, Arg::ConstMapPtr, Arg::Any],
        Ret::Scalar,
        800,
    )
    .gpl(),
    proto(
        id::CSUM_DIFF,
        "csum_diff",
        &[Arg::MemOrNull, Arg::SizeOrZero, Arg::MemOrNull, Arg::SizeOrZero, Arg::Any],
        Ret::Scalar,
        40,
    )
    .per_word(3),
    proto(
        id::SKB_CHANGE_PROTO,
        "skb_change_proto",
        &[Arg::Ctx, Arg::Any, Arg::Any],
        Ret::Scalar,
        200,
    )
    .moves_packet(),
    proto(id::SKB_CHANGE_TYPE, "skb_change_type", &[Arg::Ctx, Arg::Any], Ret::Scalar, 20),
    proto(id::GET_HASH_RECALC, "get_hash_recalc", &[Arg::Ctx], Ret::Scalar, 100),
    proto(id::GET_CURRENT_TASK, "get_current_task", &[], Ret::Scalar, 5).gpl(),
    proto(
        id::PROBE_WRITE_USER,
        "probe_write_user",
        &[Arg::Any, Arg::Mem, Arg::Size],
        Ret::Scalar,
        60,
    )
    .per_word(2)
    .gpl()
    .privileged(),
    proto(
        id::SKB_CHANGE_TAIL,
        "skb_change_tail",
        &[Arg::Ctx, Arg::Any, Arg::Any],
        Ret::Scalar,
        200,
    )
    .moves_packet(),
    proto(id::SKB_PULL_DATA, "skb_pull_data", &[Arg::Ctx, Arg::Any], Ret::Scalar, 200)
        .moves_packet(),
    proto(id::CSUM_UPDATE, "csum_update", &[Arg::Ctx, Arg::Any], Ret::Scalar, 20),
    proto(id::SET_HASH_INVALID, "set_hash_invalid", &[Arg::Ctx], Ret::Scalar, 10),
    proto(id::GET_NUMA_NODE_ID, "get_numa_node_id", &[], Ret::Scalar, 5),
    proto(
        id::SKB_CHANGE_HEAD,
        "skb_change_head",
        &[Arg::Ctx, Arg::Any, Arg::Any],
        Ret::Scalar,
        200,
    )
    .moves_packet(),
    proto(id::XDP_ADJUST_HEAD, "xdp_adjust_head", &[Arg::Ctx, Arg::Any], Ret::Scalar, 20)
        .moves_packet(),
    proto(
        id::PROBE_READ_STR,
        "probe_read_str",
        &[Arg::UninitMem, Arg::SizeOrZero, Arg::Any],
        Ret::Scalar,
        60,
    )
    .per_word(8)
    .gpl(),
    proto(id::GET_SOCKET_COOKIE, "get_socket_cookie", &[Arg::Ctx], Ret::Scalar, 20),
    proto(id::GET_SOCKET_UID, "get_socket_uid", &[Arg::Ctx], Ret::Scalar, 20),
    proto(id::SET_HASH, "set_hash", &[Arg::Ctx, Arg::Any], Ret::Scalar, 10),
    proto(
        id::SKB_ADJUST_ROOM,
        "skb_adjust_room",
        &[Arg::Ctx, Arg::Any, Arg::Any, Arg::Any],
        Ret::Scalar,
        200,
    )
    .moves_packet(),
    proto(
        id::REDIRECT_MAP,
        "redirect_map",
        &[Arg::ConstMapPtr, Arg::Any, Arg::Any],
        Ret::Scalar,
        30,
    ),
    proto(id::XDP_ADJUST_META, "xdp_adjust_meta", &[Arg::Ctx, Arg::Any], Ret::Scalar, 20)
        .moves_packet(),
    proto(
        id::PERF_EVENT_READ_VALUE,
        "perf_event_read_value",
        &[Arg::ConstMapPtr, Arg::Any, Arg::UninitMem, Arg::Size],
        Ret::Scalar,
        80,
    )
    .gpl(),
    proto(
        id::PERF_PROG_READ_VALUE,
        "perf_prog_read_value",
        &[Arg::Ctx, Arg::UninitMem, Arg::Size],
        Ret::Scalar,
        50,
    )
    .gpl(),
    proto(id::XDP_ADJUST_TAIL, "xdp_adjust_tail", &[Arg::Ctx, Arg::Any], Ret::Scalar, 20)
        .moves_packet(),
    proto(
        id::GET_STACK,
        "get_stack",
        &[Arg::Ctx, Arg::UninitMem, Arg::SizeOrZero, Arg::Any],
        Ret::Scalar,
        500,
    )
    .per_word(10)
    .gpl(),
    proto(
        id::SKB_LOAD_BYTES_RELATIVE,
        "skb_load_bytes_relative",
        &[Arg::Ctx, Arg::Any, Arg::UninitMem, Arg::Size, Arg::Any],
        Ret::Scalar,
        40,
    )
    .per_word(2),
    proto(
        id::GET_LOCAL_STORAGE,
        "get_local_storage",
        &[Arg::ConstMapPtr, Arg::Zero],
        Ret::MapValue,
        20,
    ),
    proto(
        id::SK_LOOKUP_TCP,
        "sk_lookup_tcp",
        &[Arg::Ctx, Arg::Mem, Arg::Size, Arg::Any, Arg::Any],
        Ret::SocketOrNull,
        200,
    ),
    proto(
        id::SK_LOOKUP_UDP,
        "sk_lookup_udp",
        &[Arg::Ctx, Arg::Mem, Arg::Size, Arg::Any, Arg::Any],
        Ret::SocketOrNull,
        200,
    ),
    proto(id::SK_RELEASE, "sk_release", &[Arg::ReleaseSock], Ret::Scalar, 20),
    proto(
        id::MAP_PUSH_ELEM,
        "map_push_elem",
        &[Arg::ConstMapPtr, Arg::MapValue, Arg::Any],
        Ret::Scalar,
        60,
    )
    .per_word(2),
    proto(
        id::MAP_POP_ELEM,
        "map_pop_elem",
        &[Arg::ConstMapPtr, Arg::UninitMapValue],
        Ret::Scalar,
        60,
    )
    .per_word(2),
    proto(
        id::MAP_PEEK_ELEM,
        "map_peek_elem",
        &[Arg::ConstMapPtr, Arg::UninitMapValue],
        Ret::Scalar,
        60,
    )
    .per_word(2),
    proto(id::SPIN_LOCK, "spin_lock", &[Arg::SpinLock], Ret::Void, 20).privileged(),
    proto(id::SPIN_UNLOCK, "spin_unlock", &[Arg::SpinLock], Ret::Void, 10).privileged(),
    proto(id::SK_FULLSOCK, "sk_fullsock", &[Arg::SockCommon], Ret::BorrowedSocketOrNull, 10),
    proto(id::TCP_SOCK, "tcp_sock", &[Arg::SockCommon], Ret::BorrowedTcpSockOrNull, 10),
    proto(
        id::GET_LISTENER_SOCK,
        "get_listener_sock",
        &[Arg::SockCommon],
        Ret::BorrowedSocketOrNull,
        10,
    ),
    proto(
        id::SKC_LOOKUP_TCP,
        "skc_lookup_tcp",
        &[Arg::Ctx, Arg::Mem, Arg::Size, Arg::Any, Arg::Any],
        Ret::SockCommonOrNull,
        200,
    ),
    proto(id::STRTOL, "strtol", &[Arg::Mem, Arg::Size, Arg::Any, Arg::OutU64], Ret::Scalar, 40)
        .per_word(40),
    proto(id::STRTOUL, "strtoul", &[Arg::Mem, Arg::Size, Arg::Any, Arg::OutU64], Ret::Scalar, 40)
        .per_word(40),
    proto(
        id::SK_STORAGE_GET,
        "sk_storage_get",
        &[Arg::ConstMapPtr, Arg::BtfSockCommon, Arg::MapValueOrNull, Arg::Any],
        Ret::MapValueOrNull,
        150,
    ),
    proto(
        id::SK_STORAGE_DELETE,
        "sk_storage_delete",
        &[Arg::ConstMapPtr, Arg::BtfSockCommon],
        Ret::Scalar,
        100,
    ),
    proto(id::SEND_SIGNAL, "send_signal", &[Arg::Any], Ret::Scalar, 200),
    proto(
        id::PROBE_READ_USER,
        "probe_read_user",
        &[Arg::UninitMem, Arg::SizeOrZero, Arg::Any],
        Ret::Scalar,
        60,
    )
    .per_word(2)
    .gpl(),
    proto(
        id::PROBE_READ_KERNEL,
        "probe_read_kernel",
        &[Arg::UninitMem, Arg::SizeOrZero, Arg::Any],
        Ret::Scalar,
        60,
    )
    .per_word(2)
    .gpl(),
    proto(
        id::PROBE_READ_USER_STR,
        "probe_read_user_str",
        &[Arg::UninitMem, Arg::SizeOrZero, Arg::Any],
        Ret::Scalar,
        60,
    )
    .per_word(8)
    .gpl(),
    proto(
        id::PROBE_READ_KERNEL_STR,
        "probe_read_kernel_str",
        &[Arg::UninitMem, Arg::SizeOrZero, Arg::Any],
        Ret::Scalar,
        60,
    )
    .per_word(8)
    .gpl(),
    proto(id::SEND_SIGNAL_THREAD, "send_signal_thread", &[Arg::Any], Ret::Scalar, 200),
    proto(id::JIFFIES64, "jiffies64", &[], Ret::Scalar, 10).privileged(),
    proto(
        id::GET_NS_CURRENT_PID_TGID,
        "get_ns_current_pid_tgid",
        &[Arg::Any, Arg::Any, Arg::UninitMem, Arg::Size],
        Ret::Scalar,
        40,
    ),
    proto(id::KTIME_GET_BOOT_NS, "ktime_get_boot_ns", &[], Ret::Scalar, 20),
    proto(
        id::RINGBUF_OUTPUT,
        "ringbuf_output",
        &[Arg::ConstMapPtr, Arg::Mem, Arg::SizeOrZero, Arg::Any],
        Ret::Scalar,
        100,
    )
    .per_word(2),
    proto(
        id::RINGBUF_RESERVE,
        "ringbuf_reserve",
        &[Arg::ConstMapPtr, Arg::ConstAllocSize, Arg::Any],
        Ret::RingbufMemOrNull,
        80,
    ),
    proto(id::RINGBUF_SUBMIT, "ringbuf_submit", &[Arg::ReleaseRingbufMem, Arg::Any], Ret::Void, 60),
    proto(
        id::RINGBUF_DISCARD,
        "ringbuf_discard",
        &[Arg::ReleaseRingbufMem, Arg::Any],
        Ret::Void,
        60,
    ),
    proto(id::RINGBUF_QUERY, "ringbuf_query", &[Arg::ConstMapPtr, Arg::Any], Ret::Scalar, 20),
    proto(id::CSUM_LEVEL, "csum_level", &[Arg::Ctx, Arg::Any], Ret::Scalar, 20),
    proto(id::KTIME_GET_COARSE_NS, "ktime_get_coarse_ns", &[], Ret::Scalar, 15),
    proto(
        id::CHECK_MTU,
        "check_mtu",
        &[Arg::Ctx, Arg::Any, Arg::OutU64, Arg::Any, Arg::Any],
        Ret::Scalar,
        40,
    ),
    proto(
        id::FOR_EACH_MAP_ELEM,
        "for_each_map_elem",
        &[Arg::ConstMapPtr, Arg::Callback, Arg::StackOrNull, Arg::Any],
        Ret::Scalar,
        40,
    )
    .privileged(),
    proto(
        id::SNPRINTF,
        "snprintf",
        &[Arg::UninitMemOrNull, Arg::SizeOrZero, Arg::ConstStr, Arg::MemOrNull, Arg::SizeOrZero],
        Ret::Scalar,
        300,
    )
    .per_word(40)
    .privileged(),
    proto(id::TIMER_INIT, "timer_init", &[Arg::Timer, Arg::ConstMapPtr, Arg::Any], Ret::Scalar, 60)
        .privileged(),
    proto(
        id::TIMER_SET_CALLBACK,
        "timer_set_callback",
        &[Arg::Timer, Arg::Callback],
        Ret::Scalar,
        40,
    )
    .privileged(),
    proto(id::TIMER_START, "timer_start", &[Arg::Timer, Arg::Any, Arg::Any], Ret::Scalar, 100)
        .privileged(),
    proto(id::TIMER_CANCEL, "timer_cancel", &[Arg::Timer], Ret::Scalar, 100).privileged(),
    proto(id::GET_FUNC_IP, "get_func_ip", &[Arg::Ctx], Ret::Scalar, 10).gpl(),
    proto(id::GET_ATTACH_COOKIE, "get_attach_cookie", &[Arg::Ctx], Ret::Scalar, 10),
    proto(
        id::TRACE_VPRINTK,
        "trace_vprintk",
        &[Arg::Mem, Arg::Size, Arg::MemOrNull, Arg::SizeOrZero],
        Ret::Scalar,
        400,
    )
    .per_word(40)
    .gpl()
    .privileged(),
    proto(
        id::LOOP,
        "loop",
        &[Arg::Any, Arg::Callback, Arg::StackOrNull, Arg::Any],
        Ret::Scalar,
        20,
    )
    .privileged(),
    proto(id::STRNCMP, "strncmp", &[Arg::Mem, Arg::Size, Arg::ConstStr], Ret::Scalar, 20)
        .per_word(16),
    proto(id::XDP_GET_BUFF_LEN, "xdp_get_buff_len", &[Arg::Ctx], Ret::Scalar, 10),
    proto(
        id::XDP_LOAD_BYTES,
        "xdp_load_bytes",
        &[Arg::Ctx, Arg::Any, Arg::UninitMem, Arg::Size],
        Ret::Scalar,
        30,
    )
    .per_word(2),
    proto(
        id::XDP_STORE_BYTES,
        "xdp_store_bytes",
        &[Arg::Ctx, Arg::Any, Arg::Mem, Arg::Size],
        Ret::Scalar,
        30,
    )
    .per_word(2),
    proto(
        id::MAP_LOOKUP_PERCPU_ELEM,
        "map_lookup_percpu_elem",
        &[Arg::ConstMapPtr, Arg::MapKey, Arg::Any],
        Ret::MapValueOrNull,
        60,
    )
    .per_word(2),
    proto(id::KTIME_GET_TAI_NS, "ktime_get_tai_ns", &[], Ret::Scalar, 20),
];

/// All of them; no number twice.
static TABLES: [&[HelperProto]; 3] = [CORE, network::HELPERS, kernel::HELPERS];

/// Every helper, sorted within each table.
pub fn all() -> impl Iterator<Item = &'static HelperProto> {
    TABLES.into_iter().flatten()
}

/// The helper with Linux's number, if the verifier knows it.
#[must_use]
pub fn by_id(number: i32) -> Option<&'static HelperProto> {
    TABLES.into_iter().find_map(|table| {
        let at = table.binary_search_by_key(&number, |helper| helper.id).ok()?;
        table.get(at)
    })
}

#[cfg(test)]
mod tests {
    use super::{TABLES, all, by_id};

    #[test]
    fn sorted_without_doubles() {
        for table in TABLES {
            assert!(table.windows(2).all(|pair| pair[0].id < pair[1].id));
        }
        assert!(all().all(|helper| helper.args.len() <= 5 && helper.cost > 0));
        for helper in all() {
            let same = all().filter(|other| other.id == helper.id || other.name == helper.name);
            assert_eq!(same.count(), 1, "{}", helper.name);
            assert_eq!(by_id(helper.id).map(|found| found.name), Some(helper.name));
        }
    }
}
