//! `perf_event_open(2)`: constants, and where each field of `struct perf_event_attr` lies
//! (`include/uapi/linux/perf_event.h`, Linux 6.18).

/// Bytes of `struct perf_event_attr` as it is now, and as it was at first. What a caller passes
/// beyond must be zero.
pub const ATTR_SIZE: usize = 136;
pub const ATTR_SIZE_FIRST: usize = 64;

/// Offsets in the structure.
pub mod attr {
    pub const TYPE: usize = 0;
    pub const SIZE: usize = 4;
    pub const CONFIG: usize = 8;
    pub const SAMPLE_PERIOD: usize = 16;
    pub const SAMPLE_TYPE: usize = 24;
    pub const READ_FORMAT: usize = 32;
    /// The bit fields.
    pub const FLAGS: usize = 40;
    /// `wakeup_events`, or `wakeup_watermark`.
    pub const WAKEUP: usize = 48;
    /// `__reserved_2`, two bytes.
    pub const RESERVED_2: usize = 110;
    /// `aux_action`, of which 29 bits are `__reserved_3`.
    pub const AUX_ACTION: usize = 116;
}

/// `PERF_TYPE_SOFTWARE`, and its event that programs make.
pub const TYPE_SOFTWARE: u32 = 1;
pub const COUNT_SW_BPF_OUTPUT: u64 = 10;
/// One more than the last event of that type.
pub const COUNT_SW_MAX: u64 = 12;

/// Bits of `sample_type`.
pub mod sample {
    pub const TID: u64 = 1 << 1;
    pub const TIME: u64 = 1 << 2;
    pub const ADDR: u64 = 1 << 3;
    pub const ID: u64 = 1 << 6;
    pub const CPU: u64 = 1 << 7;
    pub const PERIOD: u64 = 1 << 8;
    pub const STREAM_ID: u64 = 1 << 9;
    pub const RAW: u64 = 1 << 10;
    pub const IDENTIFIER: u64 = 1 << 16;
    /// One more than the highest.
    pub const MAX: u64 = 1 << 25;
}

/// One more than the highest bit of `read_format`.
pub const FORMAT_MAX: u64 = 1 << 5;

/// The bit fields.
pub mod flag {
    /// It has to be enabled first.
    pub const DISABLED: u64 = 1 << 0;
    /// `pinned`, `exclusive`, and what is not to be counted: nothing of it concerns what programs
    /// send.
    pub const WITHOUT_EFFECT: u64 = 0b1111_1100 | 0b1111 << 19;
    /// `wakeup_watermark` is meant.
    pub const WATERMARK: u64 = 1 << 14;
    /// One more than the highest.
    pub const MAX: u64 = 1 << 38;
}

/// Flags of the call.
pub const FLAG_FD_NO_GROUP: u32 = 1;
pub const FLAG_FD_OUTPUT: u32 = 2;
pub const FLAG_PID_CGROUP: u32 = 4;
pub const FLAG_FD_CLOEXEC: u32 = 8;

/// Requests of `ioctl(2)` on events.
pub mod ioctl {
    pub const ENABLE: u32 = 0x2400;
    pub const DISABLE: u32 = 0x2401;
    pub const REFRESH: u32 = 0x2402;
    pub const RESET: u32 = 0x2403;
    pub const PERIOD: u32 = 0x4008_2404;
    pub const SET_OUTPUT: u32 = 0x2405;
    pub const SET_FILTER: u32 = 0x4008_2406;
    pub const ID: u32 = 0x8008_2407;
    pub const SET_BPF: u32 = 0x4004_2408;
    pub const PAUSE_OUTPUT: u32 = 0x4004_2409;
    pub const QUERY_BPF: u32 = 0xc008_240a;
    pub const MODIFY_ATTRIBUTES: u32 = 0x4008_240b;
}
