//! VirtIO entropy devices (Virtual I/O Device 1.2, section 5.4): random bytes from the host.
//!
//! A buffer is always with the device, or filled and waiting: [`take`] hands its bytes out and
//! gives it back. Nobody waits and nothing interrupts; whoever wants a new seed looks whether
//! there is one. `random.rs` is the only user.

use alloc::boxed::Box;

use kernel_sync::SpinLock;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::{KernelHal, Ordered};

const QUEUE: u16 = 0;
const QUEUE_SIZE: usize = 2;
/// Bytes asked for at a time.
pub(crate) const SEED: usize = 32;

bitflags::bitflags! {
    /// The device has none of its own.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Features: u64 {
        const VERSION_1 = 1 << 32;
    }
}

struct Entropy {
    transport: Ordered,
    queue: VirtQueue<KernelHal, QUEUE_SIZE>,
    /// In the heap, so that its address stays and is in the direct map.
    buffer: Box<[u8; SEED]>,
    /// What the buffer is in the queue as; `None` after the device has failed.
    token: Option<u16>,
}

static DEVICE: SpinLock<Option<Entropy>> = SpinLock::new(None);

impl Entropy {
    fn open(mut transport: Ordered) -> Result<Self, virtio_drivers::Error> {
        transport.begin_init(Features::VERSION_1);
        let mut queue = VirtQueue::new(&mut transport, QUEUE, false, false)?;
        queue.set_dev_notify(false);
        transport.finish_init();
        let mut device = Self { transport, queue, buffer: Box::new([0; SEED]), token: None };
        device.ask();
        Ok(device)
    }

    /// Gives the device the buffer to fill.
    fn ask(&mut self) {
        // SAFETY: the buffer stays where it is, and is not used until it is popped.
        let added = unsafe { self.queue.add(&[], &mut [&mut self.buffer[..]]) };
        self.token = added.ok();
        if self.token.is_some() && self.queue.should_notify() {
            self.transport.notify(QUEUE);
        }
    }

    /// Copies what the device has filled in; how many bytes.
    fn take(&mut self, seed: &mut [u8; SEED]) -> usize {
        let Some(token) = self.token.filter(|_| self.queue.can_pop()) else { return 0 };
        // SAFETY: this is the buffer that was added under the token.
        let popped = unsafe { self.queue.pop_used(token, &[], &mut [&mut self.buffer[..]]) };
        let length = match popped {
            Ok(length) => (length as usize).min(SEED),
            Err(error) => {
                log::error!("virtio rng: {error}; it is not asked again");
                self.token = None;
                return 0;
            }
        };
        for (to, from) in seed.iter_mut().zip(self.buffer.iter_mut()).take(length) {
            *to = core::mem::take(from);
        }
        self.ask();
        length
    }
}

/// Whether there is a device that may yet give bytes.
pub(crate) fn is_there() -> bool {
    DEVICE.lock().as_ref().is_some_and(|device| device.token.is_some())
}

/// Whether it has bytes ready.
pub(crate) fn is_ready() -> bool {
    DEVICE.lock().as_ref().is_some_and(|device| device.token.is_some() && device.queue.can_pop())
}

/// Fills the front of `seed` with bytes from the device that nobody else has got; how many, which
/// is 0 if it has none ready. Does not wait.
pub(crate) fn take(seed: &mut [u8; SEED]) -> usize {
    DEVICE.lock().as_mut().map_or(0, |device| device.take(seed))
}

/// Starts the device. One is enough.
pub(super) fn start(transport: Ordered) {
    let mut guard = DEVICE.lock();
    if guard.is_some() {
        log::debug!("virtio rng: a second device is not used");
        return;
    }
    match Entropy::open(transport) {
        Ok(device) => {
            *guard = Some(device);
            log::debug!("virtio rng: seeds from the host");
        }
        Err(error) => log::error!("virtio rng: {error}"),
    }
}
