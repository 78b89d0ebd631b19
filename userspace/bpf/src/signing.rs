//! Which objects may be loaded: with keys in [`KEYS`], only those that one of them signed, and
//! none that is older than the one of its name that is loaded.
//!
//! Without that file every object may be. A file that cannot be read or understood lets none
//! pass. Which version a loaded program is stands in a map that is pinned at [`VERSIONS`], by
//! the program's number: it lives as long as the programs do.

use alloc::ffi::CString;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use kernel_bpf::loader::signature::{PublicKey, Signed};
use kernel_bpf::map::MapType;
use lemma_rt::rustix::fd::AsFd;
use lemma_rt::{Errno, error_text, io, show};

use crate::calls::{self, Kind, Map, NewMap};
use crate::info::{MapInfo, ProgramInfo};
use crate::object::kernel_name;

/// The public keys that are trusted, each a line of 64 hexadecimal digits; `#` begins a comment.
pub const KEYS: &str = "/etc/bpf.keys";
/// The map of versions.
pub const VERSIONS: &str = "/sys/fs/bpf/versions";

/// Most programs whose version is known.
const MOST: u32 = 4096;

/// Whom this machine trusts.
pub enum Policy {
    /// There are no keys.
    Anybody,
    Keys(Vec<PublicKey>),
}

impl Policy {
    /// Reads [`KEYS`].
    ///
    /// # Errors
    /// A line of text about a file that is there and cannot be used.
    pub fn read() -> Result<Self, String> {
        let text = match io::read_file(KEYS) {
            Ok(text) => show(&text),
            Err(Errno::NOENT) => return Ok(Self::Anybody),
            Err(error) => return Err(format!("{KEYS}: {}", error_text(error))),
        };
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or("").trim());
        let lines = lines.enumerate().filter(|(_, line)| !line.is_empty());
        let keys: Result<Vec<PublicKey>, String> = lines
            .map(|(number, line)| {
                let bad = || format!("{KEYS}:{}: not 64 hexadecimal digits", number + 1);
                PublicKey::from_hex(line).ok_or_else(bad)
            })
            .collect();
        keys.map(Self::Keys)
    }
}

/// An object that may be loaded.
pub struct Admitted<'a> {
    /// The ELF file.
    pub object: &'a [u8],
    /// The version that was signed; `None` where no signature is asked for.
    pub version: Option<u64>,
}

/// Whether a file may be loaded, as far as its signature says. Its programs' names say more:
/// see [`no_older`].
///
/// # Errors
/// A line of text.
pub fn admit<'a>(policy: &Policy, file: &'a [u8]) -> Result<Admitted<'a>, String> {
    let Policy::Keys(keys) = policy else { return Ok(Admitted { object: file, version: None }) };
    let authentic = Signed::parse(file).and_then(|signed| signed.verify(keys, None));
    let authentic = authentic.map_err(|error| format!("{error} ({KEYS})"))?;
    Ok(Admitted { object: authentic.object(), version: Some(authentic.version()) })
}

/// Whether no newer version of any of these programs is loaded.
///
/// # Errors
/// A line of text.
pub fn no_older<'n>(version: u64, mut names: impl Iterator<Item = &'n str>) -> Result<(), String> {
    let Some(versions) = open_versions() else { return Ok(()) };
    let names: Vec<String> = names.by_ref().map(kernel_name).collect();
    for id in calls::ids(Kind::Program).map_err(|error| error_text(error).to_string())? {
        // A program may go while the list is read.
        let Ok(value) = versions.lookup(&id.to_ne_bytes()) else { continue };
        let Ok(fd) = calls::by_id(Kind::Program, id) else { continue };
        let Ok(info) = ProgramInfo::of(fd.as_fd()) else { continue };
        let running = value.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        if version < running && names.contains(&info.name) {
            let name = info.name;
            return Err(format!(
                "version {version} is older than version {running} of {name} (id {id}), which is \
                 loaded"
            ));
        }
    }
    Ok(())
}

/// Remembers the version of a program that was loaded.
///
/// # Errors
/// A line of text.
pub fn remember(version: u64, id: u32) -> Result<(), String> {
    let text = |error: Errno| format!("{VERSIONS}: {}", error_text(error));
    let versions = match open_versions() {
        Some(versions) => versions,
        None => create_versions().map_err(text)?,
    };
    let (key, value) = (id.to_ne_bytes(), version.to_ne_bytes());
    match versions.update(&key, &value, 0) {
        Err(Errno::TOOBIG) => {
            forget_gone(&versions);
            versions.update(&key, &value, 0)
        }
        result => result,
    }
    .map_err(text)
}

fn path() -> CString {
    CString::new(VERSIONS).unwrap_or_default()
}

fn open_versions() -> Option<Map> {
    let fd = calls::pinned(&path()).ok()?;
    let info = MapInfo::of(fd.as_fd()).ok()?;
    (info.key_size == 4 && info.value_size == 8).then(|| info.open(fd))
}

fn create_versions() -> lemma_rt::Result<Map> {
    let fd = calls::create_map(&NewMap {
        kind: MapType::Hash.number(),
        key_size: 4,
        value_size: 8,
        max_entries: MOST,
        name: "versions",
        ..NewMap::default()
    })?;
    calls::pin(&path(), fd.as_fd())?;
    let info = MapInfo::of(fd.as_fd())?;
    Ok(info.open(fd))
}

/// Removes the versions of programs that are no longer loaded.
fn forget_gone(versions: &Map) {
    let loaded = calls::ids(Kind::Program).unwrap_or_default();
    let mut key: Option<Vec<u8>> = None;
    while let Ok(next) = versions.next_key(key.as_deref()) {
        let id = next.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        if !loaded.contains(&id) {
            // The walk goes on from a key that is gone: from the first.
            let _ = versions.delete(&next);
            continue;
        }
        key = Some(next);
    }
}
