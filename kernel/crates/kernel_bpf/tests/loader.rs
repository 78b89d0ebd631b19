//! Objects that are almost right, and objects that are not right at all.

mod common;

use common::{compile, compile_text, environment, examples, tools::clang};
use kernel_bpf::loader::{Attach, Object, Pinning, Slot};
use kernel_bpf::map::{MapEnvironment, MapType};
use kernel_bpf::profile::CloudProfile;
use kernel_bpf::prog_type::ProgType;

const HEAD: &str = "#include \"lemma.h\"\nchar _license[] SEC(\"license\") = \"GPL\";\n";

/// What the loader says of a program.
fn parse(body: &str) -> Option<Result<Object, String>> {
    let bytes = compile_text(clang()?, &format!("{HEAD}{body}"));
    Some(Object::parse(&bytes).map_err(|error| error.to_string()))
}

#[test]
fn sections_name_types_and_attach_points() {
    for (section, prog_type, attach) in [
        ("raw_tp/sys_enter", ProgType::RawTracepoint, Attach::RawTracepoint("sys_enter".into())),
        (
            "raw_tracepoint/sys_exit",
            ProgType::RawTracepoint,
            Attach::RawTracepoint("sys_exit".into()),
        ),
        (
            "tp/raw_syscalls/sys_enter",
            ProgType::Tracepoint,
            Attach::Tracepoint { category: "raw_syscalls".into(), name: "sys_enter".into() },
        ),
        ("perf_event", ProgType::PerfEvent, Attach::PerfEvent),
        ("hook/timer", ProgType::LemmaHook, Attach::Hook(1)),
        ("hook/sys_exit", ProgType::LemmaHook, Attach::Hook(3)),
        ("socket", ProgType::SocketFilter, Attach::Nowhere),
        ("xdp", ProgType::Xdp, Attach::Nowhere),
        ("tc", ProgType::SchedCls, Attach::Nowhere),
        ("classifier/x", ProgType::SchedCls, Attach::Nowhere),
        ("cgroup/connect4", ProgType::CgroupSockAddr, Attach::Nowhere),
        ("sk_skb/stream_verdict/x", ProgType::SkSkb, Attach::Nowhere),
        ("syscall", ProgType::Syscall, Attach::Nowhere),
    ] {
        let body = format!("SEC(\"{section}\") int f(void *ctx) {{ return 0; }}");
        let Some(object) = parse(&body) else { return };
        let program = &object.unwrap().programs[0];
        assert_eq!((program.prog_type, &program.attach), (prog_type, &attach), "{section}");
        assert_eq!((program.name.as_str(), program.section.as_str()), ("f", section));
    }
}

/// As libbpf has them: on four CPUs.
#[test]
fn what_maps_leave_out_is_filled_in() {
    const PERF: &str = "__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __type(key, int);
        __type(value, int);";
    const RING: &str = "__uint(type, BPF_MAP_TYPE_RINGBUF);";
    for (members, entries) in [
        (PERF.to_owned(), 4),
        (format!("{PERF} __uint(max_entries, 2);"), 2),
        (format!("{RING} __uint(max_entries, 1);"), 4096),
        (format!("{RING} __uint(max_entries, 4096);"), 4096),
        (format!("{RING} __uint(max_entries, 5000);"), 8192),
        (format!("{RING} __uint(max_entries, 12288);"), 16384),
    ] {
        let body = format!("struct {{ {members} }} m SEC(\".maps\");");
        let Some(object) = parse(&body) else { return };
        let environment = MapEnvironment { cpus: 4, ..environment() };
        let maps = object.unwrap().create_maps::<CloudProfile>(&environment).unwrap();
        assert_eq!(maps[0].def().max_entries, entries, "{members}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    const MAP: &str = "struct { __uint(type, 1); __type(key, int); __type(value, int);";
    for (body, message) in [
        ("SEC(\"hook/nowhere\") int f(void *c) { return 0; }", "no such hook"),
        ("SEC(\"something\") int f(void *c) { return 0; }", "unknown section name"),
        ("SEC(\"tp/incomplete\") int f(void *c) { return 0; }", "CATEGORY/NAME"),
        ("SEC(\"xdp\") static int f(void *c) { return 0; }", "static function"),
        ("int x SEC(\"strange\") = 1;", "unknown section name for data"),
        ("struct { int a; } m SEC(\"maps\") = {1};", "m: a map is defined by five numbers"),
        ("struct { int a[8]; } m SEC(\"maps\") = {1};", "m: a map is defined by seven numbers"),
        ("struct { int a[5]; } m SEC(\"maps\") = {999};", "m: unknown map type 999"),
        ("SEC(\"fentry/f\") int f(void *c) { return 0; }", "types of a kernel that Lemma's does"),
        (&format!("{MAP} __uint(bogus, 1); }} m SEC(\".maps\");"), "m: unknown attribute bogus"),
        (&format!("{MAP} __uint(key_size, 8); }} m SEC(\".maps\");"), "type and size of the key"),
        ("struct { __uint(type, 999); } m SEC(\".maps\");", "unknown map type 999"),
        ("struct { __uint(max_entries, 9); } m SEC(\".maps\");", "the map has no type"),
        ("int m SEC(\".maps\");", "declared as a structure"),
        (
            "int elsewhere(void); SEC(\"xdp\") int f(void *c) { return elsewhere(); }",
            "`elsewhere`, which is not defined",
        ),
        (
            "extern int outside; SEC(\"xdp\") int f(void *c) { return outside; }",
            "`outside`, which is not defined",
        ),
        ("int a; int *p = &a; SEC(\"xdp\") int f(void *c) { return *p; }", "an address in"),
    ] {
        let Some(result) = parse(body) else { return };
        let error = result.err().unwrap_or_default();
        assert!(error.contains(message), "{body}\n{error}");
    }
}

#[test]
fn maps_are_declared_by_type_or_size() {
    let body = "
        struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 7);
                 __type(key, struct { __u32 a; __u16 b; }); __uint(value_size, 24);
                 __uint(map_flags, BPF_F_NO_PREALLOC); __uint(pinning, 1); } one SEC(\".maps\");
        struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } two SEC(\".maps\");
        SEC(\"raw_tp/x\") int f(void *c) { __u64 k = 0; bpf_map_lookup_elem(&one, &k);
                                           return bpf_ringbuf_query(&two, 1); }";
    let Some(object) = parse(body) else { return };
    let object = object.unwrap();
    let map = |name| object.maps.iter().find(|map| map.name == name).unwrap();
    let one = map("one");
    assert_eq!((one.def.map_type, one.def.max_entries), (MapType::Hash, 7));
    assert_eq!((one.def.key_size, one.def.value_size, one.def.flags), (8, 24, 1));
    assert_eq!(one.pinning, Pinning::ByName);
    assert!(one.key_type != 0 && one.value_type == 0);
    assert_eq!(map("two").def.map_type, MapType::Ringbuf);
}

#[test]
fn maps_are_defined_by_numbers_as_in_rust() {
    let body = "
        struct bpf_map_def { __u32 type, key, value, entries, flags, id, pinning; };
        struct bpf_map_def first SEC(\"maps\") = { 2, 4, 8, 3, 0, 77, 0 };
        struct bpf_map_def second SEC(\"maps\") = { 1, 8, 16, 5, 1, 0, 1 };
        SEC(\"raw_tp/x\") int f(void *c) { __u64 key = 0;
            return bpf_map_lookup_elem(&second, &key) || bpf_map_lookup_elem(&first, &key); }";
    let Some(object) = parse(body) else { return };
    let object = object.unwrap();
    let map = |name| object.maps.iter().find(|map| map.name == name).unwrap();
    assert_eq!((map("first").def.value_size, map("first").pinning), (8, Pinning::None));
    let second = map("second");
    assert_eq!((second.def.map_type, second.def.key_size), (MapType::Hash, 8));
    assert_eq!((second.def.max_entries, second.def.flags), (5, 1));
    assert_eq!(second.pinning, Pinning::ByName);
    let maps = common::create_maps(&object, &common::environment());
    let program = object.programs[0].to_program(&object, &maps, std::sync::Arc::ptr_eq).unwrap();
    assert_eq!(common::run(program, &mut [0; 16]), 1, "an array's key is there");
}

#[test]
fn subprograms_are_linked_once_with_their_lines() {
    let body = "
        __u64 total;
        static __noinline int deep(int x) { total += x; return x; }
        __noinline int middle(int x) { return deep(x) + deep(x + 1); }
        SEC(\"raw_tp/one\") int one(int *c) { return middle(c[0]) + deep(1); }
        SEC(\"raw_tp/two\") int two(int *c) { return deep(c[0]); }";
    let Some(object) = parse(body) else { return };
    let object = object.unwrap();
    let program = |name| object.programs.iter().find(|program| program.name == name).unwrap();
    assert_eq!(program("one").functions.len(), 3);
    assert_eq!(program("two").functions.len(), 2);
    let linked = program("one")
        .to_program::<std::sync::Arc<kernel_bpf::map::Map>>(
            &object,
            &common::create_maps(&object, &common::environment()),
            std::sync::Arc::ptr_eq,
        )
        .unwrap();
    let names: Vec<&str> = linked.func_info.iter().map(|info| &*info.name).collect();
    assert_eq!(names[0], "one");
    assert!(names.contains(&"middle") && names.contains(&"deep"));
    let lines = |name: &str| linked.line_info.iter().any(|line| line.text.contains(name));
    assert!(lines("total += x") && lines("middle(c[0])"));
    assert!(linked.line_info.windows(2).all(|pair| pair[0].insn < pair[1].insn));
    let mut patched = program("one").clone();
    assert!(!patched.patch_maps(&[]), "every map needs a descriptor");
    assert!(patched.patch_maps(&vec![5; object.maps.len()]));
    let wide: Vec<&[u8]> = patched.insns.chunks(8).filter(|slot| slot[0] == 0x18).collect();
    assert!(!wide.is_empty());
    assert!(wide.iter().all(|slot| slot[1] >> 4 == 2 && slot[4..8] == [5, 0, 0, 0]));
}

/// Changed at random, cut anywhere: an error or an object, never a panic.
#[test]
fn damaged_objects_are_errors() {
    let Some(clang) = clang() else { return };
    for name in ["globals", "events"] {
        let whole = compile(clang, &examples().join(format!("{name}.bpf.c")));
        let mut seed = 88_172_645_463_325_252_u64;
        let mut next = |limit: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 11) as usize % limit
        };
        let mut accepted = 0;
        for round in 0..3_000 {
            let mut bytes = whole.clone();
            // Half the damage to the headers at the end, where most of the structure is.
            let from = if round % 2 == 0 { 0 } else { whole.len() * 2 / 3 };
            for _ in 0..1 + next(4) {
                let at = from + next(whole.len() - from);
                bytes[at] = next(256) as u8;
            }
            if let Ok(object) = Object::parse(&bytes) {
                accepted += 1;
                for program in &object.programs {
                    let _ = kernel_bpf::insn::decode(&program.insns);
                }
            }
            let _ = Object::parse(&whole[..next(whole.len())]);
        }
        assert!(accepted > 100, "{accepted}");
    }
    assert!(Object::parse(&[]).is_err());
    assert!(Object::parse(b"\x7fELF").is_err());
}

#[test]
fn maps_of_maps_and_programs_are_filled_from_the_declaration() {
    let body = "
        struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 3);
                       __type(key, __u32); __type(value, __u64); };
        struct inner one SEC(\".maps\"), two SEC(\".maps\");
        struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 4);
                 __type(key, __u32); __array(values, struct inner); }
            outer SEC(\".maps\") = { .values = { &one, 0, &two } };
        SEC(\"raw_tp/x\") int target(void *c) { return 7; }
        struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 2);
                 __uint(key_size, 4); __array(values, int (void *)); }
            jumps SEC(\".maps\") = { .values = { [1] = &target } };
        SEC(\"raw_tp/x\") int f(void *c) { __u32 k = 2;
            void *inner = bpf_map_lookup_elem(&outer, &k);
            bpf_tail_call(c, &jumps, 1);
            return inner != 0; }";
    let Some(object) = parse(body) else { return };
    let object = object.unwrap();
    let map = |name| object.maps.iter().find(|map| map.name == name).unwrap();
    let index = |name| object.maps.iter().position(|map| map.name == name).unwrap();
    let outer = map("outer");
    assert_eq!(outer.inner, Some(map("one").def));
    assert_eq!((outer.def.key_size, outer.def.value_size, outer.def.max_entries), (4, 4, 4));
    assert_eq!(outer.slots, [(0, Slot::Map(index("one"))), (2, Slot::Map(index("two")))]);
    assert_eq!(map("jumps").slots, [(1, Slot::Program("target".into()))]);
    assert_eq!(map("jumps").def.map_type, MapType::ProgArray);
    assert!(map("jumps").inner.is_none());
}

#[test]
fn configuration_comes_from_the_kernel() {
    let body = "
        extern unsigned LINUX_KERNEL_VERSION __kconfig;
        extern _Bool CONFIG_BPF __kconfig;
        extern int CONFIG_HZ __kconfig;
        extern char CONFIG_NAME[8] __kconfig;
        extern unsigned long CONFIG_ABSENT __kconfig __weak;
        SEC(\"raw_tp/x\") int f(void *c) {
            return LINUX_KERNEL_VERSION + CONFIG_BPF + CONFIG_HZ + CONFIG_NAME[1] + CONFIG_ABSENT; }";
    let Some(object) = parse(body) else { return };
    let mut object = object.unwrap();
    let kernel = common::environment();
    let maps = common::create_maps(&object, &kernel);
    let early = object.programs[0].to_program(&object, &maps, std::sync::Arc::ptr_eq);
    assert!(early.err().unwrap().to_string().contains("is not known"));
    let missing = object.clone().configure(1, "CONFIG_HZ=250").unwrap_err().to_string();
    assert!(missing.contains("does not have it"), "{missing}");
    let wrong = "CONFIG_BPF=250\nCONFIG_HZ=250\nCONFIG_NAME=\"x\"";
    assert!(object.clone().configure(1, wrong).unwrap_err().to_string().contains("does not fit"));
    object.configure(1000, "CONFIG_BPF=y\nCONFIG_HZ=250\nCONFIG_NAME=\"a longer name\"\n").unwrap();
    let config = object.maps.iter().find(|map| map.name == ".kconfig").unwrap();
    assert!(config.freeze && !config.def.program_may_write());
    let maps = common::create_maps(&object, &kernel);
    let program = object.programs[0].to_program(&object, &maps, std::sync::Arc::ptr_eq).unwrap();
    assert_eq!(common::run(program, &mut [0; 16]), u64::from(1000 + 1 + 250 + b' ' as u32));
}

#[test]
fn kernel_symbols_are_absent() {
    let strong = "extern const void somewhere __ksym;
        SEC(\"raw_tp/x\") int f(void *c) { return (long)&somewhere; }";
    let Some(result) = parse(strong) else { return };
    let error = result.unwrap_err();
    assert!(error.contains("kernel symbol `somewhere` is not available"), "{error}");
    let weak = "extern const void somewhere __ksym __weak;
        extern int function(int) __ksym __weak;
        SEC(\"raw_tp/x\") int f(void *c) { return &somewhere ? function(1) : 7; }";
    let object = parse(weak).unwrap().unwrap();
    let program = object.programs[0]
        .to_program::<std::sync::Arc<kernel_bpf::map::Map>>(&object, &[], std::sync::Arc::ptr_eq)
        .unwrap();
    let missing: Vec<&str> =
        object.programs[0].missing.iter().map(|(_, what)| what.as_str()).collect();
    assert_eq!(missing, ["kernel function `function` is not available here"]);
    assert_eq!(common::run(program, &mut [0; 16]), 7);
}

/// An object of `count` functions, variables, maps, configuration variables and sections, each
/// with relocations and records of lines.
fn many_of_everything(clang: &str, count: usize) -> Vec<u8> {
    let each = |line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let text = [
        "#include \"lemma.h\"\nchar _license[] SEC(\"license\") = \"GPL\";\n".to_owned(),
        each(&|n| format!("volatile __u64 v{n} = {n} + 1;\n")),
        each(&|n| {
            format!("extern __u32 CONFIG_{n} __attribute__((section(\".kconfig\"), weak));\n")
        }),
        each(&|n| {
            format!(
                "struct {{ int (*type)[2]; int (*max_entries)[1]; int *key; int *value; }} m{n} SEC(\".maps\");\n"
            )
        }),
        each(&|n| {
            format!(
                "static __attribute__((noinline)) __u64 f{n}(__u64 x)\n{{\n x += v{n};\n x ^= CONFIG_{n};\n return x;\n}}\n"
            )
        }),
        each(&|n| {
            format!(
                "SEC(\"raw_tp/p{n}\") int p{n}(void *ctx)\n{{\n __u32 key = 0;\n bpf_map_lookup_elem(&m{n}, &key);\n return f{n}({n});\n}}\n"
            )
        }),
    ];
    compile_text(clang, &text.concat())
}

/// The time that this thread has had on a processor: others may have run meanwhile.
fn processor_time() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Eight times as many of everything take about eight times as long, not sixty-four times: the
/// best of some measurements of each, in one run.
#[test]
fn large_objects_are_read_in_a_time_that_grows_with_them() {
    let Some(clang) = clang() else { return };
    let best = |count: usize| {
        let bytes = many_of_everything(clang, count);
        let mut object = Object::parse(&bytes).unwrap();
        assert_eq!(object.programs.len(), count);
        assert_eq!(object.maps.len(), count + 2);
        let config: String = (0..count).map(|n| format!("CONFIG_{n}={n}\n")).collect();
        object.configure(1, &config).unwrap();
        let measure = || {
            let start = processor_time();
            let mut object = Object::parse(&bytes).unwrap();
            object.configure(1, &config).unwrap();
            processor_time() - start
        };
        (0..5).map(|_| measure()).min().unwrap()
    };
    let (small, large) = (best(50), best(400));
    let ratio = large.as_secs_f64() / small.as_secs_f64();
    println!("{small:?}, {large:?}: {ratio:.1} times as long");
    assert!(ratio < 16.0, "{small:?} became {large:?}");
}
