//! Verified programs at work: the first minute as the README shows it, each example with the
//! output that it promises, and each wrong program with its refusal.

use std::time::Instant;

use crate::guest::{Boot, boot_on, boot_with, on_each_architecture};
use crate::usertests;
use lemma::build::Options;
use lemma::machine::Arch;

on_each_architecture!(
    the_first_minute,
    examples_give_the_output_they_promise,
    wrong_programs_are_refused_in_words,
    the_command_line_chooses_the_engine,
    the_book_s_program_comes_from_the_command_line,
);

/// The numbers of `write`, and of the calls by which a command may make a directory.
fn numbers(arch: Arch) -> (u64, &'static [&'static str]) {
    match arch {
        Arch::X86_64 => (1, &["83", "258"]),
        _ => (64, &["34"]),
    }
}

/// The number of the call by which a command opens a file: `openat` where there is no `open`.
fn open(arch: Arch) -> u64 {
    match arch {
        Arch::X86_64 => 2,
        _ => 56,
    }
}

/// Loads an object and attaches its program; returns what was said.
fn start(guest: &mut Boot, name: &str, hook: &str) -> String {
    let verdict = guest.succeed(&format!("bpf load /lib/bpf/{name}.o {name}"));
    for word in ["accepted", "instructions", "worst case", "verified in"] {
        assert!(verdict.contains(word), "no {word:?} in: {verdict}");
    }
    guest.succeed(&format!("bpf attach {name} {hook}")) + &verdict
}

/// The value of a key in a dump: `key: 1  value: 27`.
fn value(dump: &str, key: u64) -> u64 {
    let start = format!("key: {key}  value: ");
    let line = dump.lines().find_map(|line| line.strip_prefix(&start));
    line.map_or(0, |number| number.trim().parse().unwrap())
}

/// A variable in the dump of a section: `key: 0  value: {writes: 3, bytes: 27}`.
fn variable(dump: &str, name: &str) -> u64 {
    let members = dump.trim().strip_suffix('}').and_then(|line| line.split_once('{'));
    let (_, members) = members.unwrap_or_else(|| panic!("no variables in: {dump}"));
    let member =
        members.split(", ").find_map(|member| member.strip_prefix(name)?.strip_prefix(": "));
    member.unwrap_or_else(|| panic!("no {name} in: {dump}")).parse().unwrap()
}

/// All values of a dump.
fn values(dump: &str) -> impl Iterator<Item = u64> {
    let values = dump.lines().filter_map(|line| line.split_once("value: "));
    values.map(|(_, number)| number.trim().parse().unwrap())
}

/// Their sum.
fn sum(dump: &str) -> u64 {
    values(dump).sum()
}

fn the_first_minute(arch: Arch) {
    let mut guest = boot_on(arch);
    let banner = guest.prompt();
    assert!(banner.contains("syscount has counted"), "no program at work in: {banner}");
    // What init loaded for the banner makes room: names are said without ids below.
    guest.succeed("bpf unload syscount");
    // Counting system calls, looking, replacing, detaching.
    start(&mut guest, "syscount", "sys_enter");
    let list = guest.succeed("bpf list");
    assert!(list.contains("syscount") && list.contains("sys_enter"), "{list}");
    let show = guest.succeed("bpf show syscount");
    for word in ["engine        compiled", "worst case", "verify time", "runs", "counts"] {
        assert!(show.contains(word), "no {word:?} in: {show}");
    }
    let hooks = guest.succeed("bpf hooks");
    for hook in ["timer", "sys_enter", "sys_exit"] {
        assert!(hooks.contains(hook), "no {hook} in: {hooks}");
    }
    let (write, _) = numbers(arch);
    let before = value(&guest.succeed("bpf map dump counts"), write);
    let after = value(&guest.succeed("bpf map dump counts"), write);
    assert!(before > 0 && after > before, "write was called {before}, then {after} times");

    guest.succeed("bpf load /lib/bpf/loop.o");
    guest.succeed("bpf replace syscount loop");
    let frozen = guest.succeed("bpf map dump counts");
    assert_eq!(guest.succeed("bpf map dump counts"), frozen, "the old program still runs");
    assert!(sum(&guest.succeed("bpf map dump widest")) > 0);
    guest.succeed("bpf detach loop");
    let frozen = guest.succeed("bpf map dump widest");
    assert_eq!(guest.succeed("bpf map dump widest"), frozen, "the program still runs");
    guest.fail("bpf detach loop");

    // What is unloaded is gone.
    guest.succeed("bpf unload syscount");
    guest.fail("bpf show syscount");
    let refusal = guest.fail("bpf load /lib/bpf/bad_oob.o");
    assert!(refusal.contains("table->slots["), "{refusal}");
    guest.shut_down(0);
}

fn examples_give_the_output_they_promise(arch: Arch) {
    let mut guest = boot_on(arch);
    guest.prompt();
    examples(guest, arch);
}

/// Runs each example on a machine that is at its prompt, and shuts it down.
pub(crate) fn examples(mut guest: Boot, arch: Arch) {
    guest.succeed("bpf unload jitter");
    start(&mut guest, "jitter", "timer");
    guest.succeed("sleep 1");
    let first = sum(&guest.succeed("bpf map dump lateness"));
    guest.succeed("sleep 1");
    let second = sum(&guest.succeed("bpf map dump lateness"));
    assert!(first > 0 && second > first, "{first} ticks, then {second}");
    guest.succeed("bpf unload jitter");

    start(&mut guest, "events", "sys_exit");
    guest.fail("cat /no/such/file");
    // Calls that fail by design may come before it. Records are read one at a time, as `bpf`
    // waits for more than there are.
    let failed = format!("nr: {}, result: -2, name: \"cat\"", open(arch));
    let mut records = String::new();
    while !records.contains(&failed) {
        assert!(records.lines().count() < 20, "no {failed} among: {records}");
        records += &guest.run("bpf events failures 1");
    }
    guest.succeed("bpf unload events");

    start(&mut guest, "limiter", "sys_enter");
    guest.succeed("mkdir /tmp/1 /tmp/2 /tmp/3 /tmp/4");
    // The command uses one of these calls, so it is refused once in all; four files are made by
    // another call, which is never refused.
    let mut refusals = 0;
    for call in numbers(arch).1 {
        guest.succeed(&format!("bpf map update config 0 {call} 3 1"));
        let said = guest.run("cd /tmp; mkdir a b c d; echo $?; touch e f g h; cd /");
        if said.trim().lines().eq(["mkdir: d: Operation not permitted", "1"]) {
            guest.fail("test -e /tmp/d");
            refusals += 1;
        } else {
            assert_eq!(said.trim(), "0");
            guest.succeed("rm -r /tmp/d");
        }
        guest.succeed("rm -r /tmp/a /tmp/b /tmp/c");
        guest.succeed("rm /tmp/e /tmp/f /tmp/g /tmp/h");
    }
    assert_eq!(refusals, 1);
    guest.succeed("bpf unload limiter");
    guest.succeed("mkdir /tmp/a /tmp/b /tmp/c /tmp/d");

    let verdict = start(&mut guest, "loop", "sys_enter");
    assert!(verdict.contains("worst case"), "{verdict}");
    assert!(sum(&guest.succeed("bpf map dump widest")) > 0);
    guest.succeed("bpf unload loop");

    start(&mut guest, "globals", "sys_enter");
    guest.succeed("echo some text");
    let dump = guest.succeed("bpf map dump .bss");
    let (writes, bytes) = (variable(&dump, "writes"), variable(&dump, "bytes"));
    assert!(writes > 0 && bytes >= writes, "{dump}");
    let dump = guest.succeed("bpf map dump .data");
    assert!(variable(&dump, "largest") > 1, "{dump}");
    let log = guest.succeed("bpf log");
    let told = log.lines().find_map(|line| line.split_once("first write, "));
    let (_, told) = told.unwrap_or_else(|| panic!("{log}"));
    let (bytes, process) = told.split_once(" bytes, by process ").unwrap();
    let (bytes, process): (u64, u64) = (bytes.parse().unwrap(), process.trim().parse().unwrap());
    assert!((1..=4096).contains(&bytes) && (1..=32_768).contains(&process), "{log}");
    guest.succeed("bpf unload globals");

    programs_keep_time(&mut guest);
    guest.shut_down(0);
}

/// A program that times calls finds no less than a second's sleep, and no more than passes here.
/// Each thread's value lives as long as the thread, and is nobody else's.
pub(crate) fn programs_keep_time(guest: &mut Boot) {
    let start = Instant::now();
    guest.succeed("bpf load /lib/bpf/slowest.o slowest");
    guest.succeed("bpf attach call_starts");
    guest.succeed("bpf attach call_ends");
    guest.succeed("sleep 1");
    let dump = guest.succeed("bpf map dump slowest");
    let passed = start.elapsed().as_nanos() as u64;
    let longest = values(&dump).max();
    let possible = 1_000_000_000..=passed + passed / 10;
    assert!(longest.is_some_and(|longest| possible.contains(&longest)), "{possible:?}: {dump}");
    guest.succeed("bpf unload call_starts");
    guest.succeed("bpf unload call_ends");
}

fn wrong_programs_are_refused_in_words(arch: Arch) {
    let mut guest = boot_on(arch);
    guest.prompt();
    for (name, source_line) in [
        ("bad_oob", "table->slots["),
        ("bad_uninit", "asm volatile"),
        ("bad_null", "__sync_fetch_and_add(count, 1)"),
        ("bad_loop", "while (bpf_get_prandom_u32() != 42)"),
        ("bad_helper", "bpf_format_the_disk()"),
        ("bad_ctx", "(ctx + 1)"),
        ("bad_leak", "return (long)result"),
        ("bad_rodata", "&limit = ctx->nr"),
    ] {
        let refusal = guest.fail(&format!("bpf load /lib/bpf/{name}.o"));
        assert!(refusal.contains("refused"), "{name}: {refusal}");
        assert!(refusal.contains(source_line), "{name}: no source line in: {refusal}");
    }
    // Nothing of them stays.
    let list = guest.succeed("bpf list");
    assert!(!list.contains("bad_"), "{list}");
    guest.shut_down(0);
}

/// Both engines are there, and `bpf_jit` chooses; the examples do under the interpreter what they
/// do compiled.
fn the_command_line_chooses_the_engine(arch: Arch) {
    let boot = |word: &str, engine: &str| {
        let append = vec![word.to_owned()];
        let mut guest = boot_with(Options { arch, append, ..Options::default() });
        guest.prompt();
        runs_on(&mut guest, engine);
        guest
    };
    boot("bpf_jit=1", "compiled").shut_down(0);
    examples(boot("bpf_jit=0", "interpreter"), arch);
}

/// The program that init has loaded runs on this engine.
pub(crate) fn runs_on(guest: &mut Boot, engine: &str) {
    let show = guest.succeed("bpf show syscount");
    assert!(show.contains(&format!("engine        {engine}")), "no {engine} in: {show}");
}

/// The program that the book goes through, as a user would put it on the disk, does what the
/// book says.
fn the_book_s_program_comes_from_the_command_line(arch: Arch) {
    let page = include_str!("../../docs/writing-a-program.md");
    let (_, rest) = page.split_once("```c\n").unwrap();
    let (program, _) = rest.split_once("```\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("mine.bpf.c");
    std::fs::write(&source, program).unwrap();
    let mut guest = boot_with(Options { arch, bpf: vec![source], ..Options::default() });
    guest.prompt();
    start(&mut guest, "mine", "sys_enter");
    // The last call of the loop decides.
    let opens = |count: u32| format!("sh -c 'for i in $(seq {count}); do true </dev/null; done'");
    guest.succeed(&opens(900));
    assert!(sum(&guest.succeed("bpf map dump opens")) >= 900);
    let refusal = guest.fail(&opens(1010));
    assert!(refusal.contains("Too many open files"), "{refusal}");
    guest.succeed("bpf detach mine");
    guest.succeed(&opens(1010));
    guest.shut_down(0);
}

/// Small programs run, and what is too much is refused, on a machine that has next to nothing.
#[test]
fn little_memory_suffices_and_is_not_exceeded() {
    let mut guest = boot_with(Options { memory_mib: 64, ..Options::default() });
    guest.prompt();
    usertests::pass_all(&mut guest, "bpf_");
    guest.shut_down(0);
}
