//! Where a guest's picture can be shown on this machine.
//!
//! [`picture`] turns a wish into what QEMU is told; where a window cannot be had it says so in
//! one line, and the guest goes on without. Neighbour: `machine` describes the display itself.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::machine::{Arch, Picture};
use crate::workspace::{Workspace, say};
use crate::{apt, setup};

/// Where the picture of a machine with a display is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Graphics {
    /// Into a window of this desktop
    Window,
    /// To a VNC client at 127.0.0.1:5900
    Vnc,
    /// Nowhere: the guest has a display all the same
    None,
}

/// QEMU's backends that open a window, the better first.
const WINDOWS: [&str; 3] = ["gtk", "sdl", "cocoa"];

/// The package with QEMU's windows.
const PACKAGE: &str = "qemu-system-gui";

/// Where the picture goes.
pub fn picture(workspace: &Workspace, arch: Arch, wish: Graphics) -> Result<Picture> {
    match wish {
        Graphics::None => Ok(Picture::Headless),
        Graphics::Vnc => {
            say(format!("the picture is at {} for VNC clients", Picture::VNC));
            Ok(Picture::Vnc)
        }
        Graphics::Window => window(workspace, arch),
    }
}

fn window(workspace: &Workspace, arch: Arch) -> Result<Picture> {
    let has = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !has("DISPLAY") && !has("WAYLAND_DISPLAY") && cfg!(not(target_os = "macos")) {
        say(
            "no window: there is no desktop here (DISPLAY and WAYLAND_DISPLAY are not set); --graphics=vnc shows the picture over the network",
        );
        return Ok(Picture::Headless);
    }
    let mut found = backend(&backends(workspace, arch)?);
    if found.is_none() {
        apt::install(&[PACKAGE])?;
        found = backend(&backends(workspace, arch)?);
    }
    Ok(match found {
        Some(backend) => Picture::Window(backend.to_owned()),
        None => {
            say("no window: this QEMU has none (neither gtk nor sdl in `-display help`)");
            Picture::Headless
        }
    })
}

/// What this QEMU can show pictures with, in its own words.
fn backends(workspace: &Workspace, arch: Arch) -> Result<String> {
    let qemu = setup::require(workspace, arch.qemu())?;
    let output = Command::new(&qemu)
        .args(["-display", "help"])
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", qemu.display()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The best backend of those listed.
fn backend(listed: &str) -> Option<&'static str> {
    WINDOWS.into_iter().find(|name| listed.lines().any(|line| line.trim() == *name))
}

#[cfg(test)]
mod tests {
    use super::backend;

    #[test]
    fn the_better_window_is_taken() {
        let list = |names: &str| format!("Available display backend types:\nnone\n{names}dbus\n");
        assert_eq!(backend(&list("sdl\ngtk\n")), Some("gtk"));
        assert_eq!(backend(&list("egl-headless\nsdl\n")), Some("sdl"));
        assert_eq!(backend(&list("curses\n")), None);
    }
}
