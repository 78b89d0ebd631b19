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
    pub const SKB_GET_TUNNEL_KEY: i32 = 20;
    pub const SKB_SET_TUNNEL_KEY: i32 = 21;
    pub const PERF_EVENT_READ: i32 = 22;
    pub const REDIRECT: i32 = 23;
    pub const GET_ROUTE_REALM: i32 = 24;
    pub const PERF_EVENT_OUTPUT: i32 = 25;
    pub const SKB_LOAD_BYTES: i32 = 26;
    pub const GET_STACKID: i32 = 27;
    pub const CSUM_DIFF: i32 = 28;
    pub const SKB_GET_TUNNEL_OPT: i32 = 29;
    pub const SKB_SET_TUNNEL_OPT: i32 = 30;
    pub const SKB_CHANGE_PROTO: i32 = 31;
    pub const SKB_CHANGE_TYPE: i32 = 32;
    pub const SKB_UNDER_CGROUP: i32 = 33;
    pub const GET_HASH_RECALC: i32 = 34;
    pub const GET_CURRENT_TASK: i32 = 35;
    pub const PROBE_WRITE_USER: i32 = 36;
    pub const CURRENT_TASK_UNDER_CGROUP: i32 = 37;
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
    pub const SETSOCKOPT: i32 = 49;
    pub const SKB_ADJUST_ROOM: i32 = 50;
    pub const REDIRECT_MAP: i32 = 51;
    pub const SK_REDIRECT_MAP: i32 = 52;
    pub const SOCK_MAP_UPDATE: i32 = 53;
    pub const XDP_ADJUST_META: i32 = 54;
    pub const PERF_EVENT_READ_VALUE: i32 = 55;
    pub const PERF_PROG_READ_VALUE: i32 = 56;
    pub const GETSOCKOPT: i32 = 57;
    pub const OVERRIDE_RETURN: i32 = 58;
    pub const SOCK_OPS_CB_FLAGS_SET: i32 = 59;
    pub const MSG_REDIRECT_MAP: i32 = 60;
    pub const MSG_APPLY_BYTES: i32 = 61;
    pub const MSG_CORK_BYTES: i32 = 62;
    pub const MSG_PULL_DATA: i32 = 63;
    pub const BIND: i32 = 64;
    pub const XDP_ADJUST_TAIL: i32 = 65;
    pub const SKB_GET_XFRM_STATE: i32 = 66;
    pub const GET_STACK: i32 = 67;
    pub const SKB_LOAD_BYTES_RELATIVE: i32 = 68;
    pub const FIB_LOOKUP: i32 = 69;
    pub const SOCK_HASH_UPDATE: i32 = 70;
    pub const MSG_REDIRECT_HASH: i32 = 71;
    pub const SK_REDIRECT_HASH: i32 = 72;
    pub const LWT_PUSH_ENCAP: i32 = 73;
    pub const LWT_SEG6_STORE_BYTES: i32 = 74;
    pub const LWT_SEG6_ADJUST_SRH: i32 = 75;
    pub const LWT_SEG6_ACTION: i32 = 76;
    pub const RC_REPEAT: i32 = 77;
    pub const RC_KEYDOWN: i32 = 78;
    pub const SKB_CGROUP_ID: i32 = 79;
    pub const GET_CURRENT_CGROUP_ID: i32 = 80;
    pub const GET_LOCAL_STORAGE: i32 = 81;
    pub const SK_SELECT_REUSEPORT: i32 = 82;
    pub const SKB_ANCESTOR_CGROUP_ID: i32 = 83;
    pub const SK_LOOKUP_TCP: i32 = 84;
    pub const SK_LOOKUP_UDP: i32 = 85;
    pub const SK_RELEASE: i32 = 86;
    pub const MAP_PUSH_ELEM: i32 = 87;
    pub const MAP_POP_ELEM: i32 = 88;
    pub const MAP_PEEK_ELEM: i32 = 89;
    pub const MSG_PUSH_DATA: i32 = 90;
    pub const MSG_POP_DATA: i32 = 91;
    pub const RC_POINTER_REL: i32 = 92;
    pub const SPIN_LOCK: i32 = 93;
    pub const SPIN_UNLOCK: i32 = 94;
    pub const SK_FULLSOCK: i32 = 95;
    pub const TCP_SOCK: i32 = 96;
    pub const SKB_ECN_SET_CE: i32 = 97;
    pub const GET_LISTENER_SOCK: i32 = 98;
    pub const SKC_LOOKUP_TCP: i32 = 99;
    pub const TCP_CHECK_SYNCOOKIE: i32 = 100;
    pub const SYSCTL_GET_NAME: i32 = 101;
    pub const SYSCTL_GET_CURRENT_VALUE: i32 = 102;
    pub const SYSCTL_GET_NEW_VALUE: i32 = 103;
    pub const SYSCTL_SET_NEW_VALUE: i32 = 104;
    pub const STRTOL: i32 = 105;
    pub const STRTOUL: i32 = 106;
    pub const SK_STORAGE_GET: i32 = 107;
    pub const SK_STORAGE_DELETE: i32 = 108;
    pub const SEND_SIGNAL: i32 = 109;
    pub const TCP_GEN_SYNCOOKIE: i32 = 110;
    pub const SKB_OUTPUT: i32 = 111;
    pub const PROBE_READ_USER: i32 = 112;
    pub const PROBE_READ_KERNEL: i32 = 113;
    pub const PROBE_READ_USER_STR: i32 = 114;
    pub const PROBE_READ_KERNEL_STR: i32 = 115;
    pub const TCP_SEND_ACK: i32 = 116;
    pub const SEND_SIGNAL_THREAD: i32 = 117;
    pub const JIFFIES64: i32 = 118;
    pub const READ_BRANCH_RECORDS: i32 = 119;
    pub const GET_NS_CURRENT_PID_TGID: i32 = 120;
    pub const XDP_OUTPUT: i32 = 121;
    pub const GET_NETNS_COOKIE: i32 = 122;
    pub const GET_CURRENT_ANCESTOR_CGROUP_ID: i32 = 123;
    pub const SK_ASSIGN: i32 = 124;
    pub const KTIME_GET_BOOT_NS: i32 = 125;
    pub const SEQ_PRINTF: i32 = 126;
    pub const SEQ_WRITE: i32 = 127;
    pub const SK_CGROUP_ID: i32 = 128;
    pub const SK_ANCESTOR_CGROUP_ID: i32 = 129;
    pub const RINGBUF_OUTPUT: i32 = 130;
    pub const RINGBUF_RESERVE: i32 = 131;
    pub const RINGBUF_SUBMIT: i32 = 132;
    pub const RINGBUF_DISCARD: i32 = 133;
    pub const RINGBUF_QUERY: i32 = 134;
    pub const CSUM_LEVEL: i32 = 135;
    pub const SKC_TO_TCP6_SOCK: i32 = 136;
    pub const SKC_TO_TCP_SOCK: i32 = 137;
    pub const SKC_TO_TCP_TIMEWAIT_SOCK: i32 = 138;
    pub const SKC_TO_TCP_REQUEST_SOCK: i32 = 139;
    pub const SKC_TO_UDP6_SOCK: i32 = 140;
    pub const GET_TASK_STACK: i32 = 141;
    pub const LOAD_HDR_OPT: i32 = 142;
    pub const STORE_HDR_OPT: i32 = 143;
    pub const RESERVE_HDR_OPT: i32 = 144;
    pub const INODE_STORAGE_GET: i32 = 145;
    pub const INODE_STORAGE_DELETE: i32 = 146;
    pub const D_PATH: i32 = 147;
    pub const COPY_FROM_USER: i32 = 148;
    pub const SNPRINTF_BTF: i32 = 149;
    pub const SEQ_PRINTF_BTF: i32 = 150;
    pub const SKB_CGROUP_CLASSID: i32 = 151;
    pub const REDIRECT_NEIGH: i32 = 152;
    pub const PER_CPU_PTR: i32 = 153;
    pub const THIS_CPU_PTR: i32 = 154;
    pub const REDIRECT_PEER: i32 = 155;
    pub const TASK_STORAGE_GET: i32 = 156;
    pub const TASK_STORAGE_DELETE: i32 = 157;
    pub const GET_CURRENT_TASK_BTF: i32 = 158;
    pub const BPRM_OPTS_SET: i32 = 159;
    pub const KTIME_GET_COARSE_NS: i32 = 160;
    pub const IMA_INODE_HASH: i32 = 161;
    pub const SOCK_FROM_FILE: i32 = 162;
    pub const CHECK_MTU: i32 = 163;
    pub const FOR_EACH_MAP_ELEM: i32 = 164;
    pub const SNPRINTF: i32 = 165;
    pub const SYS_BPF: i32 = 166;
    pub const BTF_FIND_BY_NAME_KIND: i32 = 167;
    pub const SYS_CLOSE: i32 = 168;
    pub const TIMER_INIT: i32 = 169;
    pub const TIMER_SET_CALLBACK: i32 = 170;
    pub const TIMER_START: i32 = 171;
    pub const TIMER_CANCEL: i32 = 172;
    pub const GET_FUNC_IP: i32 = 173;
    pub const GET_ATTACH_COOKIE: i32 = 174;
    pub const TASK_PT_REGS: i32 = 175;
    pub const GET_BRANCH_SNAPSHOT: i32 = 176;
    pub const TRACE_VPRINTK: i32 = 177;
    pub const SKC_TO_UNIX_SOCK: i32 = 178;
    pub const KALLSYMS_LOOKUP_NAME: i32 = 179;
    pub const FIND_VMA: i32 = 180;
    pub const LOOP: i32 = 181;
    pub const STRNCMP: i32 = 182;
    pub const GET_FUNC_ARG: i32 = 183;
    pub const GET_FUNC_RET: i32 = 184;
    pub const GET_FUNC_ARG_CNT: i32 = 185;
    pub const GET_RETVAL: i32 = 186;
    pub const SET_RETVAL: i32 = 187;
    pub const XDP_GET_BUFF_LEN: i32 = 188;
    pub const XDP_LOAD_BYTES: i32 = 189;
    pub const XDP_STORE_BYTES: i32 = 190;
    pub const COPY_FROM_USER_TASK: i32 = 191;
    pub const SKB_SET_TSTAMP: i32 = 192;
    pub const IMA_FILE_HASH: i32 = 193;
    pub const KPTR_XCHG: i32 = 194;
    pub const MAP_LOOKUP_PERCPU_ELEM: i32 = 195;
    pub const SKC_TO_MPTCP_SOCK: i32 = 196;
    pub const DYNPTR_FROM_MEM: i32 = 197;
    pub const RINGBUF_RESERVE_DYNPTR: i32 = 198;
    pub const RINGBUF_SUBMIT_DYNPTR: i32 = 199;
    pub const RINGBUF_DISCARD_DYNPTR: i32 = 200;
    pub const DYNPTR_READ: i32 = 201;
    pub const DYNPTR_WRITE: i32 = 202;
    pub const DYNPTR_DATA: i32 = 203;
    pub const TCP_RAW_GEN_SYNCOOKIE_IPV4: i32 = 204;
    pub const TCP_RAW_GEN_SYNCOOKIE_IPV6: i32 = 205;
    pub const TCP_RAW_CHECK_SYNCOOKIE_IPV4: i32 = 206;
    pub const TCP_RAW_CHECK_SYNCOOKIE_IPV6: i32 = 207;
    pub const KTIME_GET_TAI_NS: i32 = 208;
    pub const USER_RINGBUF_DRAIN: i32 = 209;
    pub const CGRP_STORAGE_GET: i32 = 210;
    pub const CGRP_STORAGE_DELETE: i32 = 211;
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
    /// The program's context, or null.
    CtxOrNull,
    /// A socket, common part or full, or null.
    SockCommonOrNull,
    /// A pointer to an initialised 4-byte integer that the helper writes.
    OutU32,
    /// A kernel object of this type, by its name in the kernel's BTF.
    Btf(&'static str),
    /// As `Btf`; null is allowed.
    BtfOrNull(&'static str),
    /// A socket, or a kernel's `sock_common` by BTF.
    BtfSockCommon,
    /// A per-CPU variable of the kernel.
    PercpuBtf,
    /// A field of a map value that holds a kernel object.
    KptrField,
    /// A kernel object that is given up to a field, or null.
    KptrValue,
    /// Any memory of known, constant size that a dynptr may stand for, with the next
    /// argument as its size.
    DynptrMem,
    /// An uninitialised dynptr on the stack.
    UninitDynptr,
    /// An initialised dynptr on the stack.
    Dynptr,
    /// A dynptr over a ring buffer's record, given back by this call.
    ReleaseDynptr,
    /// Readable memory of so many bytes.
    FixedMem(u32),
    /// Memory of the next argument's size that is read and written.
    MemInOut,
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
    /// A kernel object of this type, by its name in the kernel's BTF.
    Btf(&'static str),
    /// As `Btf`, or null.
    BtfOrNull(&'static str),
    /// What a per-CPU variable's address gives on one CPU; null when the CPU is not.
    PercpuMemOrNull,
    /// The same, on this CPU.
    PercpuMem,
    /// What a field of a map value held: a referenced kernel object, or null.
    KptrOrNull,
    /// Memory of the constant size in the arguments, or null.
    DynptrMemOrNull,
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
    /// It reads what further registers of r1 to r5 hold too, whatever that is.
    pub variadic: bool,
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
    /// Whether it may sleep: for sleepable programs only.
    pub sleeps: bool,
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
            variadic: false,
            ret,
            gpl_only: false,
            cost,
            cost_per_word: 0,
            changes_packet: false,
            returns: None,
            privileged: false,
            sleeps: false,
        }
    }

    /// How many of r1 to r5 it reads.
    #[must_use]
    pub const fn registers(&self) -> usize {
        if self.variadic { 5 } else { self.args.len() }
    }

    #[must_use]
    pub const fn variadic(mut self) -> Self {
        self.variadic = true;
        self
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
    pub const fn sleeping(mut self) -> Self {
        self.sleeps = true;
        self
    }

    #[must_use]
    pub const fn privileged(mut self) -> Self {
        self.privileged = true;
        self
    }
}
