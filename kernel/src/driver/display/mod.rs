//! The display: a picture in memory, the text console on it, and who makes it visible.
//!
//! | file | what |
//! |---|---|
//! | `memory.rs` | the picture's memory, which the console, `/dev/fb0` and its mappings write |
//! | `console.rs` | the text console: what the serial console shows, and the last words of a panic |
//! | `linear.rs` | a picture that firmware has set up, shown as it is written |
//!
//! The other kind of display is `virtio/gpu.rs`. There is at most one, registered at start-up
//! ([`register`]). Without one, all that this costs is the look at a flag.
//!
//! What has been written is shown by a thread ([`run`]), at most every [`PERIOD_NS`]: the
//! writers only note that something has changed. Programs that map the picture and say nothing
//! are looked after too, as often, while the mapping exists.
//!
//! Locking: `DAMAGE` spins, with nothing under it; those of the console are in its file.

mod console;
pub(super) mod linear;
mod memory;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kernel_console::Area;
use kernel_sync::{OnceCell, SpinLock};

pub use console::{mirror, set_text, shows_text};
pub(crate) use console::{poke, show_last_words};
pub use memory::PixelMemory;

use crate::arch::{Arch, Architecture};
use crate::mcore::{self, WaitQueue};

/// A display: memory that holds a picture, and a way to make it visible.
pub trait Display: Send + Sync {
    /// What `/dev/fb0` calls it: at most 15 characters.
    fn name(&self) -> &'static str;
    fn memory(&self) -> &PixelMemory;
    /// Makes what is in memory visible. May sleep.
    fn present(&self, area: Area);
    /// The same in a panic: waits for no lock, and not long for the device.
    fn present_now(&self, area: Area);
}

/// The least time between two pictures.
const PERIOD_NS: u64 = 20_000_000;
/// How long a message that was written where nobody can be woken may stay unseen.
const PATIENCE_NS: u64 = 1_000_000_000;

const NOTHING: Area = Area { x: 0, y: 0, width: 0, height: 0 };

static DISPLAY: OnceCell<Arc<dyn Display>> = OnceCell::new();
/// What has been written and not shown.
static DAMAGE: SpinLock<Area> = SpinLock::new(NOTHING);
static CHANGED: AtomicBool = AtomicBool::new(false);
/// How many open files have mapped the picture.
static MAPPED: AtomicUsize = AtomicUsize::new(0);
static WAKE: WaitQueue = WaitQueue::new();

/// The display, if there is one.
pub fn display() -> Option<&'static dyn Display> {
    DISPLAY.get().map(|display| &**display)
}

/// Makes a display the machine's, with a console on it. Only the first counts. Needs tasks.
pub(super) fn register(display: Arc<dyn Display>) {
    if DISPLAY.get().is_some() {
        log::warn!("display: a second one ({}) is not used", display.name());
        return;
    }
    let geometry = display.memory().geometry();
    let name = display.name();
    // Nobody else registers meanwhile: this is start-up.
    let _ = DISPLAY.set(display);
    console::start();
    let (width, height, bits) = (geometry.width, geometry.height, geometry.format.bytes() * 8);
    log::info!("display: {name}, {width} x {height} pixels of {bits} bits");
    if mcore::spawn_kernel_thread("display", run).is_err() {
        log::error!("no memory for the display's thread");
    }
}

/// Notes that an area of the picture was written, to be shown soon.
pub fn damage(area: Area) {
    {
        let mut damage = DAMAGE.lock();
        *damage = damage.union(area);
    }
    changed();
}

/// Notes that there is something to show, and wakes the thread that does. Holds no lock.
fn changed() {
    CHANGED.store(true, Ordering::Release);
    WAKE.wake_one();
}

/// Shows all of the picture now. May sleep.
pub fn present() {
    if let Some(display) = display() {
        let _ = core::mem::replace(&mut *DAMAGE.lock(), NOTHING);
        display.present(display.memory().geometry().area());
    }
}

/// A mapping of the picture, by an open file: while it exists, the picture is shown again and
/// again, for nobody can tell when a program writes into it.
#[derive(Debug)]
pub struct Mapped(());

impl Mapped {
    pub fn new() -> Self {
        MAPPED.fetch_add(1, Ordering::Relaxed);
        changed();
        Self(())
    }
}

impl Default for Mapped {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        MAPPED.fetch_sub(1, Ordering::Relaxed);
        // What was written last is still to be shown; the thread is not woken from here, which
        // may be anywhere.
        if let Some(display) = display() {
            let mut damage = DAMAGE.lock();
            *damage = damage.union(display.memory().geometry().area());
        }
        CHANGED.store(true, Ordering::Release);
    }
}

/// The thread that shows what has changed, for ever.
fn run() {
    let Some(display) = display() else { return };
    loop {
        let patience = if MAPPED.load(Ordering::Relaxed) > 0 { PERIOD_NS } else { PATIENCE_NS };
        let ready = || CHANGED.swap(false, Ordering::Acquire).then_some(());
        // A thread of the kernel gets no signals.
        let _ = WAKE.wait_deadline(ready, mcore::now_ns() + patience);
        let mut area = core::mem::replace(&mut *DAMAGE.lock(), NOTHING);
        if MAPPED.load(Ordering::Relaxed) > 0 {
            area = display.memory().geometry().area();
        }
        area = area.union(console::paint(display));
        if !area.is_empty() {
            display.present(area);
            let _ = mcore::sleep_until(Arch::now_ns() + PERIOD_NS);
        }
    }
}
