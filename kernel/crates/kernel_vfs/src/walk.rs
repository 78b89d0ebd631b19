//! Path resolution: from a start directory and a path to a dentry, as `path_resolution(7)` has it.
//!
//! The usual walk finds every component in the dentry cache: [`Walk::advance`] runs under one
//! shared hold of the `Vfs` lock, borrows dentries instead of cloning them, and allocates
//! nothing. Where it cannot go on (a name that is not cached, a symbolic link, `..`), it stops, and
//! [`Walk::resolve`] takes that step without the lock, for it may have to ask a file system.

use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_sync::RwLock;

use crate::cache::{Cached, NameHash};
use crate::dentry::Dentry;
use crate::error::FsError;
use crate::inode::LinkTarget;
use crate::mount::Vfs;
use crate::types::{FileType, Identity, NAME_MAX, PATH_MAX, SYMLINK_LIMIT};

/// The view in which paths are resolved: a name space, a process's root, and who asks.
#[derive(Clone, Copy)]
pub struct Walk<'a> {
    pub vfs: &'a RwLock<Vfs>,
    pub root: &'a Arc<Dentry>,
    pub identity: Identity<'a>,
}

/// The last component of a path, whose parent has been resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last<'p> {
    /// A proper name, 1 to 255 bytes.
    Name(&'p [u8]),
    Dot,
    DotDot,
    /// The path was `/`, or several of them.
    Root,
}

/// A resolved parent and the last component.
pub struct Parent<'p> {
    /// A directory that may be searched.
    pub directory: Arc<Dentry>,
    pub last: Last<'p>,
    /// Slashes follow the last component: it has to be a directory.
    pub trailing_slash: bool,
}

/// Why the cached walk stopped. Lengths count from the end of the path that it was given.
enum Stop<'p> {
    Done,
    Failed(FsError),
    /// `name` is not in the cache; `rest` bytes follow it.
    Unknown {
        name: &'p [u8],
        rest: usize,
    },
    /// `..`, with `rest` bytes after it.
    DotDot {
        rest: usize,
    },
    /// A symbolic link to follow, with `rest` bytes after it.
    Symlink {
        link: Arc<Dentry>,
        rest: usize,
    },
}

/// Splits the next component off: (name, what follows it), the name empty at the end. Feeds its
/// bytes to `hash` on the way.
#[inline]
fn next_component<'p>(mut path: &'p [u8], hash: &mut NameHash) -> (&'p [u8], &'p [u8]) {
    while let [b'/', tail @ ..] = path {
        path = tail;
    }
    let mut length = 0;
    for &byte in path {
        if byte == b'/' {
            break;
        }
        hash.add(byte);
        length += 1;
    }
    path.split_at_checked(length).unwrap_or((path, &[]))
}

impl<'a> Walk<'a> {
    /// Whether names may be looked up in this directory.
    #[inline]
    pub(crate) fn may_search(&self, directory: &Dentry) -> bool {
        self.identity.uid == 0
            || self.identity.may(1, &directory.inode().permissions(), FileType::Directory)
    }

    /// Walks as far as the cache knows the way; returns how far it came and why it stopped.
    #[inline]
    fn advance<'g, 'p>(
        &self,
        vfs: &'g Vfs,
        start: &'g Arc<Dentry>,
        path: &'p [u8],
        follow_last: bool,
    ) -> (&'g Arc<Dentry>, Stop<'p>) {
        let mut current = start;
        let mut path = path;
        loop {
            let mut hash = vfs.cache.hash_start(current.id());
            let (name, tail) = next_component(path, &mut hash);
            if name.is_empty() {
                return (current, Stop::Done);
            }
            if current.file_type() != FileType::Directory {
                return (current, Stop::Failed(FsError::NotDirectory));
            }
            if !self.may_search(current) {
                return (current, Stop::Failed(FsError::PermissionDenied));
            }
            path = tail;
            if let [b'.', more @ ..] = name {
                match more {
                    [] => continue,
                    [b'.'] => return (current, Stop::DotDot { rest: tail.len() }),
                    _ => {}
                }
            }
            if name.len() > NAME_MAX {
                return (current, Stop::Failed(FsError::NameTooLong));
            }
            match vfs.cache.get_hashed(hash.finish(), current.id(), name) {
                Cached::Found(found) => {
                    if found.file_type() == FileType::Symlink && (follow_last || !tail.is_empty()) {
                        let stop = Stop::Symlink { link: Arc::clone(found), rest: tail.len() };
                        return (current, stop);
                    }
                    current = found;
                    while let Some(top) = vfs.covering(current) {
                        current = top;
                    }
                }
                Cached::Absent => return (current, Stop::Failed(FsError::NotFound)),
                Cached::Unknown => {
                    return (current, Stop::Unknown { name, rest: tail.len() });
                }
            }
        }
    }

    /// Resolves `path`, from the process's root if it is absolute and from `start` otherwise. A
    /// symbolic link at the end is followed if `follow_last` says so or slashes follow it.
    pub fn resolve(
        &self,
        start: &Arc<Dentry>,
        path: &[u8],
        follow_last: bool,
    ) -> Result<Arc<Dentry>, FsError> {
        if path.is_empty() {
            return Err(FsError::NotFound);
        }
        if path.len() > PATH_MAX {
            return Err(FsError::NameTooLong);
        }
        self.resolve_counting(start, path, follow_last, &mut 0)
    }

    /// [`resolve`](Self::resolve), with the links followed so far. An empty path is `start`.
    #[inline]
    pub(crate) fn resolve_counting(
        &self,
        start: &Arc<Dentry>,
        path: &[u8],
        follow_last: bool,
        links: &mut u32,
    ) -> Result<Arc<Dentry>, FsError> {
        let start = if path.first() == Some(&b'/') { self.root } else { start };
        let (current, stop) = {
            let vfs = self.vfs.read();
            let (current, stop) = self.advance(&vfs, start, path, follow_last);
            (Arc::clone(current), stop)
        };
        if let Stop::Done = stop {
            return finish(current, path);
        }
        self.resolve_slowly(current, stop, path, follow_last, links)
    }

    /// Goes on from `current`, where the cached walk stopped for the reason `stop`.
    fn resolve_slowly(
        &self,
        mut current: Arc<Dentry>,
        stop: Stop<'_>,
        path: &[u8],
        follow_last: bool,
        links: &mut u32,
    ) -> Result<Arc<Dentry>, FsError> {
        let (mut text, mut rest) = (Cow::Borrowed(path), 0);
        match self.step(&mut current, stop, follow_last, links)? {
            Step::Rest(length) => rest = length,
            Step::Target { target, rest } => text = splice(target, path, rest),
            Step::Done => return finish(current, path),
        }
        if let Cow::Owned(_) = text {
            rest = text.len();
        }
        loop {
            let remaining = text.get(text.len() - rest..).unwrap_or(&[]);
            if remaining.first() == Some(&b'/') && rest == text.len() {
                // Only the start of a link's target can be absolute.
                current = Arc::clone(self.root);
            }
            let (next, stop) = {
                let vfs = self.vfs.read();
                let (next, stop) = self.advance(&vfs, &current, remaining, follow_last);
                (Arc::clone(next), stop)
            };
            current = next;
            match self.step(&mut current, stop, follow_last, links)? {
                Step::Rest(length) => rest = length,
                Step::Target { target, rest: after } => {
                    let new = splice(target, &text, after).into_owned();
                    rest = new.len();
                    text = Cow::Owned(new);
                }
                Step::Done => return finish(current, &text),
            }
        }
    }

    /// Takes the one step that the cache could not.
    fn step(
        &self,
        current: &mut Arc<Dentry>,
        stop: Stop<'_>,
        follow_last: bool,
        links: &mut u32,
    ) -> Result<Step, FsError> {
        match stop {
            Stop::Done => Ok(Step::Done),
            Stop::Failed(error) => Err(error),
            Stop::DotDot { rest } => {
                *current = self.parent_of(current);
                Ok(Step::Rest(rest))
            }
            Stop::Unknown { name, rest } => {
                let found = self.look_up(current, name)?;
                if found.file_type() == FileType::Symlink && (follow_last || rest > 0) {
                    return self.follow(current, &found, rest, links);
                }
                *current = self.top(found);
                Ok(Step::Rest(rest))
            }
            Stop::Symlink { link, rest } => self.follow(current, &link, rest, links),
        }
    }

    /// Follows a symbolic link in the directory `current`, with `rest` bytes of the path after it.
    fn follow(
        &self,
        current: &mut Arc<Dentry>,
        link: &Arc<Dentry>,
        rest: usize,
        links: &mut u32,
    ) -> Result<Step, FsError> {
        match self.link_target(current, link, links)? {
            Followed::Path(target) => Ok(Step::Target { target, rest }),
            Followed::Place(place) => {
                *current = place;
                Ok(Step::Rest(rest))
            }
        }
    }

    /// Where the link in `directory` leads, counting it.
    pub(crate) fn link_target(
        &self,
        directory: &Arc<Dentry>,
        link: &Arc<Dentry>,
        links: &mut u32,
    ) -> Result<Followed, FsError> {
        *links += 1;
        if *links > SYMLINK_LIMIT {
            return Err(FsError::TooManySymlinks);
        }
        match link.inode().follow_link()? {
            LinkTarget::Path(target) if target.is_empty() => Err(FsError::NotFound),
            LinkTarget::Path(target) => Ok(Followed::Path(target)),
            LinkTarget::Place(place) => Ok(Followed::Place(self.top(place))),
            LinkTarget::Object(inode) => {
                Ok(Followed::Place(Dentry::new_child(directory, &link.name(), inode)))
            }
        }
    }

    /// The root of the topmost mount on `dentry`, or `dentry` itself.
    pub(crate) fn top(&self, dentry: Arc<Dentry>) -> Arc<Dentry> {
        if dentry.covering_mount().is_none() {
            return dentry;
        }
        let vfs = self.vfs.read();
        let mut top = &dentry;
        while let Some(root) = vfs.covering(top) {
            top = root;
        }
        Arc::clone(top)
    }

    /// `..`: the parent, through the root of a mount to the directory that it covers, but never
    /// above the process's root.
    pub(crate) fn parent_of(&self, dentry: &Arc<Dentry>) -> Arc<Dentry> {
        let mut dentry = Arc::clone(dentry);
        loop {
            if Arc::ptr_eq(&dentry, self.root) {
                return dentry;
            }
            if let Some(parent) = dentry.parent() {
                return self.top(parent);
            }
            let covered = self.vfs.read().covered(&dentry).cloned();
            match covered {
                Some(point) => dentry = point,
                None => return dentry,
            }
        }
    }

    /// The entry `name` of `directory`: from the cache, or from its file system. Mounts on it are
    /// not entered.
    pub(crate) fn look_up(
        &self,
        directory: &Arc<Dentry>,
        name: &[u8],
    ) -> Result<Arc<Dentry>, FsError> {
        let _guard = directory.lock_directory();
        self.look_up_locked(directory, name)?.ok_or(FsError::NotFound)
    }

    /// [`look_up`](Self::look_up) by a caller that holds the directory's lock; `None` if the name
    /// does not exist.
    pub(crate) fn look_up_locked(
        &self,
        directory: &Arc<Dentry>,
        name: &[u8],
    ) -> Result<Option<Arc<Dentry>>, FsError> {
        match self.vfs.read().cache.get(directory.id(), name) {
            Cached::Found(found) => return Ok(Some(Arc::clone(found))),
            Cached::Absent => return Ok(None),
            Cached::Unknown => {}
        }
        if directory.is_unlinked() {
            return Ok(None);
        }
        let inode = directory.inode();
        let found = match inode.lookup(name) {
            Ok(child) => Some(Dentry::new_child(directory, name, child)),
            Err(FsError::NotFound) => None,
            Err(error) => return Err(error),
        };
        if inode.cacheable() {
            self.remember(directory, name, found.clone());
        }
        Ok(found)
    }

    /// Puts what is known of a name into the cache.
    pub(crate) fn remember(
        &self,
        directory: &Arc<Dentry>,
        name: &[u8],
        dentry: Option<Arc<Dentry>>,
    ) {
        let forgotten = self.vfs.write().cache.insert(directory.id(), name, dentry);
        drop(forgotten);
    }

    /// Resolves all but the last component of `path`.
    pub fn resolve_parent<'p>(
        &self,
        start: &Arc<Dentry>,
        path: &'p [u8],
    ) -> Result<Parent<'p>, FsError> {
        if path.is_empty() {
            return Err(FsError::NotFound);
        }
        if path.len() > PATH_MAX {
            return Err(FsError::NameTooLong);
        }
        self.resolve_parent_counting(start, path, &mut 0)
    }

    /// [`resolve_parent`](Self::resolve_parent), with the links followed so far.
    #[inline]
    pub(crate) fn resolve_parent_counting<'p>(
        &self,
        start: &Arc<Dentry>,
        path: &'p [u8],
        links: &mut u32,
    ) -> Result<Parent<'p>, FsError> {
        let mut end = path.len();
        while end > 0 && path.get(end - 1) == Some(&b'/') {
            end -= 1;
        }
        let trailing_slash = end < path.len();
        let mut begin = end;
        while begin > 0 && path.get(begin - 1) != Some(&b'/') {
            begin -= 1;
        }
        let prefix = path.get(..begin).unwrap_or(&[]);
        let last = match path.get(begin..end).unwrap_or(&[]) {
            [] => {
                return Ok(Parent {
                    directory: Arc::clone(self.root),
                    last: Last::Root,
                    trailing_slash,
                });
            }
            b"." => Last::Dot,
            b".." => Last::DotDot,
            name => Last::Name(name),
        };
        let directory = self.resolve_counting(start, prefix, true, links)?;
        if directory.file_type() != FileType::Directory {
            return Err(FsError::NotDirectory);
        }
        if !self.may_search(&directory) {
            return Err(FsError::PermissionDenied);
        }
        if matches!(last, Last::Name(name) if name.len() > NAME_MAX) {
            return Err(FsError::NameTooLong);
        }
        Ok(Parent { directory, last, trailing_slash })
    }

    /// The absolute path of `dentry` as seen from the process's root. `None` if its name, or that
    /// of one of its ancestors, has been removed, or it cannot be reached from the root.
    pub fn path_of(&self, dentry: &Arc<Dentry>) -> Option<Vec<u8>> {
        self.full_path_of(dentry).filter(|path| path.reachable).map(|path| path.bytes)
    }

    /// The same; if it cannot be reached, its path from the root of the tree.
    pub fn full_path_of(&self, dentry: &Arc<Dentry>) -> Option<FullPath> {
        let mut reachable = true;
        let mut names = Vec::new();
        let mut current = Arc::clone(dentry);
        while !Arc::ptr_eq(&current, self.root) {
            if current.is_unlinked() {
                return None;
            }
            match current.parent() {
                Some(parent) => {
                    names.push(current.name());
                    current = parent;
                }
                None => {
                    let covered = self.vfs.read().covered(&current).cloned();
                    let Some(point) = covered else {
                        reachable = false;
                        break;
                    };
                    current = point;
                }
            }
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Some(FullPath { bytes: path, reachable })
    }
}

/// Where something is in the tree.
pub struct FullPath {
    pub bytes: Vec<u8>,
    /// As seen from the process's root; otherwise it is not below that.
    pub reachable: bool,
}

/// A symbolic link that has been followed.
pub(crate) enum Followed {
    /// To a path, which is not empty.
    Path(Vec<u8>),
    Place(Arc<Dentry>),
}

/// Where the slow walk stands after a step.
enum Step {
    Done,
    /// This many bytes of the path are left.
    Rest(usize),
    /// Go on with `target`, and after it with the last `rest` bytes of the path.
    Target {
        target: Vec<u8>,
        rest: usize,
    },
}

/// A link's target followed by the last `rest` bytes of `path`, which begin with a slash if any.
fn splice<'t>(mut target: Vec<u8>, path: &[u8], rest: usize) -> Cow<'t, [u8]> {
    target.extend_from_slice(path.get(path.len() - rest..).unwrap_or(&[]));
    Cow::Owned(target)
}

/// The end of a walk: a path with slashes at its end has to be a directory's.
#[inline]
fn finish(dentry: Arc<Dentry>, path: &[u8]) -> Result<Arc<Dentry>, FsError> {
    if path.last() == Some(&b'/') && dentry.file_type() != FileType::Directory {
        return Err(FsError::NotDirectory);
    }
    Ok(dentry)
}
