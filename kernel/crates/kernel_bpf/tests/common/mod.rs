//! What the tests of whole objects share: the compiler, and a kernel to run in.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part")]

pub(crate) mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use kernel_bpf::helper::{Fault, KernelServices};
use kernel_bpf::interpreter::Interpreter;
use kernel_bpf::loader::Object;
use kernel_bpf::map::{Epoch, Map, MapEnvironment};
use kernel_bpf::profile::{ActiveProfile, PhysicalProfile};
use kernel_bpf::program::Program;
use kernel_bpf::verifier::verify;

/// The folder of the example programs.
pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples")
}

/// Compiles C to a BPF object.
pub(crate) fn compile(clang: &str, source: &Path) -> Vec<u8> {
    let folder = tempfile();
    let object = folder.join("program.o");
    let output = Command::new(clang)
        .args(["-target", "bpf", "-g", "-O2", "-Wall", "-Werror", "-c", "-o"])
        .arg(&object)
        .arg("-I")
        .arg(examples())
        .arg(source)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", source.display());
    let bytes = std::fs::read(&object).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    bytes
}

/// Compiles C that a test holds.
pub(crate) fn compile_text(clang: &str, text: &str) -> Vec<u8> {
    let folder = tempfile();
    let source = folder.join("program.bpf.c");
    std::fs::write(&source, text).unwrap();
    let bytes = compile(clang, &source);
    std::fs::remove_dir_all(folder).unwrap();
    bytes
}

fn tempfile() -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name =
        format!("lemma-bpf-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A clock of maps for one CPU.
pub(crate) fn environment() -> MapEnvironment {
    let epoch: &'static Epoch = Box::leak(Box::new(Epoch::new()));
    epoch.online(0);
    MapEnvironment { cpus: 2, seed: 0x5eed, epoch }
}

/// Creates the maps of an object.
pub(crate) fn create_maps(object: &Object, environment: &MapEnvironment) -> Vec<Arc<Map>> {
    object.create_maps::<ActiveProfile>(environment).unwrap()
}

/// Verifies a program and runs it once.
pub(crate) fn run(program: Program<Arc<Map>>, context: &mut [u8]) -> u64 {
    let verified = verify(program, &ActiveProfile::verify_options()).unwrap();
    let ready = Interpreter::<ActiveProfile>::new(&verified).unwrap();
    ready.run(context, &Host::default()).unwrap()
}

/// The map with this name.
pub(crate) fn map<'m>(object: &Object, maps: &'m [Arc<Map>], name: &str) -> &'m Arc<Map> {
    &maps[object.maps.iter().position(|map| map.name == name).unwrap()]
}

/// The value of a map as a number.
pub(crate) fn number(map: &Map, key: u32) -> u64 {
    let mut value = vec![0; map.user_value_size()];
    map.lookup(&key.to_ne_bytes(), &mut value).unwrap();
    u64::from_ne_bytes(value[..8].try_into().unwrap())
}

/// A kernel with one task named "test", process 7, thread 8.
#[derive(Default)]
pub(crate) struct Host {
    pub(crate) printed: Mutex<Vec<String>>,
}

impl KernelServices for Host {
    fn ktime_ns(&self) -> u64 {
        1_000_000
    }
    fn current_pid_tgid(&self) -> u64 {
        7 << 32 | 8
    }
    fn current_uid_gid(&self) -> u64 {
        0
    }
    fn current_comm(&self, name: &mut [u8; 16]) {
        name[..4].copy_from_slice(b"test");
    }
    fn current_task(&self) -> u64 {
        8
    }
    fn cpu_id(&self) -> usize {
        1
    }
    fn random_u32(&self) -> u32 {
        4
    }
    fn trace_print(&self, text: &[u8]) {
        self.printed.lock().unwrap().push(String::from_utf8_lossy(text).into_owned());
    }
    fn read_user(&self, _: &mut [u8], _: u64) -> Result<(), Fault> {
        Err(Fault)
    }
    fn read_kernel(&self, _: &mut [u8], _: u64) -> Result<(), Fault> {
        Err(Fault)
    }
    fn ring_ready(&self, _: &Map) {}
}
