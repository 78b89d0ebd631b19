//! [`LoadedBtf`]: type information that user space has loaded (`BPF_BTF_LOAD`), and the kernel's
//! own.

use alloc::sync::Arc;

use kernel_bpf::btf::Btf;

use super::BpfManager;

/// Checked BTF with its number.
pub struct LoadedBtf {
    pub id: u32,
    /// As it was loaded, for `BPF_OBJ_GET_INFO_BY_FD`.
    pub bytes: Arc<[u8]>,
    pub types: Btf,
    /// The kernel's name for what it made itself; empty for what was loaded.
    pub name: &'static str,
}

impl Drop for LoadedBtf {
    fn drop(&mut self) {
        if let Some(manager) = BpfManager::get() {
            manager.btfs.remove(self.id);
        }
    }
}
