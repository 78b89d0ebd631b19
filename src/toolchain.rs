//! Which compiler builds bare-metal code and user programs here.
//!
//! [`Toolchain::choose`] tries, in order: rustup's precompiled target, already installed or
//! added now; rustup's `rust-src`, from which cargo builds `core` and `alloc`; Debian's
//! `rustc-web`, `cargo-web` and `rust-web-src`, the same way. What rustup could not download
//! is remembered under `target/`, so that a machine without network asks once.
//! User programs always build `core` themselves: the precompiled one for musl expects a C
//! library's `memcpy` and an unwinder, and these programs have neither.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::machine::Arch;
use crate::setup::{self, Tool};
use crate::workspace::{Workspace, say};

/// How long rustup may take for one download before we go on without it.
const RUSTUP_PATIENCE: Duration = Duration::from_secs(90);

/// Names one source explicitly, for those who test the others: `rustup-target`,
/// `rust-src` or `debian`.
const OVERRIDE_VARIABLE: &str = "LEMMA_TOOLCHAIN";

/// What code is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The kernel.
    Kernel(Arch),
    /// User programs.
    User(Arch),
}

impl Target {
    /// The name that rustc knows it by.
    #[must_use]
    pub const fn triple(self) -> &'static str {
        match self {
            Self::Kernel(Arch::X86_64) => "x86_64-unknown-none",
            Self::User(Arch::X86_64) => "x86_64-unknown-linux-musl",
            Self::Kernel(Arch::Aarch64) => "aarch64-unknown-none-softfloat",
            Self::User(Arch::Aarch64) => "aarch64-unknown-linux-musl",
            Self::Kernel(Arch::Riscv64) => "riscv64imac-unknown-none-elf",
            Self::User(Arch::Riscv64) => "riscv64gc-unknown-linux-musl",
        }
    }

    /// Flags for rustc. The kernel lives in the top two gigabytes and keeps frame pointers
    /// for its backtraces; user programs are static, with their own `_start`, and stripped
    /// for the disk.
    const fn rustflags(self) -> &'static str {
        match self {
            Self::Kernel(Arch::X86_64) => {
                "-C relocation-model=static -C code-model=kernel -C force-frame-pointers=yes"
            }
            Self::Kernel(Arch::Aarch64) => "-C relocation-model=static -C force-frame-pointers=yes",
            Self::Kernel(Arch::Riscv64) => {
                "-C relocation-model=static -C code-model=medium -C force-frame-pointers=yes"
            }
            Self::User(Arch::Aarch64 | Arch::Riscv64) => {
                "-C relocation-model=static -C link-self-contained=no -C strip=symbols"
            }
            Self::User(Arch::X86_64) => {
                "-C relocation-model=static -C link-self-contained=no -C target-cpu=x86-64 \
                 -C strip=symbols"
            }
        }
    }

    /// Whether rustup's precompiled `core` for this target serves.
    const fn precompiled_serves(self) -> bool {
        matches!(self, Self::Kernel(_))
    }
}

/// Where the compiler and its libraries come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// rustup's precompiled target.
    RustupTarget,
    /// rustup's library source, compiled here.
    RustSrc,
    /// Debian's compiler and library source.
    Debian,
}

impl Source {
    const fn describe(self) -> &'static str {
        match self {
            Self::RustupTarget => "rustup's target",
            Self::RustSrc => "rustup's rust-src",
            Self::Debian => "Debian's rustc",
        }
    }

    fn from_name(name: &str) -> Result<Self> {
        Ok(match name {
            "rustup-target" => Self::RustupTarget,
            "rust-src" => Self::RustSrc,
            "debian" => Self::Debian,
            other => {
                bail!("{OVERRIDE_VARIABLE}={other} is not one of rustup-target, rust-src, debian")
            }
        })
    }
}

/// A compiler that can build for one target.
#[derive(Clone, Debug)]
pub struct Toolchain {
    target: Target,
    source: Source,
    sysroot: PathBuf,
    linker: PathBuf,
}

impl Toolchain {
    /// Picks the toolchain for `target`, installing what it needs.
    pub fn choose(workspace: &Workspace, target: Target) -> Result<Self> {
        let wanted = match std::env::var(OVERRIDE_VARIABLE) {
            Ok(name) => Some(Source::from_name(&name)?),
            Err(_) => None,
        };
        let user = user_sysroot()?;
        let (source, sysroot) = pick_source(workspace, target, wanted, &user)?;
        let linker = match find_rust_lld(&sysroot).or_else(|| find_rust_lld(&user)) {
            Some(linker) => linker,
            None => setup::require(workspace, Tool::Lld)?,
        };
        Ok(Self { target, source, sysroot, linker })
    }

    /// One line for people.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} by {}", self.target.triple(), self.source.describe())
    }

    /// `cargo SUBCOMMAND` for this target.
    #[must_use]
    pub fn cargo(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let mut command = self.clean_cargo(workspace);
        let variable = self.target.triple().to_uppercase().replace('-', "_");
        command
            .env(format!("CARGO_TARGET_{variable}_LINKER"), &self.linker)
            .env(format!("CARGO_TARGET_{variable}_RUSTFLAGS"), self.target.rustflags())
            .arg(subcommand)
            .args(["--target", self.target.triple()]);
        if self.source != Source::RustupTarget {
            command.env("RUSTC_BOOTSTRAP", "1").args([
                "-Zbuild-std=core,alloc,compiler_builtins",
                "-Zbuild-std-features=compiler-builtins-mem",
            ]);
        }
        command
    }

    /// Makes sure that `cargo clippy` works with this toolchain.
    pub fn require_clippy(&self, workspace: &Workspace) -> Result<()> {
        if self.sysroot.join("bin/cargo-clippy").is_file() {
            return Ok(());
        }
        if self.source == Source::Debian {
            let _lock = workspace.lock("setup")?;
            return apt::install(&["rust-web-clippy"]);
        }
        bail!("clippy is missing: please type `rustup component add clippy`")
    }

    /// `cargo metadata` of the workspace's own packages, as JSON.
    #[must_use]
    pub fn metadata(&self, workspace: &Workspace) -> Command {
        let mut command = self.clean_cargo(workspace);
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        command
    }

    /// This toolchain's cargo in a clean environment: nothing that an outer `cargo run` set
    /// (its compiler, its flags, its package's variables) reaches it.
    fn clean_cargo(&self, workspace: &Workspace) -> Command {
        let mut command = Command::new(self.sysroot.join("bin/cargo"));
        for (name, _) in std::env::vars_os() {
            if !inherited_by_inner_cargo(&name) {
                command.env_remove(name);
            }
        }
        // Cargo finds its subcommands (clippy) on the path: this toolchain's own come first.
        let bin = self.sysroot.join("bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path =
            std::env::join_paths(std::iter::once(bin.clone()).chain(std::env::split_paths(&path)));
        if let Ok(path) = path {
            command.env("PATH", path);
        }
        command
            .current_dir(workspace.root())
            .stdin(Stdio::null())
            .env("RUSTC", self.sysroot.join("bin/rustc"));
        command
    }
}

/// The order of the module's comment.
fn pick_source(
    workspace: &Workspace,
    target: Target,
    wanted: Option<Source>,
    user: &Path,
) -> Result<(Source, PathBuf)> {
    let allowed = |source: Source| wanted.is_none_or(|wanted| wanted == source);
    let rustup = Rustup::of(user);
    if target.precompiled_serves() && allowed(Source::RustupTarget) {
        let there = || has_target(user, target.triple());
        if there()
            || rustup
                .as_ref()
                .is_some_and(|rustup| rustup.add(workspace, "target", target.triple()) && there())
        {
            return Ok((Source::RustupTarget, user.to_path_buf()));
        }
    }
    if allowed(Source::RustSrc) {
        let there = || has_library_source(user);
        if there()
            || rustup
                .as_ref()
                .is_some_and(|rustup| rustup.add(workspace, "component", "rust-src") && there())
        {
            return Ok((Source::RustSrc, user.to_path_buf()));
        }
    }
    if allowed(Source::Debian) {
        let debian = Path::new("/usr");
        let there = || {
            debian.join("bin/cargo").is_file()
                && has_library_source(debian)
                && is_new_enough(&debian.join("bin/rustc"))
        };
        if !there() {
            let _lock = workspace.lock("setup")?;
            if !there() {
                // Newer versions come as security updates: old package lists lack them.
                apt::update()?;
                apt::install(&["rustc-web", "cargo-web", "rust-web-src"])?;
            }
        }
        if there() {
            return Ok((Source::Debian, debian.to_path_buf()));
        }
    }
    bail!(
        "no Rust compiler for {}: `rustup target add {0}`, `rustup component add rust-src` and \
         Debian's packages rustc-web, cargo-web, rust-web-src (of {1} or newer) were tried",
        target.triple(),
        env!("CARGO_PKG_RUST_VERSION")
    )
}

/// The folder of the compiler that the user runs cargo with.
fn user_sysroot() -> Result<PathBuf> {
    // `cargo run` says which cargo it is; the rustc beside it is of the same toolchain.
    let rustc = std::env::var_os("CARGO")
        .map(|cargo| PathBuf::from(cargo).with_file_name("rustc"))
        .filter(|rustc| rustc.is_file())
        .unwrap_or_else(|| PathBuf::from("rustc"));
    let output = Command::new(&rustc)
        .args(["--print", "sysroot"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", rustc.display()))?;
    if !output.status.success() {
        bail!("{} --print sysroot failed", rustc.display());
    }
    let text = String::from_utf8(output.stdout).context("the path of rustc is not UTF-8")?;
    Ok(PathBuf::from(text.trim()))
}

/// Whether this compiler exists and is as new as the workspace asks for.
fn is_new_enough(rustc: &Path) -> bool {
    let Ok(output) = Command::new(rustc).arg("--version").output() else { return false };
    // `rustc 1.96.0 (...)`
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_ascii_whitespace().nth(1).and_then(parse_version);
    version.is_some() && version >= parse_version(env!("CARGO_PKG_RUST_VERSION"))
}

/// The first two numbers of a version.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn has_target(sysroot: &Path, triple: &str) -> bool {
    sysroot.join("lib/rustlib").join(triple).join("lib").is_dir()
}

fn has_library_source(sysroot: &Path) -> bool {
    sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file()
}

/// The linker that comes with rustup's toolchains, `lib/rustlib/HOST/bin/rust-lld`.
fn find_rust_lld(sysroot: &Path) -> Option<PathBuf> {
    let hosts = sysroot.join("lib/rustlib").read_dir().ok()?;
    hosts.flatten().map(|host| host.path().join("bin/rust-lld")).find(|linker| linker.is_file())
}

/// Whether a variable may reach the cargo that we start. Cargo's settings about homes,
/// registries and the network may; what describes the outer build may not.
fn inherited_by_inner_cargo(name: &OsString) -> bool {
    let Some(name) = name.to_str() else { return true };
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_NET_",
        "CARGO_HTTP_",
        "CARGO_REGISTR",
        "CARGO_TERM_",
        "CARGO_BUILD_JOBS",
        "RUSTUP_HOME",
    ];
    if KEPT.iter().any(|kept| name.starts_with(kept)) {
        return true;
    }
    // `cargo run` also points the dynamic linker at its own toolchain's libraries.
    !(name.starts_with("CARGO") || name.starts_with("RUST") || name == "LD_LIBRARY_PATH")
}

/// rustup, where the user's toolchain is one of its own.
struct Rustup {
    program: PathBuf,
    toolchain: String,
}

impl Rustup {
    fn of(sysroot: &Path) -> Option<Self> {
        let program = setup::find_program("rustup")?;
        // rustup's toolchains live in RUSTUP_HOME/toolchains/NAME.
        if sysroot.parent()?.file_name()? != "toolchains" {
            return None;
        }
        Some(Self { program, toolchain: sysroot.file_name()?.to_str()?.to_owned() })
    }

    /// `rustup KIND add NAME`. A failure is remembered; see [`forget_failures`].
    fn add(&self, workspace: &Workspace, kind: &str, name: &str) -> bool {
        let record = format!("rustup-cannot-add/{}-{kind}-{name}", self.toolchain);
        let (Ok(record), Ok(_lock)) = (workspace.output(record), workspace.lock("setup")) else {
            return false;
        };
        if record.exists() {
            return false;
        }
        say(format!("rustup {kind} add {name} (once)"));
        let mut command = Command::new(&self.program);
        command
            .args(["--quiet", kind, "add", "--toolchain", &self.toolchain, name])
            .env_remove("RUSTUP_TOOLCHAIN")
            .env("RUSTUP_MAX_RETRIES", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        match finish_within(command, RUSTUP_PATIENCE) {
            Ok(()) => true,
            Err(error) => {
                say(format!("rustup could not ({error}); using another way"));
                // When the note cannot be written, the next run asks again: harmless.
                let _ = std::fs::write(record, format!("{error}\n"));
                false
            }
        }
    }
}

/// Lets rustup try again what it could not download.
pub fn forget_failures(workspace: &Workspace) -> Result<()> {
    let folder = workspace.output("rustup-cannot-add")?;
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}

/// Runs a command whose standard error is piped; its last line is the error.
fn finish_within(mut command: Command, patience: Duration) -> Result<()> {
    let mut child = command.spawn().context("cannot start it")?;
    let mut stderr = child.stderr.take();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stderr) = &mut stderr {
            let _ = stderr.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let deadline = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("no answer within {} s", patience.as_secs());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    if status.success() {
        return Ok(());
    }
    let text = reader.join().unwrap_or_default();
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("no message");
    bail!("{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str) -> bool {
        inherited_by_inner_cargo(&OsString::from(name))
    }

    #[test]
    fn the_outer_build_does_not_leak_into_the_inner_one() {
        for name in [
            "CARGO",
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "CARGO_TARGET_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "RUSTFLAGS",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTUP_TOOLCHAIN",
            "RUST_RECURSION_COUNT",
            "LD_LIBRARY_PATH",
        ] {
            assert!(!kept(name), "{name}");
        }
        for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_NET_OFFLINE"] {
            assert!(kept(name), "{name}");
        }
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(parse_version("1.96.0"), Some((1, 96)));
        assert_eq!(parse_version("1.95"), Some((1, 95)));
        assert!(parse_version("1.100") > parse_version("1.95"));
        assert_eq!(parse_version("beta"), None);
        assert!(!is_new_enough(Path::new("/no/such/rustc")));
    }

    #[test]
    fn an_unknown_source_is_an_error_that_names_the_known() {
        let message = Source::from_name("gcc").unwrap_err().to_string();
        assert!(message.contains("rust-src") && message.contains("gcc"), "{message}");
    }

    #[test]
    fn a_slow_command_is_given_up() {
        let mut command = Command::new("sleep");
        command.arg("60").stderr(Stdio::piped());
        let start = Instant::now();
        let error = finish_within(command, Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("no answer"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_failing_command_says_its_last_line() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first >&2; echo last >&2; exit 3"]).stderr(Stdio::piped());
        let error = finish_within(command, Duration::from_secs(60)).unwrap_err();
        assert_eq!(error.to_string(), "last");
    }

    #[test]
    fn sources_are_recognised_by_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let lib = folder.path().join("lib/rustlib");
        assert!(!has_target(folder.path(), "x86_64-unknown-none"));
        std::fs::create_dir_all(lib.join("x86_64-unknown-none/lib")).unwrap();
        assert!(has_target(folder.path(), "x86_64-unknown-none"));
        assert!(!has_library_source(folder.path()));
        std::fs::create_dir_all(lib.join("src/rust/library/core/src")).unwrap();
        std::fs::write(lib.join("src/rust/library/core/src/lib.rs"), "").unwrap();
        assert!(has_library_source(folder.path()));
        assert_eq!(find_rust_lld(folder.path()), None);
        std::fs::create_dir_all(lib.join("host/bin")).unwrap();
        std::fs::write(lib.join("host/bin/rust-lld"), "").unwrap();
        assert_eq!(find_rust_lld(folder.path()), Some(lib.join("host/bin/rust-lld")));
    }

    #[test]
    fn rustup_is_asked_only_about_its_own_toolchains() {
        assert!(Rustup::of(Path::new("/usr")).is_none());
    }
}
