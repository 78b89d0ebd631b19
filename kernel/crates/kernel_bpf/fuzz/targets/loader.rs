//! Objects: whatever the file, it is refused or gives programs to verify.

#![no_main]

use std::sync::Arc;

use kernel_bpf::loader::Object;
use kernel_bpf::loader::signature::{PublicKey, Signed};
use kernel_bpf::map::{Map, MapExtras};
use kernel_bpf::profile::CloudProfile;
use kernel_bpf::verifier::verify;
use kernel_bpf_fuzz::{environment, options};
use libfuzzer_sys::fuzz_target;

/// Larger maps are declared, not created.
const MOST_BYTES: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signed) = Signed::parse(bytes) {
        assert!(signed.verify(&[PublicKey([7; 32])], None).is_err());
    }
    let Ok(object) = Object::parse(bytes) else { return };
    for program in &object.programs {
        let defs: Vec<_> = object.maps.iter().map(|map| map.def).collect();
        if let Ok(program) = program.to_program(&object, &defs, |one, other| one == other) {
            let _ = verify(program, &options(false));
        }
    }
    for map in &object.maps {
        let needed = Map::memory_needed(&map.def, &MapExtras::default(), 1);
        if needed.is_ok_and(|bytes| bytes <= MOST_BYTES)
            && let Ok(created) = Map::create::<CloudProfile>(map.def, &environment())
            && let Some(contents) = &map.contents
        {
            let _ = Arc::new(created).update(&[0; 4], contents, 0);
        }
    }
});
