//! Compiling: the kernel, the user programs, the BPF objects.
//!
//! Cargo decides what has changed in Rust code, and is asked once in a process, however many
//! machines that starts; BPF objects carry a fingerprint of their sources. Kernel and user programs
//! have target folders of their own, so that they neither wait for the lock of the build that
//! started us nor disturb it. Neighbours: `toolchain` says which compiler; `build` calls us in
//! order; `image` takes what we made.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::hash::Hash;
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::machine::Arch;
use crate::setup::{self, Tool};
use crate::symbols;
use crate::toolchain::{Target, Toolchain};
use crate::workspace::{Workspace, fingerprint, say, write_atomically};

/// What the kernel is compiled for: its limits and its allocation habits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Profile {
    /// Heap memory, a million verified instructions.
    #[default]
    Cloud,
    /// Static pools, small limits, hard bounds.
    Embedded,
}

impl Profile {
    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Embedded => "embedded",
        }
    }
}

/// One way to build the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelVariant {
    /// Its profile.
    pub profile: Profile,
    /// Whether it has hook call sites; without them only to measure what they cost.
    pub hooks: bool,
    /// Unoptimised, with checks, for those who work on the kernel.
    pub dev: bool,
}

impl Default for KernelVariant {
    fn default() -> Self {
        Self { profile: Profile::Cloud, hooks: true, dev: false }
    }
}

impl KernelVariant {
    fn name(self) -> String {
        format!(
            "kernel-{}{}{}",
            self.profile.name(),
            if self.hooks { "" } else { "-nohooks" },
            if self.dev { "-dev" } else { "" },
        )
    }

    fn features(self) -> String {
        let profile = format!("profile-{}", self.profile.name());
        if self.hooks { format!("{profile},hooks") } else { profile }
    }
}

/// A built kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// With all symbols and debug information, for a debugger.
    pub linked: PathBuf,
    /// What is booted.
    pub image: PathBuf,
}

/// A built user program.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name in the guest.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
}

/// What this process has built, by what was asked for.
struct Built<K, V>(Mutex<HashMap<K, V>>);

impl<K: Eq + Hash, V: Clone> Built<K, V> {
    fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// Builds unless it is there. What builds takes a lock of the workspace itself, so that two
    /// threads that ask for the same do not do it at once.
    fn once(&self, key: K, build: impl FnOnce() -> Result<V>) -> Result<V> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(built) = found {
            return Ok(built);
        }
        let built = build()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, built.clone());
        Ok(built)
    }
}

static KERNELS: LazyLock<Built<(PathBuf, Arch, KernelVariant), Kernel>> = LazyLock::new(Built::new);

static PROGRAMS: LazyLock<Built<(PathBuf, Arch), Vec<Program>>> = LazyLock::new(Built::new);

/// Builds the kernel and its bootable image.
pub fn kernel(workspace: &Workspace, arch: Arch, variant: KernelVariant) -> Result<Kernel> {
    let key = (workspace.root().to_path_buf(), arch, variant);
    KERNELS.once(key, || build_kernel(workspace, arch, variant))
}

fn build_kernel(workspace: &Workspace, arch: Arch, variant: KernelVariant) -> Result<Kernel> {
    // One at a time: cargo puts every variant's executable at the same place.
    let folder = arch.name();
    let _lock = workspace.lock(&format!("{folder}/kernel"))?;
    let toolchain = Toolchain::choose(workspace, Target::Kernel(arch))?;
    let mut cargo = toolchain.cargo(workspace, "build");
    cargo
        .arg("--target-dir")
        .arg(workspace.output(format!("{folder}/kernel"))?)
        .args(["--package", "kernel", "--bin", "kernel", "--no-default-features"])
        .args(["--features", &variant.features()])
        .args(["--profile", if variant.dev { "dev" } else { "release" }]);
    if variant.dev {
        // A debugger wants variables too.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "full");
    }
    let built = run_cargo(cargo, &format!("{} ({})", variant.name(), toolchain.describe()))?;
    let Some(executable) = built.first() else { bail!("cargo built no kernel") };

    let linked = workspace.output(format!("{folder}/{}.elf", variant.name()))?;
    let image = workspace.output(format!("{folder}/{}.img", variant.name()))?;
    let content = fs::read(&executable.path)
        .with_context(|| format!("cannot read {}", executable.path.display()))?;
    let bootable = match arch {
        Arch::X86_64 => symbols::bootable_image(&content)?,
        Arch::Aarch64 | Arch::Riscv64 => symbols::flat_image(&content)?,
    };
    write_if_changed(&image, &bootable)?;
    write_if_changed(&linked, &content)?;
    Ok(Kernel { linked, image })
}

/// Writes a file unless it already is so.
fn write_if_changed(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    write_atomically(path, content)
}

/// Builds every program of the packages under `userspace/`.
pub fn user_programs(workspace: &Workspace, arch: Arch) -> Result<Vec<Program>> {
    let key = (workspace.root().to_path_buf(), arch);
    PROGRAMS.once(key, || build_user_programs(workspace, arch))
}

fn build_user_programs(workspace: &Workspace, arch: Arch) -> Result<Vec<Program>> {
    let folder = arch.name();
    let _lock = workspace.lock(&format!("{folder}/user"))?;
    let toolchain = Toolchain::choose(workspace, Target::User(arch))?;
    let packages = user_packages(workspace, &toolchain)?;
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    let mut cargo = toolchain.cargo(workspace, "build");
    cargo.arg("--target-dir").arg(workspace.output(format!("{folder}/user"))?);
    cargo.args(["--bins", "--release"]);
    for package in &packages {
        cargo.args(["--package", package]);
    }
    let mut programs = run_cargo(cargo, &format!("the user programs ({})", toolchain.describe()))?;
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    // A later build may replace cargo's files while an image is made from them.
    for program in &mut programs {
        let copy = workspace.output(format!("{folder}/programs/{}", program.name))?;
        write_if_changed(&copy, &fs::read(&program.path)?)?;
        program.path = copy;
    }
    Ok(programs)
}

/// Checks the kernel, in each variant that is shipped, and the user programs with clippy,
/// warnings denied.
pub fn clippy(workspace: &Workspace, arch: Arch) -> Result<()> {
    let folder = format!("{}/clippy", arch.name());
    let check = |mut cargo: Command| -> Result<()> {
        cargo.arg("--target-dir").arg(workspace.output(&folder)?);
        let status = cargo.args(["--", "--deny", "warnings"]).status()?;
        if !status.success() {
            bail!("clippy found something (its message is above)");
        }
        Ok(())
    };
    let toolchain = Toolchain::choose(workspace, Target::Kernel(arch))?;
    toolchain.require_clippy(workspace)?;
    for profile in [Profile::Cloud, Profile::Embedded] {
        for hooks in [true, false] {
            let variant = KernelVariant { profile, hooks, dev: true };
            say(format!("clippy: {} on {}", variant.name(), arch.name()));
            let mut cargo = toolchain.cargo(workspace, "clippy");
            cargo.args(["--package", "kernel", "--no-default-features"]);
            cargo.args(["--features", &variant.features()]);
            check(cargo)?;
        }
    }
    let toolchain = Toolchain::choose(workspace, Target::User(arch))?;
    toolchain.require_clippy(workspace)?;
    let mut cargo = toolchain.cargo(workspace, "clippy");
    for package in user_packages(workspace, &toolchain)? {
        cargo.args(["--package", &package]);
    }
    say(format!("clippy: the user programs on {}", arch.name()));
    check(cargo)
}

/// The packages under `userspace/` that have executables.
fn user_packages(workspace: &Workspace, toolchain: &Toolchain) -> Result<Vec<String>> {
    let output = toolchain
        .metadata(workspace)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("cargo metadata failed");
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let folder = workspace.root().join("userspace");
    let mut packages = Vec::new();
    for package in array(&metadata["packages"]) {
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        let has_program = array(&package["targets"])
            .any(|target| array(&target["kind"]).any(|kind| kind == "bin"));
        if Path::new(manifest).starts_with(&folder)
            && has_program
            && let Some(name) = package["name"].as_str()
        {
            packages.push(name.to_owned());
        }
    }
    Ok(packages)
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Runs a cargo build; returns the executables. Its progress and errors go to the user,
/// except the closing line, which would appear in every run.
fn run_cargo(mut cargo: Command, what: &str) -> Result<Vec<Program>> {
    let color = if std::io::stderr().is_terminal() { "always" } else { "never" };
    let mut child = cargo
        .args(["--message-format", "json-render-diagnostics", "--color", color])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", cargo.get_program().display()))?;
    let stderr = child.stderr.take().context("cargo has no standard error")?;
    let name = what.to_owned();
    let progress = std::thread::spawn(move || show_progress(stderr, &name));
    let mut text = String::new();
    child.stdout.take().context("cargo has no output")?.read_to_string(&mut text)?;
    let status = child.wait()?;
    let _ = progress.join();
    if !status.success() {
        bail!("building {what} failed (cargo's message is above)");
    }
    let mut programs = Vec::new();
    for line in text.lines() {
        let message: Value = serde_json::from_str(line).context("a message of cargo")?;
        if let (Some(path), Some(name)) =
            (message["executable"].as_str(), message["target"]["name"].as_str())
        {
            programs.push(Program { name: name.to_owned(), path: path.into() });
        }
    }
    Ok(programs)
}

fn show_progress(stderr: impl Read, what: &str) {
    let mut announced = false;
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if line.contains("Finished") || line.contains("Blocking waiting for file lock") {
            continue;
        }
        if !announced {
            say(format!("building {what}"));
            announced = true;
        }
        eprintln!("{line}");
    }
}

/// How BPF programs are compiled, as the examples' headers expect it.
const BPF_OPTIONS: [&str; 7] =
    ["-target", "bpf", "-g", "-O2", "-Wall", "-Werror", "-fdebug-compilation-dir=."];

/// Compiles every BPF program in `examples/`; returns name and object file of each.
pub fn bpf_examples(workspace: &Workspace, arch: Arch) -> Result<Vec<Program>> {
    let folder = workspace.root().join("examples");
    let mut sources: Vec<PathBuf> = match folder.read_dir() {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(_) => Vec::new(),
    };
    sources.retain(|path| path.to_string_lossy().ends_with(".bpf.c"));
    sources.sort();
    sources.iter().map(|source| bpf_object(workspace, arch, source)).collect()
}

/// Compiles one BPF program, unless its object is up to date.
pub fn bpf_object(workspace: &Workspace, arch: Arch, source: &Path) -> Result<Program> {
    let content = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
    let file = source.file_name().and_then(|name| name.to_str()).context("a strange file name")?;
    let Some(stem) = file.strip_suffix(".bpf.c").or_else(|| file.strip_suffix(".c")) else {
        bail!("{} is not a C file: its name should end in .c", source.display());
    };
    let name = format!("{stem}.o");
    let clang = setup::require(workspace, Tool::Clang)?;
    let include = workspace.root().join("examples");
    let headers = headers_for(&include, source)?;
    let mut options: Vec<OsString> = BPF_OPTIONS.map(OsString::from).into();
    options.extend(["-I".into(), include.into(), prefix_map(workspace.root())]);
    options.push(machine_definition(arch).into());
    let mut parts: Vec<&[u8]> = vec![clang.as_os_str().as_encoded_bytes(), &content];
    parts.extend(headers.iter().map(Vec::as_slice));
    parts.extend(options.iter().map(|option| option.as_encoded_bytes()));
    let key = fingerprint(&parts);
    let object = workspace.output(format!("bpf/{key:016x}/{name}"))?;
    if object.exists() {
        return Ok(Program { name, path: object });
    }

    let folder = object.parent().context("an object without a folder")?;
    let temporary = tempfile::Builder::new().suffix(".o").tempfile_in(folder)?;
    let output = Command::new(&clang)
        .args(&options)
        .arg("-c")
        .arg(source)
        .arg("-o")
        .arg(temporary.path())
        .stdin(Stdio::null())
        .output()
        .context("cannot start clang")?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        bail!("clang refused {} (its message is above)", source.display());
    }
    let content = fs::read(temporary.path())?;
    write_atomically(&object, &content)?;
    Ok(Program { name, path: object })
}

/// What tells a program which machine it is for, as libbpf's headers expect it.
const fn machine_definition(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "-D__TARGET_ARCH_x86",
        Arch::Aarch64 => "-D__TARGET_ARCH_arm64",
        Arch::Riscv64 => "-D__TARGET_ARCH_riscv",
    }
}

/// Clang's option to write paths below `root` without it: messages then name
/// `./examples/x.bpf.c`, wherever the repository is.
fn prefix_map(root: &Path) -> OsString {
    let mut option = OsString::from("-ffile-prefix-map=");
    option.push(root);
    option.push("/=");
    option
}

/// The headers that a program may include: those beside it, and those of the examples.
fn headers_for(include: &Path, source: &Path) -> Result<Vec<Vec<u8>>> {
    let beside = std::path::absolute(source)?.parent().map(Path::to_path_buf);
    let mut paths: Vec<PathBuf> = [Some(include.to_path_buf()), beside]
        .into_iter()
        .flatten()
        .filter_map(|folder| folder.read_dir().ok())
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "h"))
        .collect();
    paths.sort();
    paths.dedup();
    paths.iter().map(|path| Ok(fs::read(path)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(folder: &Path) -> Workspace {
        Workspace::at(folder.to_path_buf(), folder.join("out")).unwrap()
    }

    #[test]
    fn variants_do_not_share_a_name() {
        let mut names = Vec::new();
        for profile in [Profile::Cloud, Profile::Embedded] {
            for hooks in [true, false] {
                for dev in [true, false] {
                    names.push(KernelVariant { profile, hooks, dev }.name());
                }
            }
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 8);
    }

    #[test]
    fn a_bpf_program_compiles_once_and_again_when_a_header_changes() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = workspace(folder.path());
        let examples = folder.path().join("examples");
        fs::create_dir(&examples).unwrap();
        fs::write(examples.join("answer.h"), "#define ANSWER 1\n").unwrap();
        fs::write(
            examples.join("one.bpf.c"),
            "#include \"answer.h\"\nint one(void *context) { return ANSWER; }\n",
        )
        .unwrap();
        let first = bpf_examples(&workspace, Arch::X86_64).unwrap();
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].name, "one.o");
        assert!(fs::read(&first[0].path).unwrap().starts_with(b"\x7fELF"));
        assert_eq!(bpf_examples(&workspace, Arch::X86_64).unwrap()[0].path, first[0].path);
        fs::write(examples.join("answer.h"), "#define ANSWER 2\n").unwrap();
        assert_ne!(bpf_examples(&workspace, Arch::X86_64).unwrap()[0].path, first[0].path);
    }

    #[test]
    fn what_cannot_be_compiled_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = workspace(folder.path());
        let missing =
            bpf_object(&workspace, Arch::X86_64, &folder.path().join("no.c")).unwrap_err();
        assert!(format!("{missing:#}").contains("cannot read"), "{missing:#}");
        let text = folder.path().join("text.txt");
        fs::write(&text, "hello").unwrap();
        let message = bpf_object(&workspace, Arch::X86_64, &text).unwrap_err().to_string();
        assert!(message.contains("should end in .c"), "{message}");
        let wrong = folder.path().join("wrong.c");
        fs::write(&wrong, "int f( {").unwrap();
        let message = bpf_object(&workspace, Arch::X86_64, &wrong).unwrap_err().to_string();
        assert!(message.contains("clang refused"), "{message}");
    }
}
