//! Programs that run are not written, and what is open to be written is not run (`ETXTBSY`).
//!
//! An inode that can hold a program has [`Claims`]; who opens it to write, changes its size or
//! executes it holds a [`Claim`] meanwhile.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicI32, Ordering};

use crate::error::FsError;
use crate::inode::Inode;

/// What an inode is claimed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Write,
    Execute,
}

impl Use {
    const fn step(self) -> i32 {
        match self {
            Self::Write => 1,
            Self::Execute => -1,
        }
    }
}

/// How many write an inode, above zero, or execute it, below.
#[derive(Default)]
pub struct Claims(AtomicI32);

impl Claims {
    /// Nobody.
    pub const fn new() -> Self {
        Self(AtomicI32::new(0))
    }

    fn take(&self, wanted: Use) -> Result<(), FsError> {
        let step = wanted.step();
        let free =
            |count: i32| if count.signum() == -step { None } else { count.checked_add(step) };
        let taken = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, free);
        taken.map(drop).map_err(|_| FsError::TextBusy)
    }

    fn give_back(&self, held: Use) {
        self.0.fetch_sub(held.step(), Ordering::AcqRel);
    }
}

/// An inode is used so as long as this is held.
pub struct Claim {
    inode: Arc<dyn Inode>,
    of: Use,
}

impl Claim {
    /// Claims `inode`; `None` if it is of a kind that can be used in any way at any time.
    ///
    /// # Errors
    /// `TextBusy` if it is used in the other way.
    pub fn new(inode: &Arc<dyn Inode>, of: Use) -> Result<Option<Self>, FsError> {
        let Some(claims) = inode.claims() else { return Ok(None) };
        claims.take(of)?;
        Ok(Some(Self { inode: Arc::clone(inode), of }))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(claims) = self.inode.claims() {
            claims.give_back(self.of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Claims, Use};
    use crate::error::FsError;

    #[test]
    fn many_write_or_many_execute() {
        let claims = Claims::new();
        for (one, other) in [(Use::Write, Use::Execute), (Use::Execute, Use::Write)] {
            assert_eq!(claims.take(one), Ok(()));
            assert_eq!(claims.take(one), Ok(()));
            assert_eq!(claims.take(other), Err(FsError::TextBusy));
            claims.give_back(one);
            assert_eq!(claims.take(other), Err(FsError::TextBusy));
            claims.give_back(one);
        }
        assert_eq!(claims.take(Use::Execute), Ok(()));
    }
}
