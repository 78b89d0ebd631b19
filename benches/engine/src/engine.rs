//! Figures of the engine alone: the verifier's speed and memory, loading, map lookups.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

use anyhow::{Result, anyhow};
use kernel_bpf::asm::assemble;
use kernel_bpf::insn::{Insn, encode};
use kernel_bpf::interpreter::Interpreter;
use kernel_bpf::map::{Map, MapDef, MapType};
use kernel_bpf::profile::CloudProfile;
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Cause, Verified, VerifyOptions, verify};

use crate::lemma::{Idle, compile, environment, to_program, verified};
use crate::measure::{Contender, Effort, in_turn, median, processor_time};
use crate::peers::rbpf_compiler;
use crate::programs::Source;

/// The system's allocator, which counts what is in use while [`peak_bytes`] asks for it: counting
/// takes as long as a small block itself, and what is timed does not pay for it.
struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
/// Since the counting began; less than nothing when older blocks are given back.
static IN_USE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

#[inline]
fn count(more: usize, less: usize) {
    if COUNTS.load(Ordering::Relaxed) {
        let change = more as isize - less as isize;
        let now = IN_USE.fetch_add(change, Ordering::Relaxed) + change;
        PEAK.fetch_max(now, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator, as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both at once, as where the block has to move.
        count(size, 0);
        count(0, layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes in use while `work` ran, above those before.
fn peak_bytes<T>(work: impl FnOnce() -> T) -> (T, usize) {
    IN_USE.store(0, Ordering::Relaxed);
    PEAK.store(0, Ordering::Relaxed);
    COUNTS.store(true, Ordering::Relaxed);
    let result = work();
    COUNTS.store(false, Ordering::Relaxed);
    (result, PEAK.load(Ordering::Relaxed).unsigned_abs())
}

/// The verifier on one program.
pub(crate) struct Verification {
    pub(crate) name: &'static str,
    /// Instructions explored.
    pub(crate) processed: u64,
    pub(crate) nanoseconds: f64,
}

/// The JIT on one program.
pub(crate) struct Compilation {
    /// BPF instructions.
    pub(crate) insns: usize,
    pub(crate) nanoseconds: f64,
    /// rbpf's, where it takes the program.
    pub(crate) rbpf_nanoseconds: Option<f64>,
    /// Of machine code.
    pub(crate) bytes: usize,
}

/// What was measured.
pub(crate) struct Figures {
    pub(crate) verification: Vec<Verification>,
    /// Instructions explored, and most bytes in use meanwhile.
    pub(crate) cloud_memory: (u64, usize),
    pub(crate) embedded_memory: (u64, usize),
    pub(crate) compilation: Vec<Compilation>,
    /// Microseconds to load a straight program of 100 instructions: interpreter, JIT.
    pub(crate) load: [f64; 2],
    /// Nanoseconds for one lookup inside a program: interpreter, JIT.
    pub(crate) array_lookup: [f64; 2],
    pub(crate) hash_lookup: [f64; 2],
}

/// Measures all of them.
pub(crate) fn measure(programs: &[Source], effort: &Effort) -> Result<Figures> {
    let verification =
        programs.iter().map(|source| verification(source, effort)).collect::<Result<_>>()?;
    let compilation =
        programs.iter().map(|source| compilation(source, effort)).collect::<Result<_>>()?;
    Ok(Figures {
        verification,
        cloud_memory: memory(&VerifyOptions::cloud())?,
        embedded_memory: memory(&VerifyOptions::embedded())?,
        compilation,
        load: load(effort)?,
        array_lookup: lookup(MapType::Array, effort)?,
        hash_lookup: lookup(MapType::Hash, effort)?,
    })
}

fn verification(source: &Source, effort: &Effort) -> Result<Verification> {
    let program = to_program(&source.verifiable)?;
    let mut times = Vec::new();
    let mut processed = 0;
    for _ in 0..effort.rounds.div_ceil(3) {
        // Short programs are verified often enough for the clock.
        let mut count = 0;
        let mut elapsed = 0.0;
        while elapsed < effort.slice.as_secs_f64() * 1e9 {
            let copy = program.clone();
            let start = processor_time();
            let verified = verify(copy, &VerifyOptions::cloud());
            elapsed += processor_time().saturating_sub(start).as_secs_f64() * 1e9;
            count += 1;
            let verified = verified.map_err(|rejection| anyhow!("{}: {rejection}", source.name))?;
            processed = verified.proof().processed;
        }
        times.push(elapsed / f64::from(count));
    }
    Ok(Verification { name: source.name, processed, nanoseconds: median(times) })
}

/// Verifies a program that takes nearly as much work as the options allow: a loop whose turns
/// differ, so that none is pruned, with a branch, spills and an inner loop in each.
fn memory(options: &VerifyOptions) -> Result<(u64, usize)> {
    let mut turns = options.max_processed / 160;
    loop {
        let text = format!(
            "r6 = *(u64 *)(r1 + 0)
             r7 = 0
             turn: *(u64 *)(r10 - 8) = r6
             r8 = r6
             r8 &= 255
             if r8 > 100 goto other
             r8 = 5
             other: r9 = *(u64 *)(r10 - 8)
             r8 = 0
             inner: r8 += 1
             r9 ^= r6
             *(u64 *)(r10 - 16) = r9
             if r8 < 40 goto inner
             r7 += 1
             if r7 < {turns} goto turn
             r0 = r9
             exit"
        );
        let program: Program<Arc<Map>> =
            Program::new(assemble(&text)?, ProgType::RawTracepoint, Vec::new());
        match peak_bytes(|| verify(program, options)) {
            (Ok(verified), bytes) => return Ok((verified.proof().processed, bytes)),
            (Err(rejection), _)
                if !matches!(rejection.cause, Cause::TooComplex | Cause::ProgramSize)
                    || turns < 10 =>
            {
                return Err(anyhow!("{rejection}"));
            }
            _ => turns = turns * 9 / 10,
        }
    }
}

/// What compiling takes, from the verified program, with what the verifier has found out about its
/// text, to code that was not installed: changing the
/// protection of pages is the operating system's work, a few microseconds for each program. rbpf
/// can only do both at once.
fn compilation(source: &Source, effort: &Effort) -> Result<Compilation> {
    let program = verified(source)?;
    let insns = program.insns.iter().filter(|insn| **insn != Insn::WideTail).count();
    let bytes = emit(&program)?;
    let own = Contender::new("compile", move || emit(&program).unwrap_or_default() as u64);
    let contenders = [Some(own), rbpf_compiler(source).ok()];
    let times = in_turn(contenders.into_iter().flatten().collect(), effort);
    let mut medians = times.into_iter().map(|(_, rounds)| median(rounds));
    let nanoseconds = medians.next().unwrap_or(0.0);
    Ok(Compilation { insns, nanoseconds, rbpf_nanoseconds: medians.next(), bytes })
}

/// From bytes to a program that can run, with either engine.
fn load(effort: &Effort) -> Result<[f64; 2]> {
    let mut text = String::from("r0 = 0\n");
    for index in 0..98 {
        // The last one's result is the program's.
        let line = ["r0 += 7\n", "r0 ^= 77\n", "r0 <<= 1\n", "r0 >>= 3\n"][index % 4];
        text.push_str(line);
    }
    text.push_str("exit\n");
    let bytes = encode(&assemble(&text)?);
    let verified = move || -> Result<Verified<Program<Arc<Map>>>> {
        let program: Program<Arc<Map>> =
            Program::from_bytes(&bytes, ProgType::RawTracepoint, |_| None, |_| None, Arc::ptr_eq)?;
        verify(program, &VerifyOptions::cloud()).map_err(|rejection| anyhow!("{rejection}"))
    };
    let copy = verified.clone();
    let interpreter = move || -> Result<u64> {
        Ok(Interpreter::<CloudProfile>::new(&copy()?)?.operations() as u64)
    };
    let jit = move || -> Result<u64> { Ok(compile(&verified()?)?.code_bytes() as u64) };
    interpreter()?;
    jit()?;
    let contenders = vec![
        Contender::new("interpreter", move || interpreter().unwrap_or_default()),
        Contender::new("jit", move || jit().unwrap_or_default()),
    ];
    let times = in_turn(contenders, effort);
    let micros =
        |index: usize| times.get(index).map_or(0.0, |(_, rounds)| median(rounds.clone()) / 1000.0);
    Ok([micros(0), micros(1)])
}

/// Lookups in one program.
const LOOKUPS: usize = 64;

/// The time of one lookup: that of a program with many, less that of one which reads as many
/// words of its context instead.
fn lookup(map_type: MapType, effort: &Effort) -> Result<[f64; 2]> {
    let key_size = if map_type == MapType::Array { 4 } else { 8 };
    let def = MapDef { map_type, key_size, value_size: 8, max_entries: 1024, flags: 0 };
    let map = Arc::new(Map::create::<CloudProfile>(def, &environment())?);
    for key in 0..512u64 {
        let bytes = key.to_le_bytes();
        map.update(bytes.get(..key_size as usize).unwrap_or_default(), &bytes, 0)?;
    }
    let program = |call: &str| -> Result<Verified<Program<Arc<Map>>>> {
        let mut text = String::from("r6 = r1\n *(u64 *)(r10 - 8) = 200\n");
        for _ in 0..LOOKUPS {
            write!(
                text,
                "r2 = r10
                 r2 += -8
                 r1 = map[0] ll
                 {call}
                 if r0 == 0 goto none\n"
            )?;
        }
        text.push_str("r0 = 1\n exit\n none: r0 = 0\n exit\n");
        let program =
            Program::new(assemble(&text)?, ProgType::RawTracepoint, vec![Arc::clone(&map)]);
        verify(program, &VerifyOptions::cloud()).map_err(|rejection| anyhow!("{rejection}"))
    };
    let (with, without) = ("call bpf_map_lookup_elem", "r0 = *(u64 *)(r6 + 0)");
    let interpreter = |name, call| -> Result<Contender> {
        let ready = Interpreter::<CloudProfile>::new(&program(call)?)?;
        Ok(Contender::new(name, move || ready.run(&mut [1; 8], &Idle).unwrap_or_default()))
    };
    let jit = |name, call| -> Result<Contender> {
        let ready = compile(&program(call)?)?;
        Ok(Contender::new(name, move || ready.run(&mut [1; 8], &Idle).unwrap_or_default()))
    };
    let times = in_turn(
        vec![
            interpreter("interpreter with", with)?,
            interpreter("interpreter without", without)?,
            jit("jit with", with)?,
            jit("jit without", without)?,
        ],
        effort,
    );
    let each = |index: usize| {
        let rounds = |index: usize| times.get(index).map_or(&[][..], |(_, rounds)| rounds);
        let pairs = rounds(index).iter().zip(rounds(index + 1));
        median(pairs.map(|(with, without)| with - without).collect()) / LOOKUPS as f64
    };
    Ok([each(0), each(2)])
}

/// Compiles without installing; the bytes of code.
#[cfg(target_arch = "x86_64")]
fn emit(program: &Verified<Program<Arc<Map>>>) -> Result<usize> {
    use kernel_bpf::jit::host::{HostMemory, machine};
    use kernel_bpf::jit::x86_64::X86_64;
    use kernel_bpf::jit::{Intrinsics, Options, emit_verified};

    let memory = HostMemory::get().ok_or_else(|| anyhow!("no executable memory"))?;
    let intrinsics = Intrinsics::default();
    let options = Options { machine: machine(), intrinsics, memory, blind: None };
    Ok(black_box(emit_verified::<X86_64>(program, &options)?).bytes.len())
}

/// There is no emitter for this machine.
#[cfg(not(target_arch = "x86_64"))]
fn emit(_: &Verified<Program<Arc<Map>>>) -> Result<usize> {
    Err(anyhow!("there is no JIT for this machine"))
}
