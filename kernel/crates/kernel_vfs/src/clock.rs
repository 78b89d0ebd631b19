//! The wall clock that time stamps come from. The kernel installs it once; before that, and in
//! host tests that install none, it stands at the epoch.

use kernel_sync::OnceCell;

use crate::types::Time;

static CLOCK: OnceCell<fn() -> Time> = OnceCell::new();

/// Installs the clock. Later calls change nothing.
pub fn install_clock(clock: fn() -> Time) {
    // A second clock is refused: the first stays.
    let _ = CLOCK.set(clock);
}

/// The time now.
#[inline]
pub fn now() -> Time {
    CLOCK.get().map_or(Time { seconds: 0, nanoseconds: 0 }, |clock| clock())
}
