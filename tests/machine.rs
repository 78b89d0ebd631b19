//! The machine without the kernel: a guest of a few instructions shows that QEMU starts
//! what `symbols` writes, that the console carries both ways, and that every way to end
//! comes back as the right outcome.
#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use lemma::machine::{Arch, Disk, Machine, Start, Virtio};
use lemma::qemu::{Guest, Outcome};
use lemma::symbols::{KERNEL_BASE, bootable_image};
use lemma::workspace::Workspace;

/// Prints `>`, reads a character, and ends with it as the status. 32-bit code, as the PVH
/// boot protocol enters it.
const CODE: [u8; 40] = [
    0xba, 0xf8, 0x03, 0, 0, // mov edx, 0x3f8
    0xb0, b'>', // mov al, '>'
    0xee, // out dx, al
    0xba, 0xfd, 0x03, 0, 0,    // wait: mov edx, 0x3fd
    0xec, // in al, dx
    0xa8, 0x01, // test al, 1
    0x74, 0xf6, // jz wait
    0xba, 0xf8, 0x03, 0, 0,    // mov edx, 0x3f8
    0xec, // in al, dx
    0x3c, b'r', // cmp al, 'r'
    0x74, 0x0c, // je reset
    0xe6, 0xe9, // out 0xe9, al
    0x3c, 0x7e, // cmp al, 126
    0x76, 0x02, // jbe end
    0xb0, 0x7e, // mov al, 126
    0xe6, 0xf4, // end: out 0xf4, al
    0xeb, 0xfe, // jmp .
];

/// Behind the code: a triple fault, by an interrupt table of no entries (memory at 16 MiB,
/// which nothing has written).
const RESET: [u8; 9] = [
    0x0f, 0x01, 0x1d, 0, 0, 0, 0x01, // lidt [0x01000000]
    0x0f, 0x0b, // ud2
];

fn word(value: u32) -> [u8; 4] {
    value.to_le_bytes()
}

/// An ELF file as the linker would leave it: the code with its PVH note, and the segment
/// for the symbols.
fn linked_kernel() -> Vec<u8> {
    let entry = 0x10_0000_u32;
    let note = [&word(4)[..], &word(8), &word(18), b"Xen\0", &u64::from(entry).to_le_bytes()];
    let text = [&CODE[..], &RESET, &[0; 7], &note.concat()].concat();
    let note_at = (CODE.len() + RESET.len() + 7) as u64;
    let symbols = [&b"LEMSYMS1"[..], &16_u64.to_le_bytes()].concat();
    let first = 64 + 3 * 56_u64;
    let segments = [
        (1_u32, 5_u32, first, 0_u64, text.len() as u64),
        (1, 4, first + text.len() as u64, 0x1000, symbols.len() as u64),
        (4, 4, first + note_at, note_at, 24),
    ];
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([2, 0, 62, 0]);
    file.extend(word(1));
    file.extend(u64::from(entry).to_le_bytes());
    file.extend(64_u64.to_le_bytes());
    file.extend([0; 12]);
    for half in [64_u16, 56, 3, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    for (kind, flags, offset, address, size) in segments {
        file.extend(word(kind));
        file.extend(word(flags));
        let physical = u64::from(entry) + address;
        let align = if kind == 4 { 4 } else { 4096 };
        for field in [offset, KERNEL_BASE + physical, physical, size, size, align] {
            file.extend(field.to_le_bytes());
        }
    }
    file.extend(text);
    file.extend(symbols);
    file
}

/// Boots the guest, sends `answer` when it asks, and returns how it ended.
fn run(answer: &[u8], icount: bool, limit: Duration) -> Outcome {
    let workspace = Workspace::locate().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (kernel, disk) = (folder.path().join("kernel"), folder.path().join("disk"));
    std::fs::write(&kernel, bootable_image(&linked_kernel()).unwrap()).unwrap();
    std::fs::write(&disk, [0; 4096]).unwrap();
    let machine = machine(&kernel, &disk, icount);
    let (mut guest, mut input, mut output) = Guest::start(&workspace, &machine).unwrap();
    let reader = std::thread::spawn(move || {
        let mut first = [0];
        output.read_exact(&mut first).unwrap_or_default();
        first[0]
    });
    if !answer.is_empty() {
        assert_eq!(reader.join().unwrap(), b'>');
        input.write_all(answer).unwrap();
        input.flush().unwrap();
    }
    guest.wait(Some(Instant::now() + limit)).unwrap()
}

fn machine(kernel: &Path, disk: &Path, icount: bool) -> Machine {
    Machine {
        arch: Arch::X86_64,
        cpu: None,
        options: Vec::new(),
        cpus: 1,
        memory_mib: 32,
        virtio: Virtio::Auto,
        entropy: true,
        graphics: None,
        start: Start::Kernel {
            image: kernel.to_path_buf(),
            command_line: String::new(),
            disk: Disk::Fresh(disk.to_path_buf()),
        },
        bare: false,
        icount,
        debug: false,
    }
}

const LONG: Duration = Duration::from_secs(600);

#[test]
fn a_guest_s_status_is_ours() {
    for (answer, icount) in [(0_u8, false), (3, true), (126, false), (200, false)] {
        assert_eq!(run(&[answer], icount, LONG), Outcome::Exited(answer));
    }
}

#[test]
fn a_reset_is_not_success() {
    assert_eq!(run(b"r", false, LONG), Outcome::Reset);
}

#[test]
fn a_guest_that_hangs_is_stopped() {
    assert_eq!(run(b"", false, Duration::from_secs(2)), Outcome::TimedOut);
}

#[test]
fn what_qemu_refuses_is_said() {
    let workspace = Workspace::locate().unwrap();
    let machine = machine(Path::new("/no/such/kernel"), Path::new("/no/such/disk"), false);
    let (mut guest, _input, _output) = Guest::start(&workspace, &machine).unwrap();
    let outcome = guest.wait(Some(Instant::now() + LONG)).unwrap();
    let Outcome::QemuFailed(message) = outcome else { panic!("{outcome:?}") };
    assert!(message.contains("/no/such"), "{message}");
}
