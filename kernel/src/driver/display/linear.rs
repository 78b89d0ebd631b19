//! A picture that firmware has set up and the boot loader has told of: memory that the display
//! shows as it is, so there is nothing to present.

use alloc::sync::Arc;

use kernel_console::{Area, Channel, Geometry, PixelFormat};

use super::{Display, PixelMemory, display, register};
use crate::arch::{Arch, Architecture, BootInfo, Framebuffer, MemoryKind, PAGE_SIZE, PhysAddr};

struct Linear(PixelMemory);

impl Display for Linear {
    fn name(&self) -> &'static str {
        "boot loader's"
    }

    fn memory(&self) -> &PixelMemory {
        &self.0
    }

    fn present(&self, _: Area) {}

    fn present_now(&self, _: Area) {}
}

/// The layout, if it is one that can be drawn on.
fn geometry(told: &Framebuffer) -> Option<Geometry> {
    let [red, green, blue] = told.channels.map(|(position, bits)| Channel { position, bits });
    let format = PixelFormat::new(told.bits_per_pixel.div_ceil(8), red, green, blue)?;
    Geometry::new(told.width, told.height, told.pitch, format)
}

/// Whether memory that is the kernel's or anybody's is in the range: then it is no picture.
fn is_memory(boot: &BootInfo, start: u64, end: u64) -> bool {
    boot.memory.iter().any(|region| {
        region.kind != MemoryKind::Reserved
            && region.start.0 < end
            && start < region.start.0 + region.length
    })
}

/// Takes the boot loader's picture, if there is one and no display has been found.
pub(in crate::driver) fn init(boot: &BootInfo) {
    let Some(told) = boot.framebuffer.filter(|_| display().is_none()) else { return };
    let start = told.address;
    let usable = geometry(&told).filter(|geometry| {
        let end = start.checked_add(geometry.length() as u64);
        start.is_multiple_of(PAGE_SIZE as u64)
            && end.is_some_and(|end| !is_memory(boot, start, end))
    });
    let Some(geometry) = usable else {
        log::warn!("display: the boot loader's cannot be used: {told:x?}");
        return;
    };
    match Arch::map_device(PhysAddr(start), geometry.length()) {
        Ok(mapped) => {
            // SAFETY: just mapped, as whole pages, for good; it is a device's memory.
            let memory = unsafe { PixelMemory::new(geometry, mapped, PhysAddr(start)) };
            register(Arc::new(Linear(memory)));
        }
        Err(error) => log::warn!("display: the boot loader's cannot be mapped: {error:?}"),
    }
}
