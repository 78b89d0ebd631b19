//! Installing Debian packages: through `apt-get` as root or with a password-less `sudo`; else the
//! error names the exact command to type.
//!
//! While it takes long, [`Progress`] tells how far it is. Neighbours: `setup` knows what is
//! missing, `toolchain` and `display` ask for Debian's Rust and for QEMU's windows.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::setup::find_program;
use crate::workspace::say;

/// Installs Debian packages, or says which command would.
pub fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let Some(apt) = Apt::find() else {
        bail!("please install {list}: there is no apt-get on this machine");
    };
    let Some(apt) = apt.with_privilege() else {
        bail!("please type: sudo apt-get install -y --no-install-recommends {list}");
    };
    say(format!("installing {list} (apt-get, once; a minute or two)"));
    let mut arguments = vec!["install", "--no-install-recommends"];
    arguments.extend(packages);
    // The package lists may be absent or old: fetch them only when the first try fails.
    if !apt.run(&arguments)? {
        say("fetching the package lists (apt-get update)");
        apt.run(&["update"])?;
        if !apt.run(&arguments)? {
            bail!("apt-get could not install {list} (its message is above)");
        }
    }
    Ok(())
}

/// Fetches the package lists, where we may. Without that, an old list has to do.
pub fn update() -> Result<()> {
    if let Some(apt) = Apt::find().and_then(Apt::with_privilege) {
        say("fetching the package lists (apt-get update)");
        apt.run(&["update"])?;
    }
    Ok(())
}

/// `apt-get`, and how to become root for it.
struct Apt {
    program: PathBuf,
    become_root: Vec<OsString>,
}

impl Apt {
    fn find() -> Option<Self> {
        let program = find_program("apt-get")?;
        Some(Self { program, become_root: Vec::new() })
    }

    /// Itself if this process may install packages, as root or through `sudo`.
    fn with_privilege(mut self) -> Option<Self> {
        match Privilege::of_this_process() {
            Privilege::Root => {}
            Privilege::Sudo(sudo) => self.become_root = vec![sudo.into(), "-n".into()],
            Privilege::None => return None,
        }
        Some(self)
    }

    /// Runs it; `false` if it failed, which it has then explained.
    fn run(&self, arguments: &[&str]) -> Result<bool> {
        let mut words = self.become_root.clone();
        // `sudo` may drop the environment, so the setting goes through `env`.
        words.extend(["env".into(), "DEBIAN_FRONTEND=noninteractive".into()]);
        words.push(self.program.clone().into());
        words.extend(
            ["-y", "-qq", "-o", "Dpkg::Use-Pty=0", "-o", "APT::Status-Fd=1"].map(Into::into),
        );
        words.extend(arguments.iter().map(Into::into));
        let mut words = words.into_iter();
        let program = words.next().context("an empty command")?;
        let mut child = Command::new(program)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start apt-get")?;
        let output = child.stdout.take().context("apt-get has no output")?;
        let mut stderr = child.stderr.take().context("apt-get has no standard error")?;
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            text
        });
        let mut progress = Progress::new(Instant::now());
        for line in BufReader::new(output).split(b'\n') {
            if let Some(told) = progress.hear(&String::from_utf8_lossy(&line?), Instant::now()) {
                say(told);
            }
        }
        let status = child.wait()?;
        let errors = errors.join().unwrap_or_default();
        if !status.success() {
            // What it unpacks is of no interest; why it failed is.
            eprint!("{}", String::from_utf8_lossy(&errors));
        }
        Ok(status.success())
    }
}

/// How often it is told how far `apt-get` is.
const PROGRESS_PERIOD: Duration = Duration::from_secs(3);

/// Picks from what `apt-get` says of its progress (`APT::Status-Fd`) what a person wants to read
/// while it takes long: a line now and then.
struct Progress {
    told: Instant,
    last: String,
}

impl Progress {
    fn new(start: Instant) -> Self {
        Self { told: start, last: String::new() }
    }

    /// What to tell after this line: `dlstatus:NUMBER:PERCENT:TEXT`, or `pmstatus:PACKAGE:…`.
    fn hear(&mut self, line: &str, now: Instant) -> Option<String> {
        let rest = line.strip_prefix("dlstatus:").or_else(|| line.strip_prefix("pmstatus:"))?;
        // A package's name may have its architecture behind a colon.
        let (percent, text) = rest.match_indices(':').find_map(|(at, _)| {
            let (percent, text) = rest.get(at + 1..)?.split_once(':')?;
            Some((percent.parse::<f64>().ok()?, text.trim()))
        })?;
        let told = format!("{text} ({percent:.0} %)");
        if now < self.told + PROGRESS_PERIOD || told == self.last {
            return None;
        }
        self.told = now;
        self.last.clone_from(&told);
        Some(told)
    }
}

/// How this process may install packages.
enum Privilege {
    Root,
    Sudo(PathBuf),
    None,
}

impl Privilege {
    fn of_this_process() -> Self {
        if rustix::process::geteuid().is_root() {
            return Self::Root;
        }
        let Some(sudo) = find_program("sudo") else { return Self::None };
        let quiet = Command::new(&sudo)
            .args(["-n", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match quiet {
            Ok(status) if status.success() => Self::Sudo(sudo),
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_while_it_takes_long() {
        let start = Instant::now();
        let mut progress = Progress::new(start);
        let told: Vec<String> = [
            (0, "dlstatus:1:0.0000:Retrieving file 1 of 5"),
            (1, "dlstatus:1:9.1234:Retrieving file 1 of 5"),
            (4, "dlstatus:2:40.0000:Retrieving file 2 of 5"),
            (5, "dlstatus:2:60.0000:Retrieving file 2 of 5"),
            (8, "(Reading database ... 5%"),
            (9, "pmstatus:libc6:amd64:20.0000:Unpacking libc6:amd64 (amd64)"),
            (20, "pmstatus:libc6:amd64:20.0000:Unpacking libc6:amd64 (amd64)"),
            (21, "pmstatus:clang:61.5000:Configuring clang (amd64)"),
            (30, "pmerror:clang:61.5:broken"),
            (31, "pmstatus:nothing"),
        ]
        .into_iter()
        .filter_map(|(second, line)| progress.hear(line, start + Duration::from_secs(second)))
        .collect();
        assert_eq!(
            told,
            [
                "Retrieving file 2 of 5 (40 %)",
                "Unpacking libc6:amd64 (amd64) (20 %)",
                "Configuring clang (amd64) (62 %)",
            ]
        );
    }

    #[test]
    fn what_is_short_needs_no_progress() {
        let start = Instant::now();
        let mut progress = Progress::new(start);
        for line in
            ["dlstatus:1:100.0000:Retrieving file 1 of 1", "pmstatus:mtools:80.0000:Installed"]
        {
            assert_eq!(progress.hear(line, start + Duration::from_secs(1)), None);
        }
    }
}
