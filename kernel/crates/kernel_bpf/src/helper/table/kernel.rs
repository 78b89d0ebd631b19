//! Helpers about kernel objects, tasks and tracing, dynptrs and local storage, that
//! [`super::CORE`] does not have.

use super::proto;
use crate::helper::proto::Arg::{
    self, Any, Ctx, Mem, MemOrNull, OutU64, Size, SizeOrZero, UninitMem, UninitMemOrNull,
};
use crate::helper::proto::Ret::{self, Scalar};
use crate::helper::proto::{HelperProto, id};

const MAP: Arg = Arg::ConstMapPtr;
const TASK: Arg = Arg::Btf("task_struct");

/// Sorted by number.
pub(super) static HELPERS: &[HelperProto] = &[
    proto(id::OVERRIDE_RETURN, "override_return", &[Ctx, Any], Scalar, 10).gpl(),
    proto(
        id::SKB_OUTPUT,
        "skb_output",
        &[Arg::Btf("sk_buff"), MAP, Any, Mem, SizeOrZero],
        Scalar,
        120,
    )
    .per_word(2)
    .gpl(),
    proto(id::TCP_SEND_ACK, "tcp_send_ack", &[Arg::Btf("tcp_sock"), Any], Scalar, 300),
    proto(
        id::READ_BRANCH_RECORDS,
        "read_branch_records",
        &[Ctx, UninitMemOrNull, SizeOrZero, Any],
        Scalar,
        60,
    )
    .per_word(2)
    .gpl(),
    proto(
        id::XDP_OUTPUT,
        "xdp_output",
        &[Arg::Btf("xdp_buff"), MAP, Any, Mem, SizeOrZero],
        Scalar,
        120,
    )
    .per_word(2)
    .gpl(),
    proto(
        id::SEQ_PRINTF,
        "seq_printf",
        &[Arg::Btf("seq_file"), Mem, Size, MemOrNull, SizeOrZero],
        Scalar,
        400,
    )
    .per_word(40)
    .gpl(),
    proto(id::SEQ_WRITE, "seq_write", &[Arg::Btf("seq_file"), Mem, SizeOrZero], Scalar, 60)
        .per_word(2)
        .gpl(),
    proto(id::GET_TASK_STACK, "get_task_stack", &[TASK, UninitMem, SizeOrZero, Any], Scalar, 800),
    proto(
        id::INODE_STORAGE_GET,
        "inode_storage_get",
        &[MAP, Arg::BtfOrNull("inode"), Arg::MapValueOrNull, Any],
        Ret::MapValueOrNull,
        150,
    ),
    proto(
        id::INODE_STORAGE_DELETE,
        "inode_storage_delete",
        &[MAP, Arg::BtfOrNull("inode")],
        Scalar,
        100,
    ),
    proto(id::D_PATH, "d_path", &[Arg::Btf("path"), UninitMem, SizeOrZero], Scalar, 400),
    proto(id::COPY_FROM_USER, "copy_from_user", &[UninitMem, SizeOrZero, Any], Scalar, 60)
        .per_word(2)
        .sleeping(),
    proto(id::SNPRINTF_BTF, "snprintf_btf", &[UninitMem, Size, Mem, Size, Any], Scalar, 800)
        .per_word(40)
        .gpl(),
    proto(
        id::SEQ_PRINTF_BTF,
        "seq_printf_btf",
        &[Arg::Btf("seq_file"), Mem, SizeOrZero, Any],
        Scalar,
        800,
    )
    .per_word(40)
    .gpl(),
    proto(id::PER_CPU_PTR, "per_cpu_ptr", &[Arg::PercpuBtf, Any], Ret::PercpuMemOrNull, 5)
        .privileged(),
    proto(id::THIS_CPU_PTR, "this_cpu_ptr", &[Arg::PercpuBtf], Ret::PercpuMem, 5).privileged(),
    proto(
        id::TASK_STORAGE_GET,
        "task_storage_get",
        &[MAP, Arg::BtfOrNull("task_struct"), Arg::MapValueOrNull, Any],
        Ret::MapValueOrNull,
        150,
    ),
    proto(
        id::TASK_STORAGE_DELETE,
        "task_storage_delete",
        &[MAP, Arg::BtfOrNull("task_struct")],
        Scalar,
        100,
    ),
    proto(id::GET_CURRENT_TASK_BTF, "get_current_task_btf", &[], Ret::Btf("task_struct"), 5).gpl(),
    proto(id::BPRM_OPTS_SET, "bprm_opts_set", &[Arg::Btf("linux_binprm"), Any], Scalar, 10),
    proto(
        id::IMA_INODE_HASH,
        "ima_inode_hash",
        &[Arg::Btf("inode"), UninitMem, Size],
        Scalar,
        2000,
    )
    .sleeping(),
    proto(id::SYS_BPF, "sys_bpf", &[Any, Arg::MemInOut, Size], Scalar, 2000).sleeping(),
    proto(
        id::BTF_FIND_BY_NAME_KIND,
        "btf_find_by_name_kind",
        &[Mem, SizeOrZero, Any, Any],
        Scalar,
        2000,
    ),
    proto(id::SYS_CLOSE, "sys_close", &[Any], Scalar, 300),
    proto(id::TASK_PT_REGS, "task_pt_regs", &[TASK], Ret::Btf("pt_regs"), 5).gpl(),
    proto(
        id::GET_BRANCH_SNAPSHOT,
        "get_branch_snapshot",
        &[UninitMem, SizeOrZero, Any],
        Scalar,
        60,
    )
    .per_word(2)
    .gpl(),
    proto(
        id::KALLSYMS_LOOKUP_NAME,
        "kallsyms_lookup_name",
        &[Mem, SizeOrZero, Any, OutU64],
        Scalar,
        2000,
    )
    .privileged(),
    proto(
        id::FIND_VMA,
        "find_vma",
        &[TASK, Any, Arg::Callback, Arg::StackOrNull, Any],
        Scalar,
        200,
    ),
    proto(id::GET_FUNC_ARG, "get_func_arg", &[Ctx, Any, OutU64], Scalar, 10),
    proto(id::GET_FUNC_RET, "get_func_ret", &[Ctx, OutU64], Scalar, 10),
    proto(id::GET_FUNC_ARG_CNT, "get_func_arg_cnt", &[Ctx], Scalar, 5),
    proto(
        id::COPY_FROM_USER_TASK,
        "copy_from_user_task",
        &[UninitMem, SizeOrZero, Any, TASK, Any],
        Scalar,
        100,
    )
    .per_word(2)
    .gpl()
    .sleeping(),
    proto(id::IMA_FILE_HASH, "ima_file_hash", &[Arg::Btf("file"), UninitMem, Size], Scalar, 2000)
        .sleeping(),
    proto(id::KPTR_XCHG, "kptr_xchg", &[Arg::KptrField, Arg::KptrValue], Ret::KptrOrNull, 10)
        .privileged(),
    proto(
        id::DYNPTR_FROM_MEM,
        "dynptr_from_mem",
        &[Arg::DynptrMem, SizeOrZero, Any, Arg::UninitDynptr],
        Scalar,
        10,
    )
    .privileged(),
    proto(
        id::RINGBUF_RESERVE_DYNPTR,
        "ringbuf_reserve_dynptr",
        &[MAP, Any, Any, Arg::UninitDynptr],
        Scalar,
        100,
    )
    .privileged(),
    proto(
        id::RINGBUF_SUBMIT_DYNPTR,
        "ringbuf_submit_dynptr",
        &[Arg::ReleaseDynptr, Any],
        Ret::Void,
        60,
    )
    .privileged(),
    proto(
        id::RINGBUF_DISCARD_DYNPTR,
        "ringbuf_discard_dynptr",
        &[Arg::ReleaseDynptr, Any],
        Ret::Void,
        60,
    )
    .privileged(),
    proto(
        id::DYNPTR_READ,
        "dynptr_read",
        &[UninitMem, SizeOrZero, Arg::Dynptr, Any, Any],
        Scalar,
        20,
    )
    .per_word(2)
    .privileged(),
    proto(id::DYNPTR_WRITE, "dynptr_write", &[Arg::Dynptr, Any, Mem, SizeOrZero, Any], Scalar, 20)
        .per_word(2)
        .privileged(),
    proto(
        id::DYNPTR_DATA,
        "dynptr_data",
        &[Arg::Dynptr, Any, Arg::ConstAllocSize],
        Ret::DynptrMemOrNull,
        10,
    )
    .privileged(),
    proto(
        id::USER_RINGBUF_DRAIN,
        "user_ringbuf_drain",
        &[MAP, Arg::Callback, Arg::StackOrNull, Any],
        Scalar,
        200,
    )
    .privileged(),
    proto(
        id::CGRP_STORAGE_GET,
        "cgrp_storage_get",
        &[MAP, Arg::BtfOrNull("cgroup"), Arg::MapValueOrNull, Any],
        Ret::MapValueOrNull,
        150,
    ),
    proto(
        id::CGRP_STORAGE_DELETE,
        "cgrp_storage_delete",
        &[MAP, Arg::BtfOrNull("cgroup")],
        Scalar,
        100,
    ),
];
