//! BPF in the kernel: what has been loaded, where it runs, and for how long.
//!
//! [`BpfManager`] is the one owner of the numbers by which programs, maps, links and BTF are
//! known; the objects themselves live as long as a descriptor, a pin in the BPF file system
//! or another object holds them. [`hooks`] runs programs; [`program`] makes one from bytes,
//! and only by way of the verifier; [`host`] is what helpers ask of this kernel.
//!
//! A program runs only if the verifier has accepted it: [`program::ProgramCode`] holds what an
//! engine made of it, and an engine takes a `Verified` program or none.

pub mod btf;
pub mod events;
pub mod files;
pub mod hooks;
pub mod host;
pub mod ids;
pub mod link;
pub mod listing;
pub mod map;
pub mod perf;
pub mod program;
pub mod trace;

use alloc::sync::Arc;
use core::sync::atomic::AtomicUsize;

use kernel_bpf::map::{MapDef, MapEnvironment, MapError, MapExtras};
use kernel_bpf::memory::HeapMemory;
use kernel_bpf::profile::ActiveProfile;
use kernel_sync::OnceCell;

use crate::arch::{Arch, Architecture};
use crate::file::procfs;
use crate::mcore;
use crate::mem::memapi;
use btf::LoadedBtf;
use events::{Decision, Event};
use hooks::{AttachError, Hook};
use ids::IdTable;
use link::Link;
use map::{LoadedMap, MapTypes};
use program::{LoadError, LoadRequest, LoadedProgram};

static MANAGER: OnceCell<BpfManager> = OnceCell::new();

/// All that has been loaded, by number.
pub struct BpfManager {
    programs: IdTable<LoadedProgram>,
    maps: IdTable<LoadedMap>,
    links: IdTable<Link>,
    btfs: IdTable<LoadedBtf>,
    /// What this kernel shows its programs: the first number, held for good.
    own_types: OnceCell<Arc<LoadedBtf>>,
}

/// Makes the manager. Called once at start-up, before the first system call.
pub fn init() {
    let manager = BpfManager {
        programs: IdTable::new(),
        maps: IdTable::new(),
        links: IdTable::new(),
        btfs: IdTable::new(),
        own_types: OnceCell::new(),
    };
    manager.describe();
    HeapMemory::limit(memapi::may_take_block);
    let _ = MANAGER.set(manager);
    mcore::mtask::timer::set_observer(events::timer);
    mcore::mtask::exit::set_observer(map::forget_task);
    procfs::register("bpf", "hooks", listing::hooks);
    procfs::register("bpf", "trace", listing::trace);
}

impl BpfManager {
    /// The manager; `None` only before [`init`].
    pub fn get() -> Option<&'static Self> {
        MANAGER.get()
    }

    /// Verifies a program given as instructions, and makes it runnable.
    pub fn load_raw_program(
        &self,
        request: LoadRequest,
        log: &mut alloc::string::String,
    ) -> Result<Arc<LoadedProgram>, LoadError> {
        let prepared = program::prepare(request, log)?;
        self.programs.insert(|id| prepared.into_loaded(id)).ok_or(LoadError::OutOfMemory)
    }

    /// Creates a map.
    pub fn create_map(
        &self,
        def: MapDef,
        extras: &MapExtras,
        name: [u8; kernel_abi::bpf::OBJ_NAME_LEN],
        types: Option<MapTypes>,
    ) -> Result<Arc<LoadedMap>, MapError> {
        let environment = MapEnvironment {
            cpus: Arch::cpus_online(),
            seed: crate::random::word(),
            epoch: &mcore::EPOCH,
        };
        let bytes = kernel_bpf::map::Map::memory_needed(&def, extras, environment.cpus)?;
        memapi::may_allocate(bytes).map_err(|_| MapError::OutOfMemory)?;
        let map = kernel_bpf::map::Map::create_with::<ActiveProfile>(def, extras, &environment)?;
        let map = Arc::new(map);
        self.maps
            .insert(|id| {
                map.set_id(id);
                let users = AtomicUsize::new(0);
                let loaded = LoadedMap { id, name, map, types, users };
                loaded.count();
                loaded
            })
            .ok_or(MapError::OutOfMemory)
    }

    /// Lists checked BTF.
    pub fn add_btf(&self, bytes: Arc<[u8]>, types: kernel_bpf::btf::Btf) -> Option<Arc<LoadedBtf>> {
        self.btfs.insert(|id| LoadedBtf { id, bytes, types, name: "" })
    }

    /// Lists the types that this kernel shows its programs, under Linux's name, so that loaders
    /// fit objects to them.
    fn describe(&self) {
        let bytes = kernel_bpf::btf::kernel_types();
        // They are made well: a test of the engine says so.
        let Ok(types) = kernel_bpf::btf::Btf::parse(&bytes) else { return };
        let bytes = bytes.into();
        let own = self.btfs.insert(|id| LoadedBtf { id, bytes, types, name: "vmlinux" });
        if let Some(own) = own {
            let _ = self.own_types.set(own);
        }
    }

    /// Attaches a loaded program to the hook with this attach type, for as long as the program
    /// lives.
    pub fn attach(&self, attach_type: u32, prog_id: u32) -> Result<(), AttachError> {
        let program = self.programs.get(prog_id).ok_or(AttachError::NoSuchProgram)?;
        program.attach(Hook::by_attach_type(attach_type).ok_or(AttachError::NoSuchHook)?)
    }

    /// Attaches a program by a link.
    pub fn link(
        &self,
        hook: &'static Hook,
        program: Arc<LoadedProgram>,
        raw_tracepoint: bool,
    ) -> Result<Arc<Link>, AttachError> {
        let attachment = hook.attach(Arc::clone(&program.code))?;
        self.links.insert(|id| Link::new(id, hook, raw_tracepoint, program, attachment)).ok_or_else(
            || {
                // It was attached a moment ago.
                let _ = hook.detach(attachment);
                AttachError::OutOfMemory
            },
        )
    }

    /// Runs the programs at the hook with this attach type for one event. Without a manager, too:
    /// the hooks stand for themselves, so that an event looks up nothing.
    #[inline(always)]
    pub(in crate::bpf) fn execute_hooks(attach_type: u32, event: &impl Event) -> Decision {
        match Hook::by_attach_type(attach_type) {
            Some(hook) => hook.run(event),
            None => Decision::Pass,
        }
    }

    pub fn program(&self, id: u32) -> Option<Arc<LoadedProgram>> {
        self.programs.get(id)
    }

    pub fn next_program(&self, id: u32) -> Option<u32> {
        self.programs.next_after(id).map(|(id, _)| id)
    }

    pub fn map(&self, id: u32) -> Option<Arc<LoadedMap>> {
        self.maps.get(id)
    }

    pub fn next_map(&self, id: u32) -> Option<u32> {
        self.maps.next_after(id).map(|(id, _)| id)
    }

    pub fn find_link(&self, id: u32) -> Option<Arc<Link>> {
        self.links.get(id)
    }

    pub fn next_link(&self, id: u32) -> Option<u32> {
        self.links.next_after(id).map(|(id, _)| id)
    }

    pub fn btf(&self, id: u32) -> Option<Arc<LoadedBtf>> {
        self.btfs.get(id)
    }

    pub fn next_btf(&self, id: u32) -> Option<u32> {
        self.btfs.next_after(id).map(|(id, _)| id)
    }
}
