//! `bpf-lab sign`: makes keys, signs objects, checks signatures.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use kernel_bpf::loader::Object;
use kernel_bpf::loader::signature::{PublicKey, SecretKey, Signed, unsigned_part};
use serde_json::json;

use super::print_json;
use crate::hex;

/// The command line of `bpf-lab sign`.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The object. What is signed is the ELF file as it was built: an earlier signature at its
    /// end is replaced
    #[arg(required_unless_present = "new_key")]
    file: Option<PathBuf>,
    /// Sign with the secret key in this file
    #[arg(long, value_name = "FILE", required_unless_present_any = ["new_key", "check"])]
    key: Option<PathBuf>,
    /// The object's version: a loader refuses one that is older than what runs
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    version: u64,
    /// Where the signed object goes, if not into the same file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Check a signature with this public key instead; more than one may be given
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "new_key", "output"])]
    check: Vec<PathBuf>,
    /// For --check: the version that runs
    #[arg(long, value_name = "NUMBER", requires = "check")]
    running: Option<u64>,
    /// Make a new secret key in this file, and its public key in FILE.pub
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "key", "output"])]
    new_key: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Does one of the three.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    if let Some(path) = &arguments.new_key {
        return new_key(path, arguments.json);
    }
    let path = arguments.file.as_deref().context("no object is named")?;
    let file = std::fs::read(path).with_context(|| path.display().to_string())?;
    match &arguments.key {
        Some(key) => sign(arguments, path, &file, key),
        None => check(arguments, path, &file),
    }
}

fn new_key(path: &Path, json: bool) -> Result<()> {
    let mut seed = [0; 32];
    let mut random = File::open("/dev/urandom").context("/dev/urandom")?;
    random.read_exact(&mut seed).context("/dev/urandom")?;
    let key = SecretKey::from_seed(seed).context("no random numbers")?;
    // Never over a key that is there, and readable by its owner alone.
    let create = |path: &Path, mode: u32, text: String| -> Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .with_context(|| path.display().to_string())?;
        file.write_all(text.as_bytes()).with_context(|| path.display().to_string())
    };
    let public = key.public();
    create(path, 0o600, hex::encode(&seed) + "\n")?;
    create(&public_path(path), 0o644, hex::encode(&public.0) + "\n")?;
    if json {
        return print_json(
            &json!({ "key": public.id().to_string(), "public": hex::encode(&public.0) }),
        );
    }
    println!("key {}: {} (secret), {}", public.id(), path.display(), public_path(path).display());
    Ok(())
}

fn public_path(secret: &Path) -> PathBuf {
    let mut name = secret.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// The 32 bytes of a key's file.
fn read_key(path: &Path) -> Result<[u8; 32]> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let bytes = hex::decode(&text).with_context(|| path.display().to_string())?;
    let length = bytes.len();
    <[u8; 32]>::try_from(bytes)
        .map_err(|_| anyhow!("{}: a key has 32 bytes, not {length}", path.display()))
}

fn sign(arguments: &Arguments, path: &Path, file: &[u8], key: &Path) -> Result<()> {
    let key = SecretKey::from_seed(read_key(key)?).context("a key of zeros is no key")?;
    let object = unsigned_part(file);
    // A signature on what nobody can load would only mislead.
    Object::parse(object).with_context(|| path.display().to_string())?;
    let trailer = key.sign(object, arguments.version);
    let output = arguments.output.as_deref().unwrap_or(path);
    // A reader sees the old file or the new one, whole.
    let mut temporary = output.as_os_str().to_owned();
    temporary.push(".signing");
    let temporary = PathBuf::from(temporary);
    std::fs::write(&temporary, [object, &trailer].concat())
        .and_then(|()| std::fs::rename(&temporary, output))
        .with_context(|| output.display().to_string())?;
    let (id, version) = (key.public().id(), arguments.version);
    if arguments.json {
        return print_json(&json!({
            "file": output.display().to_string(), "version": version, "key": id.to_string(),
        }));
    }
    println!("{}: version {version}, signed with key {id}", output.display());
    Ok(())
}

fn check(arguments: &Arguments, path: &Path, file: &[u8]) -> Result<()> {
    if arguments.check.is_empty() {
        bail!("a key is needed: --key to sign, --check to check");
    }
    let trusted: Vec<PublicKey> =
        arguments.check.iter().map(|path| read_key(path).map(PublicKey)).collect::<Result<_>>()?;
    let authentic = Signed::parse(file)
        .and_then(|signed| signed.verify(&trusted, arguments.running))
        .with_context(|| path.display().to_string())?;
    if arguments.json {
        return print_json(&json!({
            "file": path.display().to_string(), "version": authentic.version(),
            "key": authentic.key().to_string(), "object_bytes": authentic.object().len(),
        }));
    }
    let (version, key) = (authentic.version(), authentic.key());
    println!("{}: version {version}, signed with key {key}", path.display());
    Ok(())
}
