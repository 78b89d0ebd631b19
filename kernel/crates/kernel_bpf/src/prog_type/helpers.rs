//! Which helpers programs may call, as lists of Linux's numbers that program types
//! and hooks combine.

use crate::helper::proto::id;

/// What every program may call (Linux `bpf_base_func_proto`).
pub const BASE: &[i32] = &[
    id::MAP_LOOKUP_ELEM,
    id::MAP_UPDATE_ELEM,
    id::MAP_DELETE_ELEM,
    id::KTIME_GET_NS,
    id::GET_PRANDOM_U32,
    id::GET_SMP_PROCESSOR_ID,
    id::TAIL_CALL,
    id::GET_NUMA_NODE_ID,
    id::MAP_PUSH_ELEM,
    id::MAP_POP_ELEM,
    id::MAP_PEEK_ELEM,
    id::SPIN_LOCK,
    id::SPIN_UNLOCK,
    id::STRTOL,
    id::STRTOUL,
    id::JIFFIES64,
    id::KTIME_GET_BOOT_NS,
    id::KTIME_GET_TAI_NS,
    id::RINGBUF_OUTPUT,
    id::RINGBUF_RESERVE,
    id::RINGBUF_SUBMIT,
    id::RINGBUF_DISCARD,
    id::RINGBUF_QUERY,
    id::FOR_EACH_MAP_ELEM,
    id::LOOP,
    id::STRNCMP,
    id::SNPRINTF,
    id::TIMER_INIT,
    id::TIMER_SET_CALLBACK,
    id::TIMER_START,
    id::TIMER_CANCEL,
    id::MAP_LOOKUP_PERCPU_ELEM,
    id::GET_CURRENT_PID_TGID,
    id::GET_NS_CURRENT_PID_TGID,
    id::PER_CPU_PTR,
    id::THIS_CPU_PTR,
    id::KPTR_XCHG,
    id::DYNPTR_FROM_MEM,
    id::RINGBUF_RESERVE_DYNPTR,
    id::RINGBUF_SUBMIT_DYNPTR,
    id::RINGBUF_DISCARD_DYNPTR,
    id::DYNPTR_READ,
    id::DYNPTR_WRITE,
    id::DYNPTR_DATA,
    id::USER_RINGBUF_DRAIN,
    id::CGRP_STORAGE_GET,
    id::CGRP_STORAGE_DELETE,
];

/// Writing to the trace log and reading kernel memory, for privileged programs.
pub const TRACE: &[i32] = &[
    id::TRACE_PRINTK,
    id::TRACE_VPRINTK,
    id::PROBE_READ_KERNEL,
    id::PROBE_READ_KERNEL_STR,
    id::SNPRINTF_BTF,
    id::GET_CURRENT_TASK_BTF,
    id::TASK_PT_REGS,
];

/// About the task that is running.
pub const TASK: &[i32] = &[
    id::GET_CURRENT_PID_TGID,
    id::GET_CURRENT_UID_GID,
    id::GET_CURRENT_COMM,
    id::GET_CURRENT_TASK,
];

/// What maps keep for a task.
pub const TASK_STORAGE: &[i32] =
    &[id::GET_CURRENT_TASK_BTF, id::TASK_STORAGE_GET, id::TASK_STORAGE_DELETE];

/// Memory of the task that is running.
pub const USER_MEMORY: &[i32] = &[id::PROBE_READ_USER, id::PROBE_READ_USER_STR];

/// What tracing programs may call (Linux `bpf_tracing_func_proto`).
pub const TRACING: &[i32] = &[
    id::PROBE_READ,
    id::PROBE_READ_STR,
    id::PROBE_WRITE_USER,
    id::PERF_EVENT_READ,
    id::PERF_EVENT_READ_VALUE,
    id::PERF_EVENT_OUTPUT,
    id::GET_STACKID,
    id::GET_STACK,
    id::SEND_SIGNAL,
    id::SEND_SIGNAL_THREAD,
    id::GET_FUNC_IP,
    id::GET_ATTACH_COOKIE,
    id::CURRENT_TASK_UNDER_CGROUP,
    id::GET_CURRENT_CGROUP_ID,
    id::GET_CURRENT_ANCESTOR_CGROUP_ID,
    id::GET_TASK_STACK,
    id::COPY_FROM_USER,
    id::COPY_FROM_USER_TASK,
    id::TASK_STORAGE_GET,
    id::TASK_STORAGE_DELETE,
    id::GET_BRANCH_SNAPSHOT,
    id::FIND_VMA,
    id::OVERRIDE_RETURN,
];

/// Performance events, beyond [`TRACING`].
pub const PERF_EVENT: &[i32] = &[id::PERF_PROG_READ_VALUE, id::READ_BRANCH_RECORDS];

/// Socket filters.
pub const SOCKET_FILTER: &[i32] = &[
    id::SKB_LOAD_BYTES,
    id::SKB_LOAD_BYTES_RELATIVE,
    id::GET_SOCKET_COOKIE,
    id::GET_SOCKET_UID,
    id::GET_NETNS_COOKIE,
    id::PERF_EVENT_OUTPUT,
    id::KTIME_GET_COARSE_NS,
];

/// Control-group socket buffers, beyond [`SOCKET_FILTER`].
pub const CGROUP_SKB: &[i32] = &[
    id::GET_LOCAL_STORAGE,
    id::SK_LOOKUP_TCP,
    id::SK_LOOKUP_UDP,
    id::SKC_LOOKUP_TCP,
    id::SK_RELEASE,
    id::SK_FULLSOCK,
    id::TCP_SOCK,
    id::GET_LISTENER_SOCK,
    id::SK_STORAGE_GET,
    id::SK_STORAGE_DELETE,
    id::SKB_CGROUP_ID,
    id::SKB_ANCESTOR_CGROUP_ID,
    id::SK_CGROUP_ID,
    id::SK_ANCESTOR_CGROUP_ID,
    id::SKB_ECN_SET_CE,
];

/// Traffic control.
pub const SCHED_CLS: &[i32] = &[
    id::KTIME_GET_COARSE_NS,
    id::GET_CGROUP_CLASSID,
    id::SKB_STORE_BYTES,
    id::SKB_LOAD_BYTES,
    id::SKB_LOAD_BYTES_RELATIVE,
    id::SKB_PULL_DATA,
    id::CSUM_DIFF,
    id::CSUM_UPDATE,
    id::CSUM_LEVEL,
    id::L3_CSUM_REPLACE,
    id::L4_CSUM_REPLACE,
    id::CLONE_REDIRECT,
    id::SKB_VLAN_PUSH,
    id::SKB_VLAN_POP,
    id::SKB_CHANGE_PROTO,
    id::SKB_CHANGE_TYPE,
    id::SKB_ADJUST_ROOM,
    id::SKB_CHANGE_TAIL,
    id::SKB_CHANGE_HEAD,
    id::REDIRECT,
    id::GET_HASH_RECALC,
    id::SET_HASH_INVALID,
    id::SET_HASH,
    id::PERF_EVENT_OUTPUT,
    id::GET_SOCKET_COOKIE,
    id::GET_SOCKET_UID,
    id::CHECK_MTU,
    id::SK_LOOKUP_TCP,
    id::SK_LOOKUP_UDP,
    id::SKC_LOOKUP_TCP,
    id::SK_RELEASE,
    id::SK_FULLSOCK,
    id::TCP_SOCK,
    id::GET_LISTENER_SOCK,
    id::SK_STORAGE_GET,
    id::SK_STORAGE_DELETE,
    id::SKB_GET_TUNNEL_KEY,
    id::SKB_SET_TUNNEL_KEY,
    id::SKB_GET_TUNNEL_OPT,
    id::SKB_SET_TUNNEL_OPT,
    id::GET_ROUTE_REALM,
    id::SKB_UNDER_CGROUP,
    id::SKB_GET_XFRM_STATE,
    id::FIB_LOOKUP,
    id::SKB_CGROUP_ID,
    id::SKB_ANCESTOR_CGROUP_ID,
    id::SKB_CGROUP_CLASSID,
    id::SKB_ECN_SET_CE,
    id::TCP_CHECK_SYNCOOKIE,
    id::TCP_GEN_SYNCOOKIE,
    id::SK_ASSIGN,
    id::SKB_SET_TSTAMP,
    id::REDIRECT_NEIGH,
    id::REDIRECT_PEER,
    id::GET_NETNS_COOKIE,
    id::SKC_TO_TCP6_SOCK,
    id::SKC_TO_TCP_SOCK,
    id::SKC_TO_TCP_TIMEWAIT_SOCK,
    id::SKC_TO_TCP_REQUEST_SOCK,
    id::SKC_TO_UDP6_SOCK,
    id::SKC_TO_UNIX_SOCK,
    id::SKC_TO_MPTCP_SOCK,
    id::TCP_RAW_GEN_SYNCOOKIE_IPV4,
    id::TCP_RAW_GEN_SYNCOOKIE_IPV6,
    id::TCP_RAW_CHECK_SYNCOOKIE_IPV4,
    id::TCP_RAW_CHECK_SYNCOOKIE_IPV6,
];

/// XDP.
pub const XDP: &[i32] = &[
    id::KTIME_GET_COARSE_NS,
    id::PERF_EVENT_OUTPUT,
    id::CSUM_DIFF,
    id::XDP_ADJUST_HEAD,
    id::XDP_ADJUST_META,
    id::XDP_ADJUST_TAIL,
    id::REDIRECT,
    id::REDIRECT_MAP,
    id::CHECK_MTU,
    id::SK_LOOKUP_TCP,
    id::SK_LOOKUP_UDP,
    id::SKC_LOOKUP_TCP,
    id::SK_RELEASE,
    id::XDP_GET_BUFF_LEN,
    id::XDP_LOAD_BYTES,
    id::XDP_STORE_BYTES,
    id::FIB_LOOKUP,
    id::TCP_CHECK_SYNCOOKIE,
    id::TCP_GEN_SYNCOOKIE,
    id::TCP_RAW_GEN_SYNCOOKIE_IPV4,
    id::TCP_RAW_GEN_SYNCOOKIE_IPV6,
    id::TCP_RAW_CHECK_SYNCOOKIE_IPV4,
    id::TCP_RAW_CHECK_SYNCOOKIE_IPV6,
    id::SKC_TO_TCP6_SOCK,
    id::SKC_TO_TCP_SOCK,
    id::SKC_TO_TCP_TIMEWAIT_SOCK,
    id::SKC_TO_TCP_REQUEST_SOCK,
    id::SKC_TO_UDP6_SOCK,
    id::SKC_TO_UNIX_SOCK,
    id::SKC_TO_MPTCP_SOCK,
];

/// Lightweight tunnels.
pub const LWT: &[i32] = &[
    id::SKB_LOAD_BYTES,
    id::SKB_PULL_DATA,
    id::CSUM_DIFF,
    id::GET_HASH_RECALC,
    id::PERF_EVENT_OUTPUT,
    id::GET_CGROUP_CLASSID,
    id::GET_ROUTE_REALM,
    id::SKB_UNDER_CGROUP,
    id::LWT_PUSH_ENCAP,
];

/// Lightweight tunnels on transmission, beyond [`LWT`].
pub const LWT_XMIT: &[i32] = &[
    id::SKB_STORE_BYTES,
    id::CSUM_UPDATE,
    id::CSUM_LEVEL,
    id::L3_CSUM_REPLACE,
    id::L4_CSUM_REPLACE,
    id::CLONE_REDIRECT,
    id::REDIRECT,
    id::SKB_CHANGE_TAIL,
    id::SKB_CHANGE_HEAD,
    id::SET_HASH_INVALID,
    id::SKB_GET_TUNNEL_KEY,
    id::SKB_SET_TUNNEL_KEY,
    id::SKB_GET_TUNNEL_OPT,
    id::SKB_SET_TUNNEL_OPT,
];

/// Segment routing, beyond [`LWT`].
pub const LWT_SEG6: &[i32] =
    &[id::LWT_SEG6_STORE_BYTES, id::LWT_SEG6_ADJUST_SRH, id::LWT_SEG6_ACTION];

/// What programs of control groups share.
pub const CGROUP: &[i32] = &[
    id::PERF_EVENT_OUTPUT,
    id::GET_LOCAL_STORAGE,
    id::GET_RETVAL,
    id::SET_RETVAL,
    id::GET_CURRENT_UID_GID,
    id::GET_CURRENT_COMM,
    id::GET_CURRENT_CGROUP_ID,
    id::GET_CURRENT_ANCESTOR_CGROUP_ID,
    id::CURRENT_TASK_UNDER_CGROUP,
    id::GET_CGROUP_CLASSID,
    id::KTIME_GET_COARSE_NS,
];

/// Sockets of control groups, beyond [`CGROUP`].
pub const CGROUP_SOCK: &[i32] =
    &[id::GET_SOCKET_COOKIE, id::GET_NETNS_COOKIE, id::SK_STORAGE_GET, id::GET_CURRENT_PID_TGID];

/// Addresses of sockets, beyond [`CGROUP`].
pub const CGROUP_SOCK_ADDR: &[i32] = &[
    id::GET_SOCKET_COOKIE,
    id::GET_NETNS_COOKIE,
    id::SK_LOOKUP_TCP,
    id::SK_LOOKUP_UDP,
    id::SKC_LOOKUP_TCP,
    id::SK_RELEASE,
    id::SK_STORAGE_GET,
    id::SK_STORAGE_DELETE,
    id::SETSOCKOPT,
    id::GETSOCKOPT,
];

/// Connections, beyond [`CGROUP_SOCK_ADDR`].
pub const CGROUP_CONNECT: &[i32] = &[id::BIND];

/// Sysctls, beyond [`CGROUP`].
pub const CGROUP_SYSCTL: &[i32] = &[
    id::SYSCTL_GET_NAME,
    id::SYSCTL_GET_CURRENT_VALUE,
    id::SYSCTL_GET_NEW_VALUE,
    id::SYSCTL_SET_NEW_VALUE,
];

/// Socket options, beyond [`CGROUP`].
pub const CGROUP_SOCKOPT: &[i32] =
    &[id::SK_STORAGE_GET, id::SK_STORAGE_DELETE, id::TCP_SOCK, id::GET_NETNS_COOKIE];

/// Operations of TCP sockets.
pub const SOCK_OPS: &[i32] = &[
    id::SETSOCKOPT,
    id::GETSOCKOPT,
    id::SOCK_OPS_CB_FLAGS_SET,
    id::SOCK_MAP_UPDATE,
    id::SOCK_HASH_UPDATE,
    id::GET_SOCKET_COOKIE,
    id::GET_LOCAL_STORAGE,
    id::PERF_EVENT_OUTPUT,
    id::SK_STORAGE_GET,
    id::SK_STORAGE_DELETE,
    id::GET_NETNS_COOKIE,
    id::LOAD_HDR_OPT,
    id::STORE_HDR_OPT,
    id::RESERVE_HDR_OPT,
    id::TCP_SOCK,
    id::KTIME_GET_COARSE_NS,
];

/// Parsers and verdicts of socket streams.
pub const SK_SKB: &[i32] = &[
    id::SKB_STORE_BYTES,
    id::SKB_LOAD_BYTES,
    id::SKB_PULL_DATA,
    id::SKB_CHANGE_TAIL,
    id::SKB_CHANGE_HEAD,
    id::SKB_ADJUST_ROOM,
    id::GET_SOCKET_COOKIE,
    id::GET_SOCKET_UID,
    id::SK_REDIRECT_MAP,
    id::SK_REDIRECT_HASH,
    id::PERF_EVENT_OUTPUT,
    id::SK_LOOKUP_TCP,
    id::SK_LOOKUP_UDP,
    id::SK_RELEASE,
    id::SKC_LOOKUP_TCP,
    id::KTIME_GET_COARSE_NS,
];

/// Messages of sockets.
pub const SK_MSG: &[i32] = &[
    id::MSG_REDIRECT_MAP,
    id::MSG_REDIRECT_HASH,
    id::MSG_APPLY_BYTES,
    id::MSG_CORK_BYTES,
    id::MSG_PULL_DATA,
    id::MSG_PUSH_DATA,
    id::MSG_POP_DATA,
    id::PERF_EVENT_OUTPUT,
    id::GET_CURRENT_UID_GID,
    id::SK_STORAGE_GET,
    id::SK_STORAGE_DELETE,
    id::GET_NETNS_COOKIE,
    id::GET_CURRENT_CGROUP_ID,
    id::GET_CURRENT_ANCESTOR_CGROUP_ID,
    id::GET_CGROUP_CLASSID,
    id::KTIME_GET_COARSE_NS,
];

/// Choice among sockets that share a port.
pub const SK_REUSEPORT: &[i32] = &[
    id::SK_SELECT_REUSEPORT,
    id::SKB_LOAD_BYTES,
    id::SKB_LOAD_BYTES_RELATIVE,
    id::GET_SOCKET_COOKIE,
    id::KTIME_GET_COARSE_NS,
];

/// Lookup of a listening socket.
pub const SK_LOOKUP: &[i32] = &[id::PERF_EVENT_OUTPUT, id::SK_ASSIGN, id::SK_RELEASE];

/// Dissection of flows.
pub const FLOW_DISSECTOR: &[i32] = &[id::SKB_LOAD_BYTES];

/// Infrared receivers.
pub const LIRC: &[i32] = &[id::RC_REPEAT, id::RC_KEYDOWN, id::RC_POINTER_REL];

/// Programs that user space runs as a system call.
pub const SYSCALL: &[i32] =
    &[id::SYS_BPF, id::BTF_FIND_BY_NAME_KIND, id::SYS_CLOSE, id::KALLSYMS_LOOKUP_NAME];

/// Tracing with typed arguments, beyond [`TRACING`].
pub const TRACING_BTF: &[i32] = &[
    id::SKB_OUTPUT,
    id::XDP_OUTPUT,
    id::SKC_TO_TCP6_SOCK,
    id::SKC_TO_TCP_SOCK,
    id::SKC_TO_TCP_TIMEWAIT_SOCK,
    id::SKC_TO_TCP_REQUEST_SOCK,
    id::SKC_TO_UDP6_SOCK,
    id::SKC_TO_UNIX_SOCK,
    id::SKC_TO_MPTCP_SOCK,
    id::SOCK_FROM_FILE,
    id::D_PATH,
    id::TCP_SEND_ACK,
];

/// Entry and return of functions, beyond [`TRACING_BTF`].
pub const TRACING_FUNCTION: &[i32] = &[id::GET_FUNC_ARG, id::GET_FUNC_RET, id::GET_FUNC_ARG_CNT];

/// Iterators, beyond [`TRACING_BTF`].
pub const TRACING_ITER: &[i32] = &[id::SEQ_PRINTF, id::SEQ_WRITE, id::SEQ_PRINTF_BTF];

/// Security hooks, beyond [`TRACING_BTF`].
pub const LSM: &[i32] = &[
    id::INODE_STORAGE_GET,
    id::INODE_STORAGE_DELETE,
    id::BPRM_OPTS_SET,
    id::IMA_INODE_HASH,
    id::IMA_FILE_HASH,
    id::GET_FUNC_ARG_CNT,
];
