//! The tree as a whole.

use dtoolkit::Node;
use dtoolkit::fdt::{Fdt, FdtNode};

use crate::{Device, cell, text, whole_number};

/// `struct fdt_header`'s magic number.
const MAGIC: u32 = 0xd00d_feed;
/// A tree is not larger than the boot protocol of AArch64 allows.
const LARGEST: usize = 2 << 20;
/// How deep devices are looked for below the root.
const DEPTH: usize = 4;

/// The length of a tree, by the first bytes of its header.
#[must_use]
pub fn size(header: &[u8]) -> Option<usize> {
    let length = cell(header.get(4..)?)? as usize;
    (cell(header)? == MAGIC && (40..=LARGEST).contains(&length)).then_some(length)
}

/// A tree that has been checked as a whole.
#[derive(Clone, Copy, Debug)]
pub struct DeviceTree<'a>(pub(crate) Fdt<'a>);

impl<'a> DeviceTree<'a> {
    /// Checks a tree. `None` if it is damaged.
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        Fdt::new(bytes).ok().map(Self)
    }

    /// A property of a node, by the node's path.
    #[must_use]
    pub fn property(&self, path: &str, name: &str) -> Option<&'a [u8]> {
        Device(self.0.find_node(path)?).property(name)
    }

    /// The kernel's command line.
    #[must_use]
    pub fn command_line(&self) -> &'a [u8] {
        self.property("/chosen", "bootargs").map_or(&[], text)
    }

    /// The node that firmware's console uses (`stdout-path`).
    #[must_use]
    pub fn console(&self) -> Option<Device<'a>> {
        let path = text(self.property("/chosen", "stdout-path")?);
        // Options follow a colon.
        let path = path.split(|&byte| byte == b':').next()?;
        let path = core::str::from_utf8(path).ok()?;
        let path = if path.starts_with('/') {
            path
        } else {
            core::str::from_utf8(text(self.property("/aliases", path)?)).ok()?
        };
        self.0.find_node(path).map(Device)
    }

    /// Calls `each` with start and length of every range of RAM.
    pub fn memory(&self, mut each: impl FnMut(u64, u64)) {
        for node in self.0.root().children().map(Device) {
            if node.property("device_type").map(text) == Some(b"memory") {
                node.registers().for_each(|(start, length)| each(start, length));
            }
        }
    }

    /// Start and length of the initial RAM disk, if it is not empty.
    #[must_use]
    pub fn ram_disk(&self) -> Option<(u64, u64)> {
        // Four or eight bytes long, whatever the cells of the root are.
        let address = |name| self.property("/chosen", name).and_then(whole_number);
        let start = address("linux,initrd-start")?;
        let length = address("linux,initrd-end")?.checked_sub(start)?;
        (length > 0).then_some((start, length))
    }

    /// Calls `each` with start and length of every range of RAM that firmware reserved. The
    /// initial RAM disk, for which some boot loaders make a reservation, is not among them.
    pub fn reserved(&self, mut each: impl FnMut(u64, u64)) {
        let ram_disk = self.ram_disk();
        for range in self.0.memory_reservations() {
            if Some((range.address(), range.size())) != ram_disk {
                each(range.address(), range.size());
            }
        }
        let reserved = self.0.find_node("/reserved-memory").map(|node| node.children());
        for node in reserved.into_iter().flatten() {
            Device(node).registers().for_each(|(start, length)| each(start, length));
        }
    }

    /// The CPUs, by the numbers that the machine's architecture gives them (`reg`), in the tree's
    /// order.
    pub fn cpus(&self) -> impl Iterator<Item = u64> + 'a {
        let nodes = self.0.find_node("/cpus").map(|node| node.children());
        let cpus = nodes.into_iter().flatten().map(Device);
        let cpus = cpus.filter(|cpu| cpu.property("device_type").map(text) == Some(b"cpu"));
        cpus.filter_map(|cpu| whole_number(cpu.property("reg")?))
    }

    /// Calls `each` with every device that is compatible with one of `names` and in use, until
    /// it returns something. Looks at the root's children and below nodes whose addresses are
    /// the root's.
    pub fn find_map<T>(
        &self,
        names: &[&str],
        mut each: impl FnMut(Device<'a>) -> Option<T>,
    ) -> Option<T> {
        visit(self.0.root(), DEPTH, names, &mut each)
    }

    /// The first such device.
    #[must_use]
    pub fn find(&self, names: &[&str]) -> Option<Device<'a>> {
        self.find_map(names, Some)
    }
}

fn visit<'a, T>(
    parent: FdtNode<'a>,
    depth: usize,
    names: &[&str],
    each: &mut impl FnMut(Device<'a>) -> Option<T>,
) -> Option<T> {
    for node in parent.children() {
        let device = Device(node);
        if device.is_used() && names.iter().any(|name| device.is_compatible(name)) {
            let found = each(device);
            if found.is_some() {
                return found;
            }
        }
        // An empty `ranges` says that addresses below are those above.
        if depth > 1 && device.property("ranges").is_some_and(<[u8]>::is_empty) {
            let found = visit(node, depth - 1, names, each);
            if found.is_some() {
                return found;
            }
        }
    }
    None
}
