//! The commands, called for help and called wrongly: each says how it is called, and does nothing.

use std::process::{Command, Output};

use crate::guest::boot;
use crate::linux::{self, Program};

fn run(program: &Program, words: &[&str]) -> Output {
    let folder = program.folder.path().join("work");
    std::fs::create_dir_all(&folder).unwrap();
    let output = Command::new(&program.path).args(words).current_dir(&folder).output().unwrap();
    let left = folder.read_dir().unwrap().count();
    assert_eq!(left, 0, "{words:?} made a file");
    output
}

#[test]
fn each_command_explains_itself() {
    let program = linux::program("commands");
    let names = std::str::from_utf8(&run(&program, &["--list"]).stdout).unwrap().to_owned();
    assert!(names.lines().count() > 40);
    // Not those whose mistake would end this machine.
    for name in names.lines().filter(|name| !["poweroff", "reboot"].contains(name)) {
        if ["echo", "false", "true"].contains(&name) {
            let output = run(&program, &[name, "--help"]);
            let printed: &[u8] = if name == "echo" { b"--help\n" } else { b"" };
            assert_eq!(
                (output.status.code(), &*output.stdout),
                (Some(i32::from(name == "false")), printed)
            );
            continue;
        }
        let usage = format!("usage: {name} ");
        for words in [&[name, "--help"][..], &[name, "x", "--help"]] {
            let output = run(&program, words);
            assert_eq!(output.status.code(), Some(0), "{words:?}");
            assert!(output.stdout.starts_with(usage.as_bytes()), "{words:?}");
            assert!(output.stderr.is_empty(), "{words:?}");
        }
        // These take numbers, patterns or words where others have options.
        if ["chmod", "date", "kill", "seq", "sleep", "yes"].contains(&name) {
            continue;
        }
        for (option, report) in
            [("--nonsense", "unrecognized option '--nonsense'"), ("-@", "invalid option -- '@'")]
        {
            let output = run(&program, &[name, option]);
            assert_eq!(output.status.code(), Some(2), "{name} {option}");
            let errors = String::from_utf8(output.stderr).unwrap();
            assert!(errors.starts_with(&format!("{name}: {report}\n{usage}")), "{errors}");
            assert!(output.stdout.is_empty(), "{name} {option}");
        }
    }
}

#[test]
fn commands_that_end_the_machine_explain_themselves_first() {
    let mut guest = boot();
    guest.prompt();
    for name in ["poweroff", "reboot"] {
        assert_eq!(guest.succeed(&format!("{name} --help")).trim(), format!("usage: {name} [-f]"));
        guest.fail(&format!("{name} --nonsense"));
    }
    assert_eq!(
        guest.succeed("cd --help").trim(),
        "usage: cd [DIRECTORY]: change the directory; - is the last one"
    );
    assert_eq!(guest.succeed("echo --help").trim(), "--help");
    assert_eq!(
        guest.succeed("sh --help").trim(),
        "usage: sh [-ex] [-c commands | file] [arguments...]"
    );
    guest.shut_down(0);
}
