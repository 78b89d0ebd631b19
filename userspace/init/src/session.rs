//! The console, and the program that runs on it: the shell, or what the command line names.

use crate::shutdown;
use alloc::ffi::CString;
use alloc::vec::Vec;
use lemma_rt::general::WNOHANG;
use lemma_rt::rustix::fs::{Mode, OFlags, open};
use lemma_rt::rustix::process::getpid;
use lemma_rt::{Errno, eprintln, error_text, general, rustix, sys};

/// What a program finds in its environment.
const ENVIRONMENT: [&core::ffi::CStr; 4] =
    [c"PATH=/bin:/sbin:/usr/bin", c"HOME=/root", c"TERM=vt100", c"SHELL=/bin/sh"];

/// Makes sure that descriptors 0 to 2 are the console, and stops it echoing: whoever reads a line
/// turns echo on, or echoes itself. So input that arrives before the shell shows once, not twice.
pub(crate) fn open_console() {
    for number in 0..3 {
        // SAFETY: asks for the descriptor's flags.
        let open_already =
            unsafe { lemma_rt::syscall!(general::__NR_fcntl, number, general::F_GETFD) };
        if open_already.is_err()
            && let Ok(fd) = open("/dev/console", OFlags::RDWR, Mode::empty())
        {
            // The lowest free number, so this one; it stays open for ever.
            let _ = rustix::fd::IntoRawFd::into_raw_fd(fd);
        }
    }
    if let Ok(mut settings) = sys::terminal_settings(0) {
        settings.c_lflag &= !(general::ECHO | general::ICANON);
        let _ = sys::set_terminal(0, settings);
    }
}

/// Starts the shell, or the program `given` with its arguments, as leader of a session with the
/// console as its terminal. The error is the exit status to end with.
pub(crate) fn start(given: &[&[u8]]) -> Result<i32, i32> {
    let arguments: Vec<CString> = if given.is_empty() {
        [CString::from(c"sh")].into()
    } else {
        // A word of the command line cannot hold a NUL.
        given.iter().filter_map(|word| CString::new(*word).ok()).collect()
    };
    match sys::fork() {
        Ok(Some(pid)) => Ok(pid),
        Ok(None) => run(&arguments),
        Err(error) => {
            eprintln!("init: fork: {}", error_text(error));
            Err(126)
        }
    }
}

/// In the child: becomes the program.
fn run(arguments: &[CString]) -> ! {
    shutdown::stop_listening();
    let _ = sys::new_session();
    let _ = sys::take_terminal(0);
    let _ = sys::set_foreground(0, getpid().as_raw_nonzero().get());
    if arguments.len() != 1 {
        restore_echo();
    }
    let environment: Vec<CString> = ENVIRONMENT.iter().copied().map(CString::from).collect();
    let name = arguments.first().map_or(c"sh", CString::as_c_str);
    let mut error = Errno::NOENT;
    for path in candidates(name) {
        error = sys::execute(&path, arguments, &environment);
        if error != Errno::NOENT {
            break;
        }
    }
    eprintln!("init: {}: {}", name.to_string_lossy(), error_text(error));
    sys::exit(if error == Errno::NOENT { 127 } else { 126 })
}

/// Where a program may be: the path itself, or the usual directories.
fn candidates(name: &core::ffi::CStr) -> Vec<CString> {
    if name.to_bytes().contains(&b'/') {
        return [CString::from(name)].into();
    }
    let within = |directory: &[u8]| CString::new([directory, name.to_bytes()].concat()).ok();
    [b"/bin/".as_slice(), b"/sbin/"].into_iter().filter_map(within).collect()
}

/// A program that is not the shell gets a terminal as it expects one.
fn restore_echo() {
    if let Ok(mut settings) = sys::terminal_settings(0) {
        settings.c_lflag |= general::ECHO | general::ICANON;
        let _ = sys::set_terminal(0, settings);
    }
}

/// Reaps whatever ends until `pid` does, or until someone asks for the end; the exit status.
pub(crate) fn wait_until_ended(pid: i32) -> i32 {
    loop {
        match sys::wait(-1, WNOHANG) {
            Ok(Some((ended, status))) if ended == pid => return status.code(),
            Ok(None) if shutdown::requested().is_some() => return 0,
            // What comes between the look and the wait ends the wait.
            Ok(None) => shutdown::wait_for_signal(),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Err(error) => {
                eprintln!("init: wait: {}", error_text(error));
                return 126;
            }
        }
    }
}
