//! Objects as each clang writes them: every version that is installed, and what rustc writes.
//!
//! Versions differ in how they describe sections and relocations, in the instructions that they
//! use (19 uses the fourth set by itself), and in the types that they leave out.

#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

mod common;

use std::process::Command;
use std::sync::Arc;

use common::{compile, compile_text, create_maps, environment, examples, tools};
use kernel_bpf::btf::Btf;
use kernel_bpf::loader::{Object, Slot};
use kernel_bpf::profile::{ActiveProfile, PhysicalProfile};
use kernel_bpf::verifier::verify;

/// The versions that are installed, or whichever one there is; says which of those that matter
/// are not.
fn clangs() -> Vec<String> {
    let names = (14..=19).map(|version| format!("clang-{version}"));
    let (mut there, missing): (Vec<String>, Vec<String>) =
        names.partition(|name| tools::compiles(name));
    if there.is_empty() {
        there.extend(tools::clang().map(str::to_owned));
    }
    if !missing.is_empty() {
        eprintln!("SKIPPED: {} not installed; tested: {}", missing.join(", "), there.join(", "));
    }
    there
}

/// Everything that a linker of objects has to know, in one program: constants, data and zeros in
/// sections of their own, functions that stay functions, maps within maps, configuration.
const WHOLE: &str = r#"
#include "lemma.h"
char _license[] SEC("license") = "GPL";
extern int CONFIG_HZ __kconfig;
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 3);
               __type(key, __u32); __type(value, __u64); };
struct inner one SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 4);
         __type(key, __u32); __array(values, struct inner); }
    outer SEC(".maps") = { .values = { 0, &one } };
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8);
         __type(key, __u64); __type(value, __u64); } seen SEC(".maps");
const volatile __u64 step = 5;
__u64 total = 100, rounds;
static __u64 hidden = 7;
static __noinline __u64 twice(__u64 x) { return 2 * x + hidden; }
__noinline int whole(int x) { return x + 1; }
SEC("raw_tp/sys_enter") int f(__u64 *context) {
    __u64 key = context[1], one = 1, *found;
    for (int i = 0; i < 4; i++) rounds += i ^ key;
    bpf_map_update_elem(&seen, &key, &one, 0);
    found = bpf_map_lookup_elem(&seen, &key);
    hidden += step;
    total += twice(found ? *found : 50) + whole(CONFIG_HZ);
    return total; }
SEC("tp/raw_syscalls/sys_exit") int g(void *context) { return 0; }
"#;

/// Runs a program of an object on one context.
fn run(object: &Object, name: &str, context: &mut [u8]) -> u64 {
    let maps = create_maps(object, &environment());
    let program = object.programs.iter().find(|program| program.name == name).unwrap();
    common::run(program.to_program(object, &maps, Arc::ptr_eq).unwrap(), context)
}

#[test]
fn objects_of_every_clang_are_linked_and_run() {
    for clang in clangs() {
        let mut object = Object::parse(&compile_text(&clang, WHOLE))
            .unwrap_or_else(|error| panic!("{clang}: {error}"));
        object.configure(1, "CONFIG_HZ=250").unwrap();
        // 100, and twice 1 with 7 and 5 more, and 250 and 1 more.
        assert_eq!(run(&object, "f", &mut [0; 64]), 100 + 2 + 12 + 251, "{clang}");
        assert_eq!(run(&object, "g", &mut [0; 64]), 0, "{clang}");
        let outer = object.maps.iter().find(|map| map.name == "outer").unwrap();
        let one = object.maps.iter().position(|map| map.name == "one").unwrap();
        assert_eq!(outer.slots, [(1, Slot::Map(one))], "{clang}");
    }
}

#[test]
fn the_examples_of_every_clang_get_their_verdicts() {
    for clang in clangs() {
        for entry in std::fs::read_dir(examples()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let Some(stem) = name.strip_suffix(".bpf.c") else { continue };
            let object = Object::parse(&compile(&clang, &path))
                .unwrap_or_else(|error| panic!("{clang}: {name}: {error}"));
            let maps = create_maps(&object, &environment());
            let refused = object.programs.iter().any(|program| {
                let program = program.to_program(&object, &maps, Arc::ptr_eq).unwrap();
                verify(program, &ActiveProfile::verify_options()).is_err()
            });
            assert_eq!(refused, stem.starts_with("bad_"), "{clang}: {name}");
        }
    }
}

#[test]
fn fields_of_every_clang_are_found_in_the_kernels_types() {
    const FIELD: &str = r#"
        #include "lemma.h"
        char _license[] SEC("license") = "GPL";
        struct event { __u64 first, second; } __attribute__((preserve_access_index));
        SEC("raw_tp/x") __u64 f(struct event *event) {
            return __builtin_preserve_field_info(event->second, 0) * 10
                + __builtin_preserve_field_info(event->second, 2); }"#;
    const KERNEL: &str = "#include \"lemma.h\"
        struct event { __u64 first, between, second; } ; struct event *use;";
    for clang in clangs() {
        let kernel = Object::parse(&compile_text(&clang, KERNEL)).unwrap();
        let kernel = Btf::parse(kernel.btf.as_deref().unwrap()).unwrap();
        let mut object = Object::parse(&compile_text(&clang, FIELD)).unwrap();
        assert!(object.needs_kernel_types(), "{clang}");
        object.relocate(&kernel).unwrap_or_else(|error| panic!("{clang}: {error}"));
        assert_eq!(run(&object, "f", &mut [0; 64]), 16 * 10 + 1, "{clang}");
    }
}

/// As rustc writes it for `bpfel-unknown-none` with `--emit=asm`: a map that is defined by
/// numbers, a section for each function of the library, among them one that never ends.
const RUSTC: &str = r#"
	.section	.text._RNvCs1_7___rustc17rust_begin_unwind,"ax",@progbits
	.globl	_RNvCs1_7___rustc17rust_begin_unwind
	.p2align	3
	.type	_RNvCs1_7___rustc17rust_begin_unwind,@function
_RNvCs1_7___rustc17rust_begin_unwind:
LBB0_1:
	goto LBB0_1
.Lfunc_end0:
	.size	_RNvCs1_7___rustc17rust_begin_unwind, .Lfunc_end0-_RNvCs1_7___rustc17rust_begin_unwind
	.section	"raw_tp/sys_enter","ax",@progbits
	.globl	count
	.p2align	3
	.type	count,@function
count:
	r6 = r1
	r1 = 1
	*(u32 *)(r10 - 4) = r1
	r2 = r10
	r2 += -4
	r1 = COUNTS ll
	call 1
	r1 = 0
	if r0 == 0 goto LBB1_2
	r2 = *(u64 *)(r6 + 0)
	r1 = *(u64 *)(r0 + 0)
	r1 += r2
	*(u64 *)(r0 + 0) = r1
LBB1_2:
	r0 = r1
	exit
.Lfunc_end1:
	.size	count, .Lfunc_end1-count
	.type	LICENSE,@object
	.section	license,"a",@progbits
	.globl	LICENSE
LICENSE:
	.asciz	"GPL"
	.size	LICENSE, 4
	.type	COUNTS,@object
	.section	maps,"aw",@progbits
	.globl	COUNTS
	.p2align	2, 0x0
COUNTS:
	.asciz	"\002\000\000\000\004\000\000\000\b\000\000\000\004\000\000\000\000\000\000"
	.size	COUNTS, 20
"#;

#[test]
fn objects_of_rustc_are_linked_and_run() {
    for clang in clangs() {
        let folder = std::env::temp_dir().join(format!("lemma-rustc-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (source, object) = (folder.join("program.s"), folder.join("program.o"));
        std::fs::write(&source, RUSTC).unwrap();
        let arguments = ["-target", "bpf", "-c", "-o"];
        let status = Command::new(&clang).args(arguments).arg(&object).arg(&source).status();
        assert!(status.unwrap().success(), "{clang}");
        let parsed = Object::parse(&std::fs::read(&object).unwrap());
        std::fs::remove_dir_all(folder).unwrap();
        let object = parsed.unwrap_or_else(|error| panic!("{clang}: {error}"));
        let mut context = [0; 64];
        context[0] = 30;
        assert_eq!(run(&object, "count", &mut context), 30, "{clang}");
    }
}
