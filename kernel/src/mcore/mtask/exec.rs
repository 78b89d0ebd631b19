//! `execve(2)`: another program in the same process.
//!
//! Everything that can fail is done on a new address space while the old one is untouched:
//! reading and checking the file, mapping its segments, building the stack. Then the other
//! threads end, and the new address space takes the place of the old.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use kernel_elf::executable::{HEADER_BYTES, Header, Limits, SegmentRights};
use kernel_elf::script::LINE_BYTES;
use kernel_elf::{
    Arguments, ArgumentsError, AuxiliaryType, ElfError, Executable, Script, StackRequest,
};
use kernel_mem::Rights;
use kernel_sync::OnceCell;
use kernel_vfs::{FsError, MountFlags, OpenFile, SliceSink};

use super::super::context::{current, this_cpu};
use super::credentials::Credentials;
use super::process::Resources;
use super::{family, robust, scheduler, signal};
use crate::arch::{Arch, Architecture, PAGE_SIZE, TrapFrame};
use crate::mem::address_space::{MemoryError, Placement};
use crate::mem::backing::{Backing, FileBacking};
use crate::mem::demand::FaultError;
use crate::mem::layout::{USER_LOW, map_top, program_base, stack_top};
use crate::mem::memapi::may_allocate;
use crate::mem::{AddressSpace, OutOfMemory, signal_page};

type Frame = <Arch as Architecture>::Frame;

/// Clock ticks a second, as user space counts them (`AT_CLKTCK`, `times(2)`).
pub const CLOCK_TICKS: usize = 100;

/// Why a program was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecError {
    File(FsError),
    /// Not a program that can run here: `ENOEXEC`.
    Format,
    /// Writable and executable memory: `EACCES`.
    WriteAndExecute,
    TooBig,
    OutOfMemory,
    /// The process is ending.
    Ending,
}

impl From<FsError> for ExecError {
    fn from(error: FsError) -> Self {
        Self::File(error)
    }
}

impl From<OutOfMemory> for ExecError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl From<ElfError> for ExecError {
    fn from(error: ElfError) -> Self {
        match error {
            ElfError::OutOfMemory => Self::OutOfMemory,
            ElfError::WriteAndExecute => Self::WriteAndExecute,
            _ => Self::Format,
        }
    }
}

impl From<ArgumentsError> for ExecError {
    fn from(error: ArgumentsError) -> Self {
        match error {
            ArgumentsError::TooBig => Self::TooBig,
            ArgumentsError::OutOfMemory => Self::OutOfMemory,
        }
    }
}

impl From<MemoryError> for ExecError {
    fn from(error: MemoryError) -> Self {
        match error {
            MemoryError::NoMemory => Self::OutOfMemory,
            MemoryError::Forbidden => Self::WriteAndExecute,
            _ => Self::Format,
        }
    }
}

impl From<FaultError> for ExecError {
    fn from(error: FaultError) -> Self {
        match error {
            FaultError::OutOfMemory => Self::OutOfMemory,
            _ => Self::Format,
        }
    }
}

/// Opens a program by its path for the running task: to be read, execution checked.
pub type Opener = fn(&[u8]) -> Result<Arc<OpenFile>, FsError>;

static OPENER: OnceCell<Opener> = OnceCell::new();

/// Says how programs are opened; the files are above this module. A second call changes nothing.
pub fn set_opener(opener: Opener) {
    let _ = OPENER.set(opener);
}

/// Opens a program.
///
/// # Errors
/// As the file system says, or if there is none yet.
pub fn open_program(path: &[u8]) -> Result<Arc<OpenFile>, FsError> {
    OPENER.get().ok_or(FsError::NotFound)?(path)
}

/// What to run.
pub struct ExecRequest<'a> {
    /// The program, opened to be read, execution checked.
    pub file: Arc<OpenFile>,
    /// The path that it was found by.
    pub path: &'a [u8],
    pub arguments: Arguments,
    pub environment: Arguments,
}

/// A program that is ready to run.
pub(super) struct Loaded {
    pub space: AddressSpace,
    pub entry: usize,
    pub stack_pointer: usize,
    file: Arc<OpenFile>,
    arguments: Arguments,
    environment: Arguments,
    name: Vec<u8>,
    credentials: Credentials,
}

/// Replaces the running program. On success `frame` enters the new one.
///
/// # Errors
/// As [`ExecError`] says; then the old program goes on.
pub fn execute(frame: &mut Frame, request: ExecRequest<'_>) -> Result<(), ExecError> {
    let task = current();
    let loaded = load(request, task.process().credentials())?;
    become_only_thread()?;
    robust::release();

    // From here on nothing fails.
    let process = task.process();
    let space = Arc::new(loaded.space);
    let arguments = Arc::new(loaded.arguments.into_bytes());
    let environment = Arc::new(loaded.environment.into_bytes());
    let (old, dropped) = process.with_resources(|resources| {
        let old = resources.space.replace(Arc::clone(&space));
        let strings =
            (resources.arguments.replace(arguments), resources.environment.replace(environment));
        let executable =
            core::mem::replace(&mut resources.executable, loaded.file.dentry().cloned());
        (old, (strings, executable))
    });
    drop(dropped);
    let irq = Arch::irq_save();
    // SAFETY: nothing of the old address space is borrowed; the new one is activated next.
    let own = unsafe { task.replace_space(Some(Arc::clone(&space))) };
    scheduler::activate(this_cpu(), &space);
    Arch::irq_restore(irq);
    drop(own);
    if let Some(old) = old {
        old.leave();
    }
    unshare_files();
    if let Some(files) = task.files() {
        files.close_for_exec();
    }
    process.signals.lock().reset_handlers();
    let who = loaded.credentials;
    process.change_credentials(|_| Some(who));
    // A program with another's rights knows what its starter may not.
    process.set_dumpable((who.uid, who.gid) == (who.euid, who.egid));
    process.has_execed.store(1, Ordering::Relaxed);
    process.exit_signal.store(signal::SIGCHLD, Ordering::Relaxed);
    task.set_name(&loaded.name);
    let private = task.private();
    private.signal_stack.set(Default::default());
    private.clear_child_tid.set(0);
    // SAFETY: only the running task uses its state; nothing else refers to it here.
    let fp = unsafe { &mut *private.fp.get() };
    *fp = Default::default();
    Arch::restore_fp(fp);
    private.thread_pointer.set(0);
    Arch::set_thread_pointer(0);
    Arch::set_other_thread_pointer(0);
    *frame = Frame::user(loaded.entry, loaded.stack_pointer);
    process.release_parent();
    Ok(())
}

/// Descriptors that another process shares (`CLONE_FILES`) are copied first.
fn unshare_files() {
    let task = current();
    let Some(files) = task.files() else { return };
    // One reference is the thread's, one the process's.
    if Arc::strong_count(files) <= 2 {
        return;
    }
    let own = Arc::new(files.fork());
    let old = task.process().with_resources(|resources| resources.files.replace(Arc::clone(&own)));
    // SAFETY: `files` is not used any more.
    let mine = unsafe { task.replace_files(Some(own)) };
    drop((old, mine));
}

/// Ends the other threads of the process and waits until they are gone.
fn become_only_thread() -> Result<(), ExecError> {
    let task = current();
    let process = task.process();
    if process.thread_count() > 1 {
        if !process.claim_exclusive(&task) {
            return Err(ExecError::Ending);
        }
        signal::end_other_threads(process);
        // Those that are stopped wait there until they must end.
        process.stop_event.wake_all();
        process.release_event.wait_uninterruptible(|| {
            (process.thread_count() == 1 || process.exit_status().is_some()).then_some(())
        });
        process.release_exclusive();
    }
    if process.exit_status().is_some() {
        return Err(ExecError::Ending);
    }
    if task.tid() != process.pid() {
        family::remove_thread(task.tid());
        task.set_tid(process.pid());
    }
    Ok(())
}

/// Reads the file and builds the address space of its program.
pub(super) fn load(
    mut request: ExecRequest<'_>,
    credentials: Credentials,
) -> Result<Loaded, ExecError> {
    // The strings once more, on the new stack, with pointers to them.
    let strings = request.arguments.as_bytes().len() + request.environment.as_bytes().len();
    may_allocate(64 * PAGE_SIZE + 4 * strings)?;
    let mut start = [0; LINE_BYTES];
    let mut length = read_up_to(&request.file, 0, &mut start)?;
    let mut depth = 0;
    while let Some(script) =
        Script::parse(start.get(..length).unwrap_or_default()).map_err(|_| ExecError::Format)?
    {
        // As in Linux, an interpreter may be a script itself, four times at most.
        depth += 1;
        if depth > 5 {
            return Err(FsError::TooManyLinks.into());
        }
        let mut arguments = Arguments::new();
        arguments.push(script.interpreter)?;
        if let Some(argument) = script.argument {
            arguments.push(argument)?;
        }
        arguments.push(request.path)?;
        for argument in request.arguments.iter().skip(1) {
            arguments.push(argument)?;
        }
        request.arguments = arguments;
        request.file = open_program(script.interpreter)?;
        length = read_up_to(&request.file, 0, &mut start)?;
    }
    let head = start.get(..length.min(HEADER_BYTES)).unwrap_or_default();
    let header = Header::parse(head, Arch::ELF_MACHINE)?;
    let program = read_program(&request.file, &header)?;
    let credentials = with_set_id(&request.file, credentials);

    let space = AddressSpace::new()?;
    for segment in &program.segments {
        let backing = Backing::File(FileBacking {
            file: Arc::clone(&request.file),
            offset: segment.file_offset,
            valid: Some(segment.file_bytes),
        });
        let rights = rights(segment.rights);
        space.map(
            Placement::Exactly(segment.start),
            segment.end - segment.start,
            rights,
            backing,
        )?;
    }
    space.set_heap_start(program.end);
    space.map_stack()?;
    signal_page::map(&space)?;

    let secure =
        usize::from(credentials.uid != credentials.euid || credentials.gid != credentials.egid);
    let mut random = [0; 16];
    crate::random::fill(&mut random);
    let stack = StackRequest {
        top: stack_top(),
        arguments: &request.arguments,
        environment: &request.environment,
        path: request.path,
        platform: Arch::NAME.as_bytes(),
        random,
        auxiliary: &[
            (AuxiliaryType::HardwareCapabilities, Arch::hardware_capabilities()),
            (AuxiliaryType::PageSize, PAGE_SIZE),
            (AuxiliaryType::ClockTicks, CLOCK_TICKS),
            (AuxiliaryType::ProgramHeaders, program.program_headers.unwrap_or(0)),
            (AuxiliaryType::ProgramHeaderBytes, kernel_elf::executable::PROGRAM_HEADER_BYTES),
            (AuxiliaryType::ProgramHeaderCount, program.program_header_count),
            (AuxiliaryType::Base, 0),
            (AuxiliaryType::Flags, 0),
            (AuxiliaryType::Entry, program.entry),
            (AuxiliaryType::UserId, credentials.uid as usize),
            (AuxiliaryType::EffectiveUserId, credentials.euid as usize),
            (AuxiliaryType::GroupId, credentials.gid as usize),
            (AuxiliaryType::EffectiveGroupId, credentials.egid as usize),
            (AuxiliaryType::Secure, secure),
        ],
    }
    .build()?;
    space.write_initial(stack.pointer, &stack.bytes)?;
    let name = request.path.rsplit(|&byte| byte == b'/').next().unwrap_or_default().to_vec();
    Ok(Loaded {
        space,
        entry: program.entry,
        stack_pointer: stack.pointer,
        file: request.file,
        arguments: request.arguments,
        environment: request.environment,
        name,
        credentials,
    })
}

impl Loaded {
    /// What the first process takes over.
    pub(super) fn into_resources(self) -> (Resources, Vec<u8>) {
        let resources = Resources {
            space: Some(Arc::new(self.space)),
            files: None,
            fs: None,
            arguments: Some(Arc::new(self.arguments.into_bytes())),
            environment: Some(Arc::new(self.environment.into_bytes())),
            executable: self.file.dentry().cloned(),
        };
        (resources, self.name)
    }
}

fn read_program(file: &OpenFile, header: &Header) -> Result<Executable, ExecError> {
    let file_bytes = file.metadata()?.size;
    let length = header.program_headers_bytes();
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| ExecError::OutOfMemory)?;
    bytes.resize(length, 0);
    if read_up_to(file, header.program_headers_offset, &mut bytes)? < length {
        return Err(ExecError::Format);
    }
    let limits = Limits { low: USER_LOW, high: map_top(), bias: program_base(), file_bytes };
    Ok(Executable::parse(header, &bytes, &limits)?)
}

fn read_up_to(file: &OpenFile, offset: u64, buffer: &mut [u8]) -> Result<usize, FsError> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(offset.saturating_add(done as u64), &mut SliceSink::new(rest))? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

fn rights(segment: SegmentRights) -> Rights {
    let mut rights = Rights::empty();
    rights.set(Rights::READ, segment.contains(SegmentRights::READ));
    rights.set(Rights::WRITE, segment.contains(SegmentRights::WRITE));
    rights.set(Rights::EXECUTE, segment.contains(SegmentRights::EXECUTE));
    rights
}

/// The set-user-ID and set-group-ID bits of the program (`execve(2)`), unless it is on a mount on
/// which they mean nothing.
fn with_set_id(file: &OpenFile, mut credentials: Credentials) -> Credentials {
    let honoured =
        file.dentry().is_none_or(|dentry| !dentry.mount().flags().contains(MountFlags::NO_SET_ID));
    if let Ok(metadata) = file.metadata()
        && honoured
    {
        if metadata.mode & 0o4000 != 0 {
            credentials.euid = metadata.uid;
        }
        // Without group execution the bit means something else.
        if metadata.mode & 0o2010 == 0o2010 {
            credentials.egid = metadata.gid;
        }
    }
    credentials.suid = credentials.euid;
    credentials.sgid = credentials.egid;
    credentials
}
