//! RISC-V's CPUs: which there are, what they can do, how interrupts reach them.

use dtoolkit::Node;
use dtoolkit::fdt::FdtNode;

use crate::{Device, DeviceTree, cell, text, whole_number};

/// A CPU that is not disabled.
#[derive(Clone, Copy, Debug)]
pub struct Hart<'a> {
    /// The number by which firmware knows it.
    pub number: u64,
    /// The handle of its own interrupt controller.
    pub controller: Option<u32>,
    device: Device<'a>,
}

impl<'a> Hart<'a> {
    fn read(node: FdtNode<'a>) -> Option<Self> {
        let device = Device(node);
        if device.property("device_type").map(text) != Some(b"cpu") || !device.is_used() {
            return None;
        }
        let number = whole_number(device.property("reg")?)?;
        let mut controllers =
            node.children().map(Device).filter(|child| child.is_compatible("riscv,cpu-intc"));
        let controller = controllers.next().and_then(|child| cell(child.property("phandle")?));
        Some(Self { number, controller, device })
    }

    /// Whether it has an extension, by its name in lower case. The list of names counts
    /// (`riscv,isa-extensions`); where there is none, the older string (`riscv,isa`): single
    /// letters after the width, then longer names after underscores.
    #[must_use]
    pub fn has(&self, extension: &str) -> bool {
        let wanted = extension.as_bytes();
        if let Some(list) = self.device.property("riscv,isa-extensions") {
            return list.split(|&byte| byte == 0).any(|name| name == wanted);
        }
        let isa = self.device.property("riscv,isa").map(text).unwrap_or_default();
        let mut names = isa.split(|&byte| byte == b'_');
        let base = names.next().and_then(|base| base.strip_prefix(b"rv64")).unwrap_or_default();
        match wanted {
            // A longer name may follow the letters at once: none of these begins one.
            &[letter] => base
                .iter()
                .take_while(|byte| !matches!(byte, b'z' | b's' | b'x'))
                .any(|&byte| byte == letter),
            _ => names.any(|name| name == wanted),
        }
    }
}

impl<'a> DeviceTree<'a> {
    /// The CPUs.
    pub fn harts(&self) -> impl Iterator<Item = Hart<'a>> + 'a {
        let cpus = self.0.find_node("/cpus");
        cpus.into_iter().flat_map(|cpus| cpus.children()).filter_map(Hart::read)
    }

    /// How often the time register counts in a second.
    #[must_use]
    pub fn time_hertz(&self) -> Option<u64> {
        self.property("/cpus", "timebase-frequency").and_then(whole_number)
    }
}

impl<'a> Device<'a> {
    /// Of an interrupt controller: the handle of the hart's controller that each of its contexts
    /// is wired to, and that one's interrupt, in their order (`interrupts-extended`).
    pub fn wires(&self) -> impl Iterator<Item = (u32, u32)> + 'a {
        let list = self.property("interrupts-extended").unwrap_or_default();
        list.chunks_exact(8).filter_map(|wire| Some((cell(wire)?, cell(wire.get(4..)?)?)))
    }
}
