//! VirtIO keyboards (Virtual I/O Device 1.2, section 5.8): what is typed goes to the terminal, as
//! what comes over the serial line does.
//!
//! The crate's own driver indexes its buffers by what the device says. Here the device's token
//! is looked up among those that were given to it.
//!
//! Locking: `State` spins and is taken by the interrupt handler; the terminal is called
//! without it.

use alloc::boxed::Box;
use alloc::sync::Arc;

use kernel_console::Keyboard;
use kernel_sync::SpinLock;
use smallvec::SmallVec;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::{Interrupts, KernelHal, Ordered, Origin};
use crate::arch::IrqHandler;
use crate::driver::uart;

const EVENTS: u16 = 0;
const QUEUE_SIZE: usize = 32;

/// Kinds of events (`linux/input-event-codes.h`).
const KEYS: u8 = 1;
/// A key that keyboards have, and mice do not.
const KEY_A: usize = 30;

/// The device's configuration (section 5.8.4): what is asked for, and how long the answer is.
const SELECT: usize = 0;
const SUBSELECT: usize = 1;
const SIZE: usize = 2;
const ANSWER: usize = 8;
/// Asks for the codes of events of a kind, as a bit map.
const EVENT_BITS: u8 = 0x11;

bitflags::bitflags! {
    /// The device has none of its own.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Features: u64 {
        const VERSION_1 = 1 << 32;
    }
}

/// A buffer for an event: {u16 kind, u16 code, u32 value}, little-endian.
struct Slot {
    event: [u8; 8],
    /// What it is in the queue as.
    token: Option<u16>,
}

impl Slot {
    const EMPTY: Self = Self { event: [0; 8], token: None };
}

struct State {
    transport: Ordered,
    queue: VirtQueue<KernelHal, QUEUE_SIZE>,
    /// In the heap, so that their addresses stay and are in the direct map.
    slots: Box<[Slot; QUEUE_SIZE]>,
    keyboard: Keyboard,
}

/// What was typed, and not yet handed on.
type Typed = SmallVec<[u8; 64]>;

impl State {
    /// Gives the device every buffer that it does not have.
    fn refill(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.token.is_none()) {
            // SAFETY: the slot stays where it is, and is not used until it has been popped.
            slot.token = unsafe { self.queue.add(&[], &mut [&mut slot.event[..]]) }.ok();
        }
        if self.queue.should_notify() {
            self.transport.notify(EVENTS);
        }
    }

    /// Takes all events.
    fn collect(&mut self, typed: &mut Typed) {
        while let Some(token) = self.queue.peek_used() {
            let Some(slot) = self.slots.iter_mut().find(|slot| slot.token == Some(token)) else {
                // Nothing that the device says after that can be trusted.
                log::error!("virtio input: unknown buffer {token}");
                return;
            };
            // SAFETY: this is the buffer that was added under the token.
            let popped = unsafe { self.queue.pop_used(token, &[], &mut [&mut slot.event[..]]) };
            if popped.is_err() {
                return;
            }
            slot.token = None;
            let [kind, _, low, high, value @ ..] = slot.event;
            if kind == KEYS && popped == Ok(slot.event.len() as u32) {
                let code = u16::from_le_bytes([low, high]);
                let keys = self.keyboard.key(code, u32::from_le_bytes(value));
                typed.extend_from_slice(keys.as_bytes());
            }
        }
        self.refill();
    }
}

fn interrupt(argument: usize) {
    // SAFETY: `start` passes a keyboard that is never dropped.
    let keyboard = unsafe { &*(argument as *const SpinLock<State>) };
    let mut typed = Typed::new();
    {
        let mut state = keyboard.lock();
        // Takes a wired interrupt back; harmless for messages.
        state.transport.ack_interrupt();
        state.collect(&mut typed);
    }
    uart::type_in(&typed);
}

/// Whether the device has the keys of a keyboard.
fn is_keyboard(transport: &mut Ordered) -> Result<bool, virtio_drivers::Error> {
    transport.write_config_space(SELECT, EVENT_BITS)?;
    transport.write_config_space(SUBSELECT, KEYS)?;
    let size: u8 = transport.read_config_space(SIZE)?;
    if usize::from(size) <= KEY_A / 8 {
        return Ok(false);
    }
    let bits: u8 = transport.read_config_space(ANSWER + KEY_A / 8)?;
    Ok(bits & 1 << (KEY_A % 8) != 0)
}

fn open(mut transport: Ordered) -> Result<Option<State>, virtio_drivers::Error> {
    transport.begin_init(Features::VERSION_1);
    if !is_keyboard(&mut transport)? {
        return Ok(None);
    }
    let queue = VirtQueue::new(&mut transport, EVENTS, false, false)?;
    let slots = Box::new([const { Slot::EMPTY }; QUEUE_SIZE]);
    Ok(Some(State { transport, queue, slots, keyboard: Keyboard::new() }))
}

/// Starts a keyboard. Other input devices are left alone.
pub(super) fn start(origin: &Origin, transport: Ordered) {
    let state = match open(transport) {
        Ok(Some(state)) => state,
        Ok(None) => return log::debug!("virtio input: not a keyboard"),
        Err(error) => return log::error!("virtio input: {error}"),
    };
    // For the interrupt handler, never given back.
    let keyboard = Arc::into_raw(Arc::new(SpinLock::new(state)));
    let handler = IrqHandler { name: "virtio-input", call: interrupt, argument: keyboard as usize };
    let interrupts = origin.connect_queue(EVENTS, handler);
    if interrupts == Interrupts::None {
        return log::warn!("virtio input: no interrupt: the keyboard is not used");
    }
    // SAFETY: the reference is never given back.
    let mut state = unsafe { &*keyboard }.lock();
    state.transport.finish_init();
    state.refill();
    log::info!("keyboard: virtio, interrupts by {interrupts:?}");
}
