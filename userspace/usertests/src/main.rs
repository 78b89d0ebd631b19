//! Exercises every system call and compares with what Linux does. It must pass on Linux too:
//! that is how we know that the tests test Linux's behaviour and not ours.
//!
//! `usertests [-v] [-k] [--dir DIRECTORY] [--without NAME]... [NAME...]` runs the tests whose names
//! begin with one of the words, or all, but none whose name begins with what follows `--without`;
//! `usertests hostile` makes calls with hostile arguments; `usertests stress` does much at once;
//! `usertests exhaust` uses memory up; `usertests keys` reads from a terminal; `usertests list`
//! names the tests. Ends with 0 if everything is as it should be, and else stops at the first
//! difference and says what differed (`-k`: goes on).
//! `usertests store FILE TEXT` stores through a mapping.
//!
//! | file | |
//! |---|---|
//! | `harness` | runs each test in a process and a directory of its own |
//! | `check` | what a test says when something differs |
//! | `calls` | the system calls, typed |
//! | `tests/` | the tests, a file for each family |
//! | `hostile` | hostile and random arguments |
//! | `stress` | much at once, on all CPUs, while programs come and go |
//! | `exhaust` | what happens when memory is used up |
//! | `keys` | a read from a terminal, for tests that type |
//! | `store` | a store through a shared mapping, for tests that restart the machine |
//! | `shared` | memory that processes share |
#![no_std]
#![no_main]

extern crate alloc;

mod calls;
mod check;
mod exhaust;
mod harness;
mod hostile;
mod keys;
mod shared;
mod store;
mod stress;
mod tests;

use alloc::vec::Vec;
use harness::Settings;
use lemma_rt::{arguments, eprintln, println, show};

lemma_rt::entry!(main);

fn usage() -> i32 {
    eprintln!("usage: usertests [-v] [-k] [--dir DIRECTORY] [--without NAME]... [NAME...]");
    eprintln!("       usertests hostile [--calls N] [--seed N]");
    eprintln!("       usertests stress [--seconds N] [--workers N] [--replacements N]");
    eprintln!("       usertests exhaust");
    eprintln!("       usertests keys MIN TIME");
    eprintln!("       usertests store FILE TEXT");
    eprintln!("       usertests list");
    2
}

fn main() -> i32 {
    let words: Vec<&[u8]> = arguments().skip(1).collect();
    match words.as_slice() {
        [b"hostile", options @ ..] => hostile::main(options).unwrap_or_else(usage),
        [b"stress", options @ ..] => stress::main(options).unwrap_or_else(usage),
        [b"exhaust"] => exhaust::main(),
        [b"keys", options @ ..] => keys::main(options).unwrap_or_else(usage),
        [b"store", options @ ..] => store::main(options).unwrap_or_else(usage),
        [b"list"] => {
            for (name, _) in tests::all() {
                println!("{name}");
            }
            0
        }
        // What `exec` tests start.
        [b"--report", ..] => tests::exec::report(),
        words => {
            let mut settings = Settings::default();
            let mut words = words.iter();
            while let Some(&word) = words.next() {
                match word {
                    b"-v" => settings.verbose = true,
                    b"-k" => settings.keep_going = true,
                    b"--dir" => match words.next() {
                        Some(directory) => settings.directory = directory.to_vec(),
                        None => return usage(),
                    },
                    b"--without" => match words.next() {
                        Some(&name) => settings.without.push(show(name)),
                        None => return usage(),
                    },
                    option if option.starts_with(b"-") => {
                        eprintln!("usertests: {}: unknown option", show(option));
                        return usage();
                    }
                    name => settings.names.push(show(name)),
                }
            }
            harness::run(&settings)
        }
    }
}
