//! `bpf(2)`: commands, flags, and where each field of `union bpf_attr` lies
//! (`include/uapi/linux/bpf.h`, Linux 6.12).
//!
//! The union is a plain block of bytes until a command has been chosen; [`Attr`] is that
//! block, and the modules named after the commands give the offsets of their fields and the
//! end of the last one, behind which Linux wants zeros.

/// Bytes of `union bpf_attr` that Lemma knows. What a caller passes beyond must be zero.
pub const ATTR_SIZE: usize = 152;
/// A caller's `size` above this is refused (Linux: a page).
pub const ATTR_SIZE_MAX: usize = 4096;
/// Bytes in a program's or a map's name, the terminating NUL included.
pub const OBJ_NAME_LEN: usize = 16;

/// Commands, the first argument of `bpf(2)`.
pub mod command {
    pub const MAP_CREATE: u32 = 0;
    pub const MAP_LOOKUP_ELEM: u32 = 1;
    pub const MAP_UPDATE_ELEM: u32 = 2;
    pub const MAP_DELETE_ELEM: u32 = 3;
    pub const MAP_GET_NEXT_KEY: u32 = 4;
    pub const PROG_LOAD: u32 = 5;
    pub const OBJ_PIN: u32 = 6;
    pub const OBJ_GET: u32 = 7;
    pub const PROG_ATTACH: u32 = 8;
    pub const PROG_DETACH: u32 = 9;
    pub const PROG_TEST_RUN: u32 = 10;
    pub const PROG_GET_NEXT_ID: u32 = 11;
    pub const MAP_GET_NEXT_ID: u32 = 12;
    pub const PROG_GET_FD_BY_ID: u32 = 13;
    pub const MAP_GET_FD_BY_ID: u32 = 14;
    pub const OBJ_GET_INFO_BY_FD: u32 = 15;
    pub const RAW_TRACEPOINT_OPEN: u32 = 17;
    pub const BTF_LOAD: u32 = 18;
    pub const BTF_GET_FD_BY_ID: u32 = 19;
    pub const MAP_LOOKUP_AND_DELETE_ELEM: u32 = 21;
    pub const MAP_FREEZE: u32 = 22;
    pub const BTF_GET_NEXT_ID: u32 = 23;
    pub const MAP_LOOKUP_BATCH: u32 = 24;
    pub const MAP_LOOKUP_AND_DELETE_BATCH: u32 = 25;
    pub const MAP_UPDATE_BATCH: u32 = 26;
    pub const MAP_DELETE_BATCH: u32 = 27;
    pub const LINK_CREATE: u32 = 28;
    pub const LINK_UPDATE: u32 = 29;
    pub const LINK_GET_FD_BY_ID: u32 = 30;
    pub const LINK_GET_NEXT_ID: u32 = 31;
    pub const LINK_DETACH: u32 = 34;
}

/// Attach types, as the specification of Lemma numbers its hooks.
pub mod attach_type {
    /// The timer interrupt.
    pub const TIMER: u32 = 1;
    /// Entry of a system call.
    pub const SYS_ENTER: u32 = 2;
    /// Return of a system call.
    pub const SYS_EXIT: u32 = 3;
}

/// `PROG_ATTACH`: replace the program in `replace_bpf_fd` (`BPF_F_REPLACE`).
pub const F_REPLACE: u32 = 1 << 2;

/// The bytes of `union bpf_attr`, zero-extended to [`ATTR_SIZE`].
#[derive(Clone)]
#[repr(align(8))]
pub struct Attr {
    bytes: [u8; ATTR_SIZE],
}

impl Attr {
    /// A block of zeros, to be filled by the caller's bytes.
    pub const fn zeroed() -> Self {
        Self { bytes: [0; ATTR_SIZE] }
    }

    /// The whole block, to copy into.
    pub fn bytes_mut(&mut self) -> &mut [u8; ATTR_SIZE] {
        &mut self.bytes
    }

    /// `count` bytes from `offset`; nothing if they are not all inside.
    pub fn slice(&self, offset: usize, count: usize) -> &[u8] {
        offset.checked_add(count).and_then(|end| self.bytes.get(offset..end)).unwrap_or(&[])
    }

    /// The `u32` at `offset`; 0 outside.
    pub fn u32(&self, offset: usize) -> u32 {
        self.slice(offset, 4).try_into().map_or(0, u32::from_ne_bytes)
    }

    /// The `u64` at `offset`; 0 outside.
    pub fn u64(&self, offset: usize) -> u64 {
        self.slice(offset, 8).try_into().map_or(0, u64::from_ne_bytes)
    }

    /// Whether every byte from `offset` on is zero: what Linux's `CHECK_ATTR` asks.
    pub fn zero_from(&self, offset: usize) -> bool {
        let Some(rest) = self.bytes.get(offset..) else { return true };
        // Word by word: this is on the way of every command.
        let (words, bytes) = rest.as_chunks::<8>();
        let words = words.iter().fold(0, |all, word| all | u64::from_ne_bytes(*word));
        words == 0 && bytes.iter().all(|&byte| byte == 0)
    }
}

/// `MAP_CREATE`.
pub mod map_create {
    pub const MAP_TYPE: usize = 0;
    pub const KEY_SIZE: usize = 4;
    pub const VALUE_SIZE: usize = 8;
    pub const MAX_ENTRIES: usize = 12;
    pub const MAP_FLAGS: usize = 16;
    pub const INNER_MAP_FD: usize = 20;
    pub const NUMA_NODE: usize = 24;
    pub const MAP_NAME: usize = 28;
    pub const MAP_IFINDEX: usize = 44;
    pub const BTF_FD: usize = 48;
    pub const BTF_KEY_TYPE_ID: usize = 52;
    pub const BTF_VALUE_TYPE_ID: usize = 56;
    pub const BTF_VMLINUX_VALUE_TYPE_ID: usize = 60;
    pub const MAP_EXTRA: usize = 64;
    pub const END: usize = 80;
}

/// `MAP_LOOKUP_ELEM`, `MAP_UPDATE_ELEM`, `MAP_DELETE_ELEM`, `MAP_GET_NEXT_KEY`, `MAP_FREEZE`.
pub mod map_elem {
    pub const MAP_FD: usize = 0;
    pub const KEY: usize = 8;
    /// The value, or for `MAP_GET_NEXT_KEY` where the next key goes.
    pub const VALUE: usize = 16;
    pub const FLAGS: usize = 24;
    pub const FREEZE_END: usize = 4;
    pub const DELETE_END: usize = 16;
    pub const NEXT_KEY_END: usize = 24;
    pub const END: usize = 32;
}

/// `MAP_LOOKUP_BATCH`, `MAP_LOOKUP_AND_DELETE_BATCH`, `MAP_UPDATE_BATCH`, `MAP_DELETE_BATCH`.
pub mod map_batch {
    /// Where to go on, as the command before left it; null to begin.
    pub const IN_BATCH: usize = 0;
    /// Where the next command is to go on.
    pub const OUT_BATCH: usize = 8;
    pub const KEYS: usize = 16;
    pub const VALUES: usize = 24;
    /// How many there is room for; how many there were.
    pub const COUNT: usize = 32;
    pub const MAP_FD: usize = 36;
    pub const ELEM_FLAGS: usize = 40;
    pub const FLAGS: usize = 48;
    pub const END: usize = 56;
}

/// `PROG_LOAD`.
pub mod prog_load {
    pub const PROG_TYPE: usize = 0;
    pub const INSN_CNT: usize = 4;
    pub const INSNS: usize = 8;
    pub const LICENSE: usize = 16;
    pub const LOG_LEVEL: usize = 24;
    pub const LOG_SIZE: usize = 28;
    pub const LOG_BUF: usize = 32;
    pub const KERN_VERSION: usize = 40;
    pub const PROG_FLAGS: usize = 44;
    pub const PROG_NAME: usize = 48;
    pub const PROG_IFINDEX: usize = 64;
    pub const EXPECTED_ATTACH_TYPE: usize = 68;
    pub const PROG_BTF_FD: usize = 72;
    pub const FUNC_INFO_REC_SIZE: usize = 76;
    pub const FUNC_INFO: usize = 80;
    pub const FUNC_INFO_CNT: usize = 88;
    pub const LINE_INFO_REC_SIZE: usize = 92;
    pub const LINE_INFO: usize = 96;
    pub const LINE_INFO_CNT: usize = 104;
    pub const ATTACH_BTF_ID: usize = 108;
    pub const ATTACH_PROG_FD: usize = 112;
    pub const CORE_RELO_CNT: usize = 116;
    pub const FD_ARRAY: usize = 120;
    pub const CORE_RELOS: usize = 128;
    pub const CORE_RELO_REC_SIZE: usize = 136;
    pub const LOG_TRUE_SIZE: usize = 140;
    pub const PROG_TOKEN_FD: usize = 144;
    pub const END: usize = 148;
}

/// `OBJ_PIN`, `OBJ_GET`.
pub mod obj {
    pub const PATHNAME: usize = 0;
    pub const BPF_FD: usize = 8;
    pub const FILE_FLAGS: usize = 12;
    pub const PATH_FD: usize = 16;
    pub const END: usize = 20;
}

/// `PROG_ATTACH`, `PROG_DETACH`.
pub mod prog_attach {
    pub const TARGET_FD: usize = 0;
    pub const ATTACH_BPF_FD: usize = 4;
    pub const ATTACH_TYPE: usize = 8;
    pub const ATTACH_FLAGS: usize = 12;
    pub const REPLACE_BPF_FD: usize = 16;
    pub const END: usize = 20;
}

/// `PROG_TEST_RUN`.
pub mod test_run {
    pub const PROG_FD: usize = 0;
    pub const RETVAL: usize = 4;
    pub const DATA_SIZE_IN: usize = 8;
    pub const DATA_SIZE_OUT: usize = 12;
    pub const DATA_IN: usize = 16;
    pub const DATA_OUT: usize = 24;
    pub const REPEAT: usize = 32;
    pub const DURATION: usize = 36;
    pub const CTX_SIZE_IN: usize = 40;
    pub const CTX_SIZE_OUT: usize = 44;
    pub const CTX_IN: usize = 48;
    pub const CTX_OUT: usize = 56;
    pub const FLAGS: usize = 64;
    pub const CPU: usize = 68;
    pub const BATCH_SIZE: usize = 72;
    pub const END: usize = 76;
}

/// `*_GET_NEXT_ID`, `*_GET_FD_BY_ID`.
pub mod get_id {
    /// `start_id`, or the id to open.
    pub const ID: usize = 0;
    pub const NEXT_ID: usize = 4;
    pub const OPEN_FLAGS: usize = 8;
    pub const NEXT_END: usize = 8;
    pub const END: usize = 12;
}

/// `OBJ_GET_INFO_BY_FD`.
pub mod info {
    pub const BPF_FD: usize = 0;
    pub const INFO_LEN: usize = 4;
    pub const INFO: usize = 8;
    pub const END: usize = 16;
}

/// `RAW_TRACEPOINT_OPEN`.
pub mod raw_tracepoint {
    pub const NAME: usize = 0;
    pub const PROG_FD: usize = 8;
    pub const COOKIE: usize = 16;
    pub const END: usize = 24;
}

/// `BTF_LOAD`.
pub mod btf_load {
    pub const BTF: usize = 0;
    pub const LOG_BUF: usize = 8;
    pub const SIZE: usize = 16;
    pub const LOG_SIZE: usize = 20;
    pub const LOG_LEVEL: usize = 24;
    pub const LOG_TRUE_SIZE: usize = 28;
    pub const FLAGS: usize = 32;
    pub const TOKEN_FD: usize = 36;
    pub const END: usize = 40;
}

/// `LINK_CREATE`.
pub mod link_create {
    pub const PROG_FD: usize = 0;
    pub const TARGET_FD: usize = 4;
    pub const ATTACH_TYPE: usize = 8;
    pub const FLAGS: usize = 12;
    pub const END: usize = 16;
}

/// `LINK_UPDATE`, `LINK_DETACH`.
pub mod link_update {
    pub const LINK_FD: usize = 0;
    pub const NEW_PROG_FD: usize = 4;
    pub const FLAGS: usize = 8;
    pub const OLD_PROG_FD: usize = 12;
    pub const DETACH_END: usize = 4;
    pub const END: usize = 16;
}

/// `struct bpf_prog_info`.
pub mod prog_info {
    pub const TYPE: usize = 0;
    pub const ID: usize = 4;
    pub const TAG: usize = 8;
    pub const JITED_PROG_LEN: usize = 16;
    pub const XLATED_PROG_LEN: usize = 20;
    pub const XLATED_PROG_INSNS: usize = 32;
    pub const LOAD_TIME: usize = 40;
    pub const CREATED_BY_UID: usize = 48;
    pub const NR_MAP_IDS: usize = 52;
    pub const MAP_IDS: usize = 56;
    pub const NAME: usize = 64;
    /// Bit 0: the licence is GPL-compatible.
    pub const GPL_COMPATIBLE: usize = 84;
    pub const BTF_ID: usize = 128;
    pub const RUN_TIME_NS: usize = 192;
    pub const RUN_CNT: usize = 200;
    pub const VERIFIED_INSNS: usize = 216;
    pub const SIZE: usize = 232;
}

/// `struct bpf_map_info`.
pub mod map_info {
    pub const TYPE: usize = 0;
    pub const ID: usize = 4;
    pub const KEY_SIZE: usize = 8;
    pub const VALUE_SIZE: usize = 12;
    pub const MAX_ENTRIES: usize = 16;
    pub const MAP_FLAGS: usize = 20;
    pub const NAME: usize = 24;
    pub const BTF_ID: usize = 64;
    pub const BTF_KEY_TYPE_ID: usize = 68;
    pub const BTF_VALUE_TYPE_ID: usize = 72;
    pub const MAP_EXTRA: usize = 80;
    pub const SIZE: usize = 88;
}

/// `struct bpf_link_info`.
pub mod link_info {
    pub const TYPE: usize = 0;
    pub const ID: usize = 4;
    pub const PROG_ID: usize = 8;
    /// For a raw tracepoint: where its name goes, and the room there.
    pub const TP_NAME: usize = 16;
    pub const TP_NAME_LEN: usize = 24;
    /// For an attachment to a hook (`BPF_LINK_TYPE_TRACING`): the attach type.
    pub const ATTACH_TYPE: usize = 16;
    pub const SIZE: usize = 64;
    /// `BPF_LINK_TYPE_RAW_TRACEPOINT`.
    pub const TYPE_RAW_TRACEPOINT: u32 = 1;
    /// `BPF_LINK_TYPE_TRACING`.
    pub const TYPE_TRACING: u32 = 2;
}

/// `struct bpf_btf_info`.
pub mod btf_info {
    pub const BTF: usize = 0;
    pub const BTF_SIZE: usize = 8;
    pub const ID: usize = 12;
    pub const NAME: usize = 16;
    pub const NAME_LEN: usize = 24;
    pub const KERNEL_BTF: usize = 28;
    pub const SIZE: usize = 32;
}

#[cfg(test)]
mod tests {
    use super::Attr;

    #[test]
    fn fields_read_what_was_written_and_nothing_outside() {
        let mut attr = Attr::zeroed();
        attr.bytes_mut()[4..8].copy_from_slice(&7u32.to_ne_bytes());
        assert_eq!(attr.u32(4), 7);
        assert_eq!(attr.u64(148), 0);
        assert_eq!(attr.u32(usize::MAX), 0);
        assert!(attr.zero_from(8));
        assert!(!attr.zero_from(7 - 3));
    }
}
