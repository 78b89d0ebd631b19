//! Programs and maps as people name them: by number, by the name of a pin, by their own name, or
//! by a path.

use crate::PINS;
use crate::calls::{self, Kind};
use crate::info::{MapInfo, ProgramInfo, is_kind};
use alloc::ffi::CString;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use lemma_rt::rustix::fd::{AsFd, OwnedFd};
use lemma_rt::{Result, error_text};

/// Why nothing was found, as a line of text.
pub type Failure = String;

/// The program that `text` names.
pub fn program(text: &str) -> core::result::Result<(OwnedFd, ProgramInfo), Failure> {
    let fd = find(Kind::Program, "program", text, |fd| {
        ProgramInfo::of(fd.as_fd()).map(|info| info.name)
    })?;
    let info = ProgramInfo::of(fd.as_fd())
        .map_err(|error| format!("{text}: no program: {}", error_text(error)))?;
    Ok((fd, info))
}

/// The map that `text` names.
pub fn map(text: &str) -> core::result::Result<(OwnedFd, MapInfo), Failure> {
    let fd = find(Kind::Map, "map", text, |fd| MapInfo::of(fd.as_fd()).map(|info| info.name))?;
    let info = MapInfo::of(fd.as_fd())
        .map_err(|error| format!("{text}: no map: {}", error_text(error)))?;
    Ok((fd, info))
}

fn find(
    kind: Kind,
    what: &str,
    text: &str,
    name_of: impl Fn(&OwnedFd) -> Result<String>,
) -> core::result::Result<OwnedFd, Failure> {
    if text.starts_with('/') {
        let path = CString::new(text).map_err(|_| format!("{text}: no path"))?;
        return calls::pinned(&path).map_err(|error| format!("{text}: {}", error_text(error)));
    }
    if let Ok(id) = text.parse() {
        return calls::by_id(kind, id).map_err(|error| match error {
            lemma_rt::Errno::NOENT => format!("no {what} has the id {id}"),
            error => format!("{what} {id}: {}", error_text(error)),
        });
    }
    // The name of a pin says which one is meant where several have the same name.
    if let Ok(path) = CString::new(format!("{PINS}/{text}"))
        && let Ok(fd) = calls::pinned(&path)
        && is_kind(fd.as_fd(), kind)
    {
        return Ok(fd);
    }
    let ids = calls::ids(kind).map_err(|error| format!("bpf: {}", error_text(error)))?;
    // The kernel keeps fifteen characters of a name.
    let short: String = text.chars().take(15).collect();
    let mut found = Vec::new();
    for id in ids {
        // One that goes meanwhile is not meant.
        if let Ok(fd) = calls::by_id(kind, id)
            && name_of(&fd).is_ok_and(|name| name == short)
        {
            found.push((id, fd));
        }
    }
    if found.len() > 1 {
        let ids: Vec<String> = found.iter().map(|(id, _)| id.to_string()).collect();
        return Err(format!("several are named {text}: {}; say the id", ids.join(", ")));
    }
    found.pop().map(|(_, fd)| fd).ok_or_else(|| format!("no {what} is named {text}"))
}
