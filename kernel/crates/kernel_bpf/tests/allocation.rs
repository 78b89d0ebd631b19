//! Nothing is allocated while programs run: counted by the global allocator itself.

#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Host, compile, create_maps, environment, examples, tools::clang};
use kernel_bpf::interpreter::Interpreter;
use kernel_bpf::loader::Object;
use kernel_bpf::profile::{ActiveProfile, EmbeddedProfile, PhysicalProfile};
use kernel_bpf::verifier::verify;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[cfg(feature = "host-jit")]
fn compiled(
    verified: &kernel_bpf::verifier::Verified<
        kernel_bpf::program::Program<Arc<kernel_bpf::map::Map>>,
    >,
) -> kernel_bpf::jit::Compiled {
    use kernel_bpf::jit::host::{HostMemory, Native, machine};
    use kernel_bpf::jit::{Compiled, Intrinsics, Options};

    let memory = HostMemory::get().unwrap();
    let intrinsics = Intrinsics::default();
    let options = Options { machine: machine(), intrinsics, memory, blind: None };
    // SAFETY: this is the machine that the test runs on.
    unsafe { Compiled::new::<ActiveProfile, Native>(verified, &options) }.unwrap()
}

/// The only test of this file: another one's allocations would count here.
#[test]
fn running_allocates_nothing() {
    let Some(clang) = clang() else { return };
    for name in ["syscount", "jitter", "events", "limiter", "loop", "globals"] {
        let bytes = compile(clang, &examples().join(format!("{name}.bpf.c")));
        let object = Object::parse(&bytes).unwrap();
        let pool_before = EmbeddedProfile::pool().free_bytes();
        let maps = create_maps(&object, &environment());
        let program = object.programs[0].to_program(&object, &maps, Arc::ptr_eq).unwrap();
        let verified = verify(program, &ActiveProfile::verify_options()).unwrap();
        let ready = Interpreter::<ActiveProfile>::new(&verified).unwrap();
        let pool_loaded = EmbeddedProfile::pool().free_bytes();
        if ActiveProfile::NAME == EmbeddedProfile::NAME {
            assert!(pool_loaded < pool_before, "maps and programs come from the pool");
        }
        // Numbers that make syscount insert new keys, and globals print nothing.
        let mut contexts: Vec<[u8; 96]> = (0..200u64)
            .map(|round| {
                let mut context = [0; 96];
                for (word, index) in context.chunks_mut(8).zip(2..) {
                    word.copy_from_slice(&(round * index).to_ne_bytes());
                }
                context
            })
            .collect();
        let host = Host::default();
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        for context in &mut contexts {
            ready.run(context, &host).unwrap();
        }
        assert_eq!(ALLOCATIONS.load(Ordering::SeqCst), before, "{name}");
        #[cfg(feature = "host-jit")]
        {
            let compiled = compiled(&verified);
            let before = ALLOCATIONS.load(Ordering::SeqCst);
            for context in &mut contexts {
                compiled.run(context, &host).unwrap();
            }
            assert_eq!(ALLOCATIONS.load(Ordering::SeqCst), before, "{name}, compiled");
        }
        assert_eq!(EmbeddedProfile::pool().free_bytes(), pool_loaded, "{name}");
    }
}
