//! The contract between the kernel and a machine.
//!
//! Each architecture has one zero-sized type that [`Architecture`] is implemented for
//! (`implementation.rs`), which `arch/mod.rs` re-exports as `Arch`. All functions are associated functions: there is one machine. Each
//! says what it guarantees and what may be running when it is called: "IRQs off" means that
//! the caller has disabled interrupts on this CPU.

use alloc::sync::Arc;
use core::mem::MaybeUninit;

pub use kernel_boot::{Framebuffer, MemoryKind};
use kernel_bpf::interpreter::LoadError;
use kernel_bpf::jit::Compiled;
use kernel_bpf::jit::memory::CodeMemory;
use kernel_bpf::map::Map;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::Verified;
use kernel_sync::IrqState;

pub use super::cpu_set::CpuSet;
pub use super::interrupts::{Counts, EachInterrupt};

/// The most CPUs that the kernel runs on.
pub const MAX_CPUS: usize = 64;

/// Bytes in a page, and in a physical frame, on every supported architecture.
pub const PAGE_SIZE: usize = 4096;

/// A physical address. May name RAM or a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PhysAddr(pub u64);

/// One range of the firmware's memory map: `[start, start + length)` in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRegion {
    pub start: PhysAddr,
    pub length: u64,
    pub kind: MemoryKind,
}

/// A disk that the boot loader loaded into memory, which is RAM from its first byte to its last,
/// not usable in the memory map, and nobody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamDisk {
    pub start: PhysAddr,
    /// In bytes; not 0.
    pub length: u64,
}

/// What the boot code found, the same for every boot protocol.
pub struct BootInfo {
    /// The kernel command line; empty if there is none.
    pub command_line: &'static str,
    /// The memory map, ascending and free of overlaps, kernel image already carved out.
    pub memory: &'static [MemoryRegion],
    /// The disk that the boot loader loaded.
    pub ram_disk: Option<RamDisk>,
    /// Where the ACPI root pointer is, on machines that have one.
    pub rsdp: Option<PhysAddr>,
    /// Where the device tree is, on machines that have one.
    pub device_tree: Option<PhysAddr>,
    /// A picture that the boot loader has set up; not checked.
    pub framebuffer: Option<Framebuffer>,
    /// Who started us, for the log: "PVH", "multiboot2".
    pub protocol: &'static str,
}

bitflags::bitflags! {
    /// What a page may be used for. Writable together with executable is refused
    /// ([`MapError::WriteAndExecute`]), for the kernel and for users.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Protection: u8 {
        const READ = 1;
        const WRITE = 2;
        const EXECUTE = 4;
        /// Reachable from user mode. Without it, reachable from the kernel only.
        const USER = 8;
    }
}

/// How a mapping is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// Ordinary memory.
    Normal,
    /// Device registers: no caching, no reordering.
    Device,
}

/// What a page-table entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub frame: PhysAddr,
    pub protection: Protection,
}

/// Why a mapping could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// No frame for a page table.
    OutOfMemory,
    /// The page is mapped already.
    AlreadyMapped,
    /// Writable and executable at once.
    WriteAndExecute,
    /// The address is not page-aligned or not in the range this table covers.
    BadAddress,
}

/// A user address space's page tables. The kernel's half is shared by all of them. Dropping
/// one frees its tables, not the pages that are still mapped; if it is active on this CPU, the
/// kernel's own address space becomes active.
///
/// A page with no right but [`Protection::USER`] keeps its frame and allows no access.
///
/// A right that a function takes away is gone on every CPU when it returns, and before `each`
/// sees a page that was removed: no CPU remembers the old translation, nor a table that was
/// freed. So such a function is told which CPUs may remember translations (`users`: this one and
/// others, see [`CpuSet`]), may have to wait for the others, and is called with IRQs on and no
/// spin lock held, unless there are none. What was only added or widened need not be known to
/// others: they fault, and find it.
/// The caller serialises all calls on one table; the type is `Send`, not `Sync`.
pub trait PageTable: Sized + Send {
    /// A table with an empty user half and the kernel's half.
    fn new() -> Result<Self, MapError>;
    /// Maps one page. Intermediate tables come from the physical allocator.
    fn map(&mut self, page: usize, frame: PhysAddr, protection: Protection)
    -> Result<(), MapError>;
    /// Removes a page and returns what was there.
    fn unmap(&mut self, page: usize, users: &CpuSet) -> Option<Mapping>;
    /// Changes the protection of a mapped page; `false` if nothing is mapped there.
    fn protect(&mut self, page: usize, protection: Protection, users: &CpuSet) -> bool;
    /// Points a mapped page to another frame with another protection (copy-on-write).
    fn replace(
        &mut self,
        page: usize,
        frame: PhysAddr,
        protection: Protection,
        users: &CpuSet,
    ) -> Option<Mapping>;
    /// What is mapped at this page.
    fn query(&self, page: usize) -> Option<Mapping>;
    /// Calls `each` for every mapped user page in `[start, end)`, ascending, skipping empty
    /// subtrees. `each` may change the protection by returning it.
    fn for_each(
        &mut self,
        start: usize,
        end: usize,
        users: &CpuSet,
        each: &mut dyn FnMut(usize, Mapping) -> Option<Protection>,
    );
    /// Removes every mapped user page in `[start, end)`, ascending, and hands each to `each`.
    /// Intermediate tables that become empty are freed.
    fn unmap_each(
        &mut self,
        start: usize,
        end: usize,
        users: &CpuSet,
        each: &mut dyn FnMut(usize, Mapping),
    );
    /// Maps every page that is mapped in `[start, end)` in `child` too, where nothing is mapped
    /// yet, and in both without the right to write. `each` sees the frame before, and ends it
    /// all by `false`.
    fn share_each(
        &mut self,
        child: &mut Self,
        start: usize,
        end: usize,
        users: &CpuSet,
        each: &mut dyn FnMut(PhysAddr) -> bool,
    ) -> Result<(), MapError>;
    /// What a CPU needs to know of the table to use it; stays the same.
    fn root(&self) -> PhysAddr;
    /// Makes the table with this root, which exists, the address space of this CPU, which has
    /// entered itself in the table's set before. IRQs off. Needs no access to the table itself,
    /// which another CPU may be changing. Afterwards this CPU remembers nothing of the table that
    /// it used before, unless it was this one.
    fn activate(root: PhysAddr);
}

/// How a user-mode access failed, decoded from the trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultAccess {
    Read,
    Write,
    Execute,
}

/// A fault that is handed to `mem` (page faults) or turned into a signal (the rest).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserFault {
    /// Page fault at `address`. `present`: the page is mapped but forbids the access.
    Page { address: usize, access: FaultAccess, present: bool },
    /// Illegal or privileged instruction.
    IllegalInstruction,
    /// Integer division by zero or overflow, or a floating-point trap.
    Arithmetic,
    /// Breakpoint or single step.
    Breakpoint,
    /// Something that user mode may not do: a privileged instruction, an address that is not
    /// canonical.
    Protection,
    /// A misaligned access, where that is forbidden; a missing segment.
    Bus,
}

/// The user registers saved on entry to the kernel, at the top of the task's kernel stack.
pub trait TrapFrame: Clone + core::fmt::Display {
    /// The words of `pt_regs`.
    type Registers: AsRef<[u64]>;
    /// A frame that starts a program at `entry` with the stack pointer at `stack`, every other
    /// register zero, interrupts on.
    fn user(entry: usize, stack: usize) -> Self;
    /// The system-call number and its six arguments, as the user passed them.
    fn syscall(&self) -> (usize, [usize; 6]);
    /// The value that the system call returns to the user.
    fn set_return(&mut self, value: usize);
    fn return_value(&self) -> usize;
    fn instruction_pointer(&self) -> usize;
    fn set_instruction_pointer(&mut self, address: usize);
    fn stack_pointer(&self) -> usize;
    fn set_stack_pointer(&mut self, address: usize);
    /// The user's frame pointer, for stack traces.
    fn frame_pointer(&self) -> usize;
    /// Sets the argument `index` (0 to 2) of the function that the user enters next: a signal
    /// handler's.
    fn set_argument(&mut self, index: usize, value: usize);
    /// The kernel was entered by a system call, not by a fault or an interrupt.
    fn in_syscall(&self) -> bool;
    /// Makes the user repeat the system call with its original arguments (`SA_RESTART`).
    fn restart_syscall(&mut self, number: usize);
    /// All registers in the order and layout of Linux's `struct pt_regs` for this machine,
    /// for BPF contexts.
    fn pt_regs(&self) -> Self::Registers;
    /// Came from user mode.
    #[expect(clippy::wrong_self_convention, reason = "it says where the frame is from")]
    fn from_user(&self) -> bool;
}

/// An alternate signal stack, as `sigaltstack(2)` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalStack {
    pub start: usize,
    pub size: usize,
    pub flags: u32,
}

/// A call of a user's signal handler.
#[derive(Clone, Debug)]
pub struct SignalCall {
    pub signal: u32,
    /// The beginning of `siginfo_t`, as words; the rest is zero.
    pub info: [u64; SIGNAL_INFO_WORDS],
    pub handler: usize,
    /// Where the handler returns to.
    pub restorer: usize,
    /// The signal mask to be restored by `rt_sigreturn`.
    pub mask: u64,
    /// One past the highest address of the stack to use; `None`: the one in use.
    pub stack_top: Option<usize>,
    pub signal_stack: SignalStack,
}

/// As many words of `siginfo_t` as are ever used.
pub const SIGNAL_INFO_WORDS: usize = 4;

/// A device interrupt's handler.
#[derive(Clone, Copy, Debug)]
pub struct IrqHandler {
    /// As `/proc/interrupts` names the device.
    pub name: &'static str,
    /// Called with `argument` in interrupt context, IRQs off: must not sleep.
    pub call: fn(argument: usize),
    pub argument: usize,
}

/// A wired interrupt, as the interrupt controller numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqLine {
    pub number: u32,
    /// Asserted until the device is served, rather than by a change of the signal.
    pub level: bool,
    pub active_low: bool,
}

/// What a further CPU does when it is ready to run the kernel ([`Architecture::start_cpu`]).
#[derive(Clone, Copy, Debug)]
pub struct CpuStart {
    /// Its number: what [`Architecture::cpu_id`] returns on it.
    pub number: usize,
    /// One past the end of its stack.
    pub stack_top: usize,
    pub entry: extern "C" fn(usize) -> !,
    pub argument: usize,
}

/// Where a device writes what, to interrupt by a message (MSI, MSI-X).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageInterrupt {
    pub address: u64,
    pub data: u32,
}

/// Why an interrupt could not be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IrqError {
    /// No controller has this line.
    NoSuchLine,
    /// No vector, or no room for another handler on this line.
    Exhausted,
}

/// One PCI host bridge: a range of buses and how to reach their configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciHost {
    /// Where bus 0's memory-mapped configuration space is; `None`: `pci_port_read`.
    pub configuration: Option<PhysAddr>,
    pub segment: u16,
    pub first_bus: u8,
    pub last_bus: u8,
    /// Where devices' registers may be put, on machines whose firmware has put them nowhere.
    pub unassigned: Option<PciWindow>,
}

/// Addresses that reach devices behind a host bridge, the same for CPUs and devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciWindow {
    pub start: PhysAddr,
    pub length: u64,
}

/// A VirtIO device's registers in memory, and its interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioRegisters {
    pub start: PhysAddr,
    /// In bytes.
    pub length: u64,
    pub interrupt: IrqLine,
}

/// A machine.
pub trait Architecture {
    /// What `uname -m` prints.
    const NAME: &'static str;
    /// The ELF machine number of its programs.
    const ELF_MACHINE: u16;
    /// User addresses are `[USER_START, user_end())`.
    const USER_START: usize;
    /// What `user_end` is at most, on any machine of this architecture: the border for accesses that
    /// may fault.
    const USER_END: usize;
    /// Code that makes the system call `rt_sigreturn`, for handlers of users who name no
    /// restorer (`SA_RESTORER`); runs at any address. Empty where Linux demands one.
    const SIGNAL_RETURN: &'static [u8];
    /// Where all RAM is mapped, read-write, never executable (kernel text and constants are
    /// not writable there either).
    const DIRECT_MAP: usize;
    /// Where `map_kernel` may map pages (kernel stacks, executable BPF code).
    const KERNEL_MAP_START: usize;
    const KERNEL_MAP_END: usize;

    type Frame: TrapFrame;
    type Table: PageTable;
    /// Callee-saved registers and stack pointer of a task that is not running.
    type Context: Send;
    /// Floating-point and vector registers of a task.
    /// As bytes: what a signal frame holds; any bytes can be restored safely.
    type FpState: Send + Clone + Default + AsRef<[u8]> + AsMut<[u8]>;

    // --- Start-up, in this order, all on the boot CPU, IRQs off ---

    /// Descriptor tables, exception vectors, CPU features and protections (NX, SMEP/SMAP and
    /// the like). After it, exceptions are reported. Needs no memory allocator.
    fn init_cpu();
    /// Final kernel page tables: text read-execute, constants read-only, the rest not
    /// executable; the direct map. Needs the physical allocator.
    fn init_paging(boot: &'static BootInfo);
    /// Interrupt controllers, clock calibration, timer; device discovery tables. Needs the heap.
    fn init_devices(boot: &'static BootInfo);

    // --- All CPUs ---

    /// How many CPUs firmware names, the boot CPU included, whether this kernel can run on them or
    /// not: at least 1. After `init_devices`.
    fn cpus_named() -> usize;
    /// How many CPUs firmware tells of that this kernel could run on, the boot CPU included: at
    /// least 1, at most [`MAX_CPUS`]. After `init_devices`.
    fn cpus_found() -> usize;
    /// How many CPUs run the kernel. Their numbers are 0 to this.
    fn cpus_online() -> usize;
    /// Starts a further CPU: the one with this index, from 1 to `cpus_found()`, in firmware's
    /// list. It sets itself up as `init_cpu`, `init_paging` and `init_devices` have set the boot
    /// CPU up: its own descriptor tables or vectors and stacks, every protection, the kernel's
    /// page tables and no user's, its own interrupt controller and timer. Then it calls
    /// `start.entry(start.argument)` on `start.stack_top`, IRQs off. Returns when it is about to;
    /// `false` if firmware refuses, or the CPU does not come: it then never will, but may use
    /// `start.stack_top`'s stack. Called on the boot CPU, IRQs off or on, after `init_devices`,
    /// with numbers in ascending order from 1.
    fn start_cpu(index: usize, start: CpuStart) -> bool;
    /// Interrupts another CPU that is online: it calls `up::other_cpu` soon, IRQs off. What this
    /// CPU wrote before is seen by it. Callable anywhere.
    fn interrupt_cpu(number: usize);
    /// Stops all other CPUs for good, as far as they can be reached: those that run with IRQs off
    /// may go on until they turn them on. Does not wait. Callable anywhere, in a panic too.
    fn stop_others();
    /// Makes every CPU forget what it remembers of kernel pages that were unmapped, and returns
    /// then. IRQs on, no spin lock held.
    fn flush_kernel();

    // --- This CPU ---

    /// This CPU's number, from 0. Callable anywhere; stable only while the caller cannot migrate.
    fn cpu_id() -> usize;
    /// The pointer that `set_cpu_local` stored for this CPU.
    fn cpu_local() -> *mut u8;
    /// Stores this CPU's context pointer in its per-CPU register. IRQs off.
    ///
    /// # Safety
    /// `pointer` stays valid for as long as the CPU runs.
    unsafe fn set_cpu_local(pointer: *mut u8);
    fn irq_save() -> IrqState;
    fn irq_restore(state: IrqState);
    fn irqs_enabled() -> bool;
    fn irq_enable();
    fn irq_disable();
    /// Called with IRQs off: enables them and waits for one, atomically; returns with IRQs off.
    fn wait_for_interrupt();
    /// Hints that this is a spin loop.
    fn relax();

    // --- Tasks ---

    /// A context that, when first switched to, calls `entry(argument)` on `stack_top` with IRQs off.
    fn new_context(
        stack_top: usize,
        entry: extern "C" fn(usize) -> !,
        argument: usize,
    ) -> Self::Context;
    /// Saves the running context in `from` and continues `to`. IRQs off. FP state, address space
    /// and kernel stack pointer are switched by the caller.
    ///
    /// # Safety
    /// `from` is the running task's, `to` a saved one; both outlive the switch.
    unsafe fn switch(from: *mut Self::Context, to: *const Self::Context);
    /// Sets the stack on which this CPU enters the kernel from user mode. IRQs off.
    fn set_kernel_stack(top: usize);
    /// Leaves the kernel: loads every register from `frame` and runs in user mode.
    /// Called with IRQs off on the task's kernel stack.
    fn enter_user(frame: &Self::Frame) -> !;
    fn save_fp(state: &mut Self::FpState);
    fn restore_fp(state: &Self::FpState);
    /// Puts a signal frame, laid out as Linux does for this machine, on the user's stack through
    /// `write`, with this CPU's FP state, and makes `frame` enter the handler. `false` if a part
    /// of the stack is not there; then `frame` is as it was. IRQs on: may sleep.
    fn push_signal_frame(
        frame: &mut Self::Frame,
        call: &SignalCall,
        write: &mut dyn FnMut(usize, &[u8]) -> bool,
    ) -> bool;
    /// The way back (`rt_sigreturn`): reads the signal frame that `frame`'s stack pointer leads
    /// to and puts the registers back, FP state included; the signal mask and signal stack that
    /// were saved. `None` if there is no such frame; then registers may be lost. IRQs on: may
    /// sleep.
    ///
    /// # Safety
    /// `read` returns `true` only if it has written every byte.
    unsafe fn pop_signal_frame(
        frame: &mut Self::Frame,
        read: &mut dyn FnMut(usize, &mut [MaybeUninit<u8>]) -> bool,
    ) -> Option<(u64, SignalStack)>;
    /// What `getauxval(AT_HWCAP)` tells programs of the CPU.
    fn hardware_capabilities() -> usize;
    /// The user's thread pointer (x86_64: FS base).
    fn thread_pointer() -> usize;
    fn set_thread_pointer(value: usize);
    /// Another register of the user's for such a pointer (x86_64: GS base), if the CPU has one that
    /// is kept for each task.
    fn other_thread_pointer() -> Option<usize>;
    /// Sets it, if there is one.
    fn set_other_thread_pointer(value: usize);

    // --- Memory ---

    /// One past the highest user address; the same from `init_paging` on.
    fn user_end() -> usize;
    /// How addresses are translated, in `/proc/cpuinfo`'s word, on machines where Linux tells it.
    fn translation() -> Option<&'static str>;

    /// Makes the kernel's own address space, which has no user half, this CPU's. IRQs off.
    fn activate_kernel();
    /// Maps a page of the kernel, visible to every address space.
    fn map_kernel(
        page: usize,
        frame: PhysAddr,
        protection: Protection,
        cache: CacheMode,
    ) -> Result<(), MapError>;
    /// Unmaps one. Other CPUs may remember it until `flush_kernel` has been called.
    fn unmap_kernel(page: usize) -> Option<PhysAddr>;
    /// Maps `[start, start + length)` of device registers, and returns where.
    fn map_device(start: PhysAddr, length: usize) -> Result<usize, MapError>;
    /// The physical address of kernel memory that is contiguous there too (the direct map, the
    /// kernel image), for DMA; `None` for other addresses, kernel stacks among them.
    fn dma_address(address: usize) -> Option<PhysAddr>;
    /// Copies `length` bytes between kernel memory and user memory of the active address space;
    /// one of the two is a user address, already checked to be below `USER_END`. Faults that
    /// `mem` can resolve are resolved; on one that it cannot, stops.
    /// Returns the number of bytes **not** copied. May sleep (demand paging): no locks held.
    ///
    /// # Safety
    /// The kernel side is valid for `length` bytes.
    unsafe fn copy_user(destination: usize, source: usize, length: usize) -> usize;
    /// Writes `length` zero bytes to user memory, already checked to be below `USER_END`, as
    /// `copy_user` does. Returns the number of bytes **not** cleared. May sleep: no locks held.
    fn clear_user(destination: usize, length: usize) -> usize;
    /// Copies from memory that may not be mapped, kernel's or user's, never resolving faults, callable in
    /// any context (`probe_read_kernel`, and user memory in hooks that may not sleep).
    ///
    /// # Safety
    /// `destination` is valid for `length` bytes.
    unsafe fn copy_nofault(destination: *mut u8, source: usize, length: usize) -> usize;

    /// Makes every CPU's instruction fetches see what was written before; nothing to be done where
    /// users do that themselves. Callable anywhere.
    fn synchronise_code();

    /// Compiles a verified program for this machine's CPUs; `None` where there is no compiler for
    /// them. `blind`: see [`kernel_bpf::jit::Options`].
    fn compile(
        program: &Verified<Program<Arc<Map>>>,
        memory: &'static dyn CodeMemory,
        blind: Option<u64>,
    ) -> Option<Result<Compiled, LoadError>>;

    // --- Time ---

    /// Nanoseconds since boot, monotonic, also from one CPU to another. Callable anywhere.
    fn now_ns() -> u64;
    /// A counter that runs at a constant rate, read in as few instructions as the machine has
    /// for it: for the length of what is short. Two readings are taken on one CPU.
    fn counter() -> u64;
    /// So many of the counter's ticks in nanoseconds.
    fn counter_ns(ticks: u64) -> u64;
    /// Seconds since 1970-01-01 UTC from the machine's clock, read once at start-up.
    fn boot_epoch_seconds() -> u64;
    /// Programs this CPU's timer to interrupt once, at `deadline_ns` on `now_ns`'s scale (at once
    /// if it has passed); `u64::MAX`: never. Replaces the earlier deadline. A deadline beyond
    /// what the timer can count interrupts early: look at the clock and set it again.
    fn set_timer(deadline_ns: u64);
    /// A random word from the CPU, where it has an instruction for that.
    fn hardware_random() -> Option<u64>;

    // --- Devices ---

    /// Devices find in memory what was written there before when they see what is written to
    /// their registers after: between a request in memory and the register that tells of it.
    fn publish_to_devices();
    /// What is read from memory after is not older than what was read from a device's register
    /// before: between the register that tells of a result and the result in memory.
    fn observe_devices();
    /// Calls the handler whenever the line interrupts. A line may be shared.
    fn irq_line(line: IrqLine, handler: IrqHandler) -> Result<(), IrqError>;
    /// Makes a message that calls the handler when a device writes it.
    fn irq_message(handler: IrqHandler) -> Result<MessageInterrupt, IrqError>;
    /// Shows every kind of interrupt that is counted.
    fn interrupts(each: EachInterrupt<'_>);
    /// The PCI host bridges; at least one on a machine with PCI. After `init_devices`.
    fn pci_hosts() -> &'static [PciHost];
    /// Reads a 32-bit configuration register of a host without memory-mapped configuration.
    fn pci_port_read(bus: u8, device_function: u8, offset: u16) -> u32;
    /// Writes one.
    fn pci_port_write(bus: u8, device_function: u8, offset: u16, value: u32);
    /// The line of a PCI function's interrupt pin (0 is INTA); `line_register` is what firmware
    /// left in its configuration.
    fn pci_line(bus: u8, slot: u8, pin: u8, line_register: u8) -> Option<IrqLine>;
    /// Where firmware says that VirtIO devices' registers are, present or not. After
    /// `init_devices`.
    fn virtio_registers() -> &'static [VirtioRegisters];
    /// Writes bytes to the boot console, polling. Callable anywhere, a panic included.
    fn console_write(bytes: &[u8]);
    /// The interrupt line of the boot console's device; `None` if there is no device. After
    /// `init_devices`. `driver::uart` serialises the calls of this and of the next three.
    fn serial_line() -> Option<IrqLine>;
    /// Takes a byte of input, if there is one.
    fn serial_read() -> Option<u8>;
    /// Hands the device as many of the bytes as it takes without waiting; says how many.
    fn serial_write(bytes: &[u8]) -> usize;
    /// Chooses what interrupts: input, room for output.
    fn serial_listen(input: bool, room: bool);
    /// Takes back an interrupt of the device; what interrupted is dealt with after. Callable
    /// beside the four above.
    fn serial_acknowledge();

    // --- Looking at the kernel itself ---

    /// Kernel addresses in the symbol table count from here.
    const KERNEL_BASE: usize;
    /// The kernel's symbol table: a 16-byte header {"LEMSYMS1", u64 length with the header},
    /// then u32 count, count × {u32 offset from `KERNEL_BASE`, u32 name offset from the first
    /// name}, ascending, then names that end in NUL. Only the header if the build added none.
    fn kernel_symbols() -> &'static [u8];
    /// Walks the page tables in use and reads the control registers: no page writable and
    /// executable, constants constant, guard pages absent, every protection on. `Err` counts
    /// the violations, each of which is in the log.
    fn check_protection() -> Result<(), usize>;

    // --- The end ---

    /// Ends QEMU with `status` as the machine's exit status, or powers the machine off.
    fn power_off(status: u8) -> !;
    fn reboot() -> !;
    /// After a panic: stops the machine with a failing status.
    fn abort() -> !;
    /// The user's registers as a task's kernel stack, which ends at `stack_top`, has held them
    /// since the kernel was last entered from user mode; `None` if that cannot be told.
    fn user_frame(stack_top: usize) -> Option<Self::Frame>;
    /// Return addresses of the current call chain, innermost first, into `out`; how many.
    fn backtrace(out: &mut [usize]) -> usize;
    /// The same, from a given frame pointer (a trap frame's).
    fn backtrace_from(frame_pointer: usize, out: &mut [usize]) -> usize;
}
