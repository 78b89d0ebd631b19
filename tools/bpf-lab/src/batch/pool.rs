//! Processes that judge cases, so that one that crashes or hangs costs one verdict.
//!
//! Each process is this program again, in the mode of [`worker`]: a case a line in, a verdict
//! a line out. [`Pool::judge`] starts a new one after each loss.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::judge::{Setting, judge_line};
use super::verdict::Verdict;

/// Longer than the verifier may work, and than a verified program may run.
const PATIENCE: Duration = Duration::from_secs(20);

/// Judges lines of standard input until it ends.
pub(crate) fn worker(setting: &Setting) -> Result<()> {
    let mut output = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        writeln!(output, "{}", judge_line(&line?, setting).line())?;
        output.flush()?;
    }
    Ok(())
}

/// One process, restarted when need be.
pub(crate) struct Pool {
    arguments: Vec<OsString>,
    worker: Option<Worker>,
}

struct Worker {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be hanging in a program; it may also be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pool {
    /// `arguments` make this program a worker.
    pub(crate) fn new(arguments: Vec<OsString>) -> Self {
        Self { arguments, worker: None }
    }

    /// The verdict's line for a case's line.
    pub(crate) fn judge(&mut self, case: &str) -> String {
        match self.ask(case) {
            Ok(line) => line,
            Err(error) => {
                self.worker = None;
                let name = serde_json::from_str::<serde_json::Value>(case)
                    .ok()
                    .and_then(|value| value.get("name").cloned())
                    .unwrap_or_default();
                Verdict::error(name, format_args!("{error:#}")).line()
            }
        }
    }

    fn ask(&mut self, case: &str) -> Result<String> {
        let worker = match &mut self.worker {
            Some(worker) => worker,
            none => none.insert(Worker::start(&self.arguments)?),
        };
        worker.input.write_all(case.as_bytes()).context("the worker is gone")?;
        worker.input.write_all(b"\n").context("the worker is gone")?;
        match worker.lines.recv_timeout(PATIENCE) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => {
                anyhow::bail!("no verdict after {} s", PATIENCE.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = worker.child.wait().context("the worker is gone")?;
                anyhow::bail!("the program or the engine crashed: {status}")
            }
        }
    }
}

impl Worker {
    fn start(arguments: &[OsString]) -> Result<Self> {
        let program = std::env::current_exe().context("this program's file")?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a worker")?;
        let input = child.stdin.take().context("a worker without input")?;
        let output = child.stdout.take().context("a worker without output")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(io::Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, input, lines })
    }
}
