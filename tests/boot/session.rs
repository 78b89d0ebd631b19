//! A session as a user has it: the prompt, exit statuses, pipes, and the orchestrator's own
//! program with its standard input and output.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output, Stdio};

use crate::guest::boot;
use lemma::image;
use lemma::machine::Arch;
use lemma::qemu::Outcome;
use lemma::setup;
use lemma::workspace::Workspace;

/// `cargo run` with these arguments and this standard input. Where they say neither: with a time
/// limit, and with a disk of its own, which is checked. With a time limit of theirs it is the disk
/// that everybody gets.
pub(crate) fn orchestrator(arguments: &[&str], input: &str) -> Output {
    let limited = arguments.contains(&"--timeout");
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lemma"));
    if !limited {
        command.args(["--timeout", "600"]);
    }
    if !limited && !arguments.contains(&"--disk") {
        command.arg("--disk").arg(&disk);
    }
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if disk.exists() {
        image::check(&Workspace::locate().unwrap(), &disk).unwrap();
    }
    output
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn piped_commands_run_and_the_status_is_the_shell_s() {
    let output = orchestrator(&["--timeout", "600"], "echo one two | cat\nexit 3\n");
    let console = text(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{console}{}", text(&output.stderr));
    assert!(console.lines().any(|line| line == "one two"), "{console}");
}

/// A restart leaves programs a second to end, and the shell takes commands meanwhile. Some of
/// these come before all are told to end, are told, or come after.
#[test]
fn a_power_off_wins_over_a_restart_that_was_asked_for() {
    let mut guest = boot();
    guest.prompt();
    guest.session.send("reboot; poweroff; poweroff; poweroff; poweroff\n").unwrap();
    guest.finish(&Outcome::Exited(0));
    let mut guest = boot();
    guest.prompt();
    guest.session.send("poweroff; reboot; reboot; reboot; reboot\n").unwrap();
    guest.finish(&Outcome::Exited(0));
}

#[test]
fn the_end_of_input_ends_the_shell() {
    let output = orchestrator(&["--memory", "32M"], "cat /etc/motd\n");
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn a_program_runs_instead_of_the_shell() {
    let output = orchestrator(&["--", "echo", "hello"], "");
    let console = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{console}");
    assert!(console.lines().any(|line| line == "hello"), "{console}");
}

/// A development build checks what the kernel's parts promise each other, and its code needs more
/// stack than optimised code.
#[test]
fn a_development_build_keeps_its_promises() {
    let output = orchestrator(&["--dev", "--smp", "2", "--", "usertests", "processes"], "");
    let console = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{console}");
}

#[test]
fn what_cannot_work_says_why() {
    for (arguments, reason) in [
        (&["--bpf", "/no/such.c"][..], "no such file"),
        (&["--icount", "--smp", "2"], "one CPU only"),
        (&["--smp", "0"], "1 to 64 CPUs"),
        (&["--smp", "65"], "1 to 64 CPUs"),
        (&["--smp", "9", "--arch", "aarch64"], "gic-version=3"),
        (&["--", "two words"], "blanks"),
    ] {
        let output = orchestrator(arguments, "");
        let message = text(&output.stderr);
        assert_ne!(output.status.code(), Some(0), "{arguments:?}");
        assert!(message.contains(reason), "{arguments:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{arguments:?}: {message}");
    }
    let help = text(&orchestrator(&["--help"], "").stdout);
    for option in [
        "--arch",
        "--profile",
        "--smp",
        "--memory",
        "--disk",
        "--append",
        "--debug",
        "--icount",
        "--release",
        "--dev",
        "--bpf",
        "--copy",
        "--timeout",
    ] {
        assert!(help.contains(option), "{option} is not in --help");
    }
}

/// A machine without QEMU, and without a way to install it: in a name space of its own, what
/// would be there is no program.
#[test]
fn a_missing_emulator_is_told_in_one_line() {
    let user = std::fs::metadata("/proc/self").unwrap().uid();
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(if user == 0 { &["--mount"][..] } else { &["--mount", "--map-root-user"] });
        command
    };
    // Containers seldom allow it.
    let probe = unshare().arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        let reason = "unshare may not make a name space of mounts here";
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        println!("SKIPPED: {reason}");
        return;
    }
    // What is not there need not be hidden.
    let hidden = ["qemu-system-x86_64", "apt-get"].into_iter().filter_map(setup::find_program);
    let hide = "for tool; do mount --bind /dev/null \"$tool\" || exit 9; done; exec \"$0\"";
    let output = unshare()
        .args(["sh", "-c", hide, env!("CARGO_BIN_EXE_lemma")])
        .args(hidden)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let line =
        "lemma: please install qemu-system-x86: there is no apt-get on this machine\n".to_owned();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), line));
}

/// A program that clang refuses: clang's own words, where they are meant, and one line.
#[test]
fn what_clang_refuses_is_not_booted() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("wrong.bpf.c");
    std::fs::write(&source, "int fine;\nint wrong(void) { return nothing; }\n").unwrap();
    let path = source.to_str().unwrap();
    let output = orchestrator(&["--bpf", path], "");
    let (console, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.code() == Some(1) && console.is_empty(), "{console}{said}");
    assert!(said.contains(&format!("{path}:2:26: error: ")), "{said}");
    let last = format!("lemma: clang refused {path} (its message is above)");
    assert_eq!(said.lines().last(), Some(last.as_str()), "{said}");
    assert_eq!(said.matches("lemma: ").count(), 1, "{said}");
}

/// The printed command is one line of a shell, with the kernel's symbols and a debugger that
/// knows the guest's architecture; nothing runs before that is attached.
#[test]
fn the_way_to_attach_a_debugger_is_told() {
    for arch in Arch::ALL {
        // It waits for the debugger before its first instruction.
        let output = orchestrator(&["--arch", arch.name(), "--debug", "--timeout", "1"], "");
        let (console, message) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.code() == Some(124) && console.is_empty(), "{console}{message}");
        let line = message.lines().find_map(|line| line.strip_prefix("lemma: attach with: "));
        let line = line.unwrap_or_else(|| panic!("no command in {message}"));
        let own = arch.name() == std::env::consts::ARCH;
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], if own { "gdb" } else { "gdb-multiarch" }, "{line}");
        assert!(words[1].ends_with(&format!("{}/kernel-cloud.elf", arch.name())), "{line}");
        assert!(line.ends_with(" -ex 'target remote localhost:1234'"), "{line}");
    }
}

#[test]
fn a_session_by_hand() {
    let mut guest = boot();
    guest.prompt();
    assert_eq!(guest.succeed("echo 'quoted  text' | cat").trim(), "quoted  text");
    assert_eq!(guest.run("false; echo $?").trim(), "1");
    assert_eq!(guest.run("true && echo yes").trim(), "yes");
    guest.fail("no-such-command");
    guest.succeed("mkdir /tmp/a && echo kept > /tmp/a/f");
    guest.succeed("mv /tmp/a/f /tmp/a/g");
    assert_eq!(guest.succeed("cat /tmp/a/g").trim(), "kept");
    guest.succeed("rm /tmp/a/g && mkdir /root/d && echo x > /root/d/f");
    guest.session.send("exit 7\n").unwrap();
    guest.finish(&Outcome::Exited(7));
}
