//! The programs in `examples/`: the right ones are accepted, and do what they say; each wrong
//! one is refused for its one cause.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly")]

mod common;

use std::sync::Arc;

use common::{Host, compile, create_maps, environment, examples, map, number, tools::clang};
use kernel_bpf::interpreter::Interpreter;
use kernel_bpf::loader::Object;
use kernel_bpf::map::Map;
use kernel_bpf::profile::{ActiveProfile, PhysicalProfile};
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Cause, Rejection, Verified, verify};

/// An example, loaded.
struct Loaded {
    object: Object,
    maps: Vec<Arc<Map>>,
    verified: Verified<Program<Arc<Map>>>,
    ready: Interpreter<ActiveProfile>,
}

type Verdict = Result<Verified<Program<Arc<Map>>>, Box<Rejection>>;

fn verified(name: &str) -> Option<(Object, Vec<Arc<Map>>, Verdict)> {
    let bytes = compile(clang()?, &examples().join(format!("{name}.bpf.c")));
    let object = Object::parse(&bytes).unwrap();
    let maps = create_maps(&object, &environment());
    let program = object.programs[0].to_program(&object, &maps, Arc::ptr_eq).unwrap();
    let verdict = verify(program, &ActiveProfile::verify_options());
    Some((object, maps, verdict))
}

fn load(name: &str) -> Option<Loaded> {
    let (object, maps, verdict) = verified(name)?;
    let verified = verdict.unwrap_or_else(|rejection| panic!("{name}: {rejection}"));
    let ready = Interpreter::new(&verified).unwrap();
    Some(Loaded { object, maps, verified, ready })
}

impl Loaded {
    fn run(&self, context: &[u64]) -> i64 {
        self.run_in(context, &Host::default())
    }

    fn run_in(&self, context: &[u64], host: &Host) -> i64 {
        let mut bytes: Vec<u8> = context.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.ready.run(&mut bytes, host).unwrap() as i64
    }

    fn map(&self, name: &str) -> &Map {
        map(&self.object, &self.maps, name)
    }
}

/// Contexts as the kernel makes them; process 7, thread 8.
fn sys_enter(nr: u64, args: [u64; 6]) -> [u64; 8] {
    [nr, args[0], args[1], args[2], args[3], args[4], args[5], 8 << 32 | 7]
}

fn sys_exit(nr: u64, result: i64) -> [u64; 3] {
    [nr, result as u64, 8 << 32 | 7]
}

#[test]
fn syscount_counts_by_number() {
    let Some(example) = load("syscount") else { return };
    for nr in [1, 1, 39, 1] {
        assert_eq!(example.run(&[0, nr, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 0);
    }
    let counts = example.map("counts");
    assert_eq!((number(counts, 1), number(counts, 39), counts.entries()), (3, 1, 2));
}

#[test]
fn jitter_sorts_by_powers_of_two() {
    let Some(example) = load("jitter") else { return };
    let due = 1_000_000u64;
    for late in [0, 1, 1, 1500, 70_000, u64::from(u32::MAX) + 1] {
        example.run(&[due + late, due, 0, 0]);
    }
    example.run(&[due, 0, 0, 0]);
    example.run(&[due - 1, due, 0, 0]);
    let lateness = example.map("lateness");
    let counts: Vec<u64> = (0..32).map(|key| number(lateness, key)).collect();
    let expected = |key| match key {
        0 => 3,
        10 | 16 | 31 => 1,
        _ => 0,
    };
    assert!(counts.iter().enumerate().all(|(key, count)| *count == expected(key)), "{counts:?}");
}

#[test]
fn events_tells_failures_only() {
    let Some(example) = load("events") else { return };
    let ring = example.map("failures").ring().unwrap();
    example.run(&sys_exit(1, 12));
    assert_eq!(ring.query(0), 0);
    example.run(&sys_exit(257, -2));
    assert_eq!(ring.query(0), 8 + 32);
    let page = example.map("failures").user_page(2).unwrap();
    // SAFETY: the page has the record that was just submitted, and nobody writes it now.
    let record = unsafe { std::slice::from_raw_parts(page.address as *const u8, 40) };
    assert_eq!(record[..4], 32u32.to_ne_bytes());
    assert_eq!(record[8..12], 7u32.to_ne_bytes());
    assert_eq!(record[12..16], 257u32.to_ne_bytes());
    assert_eq!(record[16..24], (-2i64).to_ne_bytes());
    assert_eq!(&record[24..40], b"test\0\0\0\0\0\0\0\0\0\0\0\0");
}

#[test]
fn limiter_refuses_after_so_many() {
    let Some(example) = load("limiter") else { return };
    let call = |nr| example.run(&sys_enter(nr, [0; 6]));
    assert_eq!(call(83), 0, "without a rule everything passes");
    let rule: Vec<u8> = [83u64, 3, 1].iter().flat_map(|word| word.to_ne_bytes()).collect();
    example.map("config").update(&[0; 4], &rule, 0).unwrap();
    let answers: Vec<i64> = (0..5).map(|_| call(83)).collect();
    assert_eq!(answers, [0, 0, 0, -1, -1]);
    assert_eq!(call(84), 0);
    let nonsense: Vec<u8> =
        [83u64, 1, 1 << 40].iter().flat_map(|word| word.to_ne_bytes()).collect();
    example.map("config").update(&[0; 4], &nonsense, 0).unwrap();
    assert_eq!(call(83), 0);
}

#[test]
fn loop_counts_bits() {
    let Some(example) = load("loop") else { return };
    example.run(&sys_enter(0, [1, 2, 0xff, 3, 0, 4]));
    example.run(&sys_enter(0, [0; 6]));
    example.run(&sys_enter(0, [u64::MAX; 6]));
    let widest = example.map("widest");
    assert_eq!((number(widest, 8), number(widest, 0), number(widest, 64)), (1, 1, 1));
    let bound = example.verified.proof().worst_case;
    assert!((300..1000).contains(&bound), "some hundred instructions: {bound}");
}

#[test]
fn globals_are_maps() {
    let Some(example) = load("globals") else { return };
    let host = Host::default();
    for (nr, size) in [(1, 10), (0, 1000), (1, 4), (1, 30)] {
        example.run_in(&sys_enter(nr, [1, 0, size, 0, 0, 0]), &host);
    }
    let mut bss = [0; 16];
    example.map(".bss").lookup(&[0; 4], &mut bss).unwrap();
    let words = [&bss[..8], &bss[8..]].map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
    assert_eq!(words, [3, 44]);
    assert_eq!(number(example.map(".data"), 0), 30);
    assert_eq!(*host.printed.lock().unwrap(), ["first write, 10 bytes, by process 7"]);
    assert!(example.map(".rodata").is_frozen());
}

#[test]
fn slowest_times_each_threads_calls() {
    let Some(clang) = clang() else { return };
    let object = Object::parse(&compile(clang, &examples().join("slowest.bpf.c"))).unwrap();
    let maps = create_maps(&object, &environment());
    let ready: Vec<Interpreter<ActiveProfile>> = object
        .programs
        .iter()
        .map(|program| {
            let program = program.to_program(&object, &maps, Arc::ptr_eq).unwrap();
            let verified = verify(program, &ActiveProfile::verify_options());
            Interpreter::new(&verified.unwrap_or_else(|rejection| panic!("{rejection}"))).unwrap()
        })
        .collect();
    let run = |index: usize, context: &[u64]| {
        let mut bytes: Vec<u8> = context.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(ready[index].run(&mut bytes, &Host::default()), Some(0));
    };
    let (running, slowest) = (map(&object, &maps, "running"), map(&object, &maps, "slowest"));
    run(1, &sys_exit(1, 0));
    assert_eq!((running.entries(), slowest.entries()), (0, 0), "nothing had begun");
    run(0, &sys_enter(1, [0; 6]));
    assert_eq!(running.entries(), 1);
    run(1, &sys_exit(2, 0));
    assert_eq!(slowest.entries(), 0, "another call");
    run(1, &sys_exit(1, 0));
    run(1, &sys_exit(1, 0));
    assert_eq!(slowest.keys(), [1u64.to_ne_bytes()]);
    // The thread ends, and what was kept for it goes.
    running.forget_task(8).unwrap();
    assert_eq!(running.entries(), 0);
    assert!(running.forget_task(8).is_err());
}

#[test]
fn each_wrong_program_is_refused_for_its_one_cause() {
    for (name, cause, line) in [
        ("bad_oob", Cause::OutOfBounds, "table->slots[nr]++;"),
        ("bad_uninit", Cause::Uninitialised, "asm volatile(\"%0 = r6\" : \"=r\"(value));"),
        ("bad_null", Cause::MayBeNull, "__sync_fetch_and_add(count, 1);"),
        ("bad_loop", Cause::InfiniteLoop, "while (bpf_get_prandom_u32() != 42)"),
        ("bad_helper", Cause::UnknownFunction, "bpf_format_the_disk();"),
        ("bad_ctx", Cause::ContextAccess, "__u64 beyond = *(volatile __u64 *)(ctx + 1);"),
        ("bad_leak", Cause::ReturnValue, "return (long)result;"),
        ("bad_rodata", Cause::ReadOnly, "*(volatile __u64 *)&limit = ctx->nr;"),
    ] {
        let Some((_, _, verdict)) = verified(name) else { return };
        let rejection = *verdict.map(drop).expect_err(name);
        assert_eq!(rejection.cause, cause, "{name}: {rejection}");
        let source = rejection.source.as_ref().unwrap_or_else(|| panic!("{name}: no source line"));
        assert_eq!(&*source.text, line, "{name}: {rejection}");
        assert!(source.file.ends_with(&format!("{name}.bpf.c")), "{name}: {}", source.file);
    }
}

#[test]
fn nothing_is_forgotten() {
    let mut sources = 0;
    for entry in std::fs::read_dir(examples()).unwrap() {
        sources += usize::from(entry.unwrap().file_name().to_string_lossy().ends_with(".bpf.c"));
    }
    assert_eq!(sources, 15, "a new example needs a test here");
}
