//! Changes of names: create, link, unlink, rename, exchange. Each first does what can fail for want of
//! space, and gives it back if a later step fails.

use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_vfs::page;
use kernel_vfs::{BlockDevice, FileType, FsError, NewNode, Ownership, PATH_MAX, now};

use crate::inode::Ext2Inode;
use crate::layout::{LINK_MAX, Meta, Pointers, put, to_disk_time};

/// Longest target of a symbolic link that is stored in the inode, with a zero byte behind it.
const SHORT_LINK: usize = 59;

impl<D: BlockDevice + 'static> Ext2Inode<D> {
    /// Makes a new inode with the name `name` in this directory.
    pub(crate) fn create_entry(
        &self,
        name: &[u8],
        node: NewNode<'_>,
        owner: Ownership,
    ) -> Result<Arc<Self>, FsError> {
        let volume = &self.volume;
        let _pass = volume.begin_change()?;
        let file_type = match node {
            NewNode::Regular => FileType::Regular,
            NewNode::Directory => FileType::Directory,
            NewNode::Symlink(target) => {
                if target.is_empty() || target.len() > PATH_MAX.min(volume.geometry.block_size - 1)
                {
                    return Err(FsError::NameTooLong);
                }
                FileType::Symlink
            }
            NewNode::Special { file_type, .. } => file_type,
        };
        let directory = file_type == FileType::Directory;
        if directory && self.meta().links >= LINK_MAX {
            return Err(FsError::TooManyLinks);
        }
        let number = volume.allocate_inode(self.number(), directory)?;
        let time = to_disk_time(now());
        let meta = Meta {
            mode: file_type.mode_bits() | owner.mode & 0o7777,
            uid: owner.uid,
            gid: owner.gid,
            accessed: time,
            changed: time,
            modified: time,
            links: if directory { 2 } else { 1 },
            generation: time ^ number,
            ..Meta::default()
        };
        let pointers: Pointers = [0; 15];
        if let Err(error) = volume.write_inode(number, &meta, &pointers, true) {
            // The first failure is the one to tell.
            let _ = volume.free_inode(number, directory);
            return Err(error);
        }
        let inode = Self::assemble(Arc::clone(volume), number, file_type, meta, pointers);
        let inode = volume.enter(inode);
        let result = inode
            .fill(node, self.number())
            .and_then(|()| self.insert_entry(name, number, file_type))
            .and_then(|()| if directory { self.add_links(1) } else { Ok(()) });
        match result {
            Ok(()) => Ok(inode),
            Err(error) => {
                // Without links it is freed, with its blocks, when `inode` is dropped.
                inode.change_meta(|meta| meta.links = 0);
                inode.store(&inode.body())?;
                Err(error)
            }
        }
    }

    /// Gives a new inode its first contents.
    fn fill(&self, node: NewNode<'_>, parent: u32) -> Result<(), FsError> {
        let mut body = self.body();
        match node {
            NewNode::Regular => return Ok(()),
            NewNode::Special { device, .. } => {
                // In the old encoding if it fits, and else in the new one behind it.
                let [first, second, ..] = &mut body.pointers;
                (*first, *second) = if device <= 0xffff { (device, 0) } else { (0, device) };
            }
            NewNode::Directory => {
                let page = self.first_block(self.number(), parent);
                self.place(&mut body, 0, page)?;
                let block_size = self.volume.geometry.block_size as u64;
                self.change_meta(|meta| meta.size = block_size);
            }
            NewNode::Symlink(target) if target.len() <= SHORT_LINK => {
                for (pointer, bytes) in body.pointers.iter_mut().zip(target.chunks(4)) {
                    let mut word = [0; 4];
                    put(&mut word, 0, bytes);
                    *pointer = u32::from_le_bytes(word);
                }
                self.change_meta(|meta| meta.size = target.len() as u64);
            }
            NewNode::Symlink(target) => {
                let mut page = self.volume.cache.pool().take();
                let bytes = page::make_mut(&mut page);
                bytes.fill(0);
                put(bytes, 0, target);
                self.place(&mut body, 0, page)?;
                self.change_meta(|meta| meta.size = target.len() as u64);
            }
        }
        self.store(&body)
    }

    /// Gives `target` the further name `name`.
    pub(crate) fn link_entry(&self, name: &[u8], target: &Self) -> Result<(), FsError> {
        let _pass = self.volume.begin_change()?;
        let links = target.meta().links;
        if links == 0 {
            return Err(FsError::NotFound);
        }
        if links >= LINK_MAX {
            return Err(FsError::TooManyLinks);
        }
        let Some(file_type) = target.meta().file_type() else {
            return Err(self.volume.corrupted());
        };
        // Counted first: one too many loses nothing, one too few would.
        target.add_links(1)?;
        let result = self.insert_entry(name, target.number(), file_type);
        if result.is_err() {
            target.add_links(-1)?;
        }
        result
    }

    /// Takes out the entry `name`, which has to lead to `target`.
    fn take_out(&self, name: &[u8], target: &Self) -> Result<(), FsError> {
        let place = self.find_entry(name)?.ok_or(FsError::NotFound)?;
        if place.inode != target.number() {
            return Err(self.volume.corrupted());
        }
        self.remove_entry(&place)
    }

    pub(crate) fn unlink_entry(&self, name: &[u8], target: &Self) -> Result<(), FsError> {
        let _pass = self.volume.begin_change()?;
        self.take_out(name, target)?;
        target.add_links(-1)
    }

    pub(crate) fn rmdir_entry(&self, name: &[u8], target: &Self) -> Result<(), FsError> {
        let _pass = self.volume.begin_change()?;
        if !target.is_empty_directory()? {
            return Err(FsError::NotEmpty);
        }
        self.take_out(name, target)?;
        target.drop_directory()?;
        self.add_links(-1)
    }

    /// The links of a directory that has lost its name: the name's, and that of its own `.`.
    fn drop_directory(&self) -> Result<(), FsError> {
        let links = self.meta().links;
        self.add_links(i16::try_from(links).unwrap_or(i16::MAX).saturating_neg())
    }

    /// Moves the entry `name`, which is `moved`, to `new_name` in `new_directory`.
    pub(crate) fn rename_entry(
        &self,
        name: &[u8],
        moved: &Self,
        new_directory: &Self,
        new_name: &[u8],
        replaced: Option<&Self>,
    ) -> Result<(), FsError> {
        let _pass = self.volume.begin_change()?;
        let Some(file_type) = moved.meta().file_type() else {
            return Err(self.volume.corrupted());
        };
        let directory = file_type == FileType::Directory;
        let across = self.number() != new_directory.number();
        if let Some(replaced) = replaced.filter(|_| directory)
            && !replaced.is_empty_directory()?
        {
            return Err(FsError::NotEmpty);
        }
        let more_links = directory && across && replaced.is_none();
        if more_links && new_directory.meta().links >= LINK_MAX {
            return Err(FsError::TooManyLinks);
        }
        // `..` is looked for before anything changes.
        let dot_dot = match directory && across {
            true => Some(moved.find_entry(b"..")?.ok_or_else(|| self.volume.corrupted())?),
            false => None,
        };
        match replaced {
            Some(replaced) => {
                let place = new_directory.find_entry(new_name)?.ok_or(FsError::NotFound)?;
                if place.inode != replaced.number() {
                    return Err(self.volume.corrupted());
                }
                new_directory.redirect_entry(&place, moved.number(), file_type)?;
            }
            None => new_directory.insert_entry(new_name, moved.number(), file_type)?,
        }
        // The new name is there; the old one goes. Its place may have changed by the insertion.
        self.take_out(name, moved)?;
        moved.add_links(0)?;
        if let Some(place) = dot_dot {
            moved.redirect_entry(&place, new_directory.number(), FileType::Directory)?;
            self.add_links(-1)?;
            if more_links {
                new_directory.add_links(1)?;
            }
        }
        match replaced {
            Some(replaced) if directory => {
                replaced.drop_directory()?;
                if across { Ok(()) } else { self.add_links(-1) }
            }
            Some(replaced) => replaced.add_links(-1),
            None => Ok(()),
        }
    }

    /// Lets the entry `one` here and `two` in `directory` change places.
    pub(crate) fn exchange_entries(
        &self,
        (one_name, one): (&[u8], &Self),
        directory: &Self,
        (two_name, two): (&[u8], &Self),
    ) -> Result<(), FsError> {
        let volume = &*self.volume;
        let _pass = volume.begin_change()?;
        let here = self.find_entry(one_name)?.ok_or(FsError::NotFound)?;
        let there = directory.find_entry(two_name)?.ok_or(FsError::NotFound)?;
        let types = (one.meta().file_type(), two.meta().file_type());
        let (Some(one_type), Some(two_type)) = types else { return Err(volume.corrupted()) };
        if (here.inode, there.inode) != (one.number(), two.number()) {
            return Err(volume.corrupted());
        }
        // A directory that comes has its `..` changed, and is counted where it goes to.
        let mut parents = Vec::new();
        if self.number() != directory.number() {
            for (moved, kind, from, to) in
                [(one, one_type, self, directory), (two, two_type, directory, self)]
            {
                if kind == FileType::Directory {
                    let place = moved.find_entry(b"..")?.ok_or_else(|| volume.corrupted())?;
                    parents.push((moved, place, from, to));
                }
            }
        }
        if let [(.., to)] = parents.as_slice()
            && to.meta().links >= LINK_MAX
        {
            return Err(FsError::TooManyLinks);
        }
        self.redirect_entry(&here, two.number(), two_type)?;
        if let Err(error) = directory.redirect_entry(&there, one.number(), one_type) {
            self.redirect_entry(&here, one.number(), one_type)?;
            return Err(error);
        }
        one.add_links(0)?;
        two.add_links(0)?;
        for (moved, place, from, to) in parents {
            moved.redirect_entry(&place, to.number(), FileType::Directory)?;
            to.add_links(1)?;
            from.add_links(-1)?;
        }
        Ok(())
    }
}
