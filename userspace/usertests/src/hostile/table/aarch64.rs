//! System calls of AArch64 that not every architecture has.

use super::{Call, quick};
use lemma_rt::general as nr;

/// Those beside the ones that are everywhere.
pub(super) const CALLS: &[Call] = &[quick("renameat", nr::__NR_renameat)];
