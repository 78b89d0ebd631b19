//! VirtIO GPU (Virtual I/O Device 1.2, section 5.7), without 3D: one picture in the kernel's memory,
//! shown on the first scanout.
//!
//! The crate has a driver of its own, which waits for the device by spinning, for ever if need
//! be, and always sends the whole picture. Here commands are put into the crate's queue, an
//! interrupt tells of the answers, nobody waits longer than [`PATIENCE_NS`], and only what has
//! changed is sent. A device that does not answer is not asked again.
//!
//! Locking: `turn` sleeps, and is held while a picture is presented; `state` spins, and is taken
//! by the interrupt handler.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use kernel_console::{Area, Geometry, PixelFormat};
use kernel_sync::{Mutex, SpinLock};
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::{Interrupts, KernelHal, Ordered, Origin, order};
use crate::arch::{Arch, Architecture, IrqHandler};
use crate::driver::display::{self, Display, PixelMemory};
use crate::mcore::WaitQueue;
use crate::mem::phys;

const CONTROL: u16 = 0;
const QUEUE_SIZE: usize = 8;
/// Commands under way at once: one to send pixels, one to show them.
const SLOTS: usize = 2;

/// How long a device may take to answer.
const PATIENCE_NS: u64 = 5_000_000_000;
/// The same in a panic.
const LAST_PATIENCE_NS: u64 = 500_000_000;

/// Commands and answers (section 5.7.6.7).
const GET_DISPLAY_INFO: u32 = 0x100;
const RESOURCE_CREATE_2D: u32 = 0x101;
const SET_SCANOUT: u32 = 0x103;
const RESOURCE_FLUSH: u32 = 0x104;
const TRANSFER_TO_HOST_2D: u32 = 0x105;
const RESOURCE_ATTACH_BACKING: u32 = 0x106;
const OK_NODATA: u32 = 0x1100;
const OK_DISPLAY_INFO: u32 = 0x1101;

/// `struct virtio_gpu_ctrl_hdr`.
const HEADER: usize = 24;
/// The longest command that is sent, and the longest answer: 16 scanouts of 24 bytes.
const REQUEST: usize = 64;
const RESPONSE: usize = HEADER + 16 * 24;

/// The picture, to the device, and the scanout that shows it.
const RESOURCE: u32 = 1;
const SCANOUT: u32 = 0;
/// `VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM`.
const FORMAT: u32 = 2;

/// What is shown where the device does not say.
const USUAL: (u32, u32) = (1024, 768);
/// No larger picture is made, whatever the device says.
const LARGEST: (u32, u32) = (3840, 2160);

bitflags::bitflags! {
    /// Sections 5.7.3 and 6.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Features: u64 {
        const EVENT_INDEX = 1 << 29;
        const VERSION_1 = 1 << 32;
    }
}

/// Why the device cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GpuError {
    Transport(virtio_drivers::Error),
    /// It did not answer in time.
    Silent,
    /// It refused a command, with this answer.
    Refused(u32),
    /// There is no memory for a picture.
    Memory,
}

impl From<virtio_drivers::Error> for GpuError {
    fn from(error: virtio_drivers::Error) -> Self {
        Self::Transport(error)
    }
}

/// A command and its answer. The device reads one and writes the other.
struct Slot {
    request: [u8; REQUEST],
    length: usize,
    response: [u8; RESPONSE],
    /// What it is in the queue as, until it has been answered.
    token: Option<u16>,
}

struct State {
    transport: Ordered,
    queue: VirtQueue<KernelHal, QUEUE_SIZE>,
    /// In the heap, so that their addresses stay and are in the direct map.
    slots: Box<[Slot; SLOTS]>,
}

impl Slot {
    const EMPTY: Self =
        Self { request: [0; REQUEST], length: 0, response: [0; RESPONSE], token: None };

    /// Writes a command: its kind, and the words behind the header.
    fn command(&mut self, kind: u32, words: &[u32]) {
        self.request = [0; REQUEST];
        self.response = [0; RESPONSE];
        self.length = HEADER + 4 * words.len();
        let places = self.request.chunks_exact_mut(4);
        let header = [kind, 0, 0, 0, 0, 0];
        for (place, word) in places.zip(header.iter().chain(words)) {
            place.copy_from_slice(&word.to_le_bytes());
        }
    }

    /// A word of the answer.
    fn answer(&self, index: usize) -> u32 {
        let bytes = self.response.as_chunks::<4>().0.get(index);
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }
}

impl State {
    /// Puts a slot's command into the queue. The slot is free.
    fn send(&mut self, index: usize) -> Result<(), GpuError> {
        let Some(slot) = self.slots.get_mut(index) else { return Ok(()) };
        let request = slot.request.get(..slot.length).unwrap_or(&slot.request);
        // SAFETY: the slot stays where it is, and is not used until `collect` has popped it.
        let token = unsafe { self.queue.add(&[request], &mut [&mut slot.response[..]])? };
        slot.token = Some(token);
        Ok(())
    }

    fn notify(&mut self) {
        if self.queue.should_notify() {
            self.transport.notify(CONTROL);
        }
    }

    /// Takes every answer off the queue.
    fn collect(&mut self) {
        while let Some(token) = self.queue.peek_used() {
            let Some(slot) = self.slots.iter_mut().find(|slot| slot.token == Some(token)) else {
                // An answer to nothing: the queue is not touched any more, and who waits for it
                // finds out by the time.
                return;
            };
            let request = slot.request.get(..slot.length).unwrap_or(&slot.request);
            // SAFETY: these are the buffers that `send` added under this token.
            let popped =
                unsafe { self.queue.pop_used(token, &[request], &mut [&mut slot.response[..]]) };
            if popped.is_err() {
                return;
            }
            slot.token = None;
        }
    }

    /// Whether everything has been answered.
    fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.token.is_none())
    }

    /// Waits for all answers, without sleeping.
    fn poll(&mut self, patience: u64) -> Result<(), GpuError> {
        let deadline = Arch::now_ns() + patience;
        loop {
            self.collect();
            if self.is_idle() {
                return Ok(());
            }
            if Arch::now_ns() >= deadline {
                return Err(GpuError::Silent);
            }
            Arch::relax();
        }
    }

    /// Sends a command and waits for the answer, at start-up.
    fn ask(&mut self, kind: u32, words: &[u32], expected: u32) -> Result<(), GpuError> {
        self.slots[0].command(kind, words);
        self.send(0)?;
        self.notify();
        self.poll(PATIENCE_NS)?;
        match self.slots[0].answer(0) {
            answer if answer == expected => Ok(()),
            answer => Err(GpuError::Refused(answer)),
        }
    }

    /// Sends an area's pixels and has them shown.
    fn present(&mut self, geometry: &Geometry, area: Area) -> Result<(), GpuError> {
        let Area { x, y, width, height } = area;
        let offset = geometry.offset(x, y) as u64;
        let (low, high) = (offset as u32, (offset >> 32) as u32);
        let [transfer, flush] = &mut *self.slots;
        transfer.command(TRANSFER_TO_HOST_2D, &[x, y, width, height, low, high, RESOURCE, 0]);
        flush.command(RESOURCE_FLUSH, &[x, y, width, height, RESOURCE, 0]);
        self.send(0)?;
        self.send(1)?;
        self.notify();
        Ok(())
    }
}

/// A display on a VirtIO GPU.
struct Gpu {
    memory: PixelMemory,
    state: SpinLock<State>,
    turn: Mutex<()>,
    answered: WaitQueue,
    /// No interrupt arrives.
    polled: AtomicBool,
    /// The device has not answered, or not well: it is left alone.
    failed: AtomicBool,
}

impl Gpu {
    fn interrupt(&self) {
        let mut state = self.state.lock();
        // Takes a wired interrupt back; harmless for messages.
        state.transport.ack_interrupt();
        state.collect();
        drop(state);
        self.answered.wake_all();
    }

    /// Waits for all answers, sleeping where that is possible.
    fn wait(&self) -> Result<(), GpuError> {
        if self.polled.load(Ordering::Relaxed) || !crate::mcore::can_sleep() {
            return self.state.lock().poll(PATIENCE_NS);
        }
        let deadline = Arch::now_ns() + PATIENCE_NS;
        while Arch::now_ns() < deadline {
            let idle = || self.state.lock().is_idle().then_some(());
            match self.answered.wait_deadline(idle, deadline) {
                Ok(Some(())) => return Ok(()),
                Ok(None) => break,
                // A signal is for later, when the device has done what it was told.
                Err(_) => crate::mcore::yield_now(),
            }
        }
        Err(GpuError::Silent)
    }

    fn try_present(&self, area: Area) -> Result<(), GpuError> {
        self.state.lock().present(&self.memory.geometry(), area)?;
        self.wait()?;
        let state = self.state.lock();
        match state.slots.iter().map(|slot| slot.answer(0)).find(|&answer| answer != OK_NODATA) {
            Some(answer) => Err(GpuError::Refused(answer)),
            None => Ok(()),
        }
    }
}

impl Display for Gpu {
    fn name(&self) -> &'static str {
        "virtio gpu"
    }

    fn memory(&self) -> &PixelMemory {
        &self.memory
    }

    fn present(&self, area: Area) {
        let _turn = self.turn.lock();
        if area.is_empty() || self.failed.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = self.try_present(area) {
            self.failed.store(true, Ordering::Relaxed);
            log::error!("virtio gpu: {error:?}; the picture stays as it is");
        }
    }

    fn present_now(&self, area: Area) {
        let deadline = Arch::now_ns() + LAST_PATIENCE_NS;
        let mut state = loop {
            if let Some(state) = self.state.try_lock() {
                break state;
            }
            if Arch::now_ns() >= deadline {
                return;
            }
            Arch::relax();
        };
        // What another was about to show comes first. There is nobody to tell of a failure.
        let _ = state
            .poll(LAST_PATIENCE_NS)
            .and_then(|()| state.present(&self.memory.geometry(), area))
            .and_then(|()| state.poll(LAST_PATIENCE_NS));
    }
}

fn interrupt(argument: usize) {
    // SAFETY: `start` passes a display that is never dropped.
    let gpu = unsafe { &*(argument as *const Gpu) };
    gpu.interrupt();
}

/// The size that the first scanout wants, made plausible.
fn size(slot: &Slot) -> (u32, u32) {
    // Behind the header: x, y, width, height, whether it is enabled.
    let [width, height, enabled] = [2, 3, 4].map(|word| slot.answer(HEADER / 4 + word));
    if enabled == 0 || width < 64 || height < 64 {
        return USUAL;
    }
    (width.min(LARGEST.0), height.min(LARGEST.1))
}

/// Memory for a picture of this size. It is never given back.
fn allocate(width: u32, height: u32) -> Option<PixelMemory> {
    let format = PixelFormat::BGRX;
    let geometry = Geometry::new(width, height, width * format.bytes() as u32, format)?;
    let pages = geometry.length().div_ceil(crate::arch::PAGE_SIZE);
    // Not what the rest of the system needs.
    if (1 << order(pages)) > phys::free_frames() / 2 {
        return None;
    }
    let block = phys::alloc_order(order(pages))?;
    for page in 0..pages as u64 {
        phys::zero(crate::arch::PhysAddr(block.0 + page * crate::arch::PAGE_SIZE as u64));
    }
    // SAFETY: fresh frames in a row, in the direct map; nobody else knows of them, and they are
    // never given back.
    Some(unsafe { PixelMemory::new(geometry, phys::phys_to_virt(block), block) })
}

fn open(mut transport: Ordered) -> Result<Gpu, GpuError> {
    let features = transport.begin_init(Features::EVENT_INDEX | Features::VERSION_1);
    let event_index = features.contains(Features::EVENT_INDEX);
    let queue = VirtQueue::new(&mut transport, CONTROL, false, event_index)?;
    transport.finish_init();
    let slots = Box::new([const { Slot::EMPTY }; SLOTS]);
    let mut state = State { transport, queue, slots };
    state.ask(GET_DISPLAY_INFO, &[], OK_DISPLAY_INFO)?;
    let (width, height) = size(&state.slots[0]);
    let memory = allocate(width, height).ok_or(GpuError::Memory)?;
    let (start, length) = (memory.physical().0, memory.length() as u32);
    let (low, high) = (start as u32, (start >> 32) as u32);
    state.ask(RESOURCE_CREATE_2D, &[RESOURCE, FORMAT, width, height], OK_NODATA)?;
    state.ask(RESOURCE_ATTACH_BACKING, &[RESOURCE, 1, low, high, length, 0], OK_NODATA)?;
    state.ask(SET_SCANOUT, &[0, 0, width, height, SCANOUT, RESOURCE], OK_NODATA)?;
    Ok(Gpu {
        memory,
        state: SpinLock::new(state),
        turn: Mutex::new(()),
        answered: WaitQueue::new(),
        polled: AtomicBool::new(true),
        failed: AtomicBool::new(false),
    })
}

/// Starts a display.
pub(super) fn start(origin: &Origin, transport: Ordered) {
    if display::display().is_some() {
        log::warn!("virtio gpu: a second display is not used");
        return;
    }
    let gpu = match open(transport) {
        Ok(gpu) => Arc::new(gpu),
        Err(error) => {
            log::error!("virtio gpu: {error:?}: no display");
            return;
        }
    };
    // One reference for the interrupt handler, never given back.
    let argument = Arc::into_raw(Arc::clone(&gpu)) as usize;
    let handler = IrqHandler { name: "virtio-gpu", call: interrupt, argument };
    let interrupts = origin.connect_queue(CONTROL, handler);
    if interrupts == Interrupts::None {
        log::warn!("virtio gpu: no interrupt: every picture will be polled for");
    }
    gpu.polled.store(interrupts == Interrupts::None, Ordering::Relaxed);
    display::register(gpu);
}
