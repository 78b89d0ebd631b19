//! Object files as the `bpf` tool takes them: fitted to the types of the kernel that runs, and,
//! where keys say so, only from whom they come from.

use std::fs;
use std::path::PathBuf;

use crate::guest::{boot_with, on_each_architecture};
use kernel_bpf::loader::signature::SecretKey;
use lemma::build::Options;
use lemma::compile::bpf_object;
use lemma::machine::Arch;
use lemma::workspace::Workspace;

on_each_architecture!(
    objects_are_fitted_to_the_kernels_types,
    with_keys_only_signed_objects_are_loaded,
);

/// The hook's context as another kernel might have it: other members, in another order.
const OTHER_KERNEL: &str = "#include \"bpf_helpers.h\"
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct lemma_sys_enter { __u32 tid; __u64 gone; __u64 nr; };
#pragma clang attribute pop
#if defined(__TARGET_ARCH_arm64) || defined(__TARGET_ARCH_riscv)
#define NR_WRITE 64
#else
#define NR_WRITE 1
#endif
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1);
         __type(key, __u32); __type(value, __u64); } writes SEC(\".maps\");
char _license[] SEC(\"license\") = \"GPL\";
";

fn objects_are_fitted_to_the_kernels_types(arch: Arch) {
    let folder = tempfile::tempdir().unwrap();
    let source = |name: &str, body: &str| -> PathBuf {
        let path = folder.path().join(format!("{name}.c"));
        let program = format!(
            "{OTHER_KERNEL}SEC(\"hook/sys_enter\") int {name}(struct lemma_sys_enter *ctx) {{
                __u32 zero = 0;
                __u64 *count = bpf_map_lookup_elem(&writes, &zero);
                {body} }}\n"
        );
        fs::write(&path, program).unwrap();
        path
    };
    let fits = "if (count && ctx->nr == NR_WRITE && ctx->tid) ++*count; return 0;";
    let gone = "if (count) *count = ctx->gone; return 0;";
    let bpf = vec![source("fits", fits), source("gone", gone)];
    let mut guest = boot_with(Options { arch, bpf, ..Options::default() });
    guest.prompt();
    guest.succeed("bpf load /lib/bpf/fits.o fits");
    guest.succeed("bpf attach fits");
    guest.succeed("echo some text");
    let dump = guest.succeed("bpf map dump writes");
    let count = dump.lines().find_map(|line| line.strip_prefix("key: 0  value: "));
    assert!(count.unwrap().trim().parse::<u64>().unwrap() > 0, "{dump}");
    let refusal = guest.fail("bpf load /lib/bpf/gone.o");
    assert!(refusal.contains("this kernel has no struct lemma_sys_enter.gone"), "{refusal}");
    guest.shut_down(0);
}

/// Two programs and a map that is to be pinned; the second program is wrong.
const HALF_WRONG: &str = "#include \"bpf_helpers.h\"
struct lemma_sys_enter;
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 1); __uint(pinning, 1);
         __type(key, __u32); __type(value, __u64); } kept SEC(\".maps\");
SEC(\"hook/sys_enter\") int right(struct lemma_sys_enter *ctx) {
    __u32 zero = 0;
    return -(bpf_map_lookup_elem(&kept, &zero) == 0);
}
SEC(\"hook/sys_enter\") int wrong(struct lemma_sys_enter *ctx) {
    __u32 zero = 0;
    __u64 *value = bpf_map_lookup_elem(&kept, &zero);
    return -(WRONG);
}
char _license[] SEC(\"license\") = \"GPL\";
";

#[test]
fn of_an_object_that_is_refused_nothing_stays() {
    let folder = tempfile::tempdir().unwrap();
    let source = |name: &str, value: &str| {
        let path = folder.path().join(format!("{name}.c"));
        fs::write(&path, HALF_WRONG.replace("WRONG", value)).unwrap();
        path
    };
    let bpf = vec![source("half", "*value != 0"), source("whole", "value && *value != 0")];
    let mut guest = boot_with(Options { bpf, ..Options::default() });
    guest.prompt();
    let before = (guest.run("ls /sys/fs/bpf"), guest.run("bpf list | wc -l"));
    let refusal = guest.fail("bpf load /lib/bpf/half.o both");
    assert!(refusal.contains("refused   wrong"), "{refusal}");
    assert_eq!((guest.run("ls /sys/fs/bpf"), guest.run("bpf list | wc -l")), before);
    // The last pin is taken: the ones before it go again.
    guest.succeed("bpf pin jitter /sys/fs/bpf/both_wrong");
    let taken = guest.run("ls /sys/fs/bpf");
    guest.fail("bpf load /lib/bpf/whole.o both");
    assert_eq!((guest.run("ls /sys/fs/bpf"), guest.run("bpf list | wc -l")), (taken, before.1));
    guest.succeed("bpf unpin both_wrong");
    guest.succeed("bpf load /lib/bpf/whole.o both");
    let pins = guest.run("ls /sys/fs/bpf");
    assert!(["kept", "both_right", "both_wrong"].iter().all(|pin| pins.contains(pin)), "{pins}");
    guest.shut_down(0);
}

fn with_keys_only_signed_objects_are_loaded(arch: Arch) {
    let workspace = Workspace::locate().unwrap();
    let source = workspace.root().join("examples/loop.bpf.c");
    let object = fs::read(bpf_object(&workspace, arch, &source).unwrap().path).unwrap();
    let [trusted, other] = [1, 2].map(|seed| SecretKey::from_seed([seed; 32]).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut copies = Vec::new();
    let mut put = |name: &str, place: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        copies.push((path, format!("{place}{name}")));
    };
    let signed = |key: &SecretKey, version| [&object[..], &key.sign(&object, version)].concat();
    let hex: String = trusted.public().0.iter().map(|byte| format!("{byte:02x}")).collect();
    put("bpf.keys", "/etc/", format!("# whom this machine trusts\n\n{hex}  # a key\n").as_bytes());
    put("one.o", "/root/", &signed(&trusted, 1));
    put("two.o", "/root/", &signed(&trusted, 2));
    put("other.o", "/root/", &signed(&other, 9));
    let mut changed = signed(&trusted, 3);
    changed[object.len() / 2] ^= 1;
    put("changed.o", "/root/", &changed);
    let mut guest = boot_with(Options { arch, copies, ..Options::default() });
    let greeting = guest.prompt();
    assert!(greeting.contains("no programs at work"), "unsigned at start-up: {greeting}");
    for (file, reason) in [
        ("/lib/bpf/loop.o", "the object is not signed"),
        ("/root/other.o", "an unknown key"),
        ("/root/changed.o", "does not belong to this object"),
    ] {
        let refusal = guest.fail(&format!("bpf load {file}"));
        assert!(refusal.contains(reason), "{file}: {refusal}");
    }
    guest.succeed("bpf load /root/two.o two");
    let refusal = guest.fail("bpf load /root/one.o");
    assert!(refusal.contains("version 1 is older than version 2 of"), "{refusal}");
    guest.succeed("bpf load /root/two.o again");
    // What no longer runs does not hold an older one off.
    guest.succeed("bpf unload two");
    guest.succeed("bpf unload again");
    guest.succeed("bpf load /root/one.o");
    guest.succeed("echo nonsense > /etc/bpf.keys");
    let refusal = guest.fail("bpf load /root/two.o");
    assert!(refusal.contains("/etc/bpf.keys:1: not 64 hexadecimal digits"), "{refusal}");
    guest.succeed("rm /etc/bpf.keys");
    guest.succeed("bpf load /lib/bpf/loop.o");
    guest.shut_down(0);
}
