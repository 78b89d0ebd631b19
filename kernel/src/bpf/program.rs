//! A program in the kernel: [`prepare`] makes it from what user space says, by way of the
//! verifier; [`ProgramCode`] is what hooks run; [`LoadedProgram`] is what descriptors and pins
//! hold.
//!
//! Two objects, because their lives differ: an event may still be running a program's code
//! while the last descriptor is being closed. The code goes when the last list that names it
//! has been retired; the attachments go with the [`LoadedProgram`].

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use kernel_abi::bpf::OBJ_NAME_LEN;
use kernel_bpf::engine;
use kernel_bpf::helper;
use kernel_bpf::hook::HookDecl;
use kernel_bpf::interpreter::{self, Interpreter};
use kernel_bpf::map::{Engine, Map};
use kernel_bpf::profile::ActiveProfile;
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Rejection, Verified, VerifyOptions, verify_with_log};
use kernel_sync::Mutex;
use sha1_smol::Sha1;

use super::BpfManager;
use super::btf::LoadedBtf;
use super::events::{TRACEPOINT_ENTER_SIZE, TRACEPOINT_EXIT_SIZE};
use super::hooks::{AttachError, AttachmentId, Hook};
use super::host::KernelHost;
use super::map::LoadedMap;
use crate::arch::{Arch, Architecture};
use crate::mem::memapi::Pledge;
use crate::{mcore, mem};

/// In which shape a program sees its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextKind {
    /// As the hook declares it.
    Hook,
    /// Linux's `struct bpf_raw_tracepoint_args`.
    RawTracepoint,
    /// Linux's record of a tracepoint.
    Tracepoint,
    /// Linux's `struct bpf_perf_event_data`.
    PerfEvent,
    /// None: the program only runs in `BPF_PROG_TEST_RUN`.
    Packet,
}

/// What user space asks to be loaded, decoded but not verified.
pub struct LoadRequest {
    pub program: Program<Arc<Map>>,
    /// The maps of `program`, in its order, as objects with numbers.
    pub maps: Vec<Arc<LoadedMap>>,
    pub name: [u8; OBJ_NAME_LEN],
    pub btf: Option<Arc<LoadedBtf>>,
    pub options: VerifyOptions,
    /// The instructions as they were passed.
    pub bytes: Vec<u8>,
    pub uid: u32,
}

/// What the proof of a program says, as far as the kernel uses it after loading.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Greatest number of instructions that any run executes.
    pub worst_case: u64,
    /// Greatest stack use in bytes.
    pub stack_depth: u32,
    /// Instructions that the verifier explored.
    pub processed: u64,
    /// States that it kept in all, and at most at one instruction.
    pub total_states: u64,
    pub peak_states: u64,
    /// One more than the highest byte of the context that is accessed.
    pub context_bytes: u32,
    /// Whether a helper that it calls may move a packet's ends.
    pub moves_packet: bool,
}

/// Why a program was not loaded.
pub enum LoadError {
    /// The verifier refused it.
    Rejected(Box<Rejection>),
    /// No engine here can run it, though it is safe.
    NotRunnable(kernel_bpf::interpreter::LoadError),
    OutOfMemory,
}

/// A verified program, ready to run, not yet numbered.
pub struct Prepared {
    request: Facts,
    code: Code,
}

struct Facts {
    maps: Vec<Arc<LoadedMap>>,
    name: [u8; OBJ_NAME_LEN],
    btf: Option<Arc<LoadedBtf>>,
    bytes: Vec<u8>,
    uid: u32,
    verify_time_ns: u64,
    gpl_compatible: bool,
}

struct Code {
    ready: engine::Prepared<ActiveProfile>,
    bounds: Bounds,
    prog_type: ProgType,
    expected_attach_type: u32,
    lines: Box<[Line]>,
    runs: Box<[Runs]>,
}

/// Verifies a program, and compiles or pre-decodes it.
///
/// # Errors
/// What the verifier refuses, or what no engine can run. The verifier's own log, as
/// far as the options ask for one, is added to `log` in any case.
pub fn prepare(request: LoadRequest, log: &mut String) -> Result<Prepared, LoadError> {
    let LoadRequest { program, maps, name, btf, options, bytes, uid } = request;
    let (prog_type, expected_attach_type) = (program.prog_type, program.expected_attach_type);
    let gpl_compatible = program.gpl_compatible;
    // The verifier counts what it uses, up to its limit; lists that grow take as much again.
    let pledge = Pledge::up_to(2 * options.max_memory);
    let options = options.within_memory(pledge.bytes() / 2);
    let start = Arch::now_ns();
    let verified = verify_with_log(program, &options, log).map_err(LoadError::Rejected)?;
    let verify_time_ns = Arch::now_ns().saturating_sub(start);
    let proof = verified.proof();
    let bounds = Bounds {
        worst_case: proof.worst_case,
        stack_depth: proof.stack_depth,
        processed: proof.processed,
        total_states: proof.total_states,
        peak_states: proof.peak_states,
        context_bytes: proof.max_ctx_offset,
        moves_packet: proof
            .helpers
            .iter()
            .any(|&number| helper::by_id(number).is_some_and(|helper| helper.changes_packet)),
    };
    let ready = make_ready(&verified, &options)
        .map_err(LoadError::NotRunnable)?
        .within(tail_budget(prog_type, expected_attach_type));
    Ok(Prepared {
        request: Facts { maps, name, btf, bytes, uid, verify_time_ns, gpl_compatible },
        code: Code {
            ready,
            bounds,
            prog_type,
            expected_attach_type,
            lines: lines(&verified)?,
            runs: Runs::for_all()?,
        },
    })
}

/// Compiles a program, or pre-decodes it for the interpreter: where programs are not compiled,
/// where there is no more room for code, and what the compiler does not know.
fn make_ready(
    program: &Verified<Program<Arc<Map>>>,
    options: &VerifyOptions,
) -> Result<engine::Prepared<ActiveProfile>, interpreter::LoadError> {
    let blind = options.unprivileged.then(crate::random::word);
    if let Some(memory) = mem::code::pages()
        && let Some(compiled) = Arch::compile(program, memory, blind)
    {
        match compiled {
            Ok(compiled) => return Ok(engine::Prepared::Compiled(compiled)),
            Err(interpreter::LoadError::OtherPrograms) => {
                return Err(interpreter::LoadError::OtherPrograms);
            }
            Err(reason) => log::debug!("bpf: {} is interpreted: {reason}", program.name),
        }
    }
    Interpreter::new(program).map(engine::Prepared::Interpreter)
}

impl Prepared {
    pub(super) fn into_loaded(self, id: u32) -> LoadedProgram {
        let Self { request, code } = self;
        let kind = match code.prog_type {
            ProgType::LemmaHook => ContextKind::Hook,
            ProgType::RawTracepoint => ContextKind::RawTracepoint,
            ProgType::Tracepoint => ContextKind::Tracepoint,
            ProgType::PerfEvent => ContextKind::PerfEvent,
            _ => ContextKind::Packet,
        };
        LoadedProgram {
            id,
            name: request.name,
            maps: request.maps,
            btf: request.btf,
            bytes: request.bytes,
            uid: request.uid,
            verify_time_ns: request.verify_time_ns,
            gpl_compatible: request.gpl_compatible,
            load_time_ns: Arch::now_ns(),
            code: Arc::new(ProgramCode {
                id,
                name: request.name,
                kind,
                ready: code.ready,
                bounds: code.bounds,
                prog_type: code.prog_type,
                expected_attach_type: code.expected_attach_type,
                lines: code.lines,
                runs: code.runs,
            }),
            attachments: Mutex::new(Vec::new()),
        }
    }
}

/// What hooks run: the code, its proof, and how often and how long it ran.
pub struct ProgramCode {
    pub id: u32,
    name: [u8; OBJ_NAME_LEN],
    kind: ContextKind,
    ready: engine::Prepared<ActiveProfile>,
    bounds: Bounds,
    prog_type: ProgType,
    expected_attach_type: u32,
    /// Sorted by slot; empty where the program brought none.
    lines: Box<[Line]>,
    runs: Box<[Runs]>,
}

/// Where in the source the instructions from a slot on come from.
struct Line {
    slot: u32,
    file: Arc<str>,
    line: u32,
}

/// The source lines of a program, without their text.
fn lines(program: &Program<Arc<Map>>) -> Result<Box<[Line]>, LoadError> {
    let mut lines = Vec::new();
    lines.try_reserve_exact(program.line_info.len()).map_err(|_| LoadError::OutOfMemory)?;
    lines.extend(program.line_info.iter().map(|info| Line {
        slot: info.insn,
        file: Arc::clone(&info.file),
        line: info.line,
    }));
    Ok(lines.into_boxed_slice())
}

/// How often and how long a program ran on one CPU, in a cache line of its own. Only that CPU
/// writes it, and what interrupts a program runs another one: the timer's programs run nowhere
/// else. So no addition is lost, though none is atomic.
#[derive(Default)]
#[repr(align(64))]
struct Runs {
    count: AtomicU64,
    /// In ticks of [`Architecture::counter`].
    ticks: AtomicU64,
}

impl Runs {
    #[inline]
    fn add(&self, ticks: u64) {
        let add = |to: &AtomicU64, value| {
            to.store(to.load(Ordering::Relaxed).wrapping_add(value), Ordering::Relaxed);
        };
        add(&self.count, 1);
        add(&self.ticks, ticks);
    }

    /// One for each CPU.
    fn for_all() -> Result<Box<[Self]>, LoadError> {
        let mut runs = Vec::new();
        let cpus = Arch::cpus_online();
        runs.try_reserve_exact(cpus).map_err(|_| LoadError::OutOfMemory)?;
        runs.resize_with(cpus, Self::default);
        Ok(runs.into_boxed_slice())
    }
}

/// Writes which program this CPU is running, if any, for the report of a kernel that failed:
/// its number and name, and the instruction that `at` (where the CPU was), one of the `registers`, or one
/// of the words of the `stack` upwards, points to, with its source line where the program brought
/// those.
///
/// # Errors
/// If `out` fails.
pub fn describe_running(
    out: &mut dyn fmt::Write,
    at: usize,
    registers: &[u64],
    mut stack: impl Iterator<Item = usize>,
) -> fmt::Result {
    let program = if mcore::is_running() {
        mcore::this_cpu().program().load(Ordering::Relaxed).cast::<ProgramCode>()
    } else {
        core::ptr::null_mut()
    };
    // SAFETY: null, or a program that `run` on this CPU has borrowed and not returned from.
    let Some(program) = (unsafe { program.as_ref() }) else {
        return writeln!(out, "program: none");
    };
    let name = program.name.split(|&byte| byte == 0).next().unwrap_or(&[]).escape_ascii();
    write!(out, "program: {} {name} ({:?})", program.id, program.prog_type)?;
    let ready = &program.ready;
    // Whoever runs a program holds the address of its beginning: that says nothing.
    let begin = |word: &usize| *word == ready.address();
    let mut registers = registers.iter().map(|&word| word as usize).filter(|word| !begin(word));
    let slot = ready
        .slot_at(at)
        .or_else(|| registers.find_map(|word| ready.slot_at(word)))
        .or_else(|| stack.find_map(|word| ready.slot_of_caller(word).filter(|_| !begin(&word))));
    let Some(slot) = slot else {
        return writeln!(out, ", instruction unknown");
    };
    write!(out, ", instruction {slot}")?;
    match program.line_of(slot) {
        Some(at) => writeln!(out, " ({}:{})", at.file, at.line),
        None => writeln!(out),
    }
}

impl ProgramCode {
    /// In which shape it sees its events.
    #[inline(always)]
    pub fn context_kind(&self) -> ContextKind {
        self.kind
    }

    pub fn prog_type(&self) -> ProgType {
        self.prog_type
    }

    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// How often it ran.
    pub fn run_count(&self) -> u64 {
        self.runs.iter().map(|runs| runs.count.load(Ordering::Relaxed)).sum()
    }

    /// How long it ran in all, in nanoseconds.
    pub fn run_time_ns(&self) -> u64 {
        let ticks = self.runs.iter().map(|runs| runs.ticks.load(Ordering::Relaxed)).sum();
        Arch::counter_ns(ticks)
    }

    /// Whether the program may be attached to a hook: its type belongs there, its context is
    /// not longer than the event's, and its worst case is within the budget.
    pub fn check_hook(&self, hook: &HookDecl) -> Result<(), AttachError> {
        use kernel_bpf::hook::{SYS_ENTER, SYS_EXIT, TIMER};
        let record = match (self.kind, hook.attach_type) {
            (ContextKind::Hook, attach_type) if attach_type == self.expected_attach_type => {
                hook.context.size
            }
            (ContextKind::RawTracepoint, SYS_ENTER | SYS_EXIT) => 16,
            (ContextKind::Tracepoint, SYS_ENTER) => TRACEPOINT_ENTER_SIZE,
            (ContextKind::Tracepoint, SYS_EXIT) => TRACEPOINT_EXIT_SIZE,
            (ContextKind::PerfEvent, TIMER) => u32::MAX,
            _ => return Err(AttachError::WrongType),
        };
        if self.bounds.context_bytes > record {
            return Err(AttachError::ContextTooShort);
        }
        if self.bounds.worst_case > budget(hook) {
            return Err(AttachError::OverBudget);
        }
        Ok(())
    }

    /// Runs the program for an event, with a context given as words, and returns its r0; `None`
    /// if the context is too short, which [`check_hook`](Self::check_hook) excludes.
    #[inline]
    pub(super) fn run(&self, context: &mut [u64]) -> Option<u64> {
        let start = Arch::counter();
        let answer =
            self.running(|ready| ready.run(bytemuck::cast_slice_mut(context), &KernelHost));
        if let Some(runs) = self.runs.get(Arch::cpu_id()) {
            runs.add(Arch::counter().wrapping_sub(start));
        }
        answer
    }

    /// Bytes of the context that its own hook declares; 0 for programs of Linux's types.
    pub fn context_size(&self) -> usize {
        match (self.kind, kernel_bpf::hook::by_attach_type(self.expected_attach_type)) {
            (ContextKind::Hook, Some(hook)) => hook.context.size as usize,
            _ => 0,
        }
    }

    /// Does `work`, which runs the program: should the kernel fail meanwhile, it names the program
    /// ([`describe_running`]). This is not counted as an event.
    #[inline(always)]
    pub fn running<T>(&self, work: impl FnOnce(&engine::Prepared<ActiveProfile>) -> T) -> T {
        let slot = mcore::this_cpu().program();
        let interrupted = slot.load(Ordering::Relaxed);
        slot.store(core::ptr::from_ref(self).cast_mut().cast(), Ordering::Relaxed);
        let result = work(&self.ready);
        slot.store(interrupted, Ordering::Relaxed);
        result
    }

    /// The source line of an instruction: that of the last entry at or before it.
    fn line_of(&self, slot: usize) -> Option<&Line> {
        let after = self.lines.partition_point(|line| line.slot as usize <= slot);
        self.lines.get(after.checked_sub(1)?)
    }

    /// What runs; not to be run without [`running`](Self::running).
    pub fn ready(&self) -> &engine::Prepared<ActiveProfile> {
        &self.ready
    }

    /// Whether it is compiled.
    pub fn is_compiled(&self) -> bool {
        self.ready.engine() == Engine::Compiled
    }
}

/// The instructions that a run with all its tail calls may execute: the least budget of the
/// hooks at which a program of this type may run.
fn tail_budget(prog_type: ProgType, expected_attach_type: u32) -> u64 {
    use kernel_bpf::hook::{HOOKS, SYS_ENTER, SYS_EXIT, TIMER};
    HOOKS
        .iter()
        .filter(|hook| match prog_type {
            ProgType::LemmaHook => hook.attach_type == expected_attach_type,
            ProgType::PerfEvent => hook.attach_type == TIMER,
            _ => matches!(hook.attach_type, SYS_ENTER | SYS_EXIT),
        })
        .map(budget)
        .min()
        .unwrap_or(0)
}

/// The instructions that one program may execute for one event at `hook`, in this profile.
pub fn budget(hook: &HookDecl) -> u64 {
    if cfg!(feature = "profile-embedded") { hook.budget_embedded } else { hook.budget_cloud }
}

/// A program with its number, as `bpf(2)` knows it. Dropping it detaches what was attached
/// with `BPF_PROG_ATTACH`.
pub struct LoadedProgram {
    pub id: u32,
    pub name: [u8; OBJ_NAME_LEN],
    pub code: Arc<ProgramCode>,
    pub maps: Vec<Arc<LoadedMap>>,
    pub btf: Option<Arc<LoadedBtf>>,
    /// The instructions as they were passed.
    pub bytes: Vec<u8>,
    pub uid: u32,
    /// On the clock of `Arch::now_ns`.
    pub load_time_ns: u64,
    pub verify_time_ns: u64,
    pub gpl_compatible: bool,
    attachments: Mutex<Vec<(&'static Hook, AttachmentId)>>,
}

impl LoadedProgram {
    /// The name as text.
    pub fn name(&self) -> String {
        let length = self.name.iter().position(|&byte| byte == 0).unwrap_or(self.name.len());
        String::from_utf8_lossy(self.name.get(..length).unwrap_or(&[])).into_owned()
    }

    /// The first eight bytes of the SHA-1 of the instructions, descriptors of maps taken as
    /// zero: what Linux calls the tag.
    pub fn tag(&self) -> [u8; 8] {
        let mut hash = Sha1::new();
        let mut second_half_of_map = false;
        for slot in self.bytes.chunks_exact(8) {
            let mut slot: [u8; 8] = slot.try_into().unwrap_or([0; 8]);
            // ld_imm64 with a map in its source register: opcode 0x18, source 1 or 2.
            let names_map = slot[0] == 0x18 && matches!(slot[1] >> 4, 1 | 2);
            if names_map || second_half_of_map {
                slot[4..].fill(0);
            }
            second_half_of_map = names_map;
            hash.update(&slot);
        }
        let digest = hash.digest().bytes();
        let mut tag = [0; 8];
        tag.copy_from_slice(&digest[..8]);
        tag
    }

    /// Attaches this program to `hook` until it is detached or gone; once per hook.
    pub fn attach(&self, hook: &'static Hook) -> Result<(), AttachError> {
        let mut attachments = self.attachments.lock();
        if attachments.iter().any(|(at, _)| core::ptr::eq(*at, hook)) {
            return Err(AttachError::AlreadyAttached);
        }
        attachments.try_reserve(1).map_err(|_| AttachError::OutOfMemory)?;
        let attachment = hook.attach(Arc::clone(&self.code))?;
        attachments.push((hook, attachment));
        Ok(())
    }

    /// Takes this program away from `hook`.
    pub fn detach(&self, hook: &'static Hook) -> Result<(), AttachError> {
        let mut attachments = self.attachments.lock();
        let position = attachments
            .iter()
            .position(|(at, _)| core::ptr::eq(*at, hook))
            .ok_or(AttachError::NotAttached)?;
        let (_, attachment) = attachments.swap_remove(position);
        hook.detach(attachment)
    }

    /// Takes this program away from every hook it is attached to; says if there was any.
    pub fn detach_all(&self) -> bool {
        let attachments = core::mem::take(&mut *self.attachments.lock());
        let any = !attachments.is_empty();
        for (hook, attachment) in attachments {
            // It is on the list, so it is attached.
            let _ = hook.detach(attachment);
        }
        any
    }

    /// Puts `new` in this program's place at `hook`, in one step.
    pub fn replace_with(&self, new: &Self, hook: &'static Hook) -> Result<(), AttachError> {
        // Both programs' attachments are locked, the lower number first.
        if self.id == new.id {
            return Err(AttachError::AlreadyAttached);
        }
        let (mut ours, mut theirs);
        if self.id < new.id {
            ours = self.attachments.lock();
            theirs = new.attachments.lock();
        } else {
            theirs = new.attachments.lock();
            ours = self.attachments.lock();
        }
        if theirs.iter().any(|(at, _)| core::ptr::eq(*at, hook)) {
            return Err(AttachError::AlreadyAttached);
        }
        let position = ours
            .iter()
            .position(|(at, _)| core::ptr::eq(*at, hook))
            .ok_or(AttachError::NotAttached)?;
        let Some(&(_, attachment)) = ours.get(position) else {
            return Err(AttachError::NotAttached);
        };
        theirs.try_reserve(1).map_err(|_| AttachError::OutOfMemory)?;
        hook.replace(attachment, Arc::clone(&new.code))?;
        ours.swap_remove(position);
        theirs.push((hook, attachment));
        Ok(())
    }

    /// The hooks it is attached to with `BPF_PROG_ATTACH`.
    pub fn hooks(&self) -> Vec<&'static Hook> {
        self.attachments.lock().iter().map(|(hook, _)| *hook).collect()
    }
}

impl Drop for LoadedProgram {
    fn drop(&mut self) {
        self.detach_all();
        if let Some(manager) = BpfManager::get() {
            manager.programs.remove(self.id);
        }
    }
}
