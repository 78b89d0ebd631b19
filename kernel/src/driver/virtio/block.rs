//! VirtIO disks (Virtual I/O Device 1.2, section 5.2).
//!
//! Up to [`SLOTS`] requests are under way at once. A caller takes a free slot, puts the request
//! into the queue and sleeps; the interrupt handler takes finished requests off the queue,
//! notes their status in the slot, and wakes the sleepers. Before the scheduler runs, and on a
//! device without an interrupt, the caller polls instead.
//!
//! Locking: `state` guards queue, transport and slots, and is taken by the interrupt handler;
//! it is never held while waiting.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use core::slice;
use core::sync::atomic::{AtomicBool, Ordering, fence};

use kernel_sync::SpinLock;
use kernel_vfs::{BlockDevice, FsError};
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::{Interrupts, KernelHal, Ordered, Origin};
use crate::arch::{Arch, Architecture, IrqHandler};
use crate::driver::block::{DiskKind, register};
use crate::mcore::WaitQueue;

const QUEUE: u16 = 0;
const QUEUE_SIZE: usize = 64;
/// Requests under way; each takes up to three descriptors.
const SLOTS: usize = 16;
const SECTOR: usize = 512;

bitflags::bitflags! {
    /// Section 5.2.3, and 6 for those from bit 29 on.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Features: u64 {
        const READ_ONLY = 1 << 5;
        const FLUSH = 1 << 9;
        const EVENT_INDEX = 1 << 29;
        const VERSION_1 = 1 << 32;
    }
}

/// What is asked of the device (section 5.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Read,
    Write,
    Flush,
}

impl Operation {
    fn code(self) -> u32 {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Flush => 4,
        }
    }
}

const STATUS_OK: u8 = 0;
const STATUS_UNSUPPORTED: u8 = 2;
/// Written by us; the device overwrites it.
const STATUS_PENDING: u8 = 0xff;

/// A request's header, as the device reads it.
type Header = [u8; 16];

fn header(operation: Operation, sector: u64) -> Header {
    let mut bytes = [0; 16];
    let (kind, rest) = bytes.split_at_mut(4);
    kind.copy_from_slice(&operation.code().to_le_bytes());
    rest.split_at_mut(4).1.copy_from_slice(&sector.to_le_bytes());
    bytes
}

/// Memory that a request moves, in the direct map.
#[derive(Clone, Copy)]
struct Buffer {
    pointer: *mut u8,
    length: usize,
}

// SAFETY: a `Buffer` names memory that its request's caller keeps alive and untouched until the
// request is done, on whichever CPU it is handled.
unsafe impl Send for Buffer {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Free,
    /// In the queue under this token.
    Queued(u16),
    Done,
}

/// A request under way. The device reads `header` and writes `status`.
struct Slot {
    header: Header,
    status: u8,
    progress: Progress,
    operation: Operation,
    buffer: Buffer,
}

impl Slot {
    const EMPTY: Self = Self {
        header: [0; 16],
        status: STATUS_PENDING,
        progress: Progress::Free,
        operation: Operation::Flush,
        buffer: Buffer { pointer: core::ptr::null_mut(), length: 0 },
    };
}

struct State {
    transport: Ordered,
    queue: VirtQueue<KernelHal, QUEUE_SIZE>,
    /// In the heap, so that their addresses stay and are in the direct map.
    slots: Box<[Slot; SLOTS]>,
}

impl State {
    /// Calls `run` with the buffers of a slot, as the queue wants them named.
    ///
    /// # Safety
    /// The slot's buffer is valid, and nobody but the device uses it.
    unsafe fn with_buffers<R>(
        queue: &mut VirtQueue<KernelHal, QUEUE_SIZE>,
        slot: &mut Slot,
        run: impl for<'a> FnOnce(
            &mut VirtQueue<KernelHal, QUEUE_SIZE>,
            &'a [&'a [u8]],
            &'a mut [&'a mut [u8]],
        ) -> R,
    ) -> R {
        let Buffer { pointer, length } = slot.buffer;
        let status = slice::from_mut(&mut slot.status);
        match slot.operation {
            Operation::Read => {
                // SAFETY: the caller's promise.
                let data = unsafe { slice::from_raw_parts_mut(pointer, length) };
                run(queue, &[&slot.header], &mut [data, status])
            }
            Operation::Write => {
                // SAFETY: the caller's promise.
                let data = unsafe { slice::from_raw_parts(pointer, length) };
                run(queue, &[&slot.header, data], &mut [status])
            }
            Operation::Flush => run(queue, &[&slot.header], &mut [status]),
        }
    }

    /// Puts a request into a free slot and the queue. `Ok(None)`: there is no room now.
    ///
    /// # Safety
    /// `buffer` stays valid, and used by nobody else, until the slot is done.
    unsafe fn submit(
        &mut self,
        operation: Operation,
        sector: u64,
        buffer: Buffer,
    ) -> Result<Option<usize>, FsError> {
        let free = self.slots.iter_mut().enumerate();
        let Some((index, slot)) =
            free.into_iter().find(|(_, slot)| slot.progress == Progress::Free)
        else {
            return Ok(None);
        };
        slot.header = header(operation, sector);
        slot.status = STATUS_PENDING;
        slot.operation = operation;
        slot.buffer = buffer;
        // SAFETY: the caller keeps the buffer; the slot stays where it is until it is done.
        let added = unsafe {
            Self::with_buffers(&mut self.queue, slot, |queue, inputs, outputs| {
                queue.add(inputs, outputs)
            })
        };
        match added {
            Ok(token) => slot.progress = Progress::Queued(token),
            Err(virtio_drivers::Error::QueueFull) => return Ok(None),
            Err(_) => return Err(FsError::Io),
        }
        if self.queue.should_notify() {
            self.transport.notify(QUEUE);
        }
        Ok(Some(index))
    }

    /// Takes every finished request off the queue; says whether there was one.
    fn collect(&mut self) -> bool {
        let mut any = false;
        loop {
            while let Some(token) = self.queue.peek_used() {
                let queued = Progress::Queued(token);
                let Some(slot) = self.slots.iter_mut().find(|slot| slot.progress == queued) else {
                    // The device names a request that does not exist; nothing it says after
                    // that can be trusted.
                    log::error!("virtio block: unknown request {token} finished");
                    return any;
                };
                // SAFETY: these are the buffers that `submit` added under this token.
                let popped = unsafe {
                    Self::with_buffers(&mut self.queue, slot, |queue, inputs, outputs| {
                        queue.pop_used(token, inputs, outputs)
                    })
                };
                if popped.is_err() {
                    return any;
                }
                slot.progress = Progress::Done;
                any = true;
            }
            // The queue says where it has read to before it looks again: otherwise a request
            // that finishes now would neither be seen nor interrupt.
            fence(Ordering::SeqCst);
            if !self.queue.can_pop() {
                return any;
            }
        }
    }

    /// The result of a slot's request, if it is done; frees the slot.
    fn result(&mut self, index: usize) -> Option<Result<(), FsError>> {
        let slot = self.slots.get_mut(index)?;
        if slot.progress != Progress::Done {
            return None;
        }
        slot.progress = Progress::Free;
        // SAFETY: the device wrote it by DMA, behind the compiler's back.
        let status = unsafe { (&raw const slot.status).read_volatile() };
        Some(match status {
            STATUS_OK => Ok(()),
            STATUS_UNSUPPORTED => Err(FsError::NotSupported),
            _ => Err(FsError::Io),
        })
    }
}

/// A disk.
struct VirtioBlock {
    state: SpinLock<State>,
    /// Those who wait for a request to finish or for a free slot.
    waiting: WaitQueue,
    sectors: u64,
    features: Features,
    /// No interrupt arrives: every wait polls.
    polled: AtomicBool,
}

impl VirtioBlock {
    /// Waits until `ready` has something.
    fn wait<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        if !self.polled.load(Ordering::Relaxed) && crate::mcore::can_sleep() {
            return self.waiting.wait_uninterruptible(|| ready(&mut self.state.lock()));
        }
        loop {
            let mut state = self.state.lock();
            state.collect();
            if let Some(value) = ready(&mut state) {
                return value;
            }
            drop(state);
            Arch::relax();
        }
    }

    /// Runs one request to its end.
    ///
    /// # Safety
    /// `buffer` is valid for reading, or for writing if `operation` reads the disk, is in
    /// memory with a DMA address, and nobody else uses it.
    unsafe fn run(&self, operation: Operation, sector: u64, buffer: Buffer) -> Result<(), FsError> {
        // SAFETY: the caller's promise holds until this function returns, which it does only
        // when the slot is done.
        let slot = self.wait(|state| match unsafe { state.submit(operation, sector, buffer) } {
            Ok(None) => None,
            Ok(Some(slot)) => Some(Ok(slot)),
            Err(error) => Some(Err(error)),
        })?;
        let result = self.wait(|state| state.result(slot));
        // Someone may wait for the slot.
        self.waiting.wake_all();
        result
    }

    /// Checks that `[first, first + length / SECTOR)` is on the disk.
    fn check(&self, first: u64, length: usize) -> Result<(), FsError> {
        let count = (length / SECTOR) as u64;
        let fits = first.checked_add(count).is_some_and(|end| end <= self.sectors);
        if length.is_multiple_of(SECTOR) && fits { Ok(()) } else { Err(FsError::Io) }
    }

    fn interrupt(&self) {
        let mut state = self.state.lock();
        // Takes a wired interrupt back; harmless for messages.
        state.transport.ack_interrupt();
        let any = state.collect();
        drop(state);
        if any {
            self.waiting.wake_all();
        }
    }
}

/// The most bytes of a buffer without a DMA address that are moved at once.
const BOUNCE: usize = 4096;

impl BlockDevice for VirtioBlock {
    fn block_size(&self) -> usize {
        SECTOR
    }

    fn block_count(&self) -> u64 {
        self.sectors
    }

    fn read(&self, first: u64, buffer: &mut [u8]) -> Result<(), FsError> {
        self.check(first, buffer.len())?;
        if buffer.is_empty() {
            return Ok(());
        }
        let target = Buffer { pointer: buffer.as_mut_ptr(), length: buffer.len() };
        if Arch::dma_address(target.pointer as usize).is_some() {
            // SAFETY: the buffer is borrowed exclusively, and has a DMA address.
            return unsafe { self.run(Operation::Read, first, target) };
        }
        let mut bounce = vec![0; BOUNCE.min(buffer.len())];
        let mut sector = first;
        for piece in buffer.chunks_mut(BOUNCE) {
            let target = Buffer { pointer: bounce.as_mut_ptr(), length: piece.len() };
            // SAFETY: the bounce buffer is ours, at least that long, and in the heap.
            unsafe { self.run(Operation::Read, sector, target)? };
            for (to, from) in piece.iter_mut().zip(&bounce) {
                *to = *from;
            }
            sector += (piece.len() / SECTOR) as u64;
        }
        Ok(())
    }

    fn write(&self, first: u64, buffer: &[u8]) -> Result<(), FsError> {
        self.check(first, buffer.len())?;
        if self.read_only() {
            return Err(FsError::ReadOnly);
        }
        if buffer.is_empty() {
            return Ok(());
        }
        let source = Buffer { pointer: buffer.as_ptr().cast_mut(), length: buffer.len() };
        if Arch::dma_address(source.pointer as usize).is_some() {
            // SAFETY: the buffer is borrowed, the device only reads it, it has a DMA address.
            return unsafe { self.run(Operation::Write, first, source) };
        }
        let mut sector = first;
        for piece in buffer.chunks(BOUNCE) {
            let mut bounce = piece.to_vec();
            let source = Buffer { pointer: bounce.as_mut_ptr(), length: piece.len() };
            // SAFETY: the bounce buffer is ours, and in the heap.
            unsafe { self.run(Operation::Write, sector, source)? };
            sector += (piece.len() / SECTOR) as u64;
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), FsError> {
        if !self.features.contains(Features::FLUSH) {
            // The device writes through.
            return Ok(());
        }
        let nothing = Buffer { pointer: core::ptr::null_mut(), length: 0 };
        // SAFETY: a flush has no buffer.
        unsafe { self.run(Operation::Flush, 0, nothing) }
    }

    fn read_only(&self) -> bool {
        self.features.contains(Features::READ_ONLY)
    }
}

fn interrupt(argument: usize) {
    // SAFETY: `start` passes a disk that is never dropped.
    let disk = unsafe { &*(argument as *const VirtioBlock) };
    disk.interrupt();
}

fn open(mut transport: Ordered) -> Result<VirtioBlock, virtio_drivers::Error> {
    let features = transport.begin_init(
        Features::READ_ONLY | Features::FLUSH | Features::EVENT_INDEX | Features::VERSION_1,
    );
    let sectors = transport.read_consistent(|| {
        let low: u32 = transport.read_config_space(0)?;
        let high: u32 = transport.read_config_space(4)?;
        Ok(u64::from(high) << 32 | u64::from(low))
    })?;
    let event_index = features.contains(Features::EVENT_INDEX);
    let queue = VirtQueue::new(&mut transport, QUEUE, false, event_index)?;
    let slots = Box::new([const { Slot::EMPTY }; SLOTS]);
    Ok(VirtioBlock {
        state: SpinLock::new(State { transport, queue, slots }),
        waiting: WaitQueue::new(),
        sectors,
        features,
        polled: AtomicBool::new(true),
    })
}

/// Starts a disk and gives it a name.
pub(super) fn start(origin: &Origin, transport: Ordered) {
    let disk = match open(transport) {
        Ok(disk) => Arc::new(disk),
        Err(error) => {
            log::error!("virtio block: {error}");
            return;
        }
    };
    // One reference for the interrupt handler, never given back.
    let argument = Arc::into_raw(Arc::clone(&disk)) as usize;
    let handler = IrqHandler { name: "virtio-block", call: interrupt, argument };
    let interrupts = origin.connect_queue(QUEUE, handler);
    disk.state.lock().transport.finish_init();
    if interrupts == Interrupts::None {
        log::warn!("virtio block: no interrupt: every request will be polled");
    }
    disk.polled.store(interrupts == Interrupts::None, Ordering::Relaxed);
    let size = disk.sectors / 2048;
    let read_only = if disk.read_only() { ", read-only" } else { "" };
    match register(DiskKind::Virtio, disk) {
        Some(name) => {
            log::info!(
                "{name}: virtio disk of {size} MiB{read_only}, interrupts by {interrupts:?}"
            );
        }
        None => log::warn!("virtio block: no name left for a disk of {size} MiB"),
    }
}
