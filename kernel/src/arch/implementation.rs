//! The contract, kept: every function of [`Architecture`] is found under the same name in each
//! machine's folder, or, where machines do it alike, in a file beside the folders.

use alloc::sync::Arc;
use core::mem::MaybeUninit;

use kernel_bpf::interpreter::LoadError;
use kernel_bpf::jit::Compiled;
use kernel_bpf::jit::memory::CodeMemory;
use kernel_bpf::map::Map;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::Verified;
use kernel_sync::IrqState;

use super::machine::{
    self, bpf, console, context, cpu, frame, irq, layout, mask, mmu, order, platform, power,
    signal, smp, stack, syscall, timer, user,
};
use super::traits::{
    Architecture, BootInfo, CacheMode, CpuStart, EachInterrupt, IrqError, IrqHandler, IrqLine,
    MapError, MessageInterrupt, PciHost, PhysAddr, Protection, SignalCall, SignalStack,
    VirtioRegisters,
};
use super::{Arch, call_chain, copy_nofault, image, paging, protection, secondary, table};

impl Architecture for Arch {
    const NAME: &'static str = machine::NAME;
    const ELF_MACHINE: u16 = machine::ELF_MACHINE;
    const SIGNAL_RETURN: &'static [u8] = signal::RETURN;
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
        machine::init_cpu();
    }

    fn init_paging(boot: &'static BootInfo) {
        machine::init_paging(boot);
    }

    fn init_devices(boot: &'static BootInfo) {
        machine::init_devices(boot);
    }

    fn cpus_named() -> usize {
        smp::named().max(1)
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
        smp::flush_kernel();
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
        mask::save()
    }

    #[inline]
    fn irq_restore(state: IrqState) {
        mask::restore(state);
    }

    fn irqs_enabled() -> bool {
        mask::is_open()
    }

    #[inline]
    fn irq_enable() {
        mask::enable();
    }

    #[inline]
    fn irq_disable() {
        mask::disable();
    }

    fn wait_for_interrupt() {
        mask::wait();
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
        call: &SignalCall,
        write: &mut dyn FnMut(usize, &[u8]) -> bool,
    ) -> bool {
        signal::push(frame, call, write)
    }

    unsafe fn pop_signal_frame(
        frame: &mut Self::Frame,
        read: &mut dyn FnMut(usize, &mut [MaybeUninit<u8>]) -> bool,
    ) -> Option<(u64, SignalStack)> {
        // SAFETY: the caller's promise.
        unsafe { signal::pop(frame, read) }
    }

    fn hardware_capabilities() -> usize {
        cpu::capabilities()
    }

    #[inline]
    fn thread_pointer() -> usize {
        context::thread_pointer()
    }

    #[inline]
    fn set_thread_pointer(value: usize) {
        context::set_thread_pointer(value);
    }

    fn other_thread_pointer() -> Option<usize> {
        context::other_thread_pointer()
    }

    fn set_other_thread_pointer(value: usize) {
        context::set_other_thread_pointer(value);
    }

    #[inline]
    fn user_end() -> usize {
        mmu::user_end()
    }

    fn translation() -> Option<&'static str> {
        mmu::translation()
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
        image::dma_address(address)
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
        copy_nofault::copy_nofault(destination as usize, source, length)
    }

    fn synchronise_code() {
        mmu::synchronise_code();
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

    #[inline]
    fn publish_to_devices() {
        order::publish_to_devices();
    }

    #[inline]
    fn observe_devices() {
        order::observe_devices();
    }

    fn irq_line(line: IrqLine, handler: IrqHandler) -> Result<(), IrqError> {
        irq::line(line, handler)
    }

    fn irq_message(handler: IrqHandler) -> Result<MessageInterrupt, IrqError> {
        irq::message(handler)
    }

    fn interrupts(each: EachInterrupt<'_>) {
        irq::list(each);
    }

    fn pci_hosts() -> &'static [PciHost] {
        platform::pci_hosts()
    }

    fn pci_port_read(bus: u8, device_function: u8, offset: u16) -> u32 {
        platform::pci_port_read(bus, device_function, offset)
    }

    fn pci_port_write(bus: u8, device_function: u8, offset: u16, value: u32) {
        platform::pci_port_write(bus, device_function, offset, value);
    }

    fn pci_line(bus: u8, slot: u8, pin: u8, line_register: u8) -> Option<IrqLine> {
        platform::pci_line(bus, slot, pin, line_register)
    }

    fn virtio_registers() -> &'static [VirtioRegisters] {
        platform::virtio_registers()
    }

    fn console_write(bytes: &[u8]) {
        console::write(bytes);
    }

    fn serial_line() -> Option<IrqLine> {
        console::line()
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
