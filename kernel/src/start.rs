//! The last step of start-up: the root file system, and the first user program on it.

use alloc::sync::Arc;

use kernel_elf::Arguments;
use kernel_vfs::FdTable;

use crate::command_line::CommandLine;
use crate::mcore::mtask::exec::{ExecRequest, set_opener};
use crate::mcore::mtask::start::on_shut_down;
use crate::{driver, file, mcore};

/// The first program, unless the command line names another.
const INIT: &str = "/sbin/init";
/// The disks that may have the root file system, unless the command line names one.
const ROOTS: [&str; 2] = ["ram0", "vda"];

/// Mounts the root and starts init, in a thread of the kernel, so that it can wait for the disk.
/// Without either there is nothing to do for this machine: it panics, and says why.
#[expect(clippy::panic, reason = "initialisation: there is nobody to return the error to")]
pub(crate) fn user_space() {
    set_opener(file::open_program);
    on_shut_down(file::shut_down);
    let command_line = CommandLine::get();
    let root = command_line.value("root").unwrap_or_else(|| {
        let there = |disk: &&str| driver::block::by_name(disk).is_some();
        ROOTS.into_iter().find(there).unwrap_or(ROOTS[1])
    });
    let root = root.strip_prefix("/dev/").unwrap_or(root);
    if let Err(error) = file::mount_root(root, false) {
        panic!("cannot mount the root file system from {root}: {error:?}");
    }
    let path = command_line.value("init").unwrap_or(INIT);
    if let Err(error) = start_init(path, command_line) {
        panic!("cannot start {path}: {error}");
    }
}

fn start_init(path: &str, command_line: CommandLine) -> Result<(), &'static str> {
    let opened = file::open_program(path.as_bytes());
    let program = opened.map_err(|_| "it cannot be opened to be executed")?;
    let too_long = "its arguments are too long";
    let mut arguments = Arguments::default();
    arguments.push(path.as_bytes()).map_err(|_| too_long)?;
    for argument in command_line.init_arguments() {
        arguments.push(argument.as_bytes()).map_err(|_| too_long)?;
    }
    let mut environment = Arguments::default();
    for variable in ["HOME=/", "TERM=linux", "PATH=/bin:/sbin"] {
        environment.push(variable.as_bytes()).map_err(|_| too_long)?;
    }
    let files = FdTable::new();
    let console = file::open_console().map_err(|_| "there is no console")?;
    for _ in 0..3 {
        files.install(Arc::clone(&console), false).map_err(|_| "there is no descriptor")?;
    }
    let context = file::first_context().map_err(|_| "there is no root directory")?;
    let request = ExecRequest { file: program, path: path.as_bytes(), arguments, environment };
    mcore::start_init(request, Arc::new(context), Arc::new(files))
        .map_err(|_| "it is not a program for this machine, or memory is short")?;
    Ok(())
}
