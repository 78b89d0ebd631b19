//! What is done with names: opening, creating, removing, as section 2 of the manual has
//! it. Each function resolves, checks, and only then asks the file system to change something.

use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::claim::{Claim, Use};
use crate::dentry::Dentry;
use crate::error::FsError;
use crate::file::File;
use crate::inode::Inode;
use crate::mount::MountFlags;
use crate::open_file::{Holds, OpenFile};
use crate::set_id;
use crate::types::{FileType, NewNode, OpenFlags, Ownership, PATH_MAX};
use crate::walk::{Followed, Last, Walk};
use crate::writers::Writer;

/// What `O_PATH` opens: a place in the tree, not to be read or written.
struct PathOnly;

impl File for PathOnly {}

impl Walk<'_> {
    /// Whether `wanted` (4 read, 2 write, 1 execute) is allowed on what `dentry` names; a read-only
    /// mount forbids writing of anything but devices and pipes.
    pub fn check_access(&self, dentry: &Dentry, wanted: u16) -> Result<(), FsError> {
        let file_type = dentry.file_type();
        let on_disk =
            matches!(file_type, FileType::Regular | FileType::Directory | FileType::Symlink);
        if wanted & 2 != 0 && on_disk && dentry.mount().read_only() {
            return Err(FsError::ReadOnly);
        }
        if wanted != 0 && self.identity.uid == 0 && wanted & 1 == 0 {
            return Ok(());
        }
        if self.identity.may(wanted, &dentry.inode().permissions(), file_type) {
            Ok(())
        } else {
            Err(FsError::PermissionDenied)
        }
    }

    /// Whether names may be added to `directory`, whose lock is held.
    pub(crate) fn check_add(&self, directory: &Dentry) -> Result<(), FsError> {
        if directory.is_unlinked() {
            return Err(FsError::NotFound);
        }
        self.check_access(directory, 3)
    }

    /// Whether `victim` may be taken out of `directory`, whose lock is held.
    pub(crate) fn check_remove(
        &self,
        directory: &Dentry,
        victim: &Dentry,
        as_directory: bool,
    ) -> Result<(), FsError> {
        self.check_access(directory, 3)?;
        if self.identity.uid != 0 {
            let place = directory.inode().permissions();
            if place.mode & 0o1000 != 0
                && !self.identity.owns(&place)
                && !self.identity.owns(&victim.inode().permissions())
            {
                return Err(FsError::NotPermitted);
            }
        }
        match (as_directory, victim.file_type() == FileType::Directory) {
            (true, false) => return Err(FsError::NotDirectory),
            (false, true) => return Err(FsError::IsDirectory),
            _ => {}
        }
        if victim.covering_mount().is_some() { Err(FsError::Busy) } else { Ok(()) }
    }

    /// Owner and mode of something new in `directory`; a set-group-id directory hands its group
    /// down, and the bit to its subdirectories (`inode(7)`).
    fn new_owner(&self, directory: &Dentry, mode: u16, is_directory: bool) -> Ownership {
        let place = directory.inode().permissions();
        let mut owner = Ownership { mode, uid: self.identity.uid, gid: self.identity.gid };
        if place.mode & 0o2000 != 0 {
            owner.gid = place.gid;
            if is_directory {
                owner.mode |= 0o2000;
            }
        }
        owner
    }

    /// Creates `name`, known to be missing, in `directory`, whose lock is held.
    fn create_locked(
        &self,
        directory: &Arc<Dentry>,
        name: &[u8],
        node: NewNode<'_>,
        mode: u16,
    ) -> Result<Arc<Dentry>, FsError> {
        self.check_add(directory)?;
        let is_device = |kind| matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
        if let NewNode::Special { file_type, .. } = node
            && is_device(file_type)
            && self.identity.uid != 0
        {
            return Err(FsError::NotPermitted);
        }
        let owner = self.new_owner(directory, mode, node == NewNode::Directory);
        let inode = directory.inode().create(name, node, owner)?;
        let dentry = Dentry::new_child(directory, name, inode);
        if directory.inode().cacheable() {
            self.remember(directory, name, Some(Arc::clone(&dentry)));
        }
        Ok(dentry)
    }

    /// Opens `path` as `open(2)` does. `mode` (umask taken off) is for a file that is created.
    pub fn open(
        &self,
        start: &Arc<Dentry>,
        path: &[u8],
        flags: OpenFlags,
        mode: u16,
    ) -> Result<Arc<OpenFile>, FsError> {
        if flags.contains(OpenFlags::CREATE) && !flags.contains(OpenFlags::PATH) {
            return self.open_creating(start, path, flags, mode);
        }
        let dentry = self.resolve(start, path, !flags.contains(OpenFlags::NO_FOLLOW))?;
        self.open_dentry(dentry, flags, false)
    }

    fn open_creating(
        &self,
        start: &Arc<Dentry>,
        path: &[u8],
        flags: OpenFlags,
        mode: u16,
    ) -> Result<Arc<OpenFile>, FsError> {
        if path.is_empty() {
            return Err(FsError::NotFound);
        }
        if path.len() > PATH_MAX {
            return Err(FsError::NameTooLong);
        }
        let exclusive = flags.contains(OpenFlags::EXCLUSIVE);
        let mut links = 0;
        let mut base = Arc::clone(start);
        let mut text = Cow::Borrowed(path);
        loop {
            let (next, target) = {
                let parent = self.resolve_parent_counting(&base, &text, &mut links)?;
                let Last::Name(name) = parent.last else {
                    return Err(if exclusive { FsError::Exists } else { FsError::IsDirectory });
                };
                if parent.trailing_slash {
                    return Err(FsError::IsDirectory);
                }
                let directory = parent.directory;
                let guard = directory.lock_directory();
                let Some(found) = self.look_up_locked(&directory, name)? else {
                    let created = self.create_locked(&directory, name, NewNode::Regular, mode)?;
                    drop(guard);
                    return self.open_dentry(created, flags, true);
                };
                drop(guard);
                if exclusive {
                    return Err(FsError::Exists);
                }
                let found = self.top(found);
                if found.file_type() != FileType::Symlink || flags.contains(OpenFlags::NO_FOLLOW) {
                    return self.open_dentry(found, flags, false);
                }
                let target = match self.link_target(&directory, &found, &mut links)? {
                    Followed::Path(target) => target,
                    Followed::Place(place) => return self.open_dentry(place, flags, false),
                };
                (directory, target)
            };
            base = next;
            text = Cow::Owned(target);
        }
    }

    /// Opens what a path led to. What was just created is open to its creator whatever its mode.
    fn open_dentry(
        &self,
        dentry: Arc<Dentry>,
        flags: OpenFlags,
        created: bool,
    ) -> Result<Arc<OpenFile>, FsError> {
        let file_type = dentry.file_type();
        if flags.contains(OpenFlags::DIRECTORY) && file_type != FileType::Directory {
            return Err(FsError::NotDirectory);
        }
        if flags.contains(OpenFlags::PATH) {
            let flags = OpenFlags::PATH;
            return Ok(OpenFile::new(Arc::new(PathOnly), Some(dentry), flags));
        }
        let truncate = flags.contains(OpenFlags::TRUNCATE);
        match file_type {
            FileType::Symlink => return Err(FsError::TooManySymlinks),
            FileType::Directory
                if flags.writable()
                    || flags.intersects(OpenFlags::CREATE | OpenFlags::TRUNCATE) =>
            {
                return Err(FsError::IsDirectory);
            }
            FileType::Socket => return Err(FsError::NoSuchDevice),
            FileType::CharacterDevice | FileType::BlockDevice
                if dentry.mount().flags().contains(MountFlags::NO_DEVICES) =>
            {
                return Err(FsError::PermissionDenied);
            }
            _ => {}
        }
        if !created {
            self.check_access(&dentry, flags.wanted_access())?;
            if flags.contains(OpenFlags::NO_ATIME)
                && !self.identity.owns(&dentry.inode().permissions())
            {
                return Err(FsError::NotPermitted);
            }
        }
        let truncate = truncate && file_type == FileType::Regular && !created;
        let writes = flags.writable() || truncate;
        let writer = match file_type {
            FileType::Regular if writes => Some(Writer::new(dentry.mount())?),
            _ => None,
        };
        let claim = if writes { Claim::new(dentry.inode(), Use::Write)? } else { None };
        if truncate {
            set_id::before_change(&self.identity, &dentry)?;
            dentry.inode().truncate(0)?;
        }
        let file = Arc::clone(dentry.inode()).open(flags)?;
        // What was only truncated is not written after this.
        let holds = if flags.writable() { Holds { claim, writer } } else { Holds::default() };
        Ok(OpenFile::holding(file, Some(dentry), flags, holds))
    }

    /// Creates what is not there at `path`.
    pub fn make(
        &self,
        start: &Arc<Dentry>,
        path: &[u8],
        node: NewNode<'_>,
        mode: u16,
    ) -> Result<(), FsError> {
        let parent = self.resolve_parent(start, path)?;
        let Last::Name(name) = parent.last else { return Err(FsError::Exists) };
        let _guard = parent.directory.lock_directory();
        if self.look_up_locked(&parent.directory, name)?.is_some() {
            return Err(FsError::Exists);
        }
        if parent.trailing_slash && node != NewNode::Directory {
            return Err(FsError::NotFound);
        }
        self.create_locked(&parent.directory, name, node, mode).map(drop)
    }

    /// Puts `node`, an inode made elsewhere in the kernel, into the tree at `path`.
    pub fn attach(
        &self,
        start: &Arc<Dentry>,
        path: &[u8],
        node: Arc<dyn Inode>,
    ) -> Result<(), FsError> {
        let parent = self.resolve_parent(start, path)?;
        let Last::Name(name) = parent.last else { return Err(FsError::Exists) };
        let directory = &parent.directory;
        let _guard = directory.lock_directory();
        if self.look_up_locked(directory, name)?.is_some() {
            return Err(FsError::Exists);
        }
        if parent.trailing_slash {
            return Err(FsError::NotFound);
        }
        self.check_add(directory)?;
        directory.inode().attach(name, Arc::clone(&node))?;
        if directory.inode().cacheable() {
            self.remember(directory, name, Some(Dentry::new_child(directory, name, node)));
        }
        Ok(())
    }

    /// Gives `target` the further name `path`.
    pub fn link(
        &self,
        target: &Arc<Dentry>,
        start: &Arc<Dentry>,
        path: &[u8],
    ) -> Result<(), FsError> {
        let parent = self.resolve_parent(start, path)?;
        let Last::Name(name) = parent.last else { return Err(FsError::Exists) };
        let directory = &parent.directory;
        let _guard = directory.lock_directory();
        if self.look_up_locked(directory, name)?.is_some() {
            return Err(FsError::Exists);
        }
        if parent.trailing_slash {
            return Err(FsError::NotFound);
        }
        if !Arc::ptr_eq(target.mount(), directory.mount()) {
            return Err(FsError::CrossDevice);
        }
        self.check_add(directory)?;
        if target.file_type() == FileType::Directory {
            return Err(FsError::NotPermitted);
        }
        directory.inode().link(name, target.inode())?;
        if directory.inode().cacheable() {
            let dentry = Dentry::new_child(directory, name, Arc::clone(target.inode()));
            self.remember(directory, name, Some(dentry));
        }
        Ok(())
    }

    /// Removes the name `path` of something that is not a directory.
    pub fn unlink(&self, start: &Arc<Dentry>, path: &[u8]) -> Result<(), FsError> {
        let parent = self.resolve_parent(start, path)?;
        let Last::Name(name) = parent.last else { return Err(FsError::IsDirectory) };
        let directory = &parent.directory;
        let guard = directory.lock_directory();
        let victim = self.look_up_locked(directory, name)?.ok_or(FsError::NotFound)?;
        if parent.trailing_slash {
            return Err(match victim.file_type() {
                FileType::Directory => FsError::IsDirectory,
                _ => FsError::NotDirectory,
            });
        }
        self.check_remove(directory, &victim, false)?;
        directory.inode().unlink(name, &**victim.inode())?;
        self.forget(directory, name, &victim);
        drop(guard);
        Ok(())
    }

    /// Removes the empty directory `path`.
    pub fn rmdir(&self, start: &Arc<Dentry>, path: &[u8]) -> Result<(), FsError> {
        let parent = self.resolve_parent(start, path)?;
        let name = match parent.last {
            Last::Name(name) => name,
            Last::Dot => return Err(FsError::InvalidArgument),
            Last::DotDot => return Err(FsError::NotEmpty),
            Last::Root => return Err(FsError::Busy),
        };
        let directory = &parent.directory;
        let _guard = directory.lock_directory();
        let victim = self.look_up_locked(directory, name)?.ok_or(FsError::NotFound)?;
        self.check_remove(directory, &victim, true)?;
        // Nobody adds a name to it between the check for emptiness and its end.
        let _inner = victim.lock_directory();
        directory.inode().rmdir(name, &**victim.inode())?;
        self.forget(directory, name, &victim);
        Ok(())
    }

    /// Notes that `name`, which was `victim`, does not exist any more.
    fn forget(&self, directory: &Arc<Dentry>, name: &[u8], victim: &Arc<Dentry>) {
        victim.mark_unlinked();
        if directory.inode().cacheable() {
            self.remember(directory, name, None);
        }
    }

    /// The target of the symbolic link at `path`.
    pub fn read_link(&self, start: &Arc<Dentry>, path: &[u8]) -> Result<Vec<u8>, FsError> {
        let dentry = self.resolve(start, path, false)?;
        if dentry.file_type() != FileType::Symlink {
            return Err(FsError::InvalidArgument);
        }
        dentry.inode().read_link()
    }
}
