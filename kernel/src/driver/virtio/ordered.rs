//! A transport whose register accesses are ordered with those to memory.
//!
//! Queues are in ordinary memory, and the crate's fences are for what CPUs see of it. A device is
//! told of a request by a register, and tells of a result by another: CPUs that order the two
//! kinds of accesses only when told to need a fence at both places. Drivers have no transport but
//! this one, so none can leave them out.

use virtio_drivers::transport::{
    DeviceStatus, DeviceType, InterruptStatus, SomeTransport, Transport,
};
use virtio_drivers::{PhysAddr as DmaAddress, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::arch::{Arch, Architecture};

/// See the module.
pub(super) struct Ordered(SomeTransport<'static>);

impl Ordered {
    pub(super) fn new(transport: impl Into<SomeTransport<'static>>) -> Self {
        Self(transport.into())
    }
}

impl Transport for Ordered {
    fn notify(&mut self, queue: u16) {
        Arch::publish_to_devices();
        self.0.notify(queue);
    }

    fn set_status(&mut self, status: DeviceStatus) {
        // A device may look at its queues as soon as it is told that the driver is ready.
        Arch::publish_to_devices();
        self.0.set_status(status);
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        let status = self.0.ack_interrupt();
        Arch::observe_devices();
        status
    }

    fn device_type(&self) -> DeviceType {
        self.0.device_type()
    }

    fn read_device_features(&mut self) -> u64 {
        self.0.read_device_features()
    }

    fn write_driver_features(&mut self, features: u64) {
        self.0.write_driver_features(features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.0.max_queue_size(queue)
    }

    fn get_status(&self) -> DeviceStatus {
        self.0.get_status()
    }

    fn set_guest_page_size(&mut self, size: u32) {
        self.0.set_guest_page_size(size);
    }

    fn requires_legacy_layout(&self) -> bool {
        self.0.requires_legacy_layout()
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: DmaAddress,
        driver_area: DmaAddress,
        device_area: DmaAddress,
    ) {
        self.0.queue_set(queue, size, descriptors, driver_area, device_area);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.0.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.0.queue_used(queue)
    }

    fn read_config_generation(&self) -> u32 {
        self.0.read_config_generation()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        self.0.read_config_space(offset)
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> Result<()> {
        self.0.write_config_space(offset, value)
    }
}
