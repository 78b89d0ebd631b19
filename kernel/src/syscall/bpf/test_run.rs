//! `BPF_PROG_TEST_RUN`: runs a program on data that the caller brings, some number of times,
//! and tells the answer and the mean time.
//!
//! Packet programs take a packet (`data_in`), of which those that do not see the link layer get
//! what follows the Ethernet header, as on Linux. Raw-tracepoint programs and Lemma's own take
//! a context (`ctx_in`). Other types return `ENOTSUPP`, as most do on Linux (`docs/linux.md`).

use kernel_abi::Errno;
use kernel_abi::bpf::test_run as attr;
use kernel_bpf::interpreter::PacketContext;
use kernel_bpf::prog_type::ProgType;

use super::{Request, SyscallResult};
use crate::arch::{Arch, Architecture};
use crate::bpf::host::KernelHost;
use crate::bpf::program::{ContextKind, LoadedProgram};
use crate::mcore;
use crate::mem::user::{copy_from_user, copy_to_user};

/// Bytes of an Ethernet header: the shortest packet.
const ETHERNET_HEADER: usize = 14;
/// Longest packet: what fits a page beside its bookkeeping on Linux.
const PACKET_MAX: usize = 4096 - 320 - 256;
/// Bytes before and behind a packet for programs that let it grow (Linux:
/// `XDP_PACKET_HEADROOM`).
const ROOM: usize = 256;
/// Words of the longest context that a caller can bring.
const CONTEXT_WORDS: usize = 12;
/// After about so many instructions the task looks whether it should stop or give way.
const INSTRUCTIONS_BETWEEN_LOOKS: u64 = 1 << 20;
/// After so many runs at the latest.
const RUNS_BETWEEN_LOOKS: u64 = 1024;

/// `BPF_PROG_TEST_RUN`.
pub(super) fn test_run(request: &Request) -> SyscallResult {
    request.ends_at(attr::END)?;
    if request.u32(attr::FLAGS) != 0
        || request.u32(attr::CPU) != 0
        || request.u32(attr::BATCH_SIZE) != 0
    {
        return Err(Errno::EINVAL);
    }
    let handle = request.object(attr::PROG_FD)?;
    let program = handle.program()?;
    match program.code.context_kind() {
        ContextKind::Packet => run_packet(request, program),
        ContextKind::RawTracepoint => {
            if request.u32(attr::REPEAT) != 0 {
                return Err(Errno::EINVAL);
            }
            run_context(request, program, CONTEXT_WORDS * 8)
        }
        ContextKind::Hook => {
            let size = program.code.context_size();
            run_context(request, program, size)
        }
        ContextKind::Tracepoint | ContextKind::PerfEvent => Err(Errno::ENOTSUPP),
    }
}

/// What a program of a type sees of a packet: what lies behind so many bytes. `None`: nothing.
fn header_before(prog_type: ProgType) -> Option<usize> {
    match prog_type {
        ProgType::SchedCls | ProgType::SchedAct | ProgType::Xdp => Some(0),
        ProgType::SocketFilter
        | ProgType::CgroupSkb
        | ProgType::LwtIn
        | ProgType::LwtOut
        | ProgType::LwtXmit
        | ProgType::LwtSeg6Local => Some(ETHERNET_HEADER),
        _ => None,
    }
}

fn run_packet(request: &Request, program: &LoadedProgram) -> SyscallResult {
    let prog_type = program.code.prog_type();
    let header = header_before(prog_type).ok_or(Errno::ENOTSUPP)?;
    let size = request.u32(attr::DATA_SIZE_IN) as usize;
    if request.u64(attr::CTX_IN) != 0 || request.u32(attr::CTX_SIZE_IN) != 0 {
        return Err(Errno::EINVAL);
    }
    if !(ETHERNET_HEADER..=PACKET_MAX).contains(&size) {
        return Err(Errno::EINVAL);
    }
    let room = if program.code.bounds().moves_packet { ROOM } else { 0 };
    let mut inline = [0; 256];
    let mut heap;
    let memory = match inline.get_mut(..size + 2 * room) {
        Some(memory) => memory,
        None => {
            heap = super::buffer(size + 2 * room)?;
            &mut heap[..]
        }
    };
    let packet = memory.get_mut(room..room + size).ok_or(Errno::EINVAL)?;
    copy_from_user(packet, request.pointer(attr::DATA_IN))?;
    let mut context = PacketContext::with_room(prog_type, memory, room + header..room + size)
        .ok_or(Errno::ENOTSUPP)?;
    let outcome = repeat(request, program.code.bounds().worst_case, || {
        // The context was made for the program's type.
        let run = program.code.running(|ready| ready.run_packet(&mut context, &KernelHost));
        run.unwrap_or_default()
    })?;
    // What is there now, with the header that was taken off.
    let left = context.range();
    let left = left.start.saturating_sub(header)..left.end;
    let size = left.len();
    let room = request.u32(attr::DATA_SIZE_OUT) as usize;
    let address = request.pointer(attr::DATA_OUT);
    let short = address != 0 && room != 0 && room < size;
    if address != 0 {
        let count = if short { room } else { size };
        copy_to_user(address, memory.get(left).and_then(|left| left.get(..count)).unwrap_or(&[]))?;
    }
    request.write_u32(attr::DATA_SIZE_OUT, size as u32)?;
    outcome.report(request)?;
    if short { Err(Errno::ENOSPC) } else { Ok(0) }
}

fn run_context(request: &Request, program: &LoadedProgram, most: usize) -> SyscallResult {
    let unused = [attr::DATA_SIZE_IN, attr::DATA_SIZE_OUT, attr::CTX_SIZE_OUT];
    let unused_pointers = [attr::DATA_IN, attr::DATA_OUT, attr::CTX_OUT];
    if unused.iter().any(|&offset| request.u32(offset) != 0)
        || unused_pointers.iter().any(|&offset| request.u64(offset) != 0)
    {
        return Err(Errno::EINVAL);
    }
    let size = request.u32(attr::CTX_SIZE_IN) as usize;
    if size > most || size < program.code.bounds().context_bytes as usize {
        return Err(Errno::EINVAL);
    }
    let mut words = [0u64; CONTEXT_WORDS];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    let given = bytes.get_mut(..size).ok_or(Errno::EINVAL)?;
    copy_from_user(given, request.pointer(attr::CTX_IN))?;
    // The context is as long as the program was proved to read, checked above.
    let outcome = repeat(request, program.code.bounds().worst_case, || {
        program.code.running(|ready| ready.run(bytes, &KernelHost)).unwrap_or(0)
    })?;
    outcome.report(request)?;
    Ok(0)
}

/// What a series of runs gave.
struct Outcome {
    answer: u64,
    /// Mean, in nanoseconds.
    duration: u64,
}

impl Outcome {
    fn report(&self, request: &Request) -> Result<(), Errno> {
        request.write_u32(attr::RETVAL, self.answer as u32)?;
        request.write_u32(attr::DURATION, self.duration.min(u64::from(u32::MAX)) as u32)
    }
}

/// Runs as often as the caller asks, at least once. A signal ends the series with `EINTR`; other
/// tasks get their turn.
#[inline]
fn repeat(
    request: &Request,
    worst_case: u64,
    mut run: impl FnMut() -> u64,
) -> Result<Outcome, Errno> {
    let count = request.u32(attr::REPEAT).max(1);
    let between = INSTRUCTIONS_BETWEEN_LOOKS / worst_case.max(1);
    let between = between.clamp(1, RUNS_BETWEEN_LOOKS) as u32;
    let start = Arch::now_ns();
    let mut answer = 0;
    let mut left = count;
    loop {
        let series = left.min(between);
        let reading = mcore::reading();
        for _ in 0..series {
            // Opaque to the compiler: each run is made, whatever the program.
            answer = core::hint::black_box(&mut run)();
        }
        drop(reading);
        left -= series;
        if left == 0 {
            break;
        }
        if mcore::current().has_signal() {
            return Err(Errno::EINTR);
        }
        mcore::give_way();
    }
    let time = Arch::now_ns().saturating_sub(start);
    Ok(Outcome { answer, duration: time / u64::from(count) })
}
