//! The shell, on this machine's Linux, where a terminal and many rounds cost little, and on Lemma.

use std::process::Command;

use lemma::build::Options;

use crate::guest::boot_with;
use crate::linux;
use crate::terminal::Typist;

/// Commands, and what they print.
const JOB_CONTROL: [(&str, &str); 8] = [
    ("sleep 100 & kill %1; wait %1; echo $?", "143"),
    ("sleep 100 & sleep 200 & kill -KILL %-; wait %1; echo $?; kill %%", "137"),
    ("sleep 100 & kill -s SIGTERM %+ $!; wait $!; echo $?", "143"),
    ("set -- $(sh -c 'echo $$' & echo $!); test $1 = $2 && echo same", "same"),
    ("true & wait %1; echo $?; wait %1 || echo $?", "0\nsh: wait: %1: no such job\n127"),
    ("kill %1; echo $?", "sh: kill: %1: no such job\n1"),
    (
        "kill -NO 1 || echo $?",
        "sh: kill: NO: invalid signal\nusage: kill [-SIGNAL] PID|%N...: send a signal to processes or jobs\n2",
    ),
    ("sh -c 'exit 3' & one=$!; sh -c 'exit 4' & wait $! $one; echo $?", "3"),
];

#[test]
fn jobs_are_named_as_in_other_shells() {
    let shell = linux::program("sh");
    for (commands, printed) in JOB_CONTROL {
        let output = Command::new(&shell.path).args(["-c", commands]).output().unwrap();
        let both = [output.stderr, output.stdout].concat();
        let mut lines: Vec<_> = std::str::from_utf8(&both).unwrap().lines().collect();
        let mut wanted: Vec<_> = printed.lines().collect();
        lines.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(lines, wanted, "{commands}");
    }
    let script = |index: usize| shell.folder.path().join(format!("{index}.sh"));
    for (index, (commands, _)) in JOB_CONTROL.into_iter().enumerate() {
        std::fs::write(script(index), commands).unwrap();
    }
    let copies = (0..JOB_CONTROL.len()).map(|index| (script(index), format!("/root/{index}.sh")));
    let mut guest = boot_with(Options { copies: copies.collect(), ..Options::default() });
    guest.prompt();
    for (index, (commands, printed)) in JOB_CONTROL.into_iter().enumerate() {
        assert_eq!(guest.run(&format!("sh /root/{index}.sh")).trim(), printed, "{commands}");
    }
    guest.shut_down(0);
}

/// Whoever reads first, the shell or its child, a child in the foreground has the terminal.
#[test]
fn children_have_the_terminal_when_they_first_read() {
    let mut session = linux::Session::start(&linux::program("sh"));
    // What is typed ahead waits as it was typed: a line has to end with a line feed.
    for round in 0..100 {
        session.press(&format!("(read x; echo o''ne $x)\r{round}\n"));
        session.shows(&format!("one {round}\n"));
        session.press(&format!("{{ read x; echo t''wo $x; }} | cat\r{round}\n"));
        session.shows(&format!("two {round}\n"));
        session.press(&format!("true | {{ read x < /dev/tty; echo th''ree $x; }}\r{round}\n"));
        session.shows(&format!("three {round}\n"));
        session.press(&format!("(read x < /dev/tty; echo fi''ve $x) < /dev/null\r{round}\n"));
        session.shows(&format!("five {round}\n"));
        session.press(&format!("cat\r{round} four\n"));
        session.shows(&format!("{round} four\n"));
        session.press("\x04");
        session.shows("# ");
    }
    assert_eq!(session.finish(), Some(7));
}
