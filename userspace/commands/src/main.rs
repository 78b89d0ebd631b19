//! The usual few commands in one binary. The name under which it is called says which:
//! `/bin/ls` and the others are links to it; `commands ls -l` works as well.
//!
//! [`COMMANDS`] is the list. A command gets a [`Call`] and returns its exit status: 0, 1 if
//! something failed, 2 if it was called wrongly. Errors read `NAME: what: why`, as on Linux. With
//! `--help` it is not called: its usage is printed.
#![no_std]
#![no_main]

extern crate alloc;

mod copy;
mod files;
mod ls;
mod power;
mod processes;
mod storage;
mod system;
mod text;
mod trivial;

use alloc::vec::Vec;
use commands::options::Options;
use core::ops::RangeBounds;
use lemma_rt::{Errno, arguments, eprintln, error_text, print, println, show};

lemma_rt::entry!(main);

/// One command: its name, its usage without the name, and what it does.
type Command = (&'static str, &'static str, fn(&Call) -> i32);

/// Every command, sorted by name.
const COMMANDS: &[Command] = &[
    ("basename", "PATH [SUFFIX]", trivial::basename),
    ("cat", "[FILE...]", text::cat),
    ("chmod", "OCTAL FILE...", files::chmod),
    ("clear", "", trivial::clear),
    ("cp", "[-r] FROM... TO", copy::cp),
    ("date", "[+FORMAT]", system::date),
    ("df", "[-h] [PATH...]", storage::df),
    ("dirname", "PATH", trivial::dirname),
    ("dmesg", "", system::dmesg),
    ("echo", "[-n] [WORD...]", trivial::echo),
    ("env", "", trivial::env),
    ("false", "", trivial::fail),
    ("free", "[-m]", system::free),
    ("grep", "[-vnc] TEXT [FILE...]", text::grep),
    ("head", "[-n LINES] [FILE...]", text::head),
    ("hexdump", "[-C] [FILE...]", text::hexdump),
    ("hostname", "", system::hostname),
    ("kill", "[-SIGNAL] PID...", processes::kill),
    ("ln", "[-sf] TARGET LINK", files::ln),
    ("ls", "[-aldhi1] [FILE...]", ls::ls),
    ("mkdir", "[-p] DIRECTORY...", files::mkdir),
    ("mkfifo", "PIPE...", files::mkfifo),
    ("mount", "[-t TYPE] [-o OPTIONS] [DEVICE PLACE]", storage::mount),
    ("mv", "FROM... TO", copy::mv),
    ("poweroff", "[-f]", power::poweroff),
    ("ps", "", processes::ps),
    ("pwd", "[-LP]", trivial::pwd),
    ("readlink", "FILE...", files::readlink),
    ("reboot", "[-f]", power::reboot),
    ("rm", "[-rf] FILE...", files::rm),
    ("rmdir", "DIRECTORY...", files::rmdir),
    ("seq", "[FIRST [STEP]] LAST", trivial::seq),
    ("sleep", "SECONDS", trivial::sleep),
    ("sort", "[-rnu] [FILE...]", text::sort),
    ("stat", "FILE...", files::stat),
    ("sync", "", storage::sync),
    ("tail", "[-n LINES] [FILE...]", text::tail),
    ("tee", "[-a] [FILE...]", text::tee),
    ("touch", "FILE...", files::touch),
    ("true", "", trivial::succeed),
    ("umount", "PLACE...", storage::umount),
    ("uname", "[-asnrvm]", system::uname),
    ("uptime", "", system::uptime),
    ("wc", "[-lwc] [FILE...]", text::wc),
    ("yes", "[WORD...]", trivial::yes),
];

/// How a command was called.
struct Call {
    name: &'static str,
    usage: &'static str,
    arguments: Vec<&'static [u8]>,
}

impl Call {
    /// Takes the options apart, or says how the command is called and gives status 2.
    fn options(&self, known: &str) -> Result<Options<'static>, i32> {
        Options::parse(&self.arguments, known).map_err(|letter| {
            match self.arguments.iter().find(|word| letter == b'-' && word.starts_with(b"--")) {
                Some(word) => eprintln!("{}: unrecognized option '{}'", self.name, show(word)),
                None => eprintln!("{}: invalid option -- '{}'", self.name, char::from(letter)),
            }
            self.usage()
        })
    }

    /// The operands of a command that has no options, so many, or status 2 with a report.
    fn operands(&self, count: impl RangeBounds<usize>) -> Result<Vec<&'static [u8]>, i32> {
        let operands = self.options("")?.operands;
        if count.contains(&operands.len()) { Ok(operands) } else { Err(self.usage()) }
    }

    /// Whether `--help` is among the options. Some commands take every word as it is.
    fn asks_for_help(&self) -> bool {
        let mut options = self.arguments.iter().take_while(|word| **word != b"--");
        !["echo", "false", "true"].contains(&self.name) && options.any(|word| *word == b"--help")
    }

    /// Says how the command is called; status 2.
    fn usage(&self) -> i32 {
        eprintln!("usage: {} {}", self.name, self.usage);
        2
    }

    /// Reports a failure; status 1.
    fn fail(&self, what: &[u8], error: Errno) -> i32 {
        eprintln!("{}: {}: {}", self.name, show(what), error_text(error));
        1
    }

    /// The status after a step: 0, or 1 with a report.
    fn check<T>(&self, what: &[u8], result: lemma_rt::Result<T>) -> i32 {
        match result {
            Ok(_) => 0,
            Err(error) => self.fail(what, error),
        }
    }

    /// Does something for each operand; the worst status.
    fn each(&self, operands: &[&[u8]], mut action: impl FnMut(&[u8]) -> i32) -> i32 {
        operands.iter().map(|operand| action(operand)).max().unwrap_or(0)
    }
}

fn main() -> i32 {
    let mut words = arguments();
    let mut name = base(words.next().unwrap_or(b"commands"));
    if name == b"commands" {
        match words.next() {
            Some(b"--list") => {
                print!("{}", commands::NAMES);
                return 0;
            }
            Some(word) => name = word,
            None => {
                println!("usage: commands NAME [ARGUMENTS...]");
                for (name, usage, _) in COMMANDS {
                    println!("  {name} {usage}");
                }
                return 2;
            }
        }
    }
    match COMMANDS.iter().find(|(known, _, _)| known.as_bytes() == name) {
        Some((name, usage, run)) => {
            let call = Call { name, usage, arguments: words.collect() };
            if call.asks_for_help() {
                println!("usage: {name} {usage}");
                return 0;
            }
            run(&call)
        }
        None => {
            eprintln!("commands: {}: no such command", show(name));
            127
        }
    }
}

/// A path's last component.
fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}
