//! Trees made for the purpose, as the machines here describe themselves, and damaged ones.

extern crate std;

use std::vec::Vec;

use dtoolkit::memreserve::MemoryReservation;
use dtoolkit::model::{DeviceTree as Model, DeviceTreeNode, DeviceTreeProperty};

use crate::{Device, DeviceTree, Interrupt, PciInterrupts, PciRoute, PciWindow, PciWindows, size};

fn cells(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn node(name: &str, properties: &[(&str, &[u8])]) -> DeviceTreeNode {
    let mut node = DeviceTreeNode::new(name).unwrap();
    for (name, value) in properties {
        node.add_property(DeviceTreeProperty::new(*name, *value).unwrap());
    }
    node
}

/// A machine like QEMU's `virt`.
fn machine() -> Vec<u8> {
    let two = cells(&[2]);
    let mut model = Model::new();
    // A boot loader reserves the RAM disk too.
    let reservations = [(0x4000_0000, 0x8000), (0x4800_0000, 0x1000)];
    model.memory_reservations =
        reservations.map(|(start, size)| MemoryReservation::new(start, size)).into();
    let root = &mut model.root;
    for name in ["#address-cells", "#size-cells"] {
        root.add_property(DeviceTreeProperty::new(name, two.as_slice()).unwrap());
    }
    root.add_child(node(
        "chosen",
        &[
            ("bootargs", b"loglevel=7 -- sh\0"),
            ("stdout-path", b"serial0:115200\0"),
            ("linux,initrd-start", &cells(&[0x4800_0000])),
            ("linux,initrd-end", &cells(&[0, 0x4800_1000])),
        ],
    ));
    root.add_child(node("aliases", &[("serial0", b"/soc/uart@9000000\0")]));
    let ram = cells(&[0, 0x4000_0000, 0, 0x1000_0000]);
    root.add_child(node("memory@40000000", &[("device_type", b"memory\0"), ("reg", &ram)]));
    let mut cpus = node("cpus", &[("#address-cells", &cells(&[1])), ("#size-cells", &cells(&[0]))]);
    for (name, number) in [("cpu@0", 0), ("cpu@101", 0x101)] {
        let reg = cells(&[number]);
        cpus.add_child(node(name, &[("device_type", b"cpu\0"), ("reg", &reg)]));
    }
    root.add_child(cpus);
    let mut soc = node("soc", &[("ranges", b""), ("#address-cells", &two), ("#size-cells", &two)]);
    soc.add_child(node(
        "uart@9000000",
        &[
            ("compatible", b"arm,pl011\0arm,primecell\0"),
            ("reg", &cells(&[0, 0x900_0000, 0, 0x1000])),
            ("interrupts", &cells(&[0, 1, 4, 1, 11, 1])),
        ],
    ));
    soc.add_child(node(
        "uart@9040000",
        &[("compatible", b"arm,pl011\0"), ("status", b"disabled\0")],
    ));
    root.add_child(soc);
    root.add_child(node("intc", &[("compatible", b"gic\0"), ("#address-cells", &two)]));
    let ranges = cells(&[
        0x0100_0000,
        0,
        0,
        0,
        0x3eff_0000,
        0,
        0x1_0000, // I/O
        0x0200_0000,
        0,
        0x1000_0000,
        0,
        0x1000_0000,
        0,
        0x2eff_0000, // memory
        0x0300_0000,
        0x80,
        0,
        0x80,
        0,
        0x80,
        0, // memory above 4 GiB
    ]);
    let map = cells(&[
        0, 0, 0, 1, 0x8005, 0, 0, 0, 3, 4, // slot 0, INTA
        0x800, 0, 0, 2, 0x8005, 0, 0, 0, 5, 4, // slot 1, INTB
    ]);
    root.add_child(node(
        "pcie",
        &[
            ("compatible", b"pci-host-ecam-generic\0"),
            ("ranges", &ranges),
            ("interrupt-map", &map),
            ("interrupt-map-mask", &cells(&[0x1800, 0, 0, 7])),
        ],
    ));
    model.to_dtb()
}

#[test]
fn a_machine_is_found() {
    let bytes = machine();
    assert_eq!(size(&bytes), Some(bytes.len()));
    let tree = DeviceTree::read(&bytes).unwrap();
    assert_eq!(tree.command_line(), b"loglevel=7 -- sh");
    assert_eq!(tree.cpus().collect::<Vec<_>>(), [0, 0x101]);
    let mut memory = Vec::new();
    tree.memory(|start, length| memory.push((start, length)));
    assert_eq!(memory, [(0x4000_0000, 0x1000_0000)]);
    let mut reserved = Vec::new();
    tree.reserved(|start, length| reserved.push((start, length)));
    assert_eq!(reserved, [(0x4000_0000, 0x8000)]);
    assert_eq!(tree.ram_disk(), Some((0x4800_0000, 0x1000)));
}

#[test]
fn the_console_is_followed_through_its_alias() {
    let bytes = machine();
    let console = DeviceTree::read(&bytes).unwrap().console().unwrap();
    assert!(console.is_compatible("arm,pl011") && !console.is_compatible("arm"));
    assert_eq!(console.registers().next(), Some((0x900_0000, 0x1000)));
    assert_eq!(console.interrupt(0), Some(Interrupt { number: 33, level: true }));
    assert_eq!(console.interrupt(1), Some(Interrupt { number: 27, level: false }));
    assert_eq!(console.interrupt(2), None);
}

#[test]
fn devices_that_are_disabled_do_not_count() {
    let bytes = machine();
    let tree = DeviceTree::read(&bytes).unwrap();
    let mut count = 0;
    let none: Option<()> = tree.find_map(&["arm,pl011"], |_| {
        count += 1;
        None
    });
    assert_eq!((none, count), (None, 1));
    assert!(tree.find(&["nothing", "arm,pl031"]).is_none());
}

#[test]
fn a_host_bridge_tells_windows_and_wires() {
    let bytes = machine();
    let tree = DeviceTree::read(&bytes).unwrap();
    let bridge = tree.find(&["pci-host-ecam-generic"]).unwrap();
    let windows: Vec<_> = PciWindows::of(&bridge).collect();
    let window =
        PciWindow { bus_address: 0x1000_0000, cpu_address: 0x1000_0000, length: 0x2eff_0000 };
    assert_eq!(windows, [window]);
    let wires = PciInterrupts::of(&bridge, &tree.find(&["gic"]).unwrap());
    assert_eq!(wires.slot_mask, 3);
    let wires: Vec<_> = wires.collect();
    let level = |number| Interrupt { number, level: true };
    let first = PciRoute { slot: 0, pin: 0, interrupt: level(35) };
    assert_eq!(wires, [first, PciRoute { slot: 1, pin: 1, interrupt: level(37) }]);
}

/// A machine of RISC-V's: two CPUs that tell what they can do in both ways, and one disabled.
fn riscv_machine() -> Vec<u8> {
    let mut model = Model::new();
    let mut cpus = node(
        "cpus",
        &[
            ("#address-cells", &cells(&[1])),
            ("#size-cells", &cells(&[0])),
            ("timebase-frequency", &cells(&[10_000_000])),
        ],
    );
    let features: [&[(&str, &[u8])]; 3] = [
        &[("riscv,isa", b"rv64imafdch_zicsr_zba_sstc\0")],
        &[("riscv,isa", b"rv64i\0"), ("riscv,isa-extensions", b"i\0m\0zbb\0")],
        &[("status", b"disabled\0")],
    ];
    for (number, features) in features.into_iter().enumerate() {
        let reg = cells(&[number as u32 + 4]);
        let mut properties: Vec<(&str, &[u8])> =
            Vec::from([("device_type", b"cpu\0".as_slice()), ("reg", reg.as_slice())]);
        properties.extend(features);
        let mut cpu = node(&std::format!("cpu@{}", number + 4), &properties);
        cpu.add_child(node(
            "interrupt-controller",
            &[("compatible", b"riscv,cpu-intc\0"), ("phandle", &cells(&[number as u32 + 1]))],
        ));
        cpus.add_child(cpu);
    }
    model.root.add_child(cpus);
    model.root.add_child(node(
        "plic",
        &[
            ("compatible", b"riscv,plic0\0"),
            ("#interrupt-cells", &cells(&[1])),
            ("interrupts-extended", &cells(&[1, 11, 1, 9, 2, 11, 2, 9])),
        ],
    ));
    model.root.add_child(node("uart", &[("interrupts", &cells(&[10, 12]))]));
    let map = cells(&[0, 0, 0, 1, 9, 32, 0x800, 0, 0, 2, 9, 33]);
    model.root.add_child(node("pcie", &[("interrupt-map", &map)]));
    model.to_dtb()
}

#[test]
fn harts_tell_what_they_can_do_and_how_they_are_reached() {
    let bytes = riscv_machine();
    let tree = DeviceTree::read(&bytes).unwrap();
    assert_eq!(tree.time_hertz(), Some(10_000_000));
    let harts: Vec<_> = tree.harts().collect();
    let numbers: Vec<_> = harts.iter().map(|hart| (hart.number, hart.controller)).collect();
    assert_eq!(numbers, [(4, Some(1)), (5, Some(2))]);
    for extension in ["i", "c", "h", "zba", "sstc"] {
        assert!(harts[0].has(extension), "{extension}");
    }
    for extension in ["b", "v", "z", "zbb", "sst", "rv64imafdch"] {
        assert!(!harts[0].has(extension), "{extension}");
    }
    assert!(harts[1].has("m") && harts[1].has("zbb") && !harts[1].has("a"));
}

#[test]
fn one_cell_numbers_an_interrupt_where_the_controller_says_so() {
    let bytes = riscv_machine();
    let tree = DeviceTree::read(&bytes).unwrap();
    let controller = tree.find(&["riscv,plic0"]).unwrap();
    let wires: Vec<_> = controller.wires().collect();
    assert_eq!(wires, [(1, 11), (1, 9), (2, 11), (2, 9)]);
    let uart = Device(tree.0.find_node("/uart").unwrap());
    let level = |number| Some(Interrupt { number, level: true });
    assert_eq!(uart.interrupt_at(0, &controller), level(10));
    assert_eq!(uart.interrupt_at(1, &controller), level(12));
    assert_eq!(uart.interrupt_at(2, &controller), None);
    let bridge = Device(tree.0.find_node("/pcie").unwrap());
    let numbers: Vec<_> =
        PciInterrupts::of(&bridge, &controller).map(|route| route.interrupt.number).collect();
    assert_eq!(numbers, [32, 33]);
}

#[test]
fn damage_is_not_followed() {
    for bytes in [machine(), riscv_machine()] {
        damage(&bytes);
    }
}

fn damage(bytes: &[u8]) {
    assert_eq!(size(&[]), None);
    assert_eq!(size(&[0; 8]), None);
    for length in 0..bytes.len() {
        assert!(DeviceTree::read(&bytes[..length]).is_none(), "{length}");
    }
    // A changed byte is refused or read without a panic.
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0x81;
        let Some(tree) = DeviceTree::read(&damaged) else { continue };
        let _ = tree.command_line();
        let _ = tree.cpus().count();
        let _ = (tree.time_hertz(), tree.harts().filter(|hart| hart.has("zba")).count());
        tree.find(&["riscv,plic0"]).map(|controller| controller.wires().count());
        tree.memory(|_, _| {});
        tree.reserved(|_, _| {});
        let _ = tree.ram_disk();
        tree.console().map(|console| console.registers().count());
        if let Some(bridge) = tree.find(&["pci-host-ecam-generic"]) {
            PciWindows::of(&bridge).count();
            PciInterrupts::of(&bridge, &bridge).count();
        }
    }
}
