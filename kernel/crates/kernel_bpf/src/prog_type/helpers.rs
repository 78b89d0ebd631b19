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
];

/// Writing to the trace log and reading kernel memory, for privileged programs.
pub const TRACE: &[i32] =
    &[id::TRACE_PRINTK, id::TRACE_VPRINTK, id::PROBE_READ_KERNEL, id::PROBE_READ_KERNEL_STR];

/// About the task that is running.
pub const TASK: &[i32] = &[
    id::GET_CURRENT_PID_TGID,
    id::GET_CURRENT_UID_GID,
    id::GET_CURRENT_COMM,
    id::GET_CURRENT_TASK,
];

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
];

/// Performance events, beyond [`TRACING`].
pub const PERF_EVENT: &[i32] = &[id::PERF_PROG_READ_VALUE];

/// Socket filters.
pub const SOCKET_FILTER: &[i32] = &[
    id::SKB_LOAD_BYTES,
    id::SKB_LOAD_BYTES_RELATIVE,
    id::GET_SOCKET_COOKIE,
    id::GET_SOCKET_UID,
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
];

/// Lightweight tunnels.
pub const LWT: &[i32] = &[
    id::SKB_LOAD_BYTES,
    id::SKB_PULL_DATA,
    id::CSUM_DIFF,
    id::GET_HASH_RECALC,
    id::PERF_EVENT_OUTPUT,
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
];
