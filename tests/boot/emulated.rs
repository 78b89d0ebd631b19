//! The same user programs on Linux of another architecture: on this machine's, under QEMU's
//! emulation of a single program. It translates system calls, and some not as Linux does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use lemma::compile;
use lemma::machine::Arch;
use lemma::setup::{self, Tool};
use lemma::workspace::Workspace;

use crate::session::text;
use crate::usertests;

/// Tests, by the beginnings of their names, that fail for what the emulator does; each passes on
/// x86_64 without one (`system::the_same_tests_pass_on_linux`).
const NOT_AS_LINUX: &[&str] = &[
    // It hands the program to Linux, which knows only this machine's.
    "exec_",
    "threads_exec_ends_others",
    "proc_environment",
    // It has no lists of the locks that a dead thread holds.
    "robust_",
    "stacks_robust_list",
    // Nor flags of `clone` by which a process has another parent.
    "threads_siblings",
    // `vfork` is `fork`, and does not wait.
    "processes_killed_in_vfork",
    // It does not know MAP_FIXED_NOREPLACE.
    "memory_fixed",
    // A failed assertion of its own, for ranges up to the end of the address space.
    "memory_errors",
    "memory_kernel_addresses",
    // The program that touches what is protected then runs for ever in the emulator.
    "memory_protection_up_to_a_hole",
    // Bits of a socket's type that nobody knows are left out.
    "sockets_errors",
    // It keeps the last two real-time signals for itself.
    "signals_blocked",
    // The time that is left is not written back.
    "signals_poll_with_mask",
    // Times and sets that cannot be read are not an error, or the wrong one.
    "time_sleep_errors",
    "events_select_sets",
    // It makes up the program's own files in `/proc`, and has threads of its own there.
    "proc_states",
    "proc_threads",
    // Unknown requests are ENOSYS, not ENOTTY.
    "devices_not_terminals",
    // Calls that it does not know.
    "attributes_vectors_anywhere",
    "epoll_times_out_exactly",
    // Arguments that it does not look at.
    "system_kernel_log",
    "mappings_move_errors",
    "sockets_options",
    // A signal does not end a long call.
    "devices_zeros_without_end",
    // Its own threads take part.
    "cpus_hogs_share",
    "cpus_nice_values",
    // It opens a file for reading where the way to open it is none.
    "fifos_both_sides",
    // There is none of it.
    "bpf_",
];

/// As above, for RISC-V's.
const NOT_AS_LINUX_ON_RISCV64: &[&str] = &[
    // It takes a signal's action to have a restorer, which only other machines' have: it finds
    // the mask in the wrong place.
    "signals_action_layout",
    "signals_mask_during_handler",
    // It does not look at the flags.
    "flush_errors",
    // It returns from a handler to whatever frame it finds.
    "frames_bad_frame",
];

fn the_same_tests_pass(arch: Arch, emulator: Tool, options: &[&str], without: &[&str]) {
    let workspace = Workspace::locate().unwrap();
    let emulator = setup::require(&workspace, emulator).unwrap();
    let programs = compile::user_programs(&workspace, arch).unwrap();
    let usertests = programs.iter().find(|program| program.name == "usertests").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("usertests");
    fs::copy(&usertests.path, &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&emulator);
        command.args(options).arg(&program).args(arguments);
        let output = command.output().unwrap();
        let (report, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{report}{errors}");
        report
    };
    let all = run(&["list"]);
    for start in without {
        assert!(all.lines().any(|name| name.starts_with(start)), "no test is called {start}");
    }
    let mut arguments = vec!["-k", "--dir", folder.path().to_str().unwrap()];
    arguments.extend(without.iter().flat_map(|start| ["--without", start]));
    usertests::most_passed(&run(&arguments));
}

#[test]
fn the_same_tests_pass_on_linux_on_aarch64() {
    // With the vector extension, it returns from handlers to other registers than Linux.
    let cpu = ["-cpu", "cortex-a72"];
    the_same_tests_pass(Arch::Aarch64, Tool::QemuUserArm, &cpu, NOT_AS_LINUX);
}

#[test]
fn the_same_tests_pass_on_linux_on_riscv64() {
    let without = [NOT_AS_LINUX, NOT_AS_LINUX_ON_RISCV64].concat();
    the_same_tests_pass(Arch::Riscv64, Tool::QemuUserRiscv, &[], &without);
}
