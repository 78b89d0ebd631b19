//! The shape of a helper's declaration: what the verifier checks about a call.
//!
//! The declarations themselves are in [`super::table`], with Linux's numbers
//! ([`id`]).

/// Linux's helper numbers (`enum bpf_func_id`).
pub mod id {
    pub const MAP_LOOKUP_ELEM: i32 = 1;
    pub const MAP_UPDATE_ELEM: i32 = 2;
    pub const MAP_DELETE_ELEM: i32 = 3;
    pub const PROBE_READ: i32 = 4;
    pub const KTIME_GET_NS: i32 = 5;
    pub const TRACE_PRINTK: i32 = 6;
    pub const GET_PRANDOM_U32: i32 = 7;
    pub const GET_SMP_PROCESSOR_ID: i32 = 8;
    pub const SKB_STORE_BYTES: i32 = 9;
    pub const L3_CSUM_REPLACE: i32 = 10;
    pub const L4_CSUM_REPLACE: i32 = 11;
    pub const TAIL_CALL: i32 = 12;
    pub const CLONE_REDIRECT: i32 = 13;
    pub const GET_CURRENT_PID_TGID: i32 = 14;
    pub const GET_CURRENT_UID_GID: i32 = 15;
    pub const GET_CURRENT_COMM: i32 = 16;
    pub const GET_CGROUP_CLASSID: i32 = 17;
    pub const SKB_VLAN_PUSH: i32 = 18;
    pub const SKB_VLAN_POP: i32 = 19;
    pub const PERF_EVENT_READ: i32 = 22;
    pub const REDIRECT: i32 = 23;
    pub const PERF_EVENT_OUTPUT: i32 = 25;
    pub const SKB_LOAD_BYTES: i32 = 26;
    pub const GET_STACKID: i32 = 27;
    pub const CSUM_DIFF: i32 = 28;
    pub const SKB_CHANGE_PROTO: i32 = 31;
    pub const SKB_CHANGE_TYPE: i32 = 32;
    pub const GET_HASH_RECALC: i32 = 34;
    pub const GET_CURRENT_TASK: i32 = 35;
    pub const PROBE_WRITE_USER: i32 = 36;
    pub const SKB_CHANGE_TAIL: i32 = 38;
    pub const SKB_PULL_DATA: i32 = 39;
    pub const CSUM_UPDATE: i32 = 40;
    pub const SET_HASH_INVALID: i32 = 41;
    pub const GET_NUMA_NODE_ID: i32 = 42;
    pub const SKB_CHANGE_HEAD: i32 = 43;
    pub const XDP_ADJUST_HEAD: i32 = 44;
    pub const PROBE_READ_STR: i32 = 45;
    pub const GET_SOCKET_COOKIE: i32 = 46;
    pub const GET_SOCKET_UID: i32 = 47;
    pub const SET_HASH: i32 = 48;
    pub const SKB_ADJUST_ROOM: i32 = 50;
    pub const REDIRECT_MAP: i32 = 51;
    pub const XDP_ADJUST_META: i32 = 54;
    pub const PERF_EVENT_READ_VALUE: i32 = 55;
    pub const PERF_PROG_READ_VALUE: i32 = 56;
    pub const XDP_ADJUST_TAIL: i32 = 65;
    pub const GET_STACK: i32 = 67;
    pub const SKB_LOAD_BYTES_RELATIVE: i32 = 68;
    pub const GET_LOCAL_STORAGE: i32 = 81;
    pub const SK_LOOKUP_TCP: i32 = 84;
    pub const SK_LOOKUP_UDP: i32 = 85;
    pub const SK_RELEASE: i32 = 86;
    pub const MAP_PUSH_ELEM: i32 = 87;
    pub const MAP_POP_ELEM: i32 = 88;
    pub const MAP_PEEK_ELEM: i32 = 89;
    pub const SPIN_LOCK: i32 = 93;
    pub const SPIN_UNLOCK: i32 = 94;
    pub const SK_FULLSOCK: i32 = 95;
    pub const TCP_SOCK: i32 = 96;
    pub const GET_LISTENER_SOCK: i32 = 98;
    pub const SKC_LOOKUP_TCP: i32 = 99;
    pub const STRTOL: i32 = 105;
    pub const STRTOUL: i32 = 106;
    pub const SK_STORAGE_GET: i32 = 107;
    pub const SK_STORAGE_DELETE: i32 = 108;
    pub const SEND_SIGNAL: i32 = 109;
    pub const PROBE_READ_USER: i32 = 112;
    pub const PROBE_READ_KERNEL: i32 = 113;
    pub const PROBE_READ_USER_STR: i32 = 114;
    pub const PROBE_READ_KERNEL_STR: i32 = 115;
    pub const SEND_SIGNAL_THREAD: i32 = 117;
    pub const JIFFIES64: i32 = 118;
    pub const GET_NS_CURRENT_PID_TGID: i32 = 120;
    pub const KTIME_GET_BOOT_NS: i32 = 125;
    pub const RINGBUF_OUTPUT: i32 = 130;
    pub const RINGBUF_RESERVE: i32 = 131;
    pub const RINGBUF_SUBMIT: i32 = 132;
    pub const RINGBUF_DISCARD: i32 = 133;
    pub const RINGBUF_QUERY: i32 = 134;
    pub const CSUM_LEVEL: i32 = 135;
    pub const KTIME_GET_COARSE_NS: i32 = 160;
    pub const CHECK_MTU: i32 = 163;
    pub const FOR_EACH_MAP_ELEM: i32 = 164;
    pub const SNPRINTF: i32 = 165;
    pub const TIMER_INIT: i32 = 169;
    pub const TIMER_SET_CALLBACK: i32 = 170;
    pub const TIMER_START: i32 = 171;
    pub const TIMER_CANCEL: i32 = 172;
    pub const GET_FUNC_IP: i32 = 173;
    pub const GET_ATTACH_COOKIE: i32 = 174;
    pub const TRACE_VPRINTK: i32 = 177;
    pub const LOOP: i32 = 181;
    pub const STRNCMP: i32 = 182;
    pub const XDP_GET_BUFF_LEN: i32 = 188;
    pub const XDP_LOAD_BYTES: i32 = 189;
    pub const XDP_STORE_BYTES: i32 = 190;
    pub const MAP_LOOKUP_PERCPU_ELEM: i32 = 195;
    pub const KTIME_GET_TAI_NS: i32 = 208;
}

/// What a helper wants in one argument register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arg {
    /// Any initialised value; a pointer only from a privileged program.
    Any,
    /// The constant 0.
    Zero,
    /// The address of a map, by `ld_imm64`.
    ConstMapPtr,
    /// Readable memory of the map's key size.
    MapKey,
    /// Readable memory of the map's value size.
    MapValue,
    /// As `MapValue`, and null is allowed.
    MapValueOrNull,
    /// Writable memory of the map's value size; need not be initialised.
    UninitMapValue,
    /// Readable memory, of the size that the next argument says.
    Mem,
    /// As `Mem`; null is allowed when the size is 0.
    MemOrNull,
    /// Writable memory of the next argument's size; need not be initialised.
    UninitMem,
    /// As `UninitMem`; null is allowed when the size is 0.
    UninitMemOrNull,
    /// Size of the memory in the argument before; not 0.
    Size,
    /// Size of the memory in the argument before; may be 0.
    SizeOrZero,
    /// A known constant: size of the memory that the helper returns.
    ConstAllocSize,
    /// The program's context.
    Ctx,
    /// A record reserved in a ring buffer, given back by this call.
    ReleaseRingbufMem,
    /// A pointer to an initialised 8-byte integer that the helper writes.
    OutU64,
    /// A zero-terminated string in read-only memory.
    ConstStr,
    /// A subprogram of this program.
    Callback,
    /// A pointer into the stack, or null: context of a callback.
    StackOrNull,
    /// A spin lock in a map value.
    SpinLock,
    /// A timer in a map value.
    Timer,
    /// A socket, common part or full.
    SockCommon,
    /// A socket whose reference is given up.
    ReleaseSock,
    /// A BTF-typed kernel object that this engine does not model: always refused.
    Unsupported,
}

/// What a helper leaves in r0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ret {
    /// A number.
    Scalar,
    /// Nothing: r0 becomes unreadable.
    Void,
    /// A pointer to a value of the map in the arguments, or null.
    MapValueOrNull,
    /// A pointer to the value of the map in the arguments, never null.
    MapValue,
    /// A ring-buffer record of the constant size in the arguments, or null; must
    /// be submitted or discarded.
    RingbufMemOrNull,
    /// A referenced socket or null; must be released.
    SocketOrNull,
    /// A referenced request or full socket or null; must be released.
    SockCommonOrNull,
    /// A borrowed full socket or null.
    BorrowedSocketOrNull,
    /// A borrowed TCP socket or null.
    BorrowedTcpSockOrNull,
}

/// A helper's declaration.
#[derive(Clone, Copy, Debug)]
pub struct HelperProto {
    /// Linux's number.
    pub id: i32,
    /// Without the `bpf_` prefix.
    pub name: &'static str,
    /// For r1, r2, …
    pub args: &'static [Arg],
    pub ret: Ret,
    /// For programs under a GPL-compatible licence only.
    pub gpl_only: bool,
    /// What a call counts in the worst-case bound, in instructions.
    pub cost: u32,
    /// What each started 8 bytes of the largest possible size argument add.
    pub cost_per_word: u32,
    /// Whether it may move packet data, so that packet pointers become stale.
    pub changes_packet: bool,
    /// Whether r0 lies in this range, when it is a number.
    pub returns: Option<(i64, i64)>,
    /// For privileged loaders (Linux: CAP_BPF or CAP_PERFMON) only.
    pub privileged: bool,
}

impl HelperProto {
    /// A declaration with the usual flags; see the other methods for the rest.
    #[must_use]
    pub const fn new(
        id: i32,
        name: &'static str,
        args: &'static [Arg],
        ret: Ret,
        cost: u32,
    ) -> Self {
        Self {
            id,
            name,
            args,
            ret,
            gpl_only: false,
            cost,
            cost_per_word: 0,
            changes_packet: false,
            returns: None,
            privileged: false,
        }
    }

    #[must_use]
    pub const fn gpl(mut self) -> Self {
        self.gpl_only = true;
        self
    }

    #[must_use]
    pub const fn per_word(mut self, cost: u32) -> Self {
        self.cost_per_word = cost;
        self
    }

    #[must_use]
    pub const fn moves_packet(mut self) -> Self {
        self.changes_packet = true;
        self
    }

    #[must_use]
    pub const fn returning(mut self, min: i64, max: i64) -> Self {
        self.returns = Some((min, max));
        self
    }

    #[must_use]
    pub const fn privileged(mut self) -> Self {
        self.privileged = true;
        self
    }
}
