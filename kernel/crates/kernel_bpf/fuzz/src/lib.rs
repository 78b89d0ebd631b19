//! What the fuzz targets share: programs made of a fuzzer's bytes, and what is done with them.
//!
//! | target | input | what must hold |
//! |---|---|---|
//! | `decoder` | instructions | no panic; what decodes is the same once encoded, and its text assembles to the same instructions |
//! | `verifier` | a header, instructions | no panic, bounded time and memory; an accepted program compiles and runs, in both engines alike |
//! | `loader` | an ELF file | no panic; its programs verify or are refused |
//! | `btf` | BTF, or BTF.ext behind it | no panic |
//!
//! Seeds come from the project itself:
//!
//! ```text
//! cd kernel/crates/kernel_bpf
//! cargo +nightly run --manifest-path fuzz/Cargo.toml --example seeds
//! cargo +nightly fuzz run verifier -- -max_total_time=60 -rss_limit_mb=512 -timeout=10
//! ```

use std::sync::{Arc, OnceLock};

use kernel_bpf::helper::{Fault, KernelServices};
use kernel_bpf::map::{Epoch, Map, MapDef, MapEnvironment, MapType};
use kernel_bpf::profile::CloudProfile;
use kernel_bpf::verifier::VerifyOptions;

/// A kernel with nothing in it.
pub struct Host;

impl KernelServices for Host {
    fn ktime_ns(&self) -> u64 {
        1
    }
    fn current_pid_tgid(&self) -> u64 {
        1 << 32 | 1
    }
    fn current_uid_gid(&self) -> u64 {
        0
    }
    fn current_comm(&self, name: &mut [u8; 16]) {
        name.fill(0);
    }
    fn cpu_id(&self) -> usize {
        0
    }
    fn random_u32(&self) -> u32 {
        4
    }
    fn trace_print(&self, _: &[u8]) {}
    fn read_user(&self, _: &mut [u8], _: u64) -> Result<(), Fault> {
        Err(Fault)
    }
    fn read_kernel(&self, _: &mut [u8], _: u64) -> Result<(), Fault> {
        Err(Fault)
    }
    fn ring_ready(&self, _: &Map) {}
}

/// Where maps are created.
pub fn environment() -> MapEnvironment {
    static EPOCH: Epoch = Epoch::new();
    static ONLINE: OnceLock<()> = OnceLock::new();
    ONLINE.get_or_init(|| EPOCH.online(0));
    MapEnvironment { cpus: 1, seed: 7, epoch: &EPOCH }
}

/// The maps that every program of the fuzzer may name, by index.
pub fn maps() -> Vec<Arc<Map>> {
    let map = |map_type, key_size, value_size, max_entries| {
        let def = MapDef { map_type, key_size, value_size, max_entries, flags: 0 };
        Map::create::<CloudProfile>(def, &environment()).ok().map(Arc::new)
    };
    [
        map(MapType::Array, 4, 48, 4),
        map(MapType::Hash, 8, 16, 8),
        map(MapType::Ringbuf, 0, 0, 4096),
        map(MapType::LruHash, 4, 8, 8),
        map(MapType::Queue, 0, 8, 4),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Little enough work for many programs a second.
pub fn options(unprivileged: bool) -> VerifyOptions {
    let options = VerifyOptions { max_processed: 20_000, ..VerifyOptions::cloud() };
    if unprivileged { options.for_unprivileged() } else { options }
}
