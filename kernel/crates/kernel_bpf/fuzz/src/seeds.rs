//! Writes the first inputs of each target to `fuzz/corpus`: programs of every kind of
//! instruction, and the example programs as clang compiles them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kernel_bpf::asm::assemble;
use kernel_bpf::insn::encode;
use kernel_bpf::loader::Object;
use kernel_bpf::loader::signature::SecretKey;
use kernel_bpf::prog_type::ProgType;

/// Programs that are accepted as one type or another.
const PROGRAMS: &[&str] = &[
    "r0 = 0\nexit",
    "r0 = *(u64 *)(r1 + 0)\nr2 = *(u64 *)(r1 + 8)\nr0 += r2\nif r0 s> 5 goto +1\nr0 = 7\nexit",
    "r1 = 0\nr0 = 0\nl: r0 += r1\nr0 ^= 3\nr1 += 1\nif r1 < 10 goto l\nexit",
    "r6 = 5\ncall f\nr0 += r6\nexit\nf: r0 = 1\nexit",
    "*(u32 *)(r10 - 4) = 1\nr2 = r10\nr2 += -4\nr1 = map[0] ll\ncall bpf_map_lookup_elem\n\
     if r0 == 0 goto out\nr1 = 1\nlock *(u64 *)(r0 + 8) += r1\nout: r0 = 0\nexit",
    "*(u64 *)(r10 - 8) = 1\n*(u64 *)(r10 - 16) = 2\n*(u64 *)(r10 - 24) = 3\nr2 = r10\nr2 += -8\n\
     r3 = r10\nr3 += -24\nr4 = 0\nr1 = map[1] ll\ncall bpf_map_update_elem\nexit",
    "r1 = map[2] ll\nr2 = 16\nr3 = 0\ncall bpf_ringbuf_reserve\nif r0 == 0 goto out\n\
     *(u64 *)(r0 + 0) = 7\nr1 = r0\nr2 = 0\ncall bpf_ringbuf_submit\nout: r0 = 0\nexit",
    "r2 = *(u32 *)(r1 + 76)\nr3 = *(u32 *)(r1 + 80)\nr0 = 0\nr4 = r2\nr4 += 14\n\
     if r4 > r3 goto +1\nr0 = *(u8 *)(r2 + 13)\nexit",
    "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr0 = 1\nr4 = r2\nr4 += 8\n\
     if r4 > r3 goto +1\nr0 = *(u16 *)(r2 + 6)\nexit",
    "r6 = r1\nr0 = *(u8 *)skb[23]\nr7 = r0\nr0 = *(u16 *)skb[r7 + 2]\nexit",
    "r1 = 100\nr2 = 7\nr0 = r1\nr0 s/= r2\nr1 s%= -3\nr0 += r1\nr0 = bswap32 r0\n\
     r0 = (s16)r0\nw0 = -w0\nexit",
    "r1 = 0x123456789abcdef0 ll\n*(u64 *)(r10 - 8) = r1\nr2 = *(s16 *)(r10 - 6)\n\
     r3 = atomic_fetch_xor((u64 *)(r10 - 8), r3)\nr0 = r2\nexit",
];

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = folder.join(target);
        fs::create_dir_all(&folder).expect("the corpus can be written");
        fs::write(folder.join(name), bytes).expect("the corpus can be written");
    };
    for (number, text) in PROGRAMS.iter().enumerate() {
        let bytes = encode(&assemble(text).expect("the seeds are programs"));
        write("decoder", &format!("program-{number}"), &bytes);
        for (kind, prog_type) in ProgType::ALL.iter().enumerate() {
            for flags in [0u8, 1, 2] {
                let input = [&[kind as u8, flags], &bytes[..]].concat();
                let name = format!("program-{number}-{}-{flags}", prog_type.name());
                write("verifier", &name, &input);
            }
        }
    }
    for object in objects() {
        let bytes = fs::read(&object).expect("the compiler wrote it");
        let name =
            object.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into());
        let signed = SecretKey::from_seed([1; 32]).map(|key| key.sign(&bytes, 1));
        let signed = signed.map_or_else(Vec::new, |trailer| [&bytes[..], &trailer].concat());
        write("loader", &format!("{name}-signed"), &signed);
        write("loader", &name, &bytes);
        if let Ok(object) = Object::parse(&bytes)
            && let Some(types) = object.btf
        {
            let length = u16::try_from(types.len()).unwrap_or(u16::MAX).to_le_bytes();
            write("btf", &name, &[&length[..], &types].concat());
        }
        fs::remove_file(object).expect("it was there");
    }
}

/// The examples, compiled; none where there is no clang.
fn objects() -> Vec<PathBuf> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../examples");
    let sources = fs::read_dir(&examples).expect("the examples are there");
    let sources = sources.filter_map(|entry| Some(entry.ok()?.path()));
    let programs = sources.filter(|path| path.to_string_lossy().ends_with(".bpf.c"));
    let compiled = programs.filter_map(|source| {
        let object = std::env::temp_dir().join(source.file_name()?).with_extension("o");
        let flags = ["-target", "bpf", "-g", "-O2", "-c", "-o"];
        let status = Command::new("clang").args(flags).arg(&object).arg(&source).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: clang does not compile {}", source.display());
            return None;
        }
        Some(object)
    });
    compiled.collect()
}
