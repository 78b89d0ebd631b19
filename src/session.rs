//! Talking to a guest as a person would: wait for a text, type a line, read the answer.
//!
//! A [`Session`] boots a machine and keeps all that its console printed. Limits on waiting
//! are generous: they end a hung guest and measure nothing. Used by the tests and by `bench`.

use std::io::{Read, Write};
use std::process::ChildStdin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build::Options;
use crate::machine::Machine;
use crate::monitor::Screenshot;
use crate::qemu::{Guest, Outcome};
use crate::workspace::Workspace;

/// The shell's prompt is `lemma:DIRECTORY# `.
const PROMPT_START: &str = "lemma:/";
const PROMPT_END: &str = "# ";

/// What fits on a row of the terminal behind the prompt.
const LONGEST_COMMAND: usize = 68;

/// How long a guest may be silent about what we wait for: far longer than anything takes on a slow host.
const PATIENCE: Duration = Duration::from_secs(600);

/// A booted guest and its console.
pub struct Session {
    guest: Guest,
    input: Option<ChildStdin>,
    console: Arc<Console>,
    reader: Option<std::thread::JoinHandle<()>>,
    /// How much of the output the waits have gone past.
    position: usize,
}

#[derive(Default)]
struct Console {
    state: Mutex<Output>,
    changed: Condvar,
}

#[derive(Default)]
struct Output {
    text: String,
    ended: bool,
}

impl Session {
    /// Builds and boots.
    pub fn boot(workspace: &Workspace, options: &Options) -> Result<Self> {
        Self::start(workspace, &options.build(workspace)?.machine)
    }

    /// Starts a machine that has been built.
    pub fn start(workspace: &Workspace, machine: &Machine) -> Result<Self> {
        let (guest, input, mut output) = Guest::start(workspace, machine)?;
        let console = Arc::new(Console::default());
        let shared = Arc::clone(&console);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let count = output.read(&mut buffer).unwrap_or(0);
                let mut state = lock(&shared.state);
                match buffer.get(..count) {
                    Some(bytes) if !bytes.is_empty() => {
                        // The guest's own line ends are of no interest here.
                        let text = String::from_utf8_lossy(bytes).replace('\r', "");
                        state.text.push_str(&text);
                    }
                    _ => state.ended = true,
                }
                shared.changed.notify_all();
                if state.ended {
                    return;
                }
            }
        });
        Ok(Self { guest, input: Some(input), console, reader: Some(reader), position: 0 })
    }

    /// Waits until `text` appears after what was waited for before; returns what came
    /// before it.
    pub fn wait_for(&mut self, text: &str) -> Result<String> {
        self.wait_until(&format!("{text:?}"), |new| Some((new.find(text)?, text.len())))
    }

    /// Waits until `find` says where in the new output something is, and how long it is.
    fn wait_until(
        &mut self,
        what: &str,
        find: impl Fn(&str) -> Option<(usize, usize)>,
    ) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = lock(&self.console.state);
        loop {
            let new = state.text.get(self.position..).unwrap_or_default();
            if let Some((at, length)) = find(new) {
                let before = new.get(..at).unwrap_or_default().to_owned();
                self.position += at + length;
                return Ok(before);
            }
            let now = Instant::now();
            if state.ended || now >= deadline {
                let reason = if state.ended { "the guest ended" } else { "the guest hangs" };
                bail!("{reason} while waiting for {what}; its console:\n{}", state.text);
            }
            state = self
                .console
                .changed
                .wait_timeout(state, deadline - now)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Types text.
    pub fn send(&mut self, text: &str) -> Result<()> {
        let input = self.input.as_mut().context("the console's input is closed")?;
        input.write_all(text.as_bytes())?;
        Ok(input.flush()?)
    }

    /// Waits for a prompt; returns what was printed before it.
    pub fn prompt(&mut self) -> Result<String> {
        self.wait_until("a prompt", find_prompt)
    }

    /// Types a command at the prompt; returns its output, without the echo of the command.
    pub fn run(&mut self, command: &str) -> Result<String> {
        // A longer line would wrap, and the shell would draw it anew.
        if command.len() > LONGEST_COMMAND {
            bail!("the command is too long to type on one row: {command}");
        }
        self.send(command)?;
        self.send("\n")?;
        self.wait_for(command)?;
        self.wait_for("\n")?;
        self.prompt()
    }

    /// All that the console has printed so far.
    #[must_use]
    pub fn transcript(&self) -> String {
        lock(&self.console.state).text.clone()
    }

    /// What the guest's display shows now.
    pub fn screenshot(&self) -> Result<Screenshot> {
        self.guest.screenshot()
    }

    /// Presses keys of the guest's keyboard.
    pub fn press(&self, text: &str) -> Result<()> {
        self.guest.press(text)
    }

    /// Waits for the guest's end; returns how it ended and all that it printed.
    pub fn finish(mut self) -> Result<(Outcome, String)> {
        let outcome = self.guest.wait(Some(Instant::now() + PATIENCE))?;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        Ok((outcome, self.transcript()))
    }

    /// Ends the shell and waits for the guest's end.
    pub fn shut_down(mut self) -> Result<(Outcome, String)> {
        self.send("\x04")?;
        self.finish()
    }
}

/// Where the last line is a prompt, and its length.
pub(crate) fn find_prompt(text: &str) -> Option<(usize, usize)> {
    let line_start = text.rfind('\n').map_or(0, |at| at + 1);
    let line = text.get(line_start..)?;
    let start = line.find(PROMPT_START)?;
    let end = line.find(PROMPT_END)? + PROMPT_END.len();
    (end > start).then_some((line_start + start, end - start))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_told_from_other_text() {
        assert_eq!(find_prompt("lemma:/# "), Some((0, 9)));
        assert_eq!(find_prompt("text\nlemma:/tmp# "), Some((5, 12)));
        assert_eq!(find_prompt("no newline lemma:/# "), Some((11, 9)));
        for other in ["", "# ", "lemma:/tmp#", "# remark\nlemma:", "lemma:/# \nmore"] {
            assert_eq!(find_prompt(other), None, "{other:?}");
        }
    }
}
