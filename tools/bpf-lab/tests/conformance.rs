//! `bpf-lab conformance`, started as the runner starts a plugin.

mod common;

use common::{hex, lab, tools};
use serde_json::{Value, json};

/// Bytes as the runner writes them, a space after each.
fn spaced(hex: &str) -> String {
    hex.as_bytes().chunks(2).map(|pair| format!("{} ", String::from_utf8_lossy(pair))).collect()
}

#[test]
fn memory_is_the_first_argument() {
    let program = spaced(&hex("r0 = *(u8 *)(r1 + 1)\n r0 <<= 8\n r0 |= r2\n exit")) + "\n";
    for arguments in [
        &["conformance", "aa bb cc "][..],
        &["conformance", "aabbcc", "--engine", "interpreter"],
        &["conformance", "aa bb cc ", "--interpret", "--debug"],
        &["aa bb cc ", "conformance --engine interpreter"],
    ] {
        let ran = lab(arguments, &program);
        assert_eq!(
            (ran.status, ran.stdout.as_str()),
            (0, "bb03\n"),
            "{arguments:?} {}",
            ran.stderr
        );
        assert_eq!(ran.stderr.is_empty(), !arguments.contains(&"--debug"));
    }
    // Without memory there is no argument.
    let ran = lab(&["conformance"], &hex("r0 = r1\n r0 += r2\n r0 -= 1\n exit"));
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "ffffffffffffffff\n"));
    let ran = lab(&["conformance", "--program", &hex("r0 = 9\n exit")], "");
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "9\n"));
}

#[test]
fn an_error_is_a_message_and_a_status() {
    for (arguments, input) in [
        (&["conformance"][..], "ff 00 00 00 00 00 00 00"),
        (&["conformance"], ""),
        (&["conformance"], "b7 0"),
        (&["conformance", "--elf"], "7f 45 4c 46"),
        (&["conformance", "xyz"], "95 00 00 00 00 00 00 00"),
        // No helper of the suite.
        (&["conformance"], &hex("call 77\n exit")),
    ] {
        let ran = lab(arguments, input);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{arguments:?} {input}");
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
}

/// Programs that call the suite's helpers, the memory that they get, and their result.
const SUITE: &[(&str, &str, &str)] = &[
    // gather_bytes
    ("r1 = 1\n r2 = 2\n r3 = 3\n r4 = 4\n r5 = 0x105\n call 0\n exit", "", "102030405"),
    // memfrob
    ("r6 = r1\n call 1\n r0 = *(u16 *)(r6 + 0)\n exit", "2a2b", "100"),
    // trash_registers leaves what a call must preserve
    ("r6 = 6\n r9 = 9\n call 2\n r0 = r6\n r0 += r9\n exit", "", "f"),
    // sqrti
    ("r1 = 1000000\n call 3\n exit", "", "3e8"),
    // strcmp_ext
    ("r2 = r1\n r2 += 3\n call 4\n exit", "616200616200", "0"),
    ("r2 = r1\n r2 += 3\n call 4\n exit", "616200616300", "ffffffffffffffff"),
    // unwind, which ends the program if its argument is 0
    ("r1 = -1\n call 5\n r0 = 2\n exit", "", "2"),
    ("r1 = 0\n call 5\n r0 = 2\n exit", "", "0"),
    // by register
    ("r1 = 144\n r7 = 3\n callx r7\n exit", "", "c"),
];

#[test]
fn the_suites_helpers_are_there() {
    for (program, memory, result) in SUITE {
        let ran = lab(&["conformance", memory], &hex(program));
        assert_eq!(ran.stdout.trim(), *result, "{program} {}", ran.stderr);
    }
}

/// The commands that show an engine right must be able to show it for every JIT.
#[test]
fn the_compilers_for_other_machines_run_under_emulation() {
    let tools = ["clang", "ld.lld", "qemu-aarch64", "qemu-riscv64"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |tool: &&str| std::env::split_paths(&path).any(|dir| dir.join(tool).is_file());
    if let Some(tool) = tools.iter().find(|tool| !there(tool)) {
        return tools::missing(tool, "clang lld qemu-user");
    }
    for engine in ["jit-aarch64", "jit-riscv64"] {
        for (program, memory, result) in SUITE {
            let ran = lab(&["conformance", memory, "--engine", engine], &hex(program));
            assert_eq!(ran.stdout.trim(), *result, "{engine}: {program} {}", ran.stderr);
        }
        let memory = "r0 = *(u64 *)(r1 + 0)\n r2 = 3\n lock *(u64 *)(r1 + 0) += r2\n exit";
        let ran = lab(&["conformance", "0807060504030201", "--engine", engine], &hex(memory));
        assert_eq!(ran.stdout.trim(), "102030405060708", "{engine}: {}", ran.stderr);
        let packet = json!({
            "name": "packet", "trusted": true, "r1": "skb", "data": "0102030405060708",
            "insns": hex("r0 = *(u32 *)(r1 + 0)\n exit"), "engine": engine,
            "runs": [{ "data_size": 8 }, { "data_size": 6 }],
        });
        let counter = json!({
            "name": "counter", "trusted": true, "r1": "buffer", "data": "0000000000000000",
            "insns": hex("r0 = *(u64 *)(r1 + 0)\n r0 += 1\n *(u64 *)(r1 + 0) = r0\n exit"),
            "engine": engine, "nr_testruns": 1000, "runs": [{ "data_size": 8 }],
        });
        let unable = json!({
            "name": "verified", "prog_type": 1, "insns": hex("r0 = 0\n exit"), "run": true,
            "engine": engine,
        });
        let ran = lab(&["batch", "--jobs", "1"], &format!("{packet}\n{counter}\n{unable}\n"));
        let verdicts: Vec<Value> =
            ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(verdicts[0]["retvals"], json!([8, 6]), "{engine}: {}", verdicts[0]);
        assert_eq!(verdicts[1]["retvals"], json!([1000]), "{engine}: {}", verdicts[1]);
        let reason = verdicts[2]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("only tests of single instructions"), "{engine}: {reason}");
    }
}
