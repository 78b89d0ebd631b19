//! `bpf-lab`: Lemma's BPF engine on the host, as a tool.
//!
//! `cli` is the command line. `command` has the commands on one file, which `input` reads: an
//! ELF object, hexadecimal text or assembly. `batch` judges many cases at once, `conformance` is a plugin of
//! the `bpf_conformance` runner. They share `engine` (a program made ready to run, whichever
//! engine runs it), `emulated` (machines that this host is not), `test_run` (what a program is given to run on), and `host` (the machine
//! that helpers see).
//!
//! An error is one line on standard error and a non-zero exit status: 1 for a program that is
//! refused or cannot be used, 2 for a command line that makes no sense.

mod batch;
mod cli;
mod command;
mod conformance;
mod emulated;
mod engine;
mod hex;
mod host;
mod input;
mod test_run;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Who reads only the first lines of a listing ends it, as any filter, without a panic.
    sigpipe::reset();
    match cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain of causes in one line.
            eprintln!("bpf-lab: {}", format!("{error:#}").replace('\n', "; "));
            ExitCode::FAILURE
        }
    }
}
