//! The root disk: an ext2 image filled from a folder, without mounting and without root.
//!
//! [`Contents`] lists what goes on the disk; [`root_disk`] makes the image, or finds the one
//! that was made from the same contents. [`add`] writes into an existing image.
//! Neighbours: `compile` makes the programs; `build` puts the list together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use crate::setup::{self, Tool};
use crate::workspace::{Workspace, fingerprint, say};

/// How many images of different contents are kept for another run.
const IMAGES_KEPT: usize = 16;

/// What every disk is called, in its file system (16 bytes at most).
pub const LABEL: &str = "lemma";

/// The date of everything on the disk, so that equal contents give equal images: 2026-01-01.
const TIMESTAMP: u64 = 1_767_225_600;

/// The size and the block size of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// In MiB.
    pub size_mib: u32,
    /// In bytes.
    pub block_size: u32,
}

/// One file on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    content: Vec<u8>,
    executable: bool,
}

/// What goes on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    files: BTreeMap<String, Entry>,
    links: BTreeMap<String, String>,
    folders: Vec<String>,
}

impl Contents {
    /// An empty folder, with those above it.
    pub fn folder(&mut self, path: &str) -> Result<()> {
        self.folders.push(relative(path)?);
        Ok(())
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.values().map(|entry| entry.content.len() as u64).sum()
    }

    /// A file with this content.
    pub fn file(&mut self, path: &str, content: impl Into<Vec<u8>>) -> Result<()> {
        let entry = Entry { content: content.into(), executable: false };
        self.files.insert(relative(path)?, entry);
        Ok(())
    }

    /// An executable with this content.
    pub fn program(&mut self, path: &str, content: impl Into<Vec<u8>>) -> Result<()> {
        let entry = Entry { content: content.into(), executable: true };
        self.files.insert(relative(path)?, entry);
        Ok(())
    }

    /// A copy of a file of the host, executable if it is.
    pub fn copy(&mut self, path: &str, source: &Path) -> Result<()> {
        let content =
            fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        let executable = source.metadata()?.permissions().mode() & 0o111 != 0;
        self.files.insert(relative(path)?, Entry { content, executable });
        Ok(())
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.links.insert(relative(path)?, target.to_owned());
        Ok(())
    }

    /// Adds all of `others`, in the place of what has the same path.
    pub fn extend(&mut self, others: &Self) {
        self.files.extend(others.files.clone());
        self.links.extend(others.links.clone());
        self.folders.extend(others.folders.clone());
    }

    /// A number that tells them from others.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut parts: Vec<&[u8]> = Vec::new();
        for (path, entry) in &self.files {
            parts.push(path.as_bytes());
            parts.push(if entry.executable { b"x" } else { b"-" });
            parts.push(&entry.content);
        }
        parts.push(b"links");
        for (path, target) in &self.links {
            parts.extend([path.as_bytes(), target.as_bytes()]);
        }
        parts.push(b"folders");
        parts.extend(self.folders.iter().map(|path| path.as_bytes()));
        fingerprint(&parts)
    }

    /// Tells their images from others.
    fn key(&self, geometry: Geometry) -> u64 {
        let Geometry { size_mib, block_size } = geometry;
        let contents = self.fingerprint().to_le_bytes();
        fingerprint(&[&size_mib.to_le_bytes(), &block_size.to_le_bytes(), &contents])
    }

    /// Lays everything out below `folder`.
    fn write_to(&self, folder: &Path) -> Result<()> {
        for path in &self.folders {
            fs::create_dir_all(folder.join(path))?;
        }
        for (path, entry) in &self.files {
            let target = folder.join(path);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            let mut file = File::create(&target)
                .with_context(|| format!("/{path} cannot be put on the disk"))?;
            file.write_all(&entry.content)?;
            let mode = if entry.executable { 0o755 } else { 0o644 };
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        for (path, target) in &self.links {
            std::os::unix::fs::symlink(target, folder.join(path))
                .with_context(|| format!("/{path} cannot be put on the disk"))?;
        }
        date_all(folder)?;
        Ok(())
    }
}

/// Gives everything below `folder` the one date; a folder after what is in it.
fn date_all(folder: &Path) -> Result<()> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            date_all(&entry.path())?;
        }
        date(&entry.path())?;
    }
    date(folder)
}

fn date(path: &Path) -> Result<()> {
    let time = Timespec { tv_sec: TIMESTAMP.cast_signed(), tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .with_context(|| format!("cannot date {}", path.display()))
}

/// A path on the disk without its leading slash; nothing in it may climb out.
fn relative(path: &str) -> Result<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() || parts.iter().any(|part| matches!(*part, "." | "..")) {
        bail!("`{path}` is not a path on the disk");
    }
    if parts.iter().any(|part| part.contains(['"', '\n']) || part.len() > 255) {
        bail!("`{path}` has a name that the disk's tools cannot write");
    }
    Ok(parts.join("/"))
}

/// The image of these contents; made now unless there is one. Nobody may write to it.
pub fn root_disk(
    workspace: &Workspace,
    contents: &Contents,
    geometry: Geometry,
) -> Result<PathBuf> {
    let image = workspace.output(format!("disks/root-{:016x}.img", contents.key(geometry)))?;
    let _lock = workspace.lock("disks/make")?;
    if image.exists() {
        return Ok(image);
    }
    setup::require_all(workspace, &[Tool::Mke2fs, Tool::Debugfs])?;
    say(format!("making the root disk ({} MiB ext2)", geometry.size_mib));
    let staging = tempfile::Builder::new().prefix("lemma-root-").tempdir()?;
    contents.write_to(staging.path())?;
    let parent = image.parent().context("an image without a folder")?;
    let temporary = tempfile::NamedTempFile::new_in(parent)?;
    make_ext2(workspace, temporary.path(), staging.path(), geometry)?;
    if staging.path().metadata()?.uid() != 0 {
        give_to_root(workspace, temporary.path(), contents)?;
    }
    temporary.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    temporary.persist(&image)?;
    remove_old(parent, "img", IMAGES_KEPT)?;
    Ok(image)
}

fn make_ext2(workspace: &Workspace, image: &Path, folder: &Path, geometry: Geometry) -> Result<()> {
    let mke2fs = setup::require(workspace, Tool::Mke2fs)?;
    let output = Command::new(mke2fs)
        .args(["-q", "-F", "-t", "ext2", "-m", "0", "-I", "256", "-L", LABEL])
        .args(["-U", "6c656d6d-6100-4000-8000-000000000001"])
        .args(["-E", "root_owner=0:0,hash_seed=6c656d6d-6100-4000-8000-000000000002"])
        .args(["-O", "none,filetype,sparse_super,large_file"])
        .args(["-b", &geometry.block_size.to_string()])
        .arg("-d")
        .arg(folder)
        .arg(image)
        .arg(format!("{}M", geometry.size_mib))
        .env("E2FSPROGS_FAKE_TIME", TIMESTAMP.to_string())
        .stdin(Stdio::null())
        .output()
        .context("cannot start mke2fs")?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("mke2fs failed: {}", message.trim().replace('\n', "; "));
    }
    Ok(())
}

/// Files laid out by an ordinary user belong to that user on the image too: give them to root.
fn give_to_root(workspace: &Workspace, image: &Path, contents: &Contents) -> Result<()> {
    let mut script = String::new();
    let mut paths: Vec<String> = contents.files.keys().cloned().collect();
    paths.extend(contents.folders.iter().cloned());
    let parents: Vec<String> = paths
        .iter()
        .flat_map(|path| path.match_indices('/').map(|(at, _)| path[..at].to_owned()))
        .collect();
    paths.extend(parents);
    paths.sort();
    paths.dedup();
    for path in paths {
        for field in ["uid", "gid"] {
            script.push_str(&format!("set_inode_field \"/{path}\" {field} 0\n"));
        }
    }
    debugfs(workspace, image, &script)
}

/// Writes files into an image, over what is there; and links, where nothing is.
pub fn add(workspace: &Workspace, image: &Path, contents: &Contents) -> Result<()> {
    let staging = tempfile::Builder::new().prefix("lemma-add-").tempdir()?;
    let paths = contents.files.keys().chain(contents.links.keys());
    let parents: BTreeSet<&str> =
        paths.flat_map(|path| path.match_indices('/').map(|(at, _)| &path[..at])).collect();
    let mut script = String::new();
    // For a name that is taken, debugfs would make a folder, or a link, that is in no folder.
    for folder in parents.into_iter().chain(contents.folders.iter().map(String::as_str)) {
        if !exists(workspace, image, folder)? {
            script.push_str(&format!("mkdir \"/{folder}\"\n"));
        }
    }
    let written = |number: usize| staging.path().join(format!("{number}.written"));
    for (number, (path, entry)) in contents.files.iter().enumerate() {
        let source = staging.path().join(number.to_string());
        fs::write(&source, &entry.content)?;
        script.push_str(&format!("rm \"/{path}\"\nwrite \"{}\" \"/{path}\"\n", source.display()));
        let mode = if entry.executable { "0100755" } else { "0100644" };
        for (field, value) in [("mode", mode), ("uid", "0"), ("gid", "0")] {
            script.push_str(&format!("set_inode_field \"/{path}\" {field} {value}\n"));
        }
        script.push_str(&format!("dump \"/{path}\" \"{}\"\n", written(number).display()));
    }
    for (path, target) in &contents.links {
        if !exists(workspace, image, path)? {
            script.push_str(&format!("symlink \"/{path}\" \"{target}\"\n"));
        }
    }
    if script.is_empty() {
        return Ok(());
    }
    debugfs(workspace, image, &script)?;
    // debugfs reports success whatever happens; a look at the result does not.
    for (number, (path, entry)) in contents.files.iter().enumerate() {
        if !fs::read(written(number)).is_ok_and(|content| content == entry.content) {
            bail!("/{path} could not be written to {} (is it full?)", image.display());
        }
    }
    Ok(())
}

/// One file of an image, as its content now is.
pub fn read_file(workspace: &Workspace, image: &Path, path: &str) -> Result<Vec<u8>> {
    ask(workspace, image, &format!("cat \"/{}\"", relative(path)?))
}

/// Whether there is something of this name.
fn exists(workspace: &Workspace, image: &Path, path: &str) -> Result<bool> {
    Ok(ask(workspace, image, &format!("stat \"/{path}\""))?.starts_with(b"Inode: "))
}

/// What debugfs answers, which changes nothing.
fn ask(workspace: &Workspace, image: &Path, request: &str) -> Result<Vec<u8>> {
    let debugfs = setup::require(workspace, Tool::Debugfs)?;
    let output = Command::new(debugfs)
        .args(["-R", request])
        .arg(image)
        .stdin(Stdio::null())
        .output()
        .context("cannot start debugfs")?;
    Ok(output.stdout)
}

fn debugfs(workspace: &Workspace, image: &Path, script: &str) -> Result<()> {
    let debugfs = setup::require(workspace, Tool::Debugfs)?;
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(script.as_bytes())?;
    let output = Command::new(debugfs)
        .args(["-w", "-f"])
        .arg(file.path())
        .arg(image)
        .stdin(Stdio::null())
        .output()
        .context("cannot start debugfs")?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("debugfs failed on {}: {}", image.display(), message.trim().replace('\n', "; "));
    }
    Ok(())
}

/// Checks an image without changing it; the error is what `e2fsck` found.
pub fn check(workspace: &Workspace, image: &Path) -> Result<()> {
    let e2fsck = setup::require(workspace, Tool::E2fsck)?;
    let output = Command::new(e2fsck)
        .arg("-fn")
        .arg(image)
        .stdin(Stdio::null())
        .output()
        .context("cannot start e2fsck")?;
    if !output.status.success() {
        let found = String::from_utf8_lossy(&output.stdout);
        bail!("e2fsck -fn {} found:\n{found}", image.display());
    }
    Ok(())
}

/// Repairs an image whose file system was in use when the power failed, as `e2fsck` does it where a
/// machine starts; what was done, if anything had to be. Files that were not written back may be
/// gone, or be in `/lost+found`.
pub fn repair(workspace: &Workspace, image: &Path) -> Result<Option<&'static str>> {
    if is_clean(image)? {
        return Ok(None);
    }
    let e2fsck = setup::require(workspace, Tool::E2fsck)?;
    // First what loses nothing, then, if that is not enough, everything.
    for (option, done) in [("-p", "repaired"), ("-fy", "repaired, and some files may be lost")] {
        let status = Command::new(&e2fsck)
            .args([option.as_ref(), image.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("cannot start e2fsck")?;
        // 1 and 2: errors were corrected (`e2fsck(8)`).
        if matches!(status.code(), Some(0..=3)) {
            return Ok(Some(done));
        }
    }
    bail!("e2fsck cannot repair {}", image.display())
}

/// Whether an ext2 says that it was closed properly. What holds none is not in disorder: the guest
/// will say what it thinks of it.
fn is_clean(image: &Path) -> Result<bool> {
    let Some(superblock) = superblock(image)? else { return Ok(true) };
    // `s_state`: valid, and no errors.
    Ok(u16::from_le_bytes([superblock[58], superblock[59]]) & 3 == 1)
}

/// What an ext2 is called; nothing if the image holds none.
pub fn label(image: &Path) -> Result<String> {
    // `s_volume_name`.
    let name = superblock(image)?.map(|superblock| superblock[120..136].to_vec());
    let name = name.unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

/// The first part of an ext2's superblock, if the image holds one.
fn superblock(image: &Path) -> Result<Option<[u8; 136]>> {
    use std::os::unix::fs::FileExt;
    const PLACE: u64 = 1024;
    let mut fields = [0; 136];
    let file = fs::File::open(image).with_context(|| format!("cannot read {}", image.display()))?;
    let is_there = file.read_exact_at(&mut fields, PLACE).is_ok();
    // `s_magic`.
    Ok(Some(fields).filter(|fields| is_there && fields[56..58] == 0xef53_u16.to_le_bytes()))
}

/// Removes the oldest files of this extension, until `kept` are left.
pub(crate) fn remove_old(folder: &Path, extension: &str, kept: usize) -> Result<()> {
    let mut images: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in folder.read_dir()?.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|found| found == extension) {
            images.push((entry.metadata()?.modified()?, path));
        }
    }
    images.sort();
    let surplus = images.len().saturating_sub(kept);
    for (_, path) in images.into_iter().take(surplus) {
        fs::remove_file(path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Geometry = Geometry { size_mib: 4, block_size: 1024 };

    #[test]
    fn a_disk_that_was_in_use_is_repaired() {
        use std::os::unix::fs::FileExt;
        let folder = tempfile::tempdir().unwrap();
        let workspace = workspace(folder.path());
        let mut contents = Contents::default();
        contents.file("/file", b"text".to_vec()).unwrap();
        let disk = root_disk(&workspace, &contents, SMALL).unwrap();
        let image = folder.path().join("disk");
        fs::copy(disk, &image).unwrap();
        assert_eq!(repair(&workspace, &image).unwrap(), None);
        // Not closed, and more blocks free than there are.
        let file = fs::File::options().write(true).open(&image).unwrap();
        file.write_all_at(&[0, 0], 1024 + 58).unwrap();
        file.write_all_at(&[1, 0, 0, 0], 1024 + 12).unwrap();
        drop(file);
        assert_eq!(repair(&workspace, &image).unwrap(), Some("repaired"));
        check(&workspace, &image).unwrap();
        assert_eq!(repair(&workspace, &image).unwrap(), None);
        assert_eq!(read_file(&workspace, &image, "/file").unwrap(), b"text");
        // What holds no file system is left to the guest.
        fs::write(&image, vec![0; 4096]).unwrap();
        assert_eq!(repair(&workspace, &image).unwrap(), None);
    }

    fn workspace(folder: &Path) -> Workspace {
        Workspace::at(folder.to_path_buf(), folder.join("out")).unwrap()
    }

    fn contents() -> Contents {
        let mut contents = Contents::default();
        contents.folder("/dev").unwrap();
        contents.file("/etc/motd", "hello\n").unwrap();
        contents.program("/bin/tool", [0x7f_u8; 5000]).unwrap();
        contents
    }

    #[test]
    fn the_image_is_whole_and_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = workspace(folder.path());
        let image = root_disk(&workspace, &contents(), SMALL).unwrap();
        check(&workspace, &image).unwrap();
        assert_eq!(read_file(&workspace, &image, "/etc/motd").unwrap(), b"hello\n");
        assert_eq!(read_file(&workspace, &image, "/bin/tool").unwrap(), [0x7f; 5000]);
        let made = image.metadata().unwrap().modified().unwrap();
        assert_eq!(root_disk(&workspace, &contents(), SMALL).unwrap(), image);
        assert_eq!(image.metadata().unwrap().modified().unwrap(), made);
        let mut other = contents();
        other.file("/etc/motd", "changed\n").unwrap();
        assert_ne!(root_disk(&workspace, &other, SMALL).unwrap(), image);
    }

    #[test]
    fn files_are_added_to_an_existing_image() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = workspace(folder.path());
        let image = root_disk(&workspace, &contents(), SMALL).unwrap();
        assert_eq!(label(&image).unwrap(), LABEL);
        let mut files = Contents::default();
        for path in ["/etc/motd", "/a/b/c"] {
            files.file(path, "new content").unwrap();
        }
        files.link("/etc/link", "motd").unwrap();
        files.link("/bin/tool", "elsewhere").unwrap();
        add(&workspace, &image, &files).unwrap();
        check(&workspace, &image).unwrap();
        for path in ["/etc/motd", "/a/b/c"] {
            assert_eq!(read_file(&workspace, &image, path).unwrap(), b"new content", "{path}");
        }
        let link = ask(&workspace, &image, "stat /etc/link").unwrap();
        assert!(String::from_utf8_lossy(&link).contains("link dest: \"motd\""));
        assert_eq!(read_file(&workspace, &image, "/bin/tool").unwrap(), [0x7f; 5000]);
        // What is there already is no error.
        add(&workspace, &image, &files).unwrap();
        check(&workspace, &image).unwrap();
        files.file("/large", vec![1; 8 << 20]).unwrap();
        let error = add(&workspace, &image, &files).unwrap_err().to_string();
        assert!(error.contains("full"), "{error}");
    }

    #[test]
    fn a_full_disk_is_an_error_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut large = contents();
        large.file("/large", vec![1; 8 << 20]).unwrap();
        let error = root_disk(&workspace(folder.path()), &large, SMALL).unwrap_err().to_string();
        assert!(error.contains("mke2fs"), "{error}");
    }

    #[test]
    fn paths_stay_on_the_disk() {
        for wrong in ["", "/", "..", "/a/../../b", "a/./b", "a\"b", "a\nb"] {
            assert!(relative(wrong).is_err(), "{wrong}");
        }
        assert_eq!(relative("//bin//sh").unwrap(), "bin/sh");
    }

    #[test]
    fn only_a_few_images_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..IMAGES_KEPT + 3 {
            fs::write(folder.path().join(format!("{number}.img")), "").unwrap();
        }
        fs::write(folder.path().join("other"), "").unwrap();
        remove_old(folder.path(), "img", IMAGES_KEPT).unwrap();
        assert_eq!(folder.path().read_dir().unwrap().count(), IMAGES_KEPT + 1);
    }
}
