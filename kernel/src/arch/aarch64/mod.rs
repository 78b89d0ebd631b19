//! AArch64: a machine with a device tree, GICv2 or GICv3, the generic timer and a PL011.
//!
//! One file per noun; this one ties them to the contract ([`Architecture`]).

mod asm;
mod boot;
mod bpf;
mod console;
mod context;
mod cpu;
mod entry;
mod frame;
mod gic;
mod irq;
pub(in crate::arch) mod layout;
pub(in crate::arch) mod mmu;
mod platform;
pub(in crate::arch) mod power;
mod protection;
mod signal;
mod smp;
pub(in crate::arch) mod stack;
mod syscall;
mod timer;
mod trap;
pub(in crate::arch) mod user;

use alloc::sync::Arc;
use core::arch::asm;
use core::sync::atomic::Ordering;

use kernel_bpf::interpreter::LoadError;
use kernel_bpf::jit::Compiled;
use kernel_bpf::jit::memory::CodeMemory;
use kernel_bpf::map::Map;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::Verified;
use kernel_sync::IrqState;

pub(in crate::arch) use cpu::guard_pages;
pub(in crate::arch) use entry::Entry;

use self::asm::read_register;
use super::traits::{
    Architecture, BootInfo, CacheMode, CpuStart, IrqError, IrqHandler, IrqLine, MapError,
    MessageInterrupt, PciHost, PhysAddr, Protection, SignalCall, SignalStack, VirtioRegisters,
};
use super::{call_chain, flat_image, image, paging, secondary, table};

/// The AArch64 machine.
#[derive(Debug)]
pub struct Aarch64;

/// DAIF.I.
const IRQ_MASKED: u64 = 1 << 7;

#[inline]
fn irq_enable() {
    // The memory clobber keeps accesses on their side.
    // SAFETY: the kernel is ready for interrupts as soon as `init_cpu` has run.
    unsafe { asm!("msr daifclr, #2", options(nostack, preserves_flags)) };
}

#[inline]
fn irq_disable() {
    // SAFETY: always sound.
    unsafe { asm!("msr daifset, #2", options(nostack, preserves_flags)) };
}

impl Architecture for Aarch64 {
    const NAME: &'static str = "aarch64";
    /// EM_AARCH64.
    const ELF_MACHINE: u16 = 183;
    // mov x8, #139 (rt_sigreturn); svc #0
    const SIGNAL_RETURN: &'static [u8] = &[0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];
    const USER_START: usize = layout::USER_START;
    const USER_END: usize = layout::USER_END;
    const DIRECT_MAP: usize = layout::DIRECT_MAP;
    const KERNEL_MAP_START: usize = layout::KERNEL_MAP_START;
    const KERNEL_MAP_END: usize = layout::KERNEL_MAP_END;

    type Frame = frame::Frame;
    type Table = table::Table;
    type Context = context::Context;
    type FpState = context::FpState;

    fn init_cpu() {
        cpu::init();
        trap::init();
    }

    fn init_paging(boot: &'static BootInfo) {
        // The device window moves: until the console's registers are in it, nothing is printed.
        let registers = console::registers(boot);
        console::moved(0);
        paging::init(boot);
        if let Some(base) = registers
            .and_then(|(start, length)| paging::map_device(PhysAddr(start), length as usize).ok())
        {
            console::moved(base);
        }
    }

    fn init_devices(boot: &'static BootInfo) {
        platform::init(boot.device_tree);
        irq::init();
        timer::init();
    }

    fn cpus_found() -> usize {
        smp::found()
    }

    #[inline]
    fn cpus_online() -> usize {
        secondary::online()
    }

    fn start_cpu(index: usize, start: CpuStart) -> bool {
        smp::start(index, start)
    }

    fn interrupt_cpu(number: usize) {
        smp::interrupt(number);
    }

    fn stop_others() {
        smp::stop_others();
    }

    fn flush_kernel() {
        mmu::flush_all();
    }

    #[inline]
    fn cpu_id() -> usize {
        cpu::id()
    }

    #[inline]
    fn cpu_local() -> *mut u8 {
        cpu::local()
    }

    unsafe fn set_cpu_local(pointer: *mut u8) {
        cpu::set_local(pointer);
    }

    #[inline]
    fn irq_save() -> IrqState {
        let state = IrqState((read_register!("daif") & IRQ_MASKED) as usize);
        irq_disable();
        state
    }

    #[inline]
    fn irq_restore(state: IrqState) {
        if state.0 == 0 {
            irq_enable();
        }
    }

    fn irqs_enabled() -> bool {
        read_register!("daif") & IRQ_MASKED == 0
    }

    #[inline]
    fn irq_enable() {
        irq_enable();
    }

    #[inline]
    fn irq_disable() {
        irq_disable();
    }

    fn wait_for_interrupt() {
        // SAFETY: a masked interrupt ends the wait too, so none is lost; it is taken when it is
        // unmasked for a moment.
        unsafe {
            asm!("dsb sy", "wfi", "msr daifclr, #2", "isb", "msr daifset, #2", options(nostack));
        }
    }

    #[inline]
    fn relax() {
        core::hint::spin_loop();
    }

    fn new_context(
        stack_top: usize,
        entry: extern "C" fn(usize) -> !,
        argument: usize,
    ) -> Self::Context {
        context::new(stack_top, entry, argument)
    }

    #[inline]
    unsafe fn switch(from: *mut Self::Context, to: *const Self::Context) {
        // SAFETY: the caller's promise.
        unsafe { context::switch(from, to) }
    }

    #[inline]
    fn set_kernel_stack(top: usize) {
        cpu::set_kernel_stack(top);
    }

    fn enter_user(frame: &Self::Frame) -> ! {
        syscall::enter_user(frame)
    }

    #[inline]
    fn save_fp(state: &mut Self::FpState) {
        context::save_fp(state);
    }

    #[inline]
    fn restore_fp(state: &Self::FpState) {
        context::restore_fp(state);
    }

    fn push_signal_frame(
        frame: &mut Self::Frame,
        fp: &Self::FpState,
        call: &SignalCall,
        write: &mut dyn FnMut(usize, &[u8]) -> bool,
    ) -> bool {
        signal::push(frame, fp, call, write)
    }

    fn pop_signal_frame(
        frame: &mut Self::Frame,
        fp: &mut Self::FpState,
        read: &mut dyn FnMut(usize, &mut [u8]) -> bool,
    ) -> Option<(u64, SignalStack)> {
        signal::pop(frame, fp, read)
    }

    fn hardware_capabilities() -> usize {
        cpu::FEATURES.capabilities.load(Ordering::Relaxed)
    }

    #[inline]
    fn thread_pointer() -> usize {
        context::thread_pointer()
    }

    #[inline]
    fn set_thread_pointer(value: usize) {
        context::set_thread_pointer(value);
    }

    fn activate_kernel() {
        table::activate_kernel();
    }

    fn map_kernel(
        page: usize,
        frame: PhysAddr,
        protection: Protection,
        cache: CacheMode,
    ) -> Result<(), MapError> {
        paging::map_kernel(page, frame, protection, cache)
    }

    fn unmap_kernel(page: usize) -> Option<PhysAddr> {
        paging::unmap_kernel(page)
    }

    fn map_device(start: PhysAddr, length: usize) -> Result<usize, MapError> {
        paging::map_device(start, length)
    }

    fn dma_address(address: usize) -> Option<PhysAddr> {
        flat_image::dma_address(address)
    }

    #[inline]
    unsafe fn copy_user(destination: usize, source: usize, length: usize) -> usize {
        user::copy(destination, source, length)
    }

    #[inline]
    fn clear_user(destination: usize, length: usize) -> usize {
        user::clear(destination, length)
    }

    unsafe fn copy_nofault(destination: *mut u8, source: usize, length: usize) -> usize {
        user::copy_nofault(destination as usize, source, length)
    }

    fn compile(
        program: &Verified<Program<Arc<Map>>>,
        memory: &'static dyn CodeMemory,
        blind: Option<u64>,
    ) -> Option<Result<Compiled, LoadError>> {
        Some(bpf::compile(program, memory, blind))
    }

    #[inline]
    fn now_ns() -> u64 {
        timer::now_ns()
    }

    #[inline]
    fn counter() -> u64 {
        timer::counter()
    }

    fn counter_ns(ticks: u64) -> u64 {
        timer::counter_ns(ticks)
    }

    fn boot_epoch_seconds() -> u64 {
        timer::boot_epoch_seconds()
    }

    fn set_timer(deadline_ns: u64) {
        timer::set(deadline_ns);
    }

    fn hardware_random() -> Option<u64> {
        timer::hardware_random()
    }

    fn irq_line(line: IrqLine, handler: IrqHandler, argument: usize) -> Result<(), IrqError> {
        irq::line(line, handler, argument)
    }

    fn irq_message(handler: IrqHandler, argument: usize) -> Result<MessageInterrupt, IrqError> {
        irq::message(handler, argument)
    }

    fn pci_hosts() -> &'static [PciHost] {
        &platform::platform().pci.hosts
    }

    fn pci_port_read(_: u8, _: u8, _: u16) -> u32 {
        // No machine has it.
        u32::MAX
    }

    fn pci_port_write(_: u8, _: u8, _: u16, _: u32) {}

    fn pci_line(bus: u8, slot: u8, pin: u8, _: u8) -> Option<IrqLine> {
        platform::platform().pci.line(bus, slot, pin)
    }

    fn virtio_registers() -> &'static [VirtioRegisters] {
        &platform::platform().virtio
    }

    fn console_write(bytes: &[u8]) {
        console::write(bytes);
    }

    fn serial_line() -> Option<IrqLine> {
        irq::console_line().filter(|_| console::is_there())
    }

    #[inline]
    fn serial_read() -> Option<u8> {
        console::read()
    }

    #[inline]
    fn serial_write(bytes: &[u8]) -> usize {
        console::write_some(bytes)
    }

    fn serial_listen(input: bool, room: bool) {
        console::listen(input, room);
    }

    #[inline]
    fn serial_acknowledge() {
        console::acknowledge();
    }

    fn kernel_symbols() -> &'static [u8] {
        image::kernel_symbols()
    }

    const KERNEL_BASE: usize = layout::KERNEL_BASE;

    fn check_protection() -> Result<(), usize> {
        protection::check()
    }

    fn power_off(status: u8) -> ! {
        power::off(status)
    }

    fn reboot() -> ! {
        power::reset()
    }

    fn abort() -> ! {
        power::abort()
    }

    fn user_frame(stack_top: usize) -> Option<Self::Frame> {
        stack::user_frame(stack_top)
    }

    #[inline(always)]
    fn backtrace(out: &mut [usize]) -> usize {
        call_chain::backtrace(stack::frame_pointer(), out)
    }

    fn backtrace_from(frame_pointer: usize, out: &mut [usize]) -> usize {
        call_chain::backtrace(frame_pointer, out)
    }
}
