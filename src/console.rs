//! Connects the terminal to the guest's serial console.
//!
//! [`connect`] forwards standard input and the guest's output until the guest ends. A
//! terminal is put into raw mode, so that the guest sees each key, and is restored on every
//! way out: the end of the guest, an error, a panic, a signal. `^A x` ends the guest at once.
//! When standard input ends, the guest's terminal gets `^D`, again and again until the guest
//! has ended, since one may be read by a program that runs meanwhile.

use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::qemu::{Guest, Outcome};
use crate::session::find_prompt;

const CONTROL_A: u8 = 0x01;
const CONTROL_D: u8 = 0x04;

/// How often `^D` is repeated after the end of input.
const END_OF_INPUT_PERIOD: Duration = Duration::from_secs(1);

/// When the guest has said nothing for so long, it is taken to wait for what a person types.
const SILENCE: Duration = Duration::from_secs(3);

/// The same for piped input that is for a shell, which will ask: it can wait for a slow host.
const PIPED_SILENCE: Duration = Duration::from_secs(30);

/// When nothing has been printed for so long after a line of input, a program reads it.
const LINE_SILENCE: Duration = Duration::from_millis(700);

/// Prompts are shorter.
const LONGEST_LINE: usize = 4096;

/// What input waits for, so that the guest's serial port does not lose it and its terminal
/// does not echo it before a program has set the terminal up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputStarts {
    /// The shell's prompt.
    AtPrompt,
    /// Any output: a program was named, and how it greets is unknown.
    AtFirstOutput,
}

/// Runs the session to its end.
pub fn connect(
    mut guest: Guest,
    input: ChildStdin,
    output: ChildStdout,
    starts: InputStarts,
    time_limit: Option<Duration>,
) -> Result<Outcome> {
    let deadline = time_limit.map(|limit| Instant::now() + limit);
    let terminal = RawTerminal::enter()?;
    let ready = Arc::new(Ready::new(starts));
    let quit = Arc::new(AtomicBool::new(false));

    let pid = guest.id();
    let printer = {
        let ready = Arc::clone(&ready);
        let translate = !io::stdout().is_terminal();
        std::thread::spawn(move || print_output(output, &ready, translate))
    };
    {
        // Not joined: it may sit in a read of standard input when the guest ends.
        let (ready, quit) = (Arc::clone(&ready), Arc::clone(&quit));
        let escape = terminal.is_some();
        std::thread::spawn(move || forward_input(input, &ready, &quit, escape, pid));
    }
    let outcome = guest.wait(deadline)?;
    let _ = printer.join();
    drop(terminal);
    if quit.load(Ordering::SeqCst) {
        return Ok(Outcome::Quit);
    }
    Ok(outcome)
}

/// Whether input may be sent.
struct Ready {
    starts: InputStarts,
    state: Mutex<Heard>,
    changed: Condvar,
}

/// What the guest has printed so far, as far as it matters here.
struct Heard {
    ready: bool,
    last_output: Instant,
    /// The last line, without its end.
    line: Vec<u8>,
}

impl Heard {
    /// Whether the shell waits for a line, or for the rest of one.
    fn at_prompt(&self) -> bool {
        let line = String::from_utf8_lossy(&self.line);
        line == "> " || find_prompt(&line).is_some_and(|(at, length)| at + length == line.len())
    }
}

impl Ready {
    fn new(starts: InputStarts) -> Self {
        let state = Heard { ready: false, last_output: Instant::now(), line: Vec::new() };
        Self { starts, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Takes note of output.
    fn hear(&self, bytes: &[u8]) {
        let mut state = lock(&self.state);
        state.last_output = Instant::now();
        for &byte in bytes {
            match byte {
                b'\n' => state.line.clear(),
                // A line may end with `\r\n`; nothing else here depends on `\r`.
                b'\r' => {}
                _ if state.line.len() < LONGEST_LINE => state.line.push(byte),
                _ => {}
            }
        }
        state.ready = match self.starts {
            InputStarts::AtFirstOutput => true,
            InputStarts::AtPrompt => state.at_prompt(),
        };
        if state.ready {
            self.changed.notify_all();
        }
    }

    /// Takes note of a line that was sent: the next prompt is the one after it.
    fn sent_line(&self) {
        let mut state = lock(&self.state);
        state.last_output = Instant::now();
        if self.starts == InputStarts::AtPrompt {
            state.ready = false;
            state.line.clear();
        }
    }

    /// Waits until input may be sent, or nothing has been printed for so long; whether it
    /// may be sent.
    fn wait(&self, silence: Duration) -> bool {
        let mut state = lock(&self.state);
        while !state.ready {
            let left = (state.last_output + silence).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state =
                self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Copies the guest's output to ours. Where ours is not a terminal, `\r\n` becomes `\n`.
fn print_output(mut output: ChildStdout, ready: &Ready, translate: bool) {
    let mut stdout = io::stdout();
    let mut line_ends = LineEnds::default();
    let mut buffer = [0; 4096];
    // Once our reader is gone (a closed pipe), the guest's output is still drained.
    let mut reader_gone = false;
    while let Some(bytes) = read_some(&mut output, &mut buffer) {
        ready.hear(bytes);
        let text = if translate { line_ends.translate(bytes) } else { bytes.to_vec() };
        if !reader_gone {
            reader_gone = stdout.write_all(&text).and_then(|()| stdout.flush()).is_err();
        }
    }
    let rest = line_ends.finish();
    if !reader_gone {
        let _ = stdout.write_all(&rest).and_then(|()| stdout.flush());
    }
}

/// The next bytes; `None` at the end or on an error.
fn read_some<'a>(source: &mut impl Read, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    loop {
        match source.read(buffer) {
            Ok(0) => return None,
            Ok(count) => return buffer.get(..count),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// Turns `\r\n` into `\n`, also where the two arrive apart.
#[derive(Default)]
struct LineEnds {
    held: bool,
}

impl LineEnds {
    fn translate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len() + 1);
        for &byte in bytes {
            if self.held && byte != b'\n' {
                text.push(b'\r');
            }
            self.held = byte == b'\r';
            if !self.held {
                text.push(byte);
            }
        }
        text
    }

    fn finish(&mut self) -> Vec<u8> {
        if std::mem::take(&mut self.held) { vec![b'\r'] } else { Vec::new() }
    }
}

fn forward_input(mut input: ChildStdin, ready: &Ready, quit: &AtomicBool, escape: bool, pid: u32) {
    let for_shell = !escape && ready.starts == InputStarts::AtPrompt;
    ready.wait(if for_shell { PIPED_SILENCE } else { SILENCE });
    let mut keys = Keys::default();
    let mut pace = Pace { ready, waits: !escape, in_line: false };
    let mut buffer = [0; 1024];
    let mut stdin = io::stdin();
    while let Some(bytes) = read_some(&mut stdin, &mut buffer) {
        let bytes = if escape {
            let Some(bytes) = keys.filter(bytes) else {
                quit.store(true, Ordering::SeqCst);
                end_process(pid);
                return;
            };
            bytes
        } else {
            bytes.to_vec()
        };
        if pace.send(&mut input, &bytes).is_err() {
            return;
        }
    }
    if pace.finish(&mut input).is_err() {
        return;
    }
    while input.write_all(&[CONTROL_D]).and_then(|()| input.flush()).is_ok() {
        std::thread::sleep(END_OF_INPUT_PERIOD);
    }
}

/// Sends piped input line by line, each when the shell asks for it. All at once would be
/// echoed where it is not shown beside what it does, since terminals echo what waits. When
/// no prompt comes, a program reads the lines: they are sent as they are, until the next one.
struct Pace<'a> {
    ready: &'a Ready,
    /// Off for a person, who types when it suits.
    waits: bool,
    /// Whether the last line was not ended.
    in_line: bool,
}

impl Pace<'_> {
    fn send(&mut self, input: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        if !self.waits {
            input.write_all(bytes)?;
            return input.flush();
        }
        let mut asked = true;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let silence = if asked { LINE_SILENCE } else { Duration::ZERO };
            asked = self.ready.wait(silence);
            input.write_all(line)?;
            input.flush()?;
            self.in_line = !line.ends_with(b"\n");
            if !self.in_line {
                self.ready.sent_line();
            }
        }
        Ok(())
    }

    /// Ends the last line, as it would be in a file, and lets it take effect.
    fn finish(&mut self, input: &mut impl Write) -> io::Result<()> {
        if self.waits {
            if self.in_line && self.ready.starts == InputStarts::AtPrompt {
                self.send(input, b"\n")?;
            }
            self.ready.wait(LINE_SILENCE);
        }
        Ok(())
    }
}

/// Ends QEMU, which the main thread waits for. The process has not been waited for yet, so
/// the number is still its own.
fn end_process(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Finds the escape in what is typed: `^A x` quits, `^A ^A` is one `^A`.
#[derive(Default)]
struct Keys {
    after_control_a: bool,
}

impl Keys {
    /// What the guest gets; `None` to quit.
    fn filter(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::with_capacity(bytes.len() + 1);
        for &byte in bytes {
            match (std::mem::take(&mut self.after_control_a), byte) {
                (true, b'x' | b'X') => return None,
                (true, CONTROL_A) => text.push(CONTROL_A),
                (true, other) => text.extend([CONTROL_A, other]),
                (false, CONTROL_A) => self.after_control_a = true,
                (false, other) => text.push(other),
            }
        }
        Some(text)
    }
}

/// The terminal's settings before we changed them. Global, because a panic or a signal has
/// to find them.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Raw mode, from creation to drop.
struct RawTerminal;

impl RawTerminal {
    /// `None` when standard input is not a terminal.
    fn enter() -> Result<Option<Self>> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(&stdin).context("cannot read the terminal's settings")?;
        let mut raw = before.clone();
        raw.make_raw();
        *lock(&SAVED) = Some(before);
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |information| {
            restore();
            usual(information);
        }));
        restore_on_signals()?;
        let this = Self;
        tcsetattr(&stdin, OptionalActions::Drain, &raw)
            .context("cannot change the terminal's settings")?;
        Ok(Some(this))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(before) = lock(&SAVED).take() {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &before);
    }
}

/// In raw mode ^C is a key; these signals come from outside.
fn restore_on_signals() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            restore();
            // QEMU ends with us.
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn input_waits_for_the_prompt() {
        let ready = Ready::new(InputStarts::AtPrompt);
        for output in ["[0.0] started\n", "lem", "ma:", "/"] {
            ready.hear(output.as_bytes());
            assert!(!ready.wait(SHORT), "{output:?}");
        }
        ready.hear(b"# ");
        assert!(ready.wait(SILENCE));
        ready.sent_line();
        for output in ["ls\r\n", "bin etc\r\n"] {
            ready.hear(output.as_bytes());
            assert!(!ready.wait(SHORT), "{output:?}");
        }
        ready.hear(b"lemma:/tmp# ");
        assert!(ready.wait(SILENCE));
        ready.sent_line();
        ready.hear(b"> ");
        assert!(ready.wait(SILENCE));
    }

    #[test]
    fn a_program_gets_input_when_it_has_printed_or_is_silent() {
        let ready = Ready::new(InputStarts::AtFirstOutput);
        assert!(!ready.wait(SHORT));
        ready.hear(b"x");
        ready.sent_line();
        assert!(ready.wait(SILENCE));
    }

    #[test]
    fn lines_that_a_program_reads_are_not_held_back() {
        let ready = Ready::new(InputStarts::AtPrompt);
        let mut pace = Pace { ready: &ready, waits: true, in_line: false };
        let mut sent = Vec::new();
        let text = "line\n".repeat(1000) + "end";
        let start = Instant::now();
        pace.send(&mut sent, text.as_bytes()).unwrap();
        assert_eq!(sent, text.as_bytes());
        assert!(start.elapsed() < LINE_SILENCE * 100);
    }

    #[test]
    fn line_ends_are_found_across_pieces() {
        let mut ends = LineEnds::default();
        let mut text = ends.translate(b"one\r\ntwo\r");
        text.extend(ends.translate(b"\nthree\rfour\r\r\n"));
        text.extend(ends.finish());
        assert_eq!(text, b"one\ntwo\nthree\rfour\r\n");
        assert_eq!(ends.translate(b"x\r"), b"x");
        assert_eq!(ends.finish(), b"\r");
    }

    #[test]
    fn the_escape_is_found_across_pieces() {
        let mut keys = Keys::default();
        assert_eq!(keys.filter(b"ab\x01").unwrap(), b"ab");
        assert_eq!(keys.filter(b"c").unwrap(), b"\x01c");
        assert_eq!(keys.filter(b"\x01\x01d").unwrap(), b"\x01d");
        assert_eq!(keys.filter(b"\x01"), Some(vec![]));
        assert_eq!(keys.filter(b"x"), None);
    }
}
