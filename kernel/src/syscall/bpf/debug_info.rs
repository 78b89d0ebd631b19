//! `func_info` and `line_info` of `BPF_PROG_LOAD`: records that tie instructions to the
//! functions and source lines of a loaded BTF. Records may be longer than those known here, if
//! the rest is zero.

use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_abi::Errno;
use kernel_abi::bpf::prog_load;
use kernel_bpf::btf::Kind;
use kernel_bpf::program::{FuncInfo, LineInfo};

use super::Request;
use crate::bpf::btf::LoadedBtf;

/// Longest record (Linux `MAX_FUNCINFO_REC_SIZE`).
const RECORD_MAX: usize = 252;
/// `struct bpf_func_info`: instruction, type.
const FUNC_INFO: usize = 8;
/// `struct bpf_line_info`: instruction, file name, line, line and column.
const LINE_INFO: usize = 16;

/// Source text that one program may bring, in bytes.
const TEXT_MAX: usize = 4 << 20;
/// Longest name of a function (Linux `KSYM_NAME_LEN`).
const NAME_MAX: usize = 512;
/// Most functions of a program (Linux `BPF_MAX_SUBPROGS`): a record is the beginning of one, so
/// that their names take some 128 KiB at most.
const FUNCTIONS_MAX: usize = 256;
/// Linkage of a function that others may call (`BTF_FUNC_GLOBAL`).
const LINKAGE_GLOBAL: u16 = 1;

/// What the messages of the verifier use.
#[derive(Default)]
pub(super) struct DebugInfo {
    pub functions: Vec<FuncInfo>,
    pub lines: Vec<LineInfo>,
}

/// Reads both lists; `count` is the number of instructions.
pub(super) fn read(
    request: &Request,
    btf: Option<&LoadedBtf>,
    count: usize,
) -> Result<DebugInfo, Errno> {
    let functions = records::<{ FUNC_INFO / 4 }>(
        request,
        [prog_load::FUNC_INFO, prog_load::FUNC_INFO_CNT, prog_load::FUNC_INFO_REC_SIZE],
        count,
    )?;
    let lines = records::<{ LINE_INFO / 4 }>(
        request,
        [prog_load::LINE_INFO, prog_load::LINE_INFO_CNT, prog_load::LINE_INFO_REC_SIZE],
        count,
    )?;
    if functions.is_empty() && lines.is_empty() {
        return Ok(DebugInfo::default());
    }
    let btf = btf.ok_or(Errno::EINVAL)?;
    if functions.len() > FUNCTIONS_MAX {
        return Err(Errno::EINVAL);
    }
    let functions = functions.into_iter().map(|[insn, type_id]| function(btf, insn, type_id));
    Ok(DebugInfo {
        functions: functions.collect::<Result<_, _>>()?,
        lines: source_lines(btf, &lines)?,
    })
}

/// Reads a list of records as words, checks that they ascend and lie inside the program.
fn records<const WORDS: usize>(
    request: &Request,
    [address, count, size]: [usize; 3],
    instructions: usize,
) -> Result<Vec<[u32; WORDS]>, Errno> {
    let (address, count, size) =
        (request.pointer(address), request.u32(count) as usize, request.u32(size) as usize);
    if count == 0 {
        return Ok(Vec::new());
    }
    if size < WORDS * 4 || size > RECORD_MAX || size % 4 != 0 || count > instructions {
        return Err(Errno::EINVAL);
    }
    let bytes = super::read_bytes(address, count * size)?;
    let mut list: Vec<[u32; WORDS]> = Vec::new();
    list.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    for record in bytes.chunks_exact(size) {
        let (known, rest) = record.split_at(WORDS * 4);
        if rest.iter().any(|&byte| byte != 0) {
            return Err(Errno::E2BIG);
        }
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(known.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        let insn = words.first().copied().unwrap_or(0);
        let before = list.last().and_then(|words| words.first()).copied();
        if insn as usize >= instructions || before.is_some_and(|before| before >= insn) {
            return Err(Errno::EINVAL);
        }
        list.push(words);
    }
    Ok(list)
}

fn function(btf: &LoadedBtf, insn: u32, type_id: u32) -> Result<FuncInfo, Errno> {
    let Some(Kind::Func { linkage, .. }) = btf.types.get(type_id).map(|found| &found.kind) else {
        return Err(Errno::EINVAL);
    };
    let name = btf.types.name(type_id);
    if name.len() > NAME_MAX {
        return Err(Errno::EINVAL);
    }
    let name = Arc::from(name);
    Ok(FuncInfo { insn, type_id, name, global: *linkage == LINKAGE_GLOBAL })
}

fn source_lines(btf: &LoadedBtf, records: &[[u32; 4]]) -> Result<Vec<LineInfo>, Errno> {
    let mut lines: Vec<LineInfo> = Vec::new();
    lines.try_reserve_exact(records.len()).map_err(|_| Errno::ENOMEM)?;
    let mut bytes = 0usize;
    for &[insn, file, text, line_column] in records {
        let text = btf.types.string(text).ok_or(Errno::EINVAL)?;
        // Many records may name one long string, and each keeps a copy.
        bytes = bytes.saturating_add(text.len());
        if bytes > TEXT_MAX {
            return Err(Errno::E2BIG);
        }
        crate::mem::memapi::may_allocate(text.len())?;
        let file_name = btf.types.string(file).ok_or(Errno::EINVAL)?;
        // One allocation per file, not per line.
        let file = match lines.last() {
            Some(last) if &*last.file == file_name => Arc::clone(&last.file),
            _ if file_name.len() > NAME_MAX * 8 => return Err(Errno::EINVAL),
            _ => Arc::from(file_name),
        };
        lines.push(LineInfo {
            insn,
            file,
            line: line_column >> 10,
            column: line_column & 0x3ff,
            text: Arc::from(text),
        });
    }
    Ok(lines)
}
