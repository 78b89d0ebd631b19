//! Programs in C, built as people build static ones for Linux: without a library by clang for each
//! architecture, with the host's own by its compiler.

use std::path::{Path, PathBuf};
use std::process::Command;

use lemma::build::Options;
use lemma::image;
use lemma::machine::Arch;
use lemma::setup::{self, Tool};
use lemma::workspace::Workspace;

use crate::guest::{boot_with, on_each_architecture};

on_each_architecture!(what_a_c_program_syncs_survives_a_power_cut);

/// Builds `tests/boot/programs/NAME.c` into `folder`.
fn compile(name: &str, arch: Arch, folder: &Path) -> PathBuf {
    let workspace = Workspace::locate().unwrap();
    setup::require_all(&workspace, &[Tool::Clang, Tool::Lld]).unwrap();
    let clang = Tool::Clang.find().unwrap();
    let target: &[&str] = match arch {
        Arch::X86_64 => &["--target=x86_64-linux-gnu"],
        Arch::Aarch64 => &["--target=aarch64-linux-gnu"],
        Arch::Riscv64 => &["--target=riscv64-linux-gnu", "-march=rv64gc", "-mabi=lp64d"],
    };
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/boot/programs/{name}.c"));
    let program = folder.join(name);
    let output = Command::new(clang)
        .args(target)
        .args(["-O2", "-Wall", "-Werror", "-ffreestanding", "-fno-stack-protector", "-fno-pic"])
        .args(["-static", "-nostdlib", "-fuse-ld=lld", "-o"])
        .arg(&program)
        .arg(source)
        .output()
        .unwrap();
    assert!(output.status.success(), "clang: {}", String::from_utf8_lossy(&output.stderr));
    program
}

fn what_a_c_program_syncs_survives_a_power_cut(arch: Arch) {
    let folder = tempfile::tempdir().unwrap();
    let program = compile("keep", arch, folder.path());
    let disk = folder.path().join("disk");
    let options = |copies| Options { arch, disk: Some(disk.clone()), copies, ..Options::default() };
    let mut guest = boot_with(options(vec![(program, "/bin/keep".to_owned())]));
    guest.prompt();
    guest.fail("keep");
    guest.succeed("echo unsafe > /root/unsafe");
    assert_eq!(guest.succeed("keep /root/file 'first text'").trim(), "kept: first text");
    assert_eq!(guest.succeed("keep /root/file second").trim(), "kept: second");
    // QEMU is killed here: what no `fsync` came after may be lost, the rest is there.
    guest.cut_power();
    let workspace = Workspace::locate().unwrap();
    assert_eq!(image::read_file(&workspace, &disk, "/root/file").unwrap(), b"second");

    // The next start has the disk repaired, and marks it clean at its end.
    let mut guest = boot_with(options(Vec::new()));
    guest.prompt();
    assert_eq!(guest.succeed("cat /root/file").trim(), "second");
    assert_eq!(guest.succeed("keep /root/file third").trim(), "kept: third");
    guest.shut_down(0);
}

/// Streams, memory, a thread, numbers with a point: what a C library asks of the kernel before and
/// between. Cargo links with the same compiler, whose package has the static library too.
#[test]
fn a_program_with_a_c_library_runs() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("libc");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boot/programs/libc.c");
    let output = Command::new("cc")
        .args(["-static", "-O2", "-Wall", "-Werror", "-pthread", "-o"])
        .args([&program, &source])
        .output()
        .unwrap();
    assert!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
    let copies = vec![(program, "/bin/libc".to_owned())];
    let mut guest = boot_with(Options { arch: host(), copies, cpus: 2, ..Options::default() });
    guest.prompt();
    assert_eq!(guest.fail("libc /no/such/file").trim(), "No such file or directory");
    assert_eq!(guest.succeed("libc /root/file").trim(), "42 x 5.25");
    assert_eq!(guest.succeed("cat /root/file").trim(), "42 x 5.25");
    guest.shut_down(0);
}

/// The architecture that the host's compiler builds for.
fn host() -> Arch {
    let name = std::env::consts::ARCH;
    let arch = Arch::ALL.into_iter().find(|arch| arch.name() == name);
    arch.unwrap_or_else(|| panic!("there is no Lemma for {name}"))
}
