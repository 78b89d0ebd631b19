//! BTF: whatever the bytes, they are refused or every reference in them can be followed.

#![no_main]

use kernel_bpf::btf::Btf;
use kernel_bpf::btf::ext::{Ext, func_info, line_info};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first two bytes say where BTF.ext begins.
    let Some((at, bytes)) = bytes.split_first_chunk() else { return };
    let at = usize::from(u16::from_le_bytes(*at));
    let (types, ext) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    let Ok(btf) = Btf::parse(types) else { return };
    for (id, _) in btf.iter() {
        let _ = (btf.name(id), btf.size_of(id), btf.resolve(id));
    }
    let Ok(ext) = Ext::parse(ext) else { return };
    for section in &ext.functions {
        let _ = func_info(&btf, &section.records, 1000);
    }
    for section in &ext.lines {
        let _ = line_info(&btf, &section.records, 1000);
    }
});
