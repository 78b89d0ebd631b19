//! Memory: physical frames, the kernel's heap and stacks, and the address spaces of users.
//!
//! | file | what |
//! |---|---|
//! | `phys.rs` | the frames of physical memory: who has them, who shares them |
//! | `heap.rs` | the global allocator: slabs, and talc for what is larger |
//! | `virt.rs` | the kernel's own mappings: stacks with guard pages |
//! | `code.rs` | executable pages for compiled programs |
//! | `memapi.rs` | what the rest of the kernel asks before it allocates on a user's behalf |
//! | `address_space.rs`, `demand.rs`, `remap.rs`, `backing.rs`, `layout.rs` | regions filled on demand, shared copy-on-write |
//! | `shared_file.rs` | pages of files that mappings share |
//! | `atomic.rs` | changing a user's word at once |
//! | `signal_page.rs` | the code that signal handlers return to, where users bring none |
//! | `fault.rs` | page faults, from users and from the copy functions |
//! | `user.rs` | all access to user memory |
//!
//! **Lock order:** an address space's mutex, then the heap's lock, then the lock of `phys`.
//! The last two are spin locks that nothing else is taken under.

pub mod address_space;
mod atomic;
pub mod backing;
pub mod code;
pub mod demand;
pub mod fault;
pub mod heap;
pub mod layout;
pub mod memapi;
pub mod phys;
mod remap;
pub mod shared_file;
pub mod signal_page;
pub mod user;
pub mod virt;

pub use address_space::AddressSpace;
pub use memapi::OutOfMemory;

/// Makes the physical allocator, and with it the heap, usable; sets memory for compiled programs
/// aside if they are wanted. Called once, first of all.
pub fn init(boot: &'static crate::arch::BootInfo, compiles_programs: bool) {
    phys::init(boot.memory);
    if compiles_programs {
        code::init();
    }
}
