//! The commands on one program: what they print, and how they end.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly")]

mod common;

use std::path::{Path, PathBuf};

use common::{Ran, compile, hex, lab, tools::clang};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with a file.
fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    (folder, path.to_str().unwrap().to_owned())
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// One line on standard error, and an exit status that says so.
fn fails(ran: &Ran, status: i32, part: &str) {
    assert_eq!(ran.status, status, "{}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.starts_with("bpf-lab: ") && ran.stderr.contains(part), "{}", ran.stderr);
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}{}", ran.stdout, ran.stderr))
}

const SUM: &str = "r0 = *(u64 *)(r1 + 0)\nr2 = *(u64 *)(r1 + 8)\nr0 += r2\nexit\n";

#[test]
fn help_names_every_command() {
    let ran = lab(&["--help"], "");
    assert_eq!(ran.status, 0);
    for command in [
        "verify",
        "run",
        "disasm",
        "asm",
        "jit-dump",
        "cost",
        "sign",
        "bench",
        "batch",
        "conformance",
    ] {
        assert!(ran.stdout.contains(&format!("  {command} ")), "{command}: {}", ran.stdout);
        let help = lab(&[command, "--help"], "");
        assert_eq!(help.status, 0);
        assert!(help.stdout.contains("Usage: bpf-lab"), "{}", help.stdout);
    }
    // A command line that makes no sense ends with 2, as everywhere.
    assert_eq!(lab(&["no-such-command"], "").status, 2);
    assert_eq!(lab(&["verify"], "").status, 2);
    assert_eq!(lab(&["run", "x", "--engine", "abacus"], "").status, 2);
}

#[test]
fn verify_accepts_and_refuses() {
    let (_folder, path) = file("sum.s", SUM);
    let ran = lab(&["verify", &path], "");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.starts_with("sum (raw_tracepoint): accepted\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("at most 4 instructions"), "{}", ran.stdout);
    let value = json_of(&lab(&["verify", &path, "--json"], ""));
    assert_eq!((&value[0]["accepted"], &value[0]["worst_case"]), (&json!(true), &json!(4)));

    // Unfit as a socket filter, whose context has other fields.
    let ran = lab(&["verify", &path, "--type", "socket_filter"], "");
    fails(&ran, 1, "sum refused at instruction 0: ");
    assert!(ran.stdout.contains("cause: "), "{}", ran.stdout);
    let ran = lab(&["verify", &path, "--type", "socket_filter", "--json"], "");
    fails(&ran, 1, "refused");
    let value = json_of(&ran);
    assert_eq!(value[0]["accepted"], json!(false));
    assert_eq!(value[0]["rejection"]["cause"], json!("context_access"));

    fails(&lab(&["verify", &path, "--type", "nonsense"], ""), 1, "there are socket_filter, ");
    fails(&lab(&["verify", "/no/such/file"], ""), 1, "/no/such/file");
    let ran = lab(&["verify", "-", "--log-level", "1"], SUM);
    assert_eq!(ran.status, 0);
    assert!(ran.stderr.contains("r0 += r2"), "{}", ran.stderr);
}

#[test]
fn text_is_hexadecimal_or_assembly() {
    for (name, content) in [("a.hex", hex(SUM)), ("b.txt", SUM.to_owned())] {
        let (_folder, path) = file(name, content);
        assert_eq!(lab(&["verify", &path], "").status, 0, "{name}");
    }
    let (_folder, path) = file("bad.s", "r0 = 0\nr1 = nonsense\nexit\n");
    fails(&lab(&["verify", &path], ""), 1, "line 2");
    let (_folder, path) = file("bad.bin", [0xff, 0xfe, 0]);
    fails(&lab(&["verify", &path], ""), 1, "neither");
    let (_folder, path) = file("bad.o", b"\x7fELF and no more");
    fails(&lab(&["verify", &path], ""), 1, "ELF");
}

#[test]
fn run_gives_what_the_program_returns() {
    let (folder, path) = file("sum.s", SUM);
    let memory = folder.path().join("memory");
    std::fs::write(&memory, [40u64.to_le_bytes(), 2u64.to_le_bytes()].concat()).unwrap();
    let memory = memory.to_str().unwrap();
    for engine in engines() {
        let ran = lab(&["run", &path, "--engine", engine, "--memory", memory], "");
        assert_eq!((ran.status, ran.stdout.as_str()), (0, "r0 = 42 (0x2a)\n"), "{}", ran.stderr);
        let ran = lab(&["run", &path, "--engine", engine, "--context", memory, "--json"], "");
        assert_eq!(json_of(&ran)["r0"], json!(42));
    }
    // A packet, its fields, and what the program leaves in it.
    let program = "r2 = *(u32 *)(r1 + 76)
        r3 = *(u32 *)(r1 + 80)
        r0 = *(u32 *)(r1 + 8)
        r4 = r2
        r4 += 14
        if r4 > r3 goto out
        *(u8 *)(r2 + 13) = 7
        out: exit";
    let (folder, path) = file("mark.s", program);
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("packet"), [0; 20]).unwrap();
    std::fs::write(at("fields"), [0, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0]).unwrap();
    for engine in engines() {
        let ran = lab(
            &[
                "run",
                &path,
                "--type",
                "sched_cls",
                "--engine",
                engine,
                "--memory",
                &at("packet"),
                "--context",
                &at("fields"),
                "--output",
                &at("after"),
            ],
            "",
        );
        assert_eq!((ran.status, ran.stdout.as_str()), (0, "r0 = 99 (0x63)\n"), "{}", ran.stderr);
        let after = std::fs::read(at("after")).unwrap();
        assert_eq!((after.len(), after[13]), (20, 7));
    }
    // A context that has numbers beside its pointer, and no packet.
    let program = "r0 = *(u32 *)(r1 + 4)\nr0 += 1\n*(u32 *)(r1 + 4) = r0\nr0 = 1\nexit";
    let (folder, path) = file("address.s", program);
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("fields"), [0, 0, 0, 0, 41, 0, 0, 0, 7]).unwrap();
    let typed = ["--type", "cgroup_sock_addr", "--attach-type", "10", "--repeat", "3"];
    for engine in engines() {
        let files = ["--context", &at("fields"), "--output", &at("after")];
        let ran = lab(&[&["run", &path, "--engine", engine], &typed[..], &files].concat(), "");
        assert_eq!((ran.status, ran.stdout.as_str()), (0, "r0 = 1 (0x1)\n"), "{}", ran.stderr);
        assert_eq!(std::fs::read(at("after")).unwrap(), [0, 0, 0, 0, 44, 0, 0, 0, 7]);
    }
    // What is refused does not run.
    let (_folder, path) = file("bad.s", "r0 = r9\nexit");
    let ran = lab(&["run", &path], "");
    fails(&ran, 1, "refused at instruction 0");
    assert_eq!(ran.stdout, "");
}

/// Those that this machine has.
fn engines() -> &'static [&'static str] {
    if cfg!(target_arch = "x86_64") { &["interpreter", "jit"] } else { &["interpreter"] }
}

#[test]
fn maps_of_text_are_given_by_option() {
    let count = "r6 = 0
        *(u64 *)(r10 - 8) = 5
        r2 = r10
        r2 += -8
        r1 = map[0] ll
        call bpf_map_lookup_elem
        if r0 == 0 goto out
        r6 = 1
        out: r0 = r6
        exit";
    let (_folder, path) = file("count.s", count);
    let ran = lab(&["run", &path, "--map", "hash:8:8:16"], "");
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "r0 = 0 (0x0)\n"), "{}", ran.stderr);
    let ran = lab(&["run", &path, "--map", "array:4:8:16"], "");
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "r0 = 1 (0x1)\n"), "{}", ran.stderr);
    fails(&lab(&["run", &path], ""), 1, "no map with index 0");
    assert_eq!(lab(&["run", &path, "--map", "heap:1:1:1"], "").status, 2);
}

#[test]
fn text_and_instructions_are_two_forms_of_one_program() {
    let source = "r1 = 0x123456789abcdef0 ll
        if r1 == 0 goto out
        lock *(u64 *)(r10 - 8) += r1
        out: r0 = 0
        exit";
    let (folder, path) = file("p.s", source);
    let assembled = lab(&["asm", &path], "");
    assert_eq!((assembled.status, assembled.stdout.lines().count()), (0, 6));
    assert_eq!(assembled.stdout.replace('\n', ""), hex(source));
    let (_other, hex_path) = file("p.hex", &assembled.stdout);
    for plain in [&[][..], &["--plain"]] {
        let text = lab(&[&["disasm", hex_path.as_str()], plain].concat(), "");
        assert_eq!(text.stdout.contains("; 0"), plain.is_empty());
        let again = lab(&["asm", "-"], &text.stdout);
        assert_eq!(again.stdout, assembled.stdout, "{}", text.stdout);
    }
    let value = json_of(&lab(&["disasm", &hex_path, "--json"], ""));
    assert_eq!(
        value[0]["insns"][1],
        json!({ "slot": 2, "text": "if r1 == 0 goto +1",
                                             "file": null, "line": null })
    );
    let output = folder.path().join("p.bin");
    let ran = lab(&["asm", &path, "--output", output.to_str().unwrap(), "--json"], "");
    assert_eq!(json_of(&ran)["slots"], json!(6));
    assert_eq!(std::fs::read(output).unwrap().len(), 48);
    fails(&lab(&["asm", "-"], "r0 = 0\nexit now"), 1, "line 2");
}

#[test]
fn cost_names_helpers_and_hooks() {
    let (_folder, path) = file("c.s", "call bpf_ktime_get_ns\nr0 = 0\nexit");
    let ran = lab(&["cost", &path], "");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("bpf_ktime_get_ns") && ran.stdout.contains("hook timer: fits"));
    let value = json_of(&lab(&["cost", &path, "--type", "timer", "--json"], ""));
    let cost = value[0]["helper_costs"][0]["cost"].as_u64().unwrap();
    assert_eq!(value[0]["worst_case"], json!(3 + cost));
    assert_eq!(value[0]["hooks"].as_array().unwrap().len(), 1);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn machine_code_stands_beside_the_instructions() {
    let (_folder, path) = file("sum.s", SUM);
    let ran = lab(&["jit-dump", &path], "");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stdout.lines().any(|line| line.contains("3  exit")), "{}", ran.stdout);
    assert!(ran.stdout.lines().any(|line| line.ends_with(" ret")), "{}", ran.stdout);
    let value = json_of(&lab(&["jit-dump", &path, "--json"], ""));
    // The machine instructions are all of the code, without gaps.
    let mut end = 0;
    for part in value[0]["parts"].as_array().unwrap() {
        for insn in part["code"].as_array().unwrap() {
            assert_eq!(insn["offset"], json!(end));
            end += insn["bytes"].as_str().unwrap().len() / 2;
        }
    }
    assert_eq!(value[0]["code_bytes"], json!(end));
}

#[test]
fn bench_measures_each_step() {
    let (_folder, path) = file("sum.s", SUM);
    for engine in engines() {
        let ran = lab(&["bench", &path, "--engine", engine, "--time", "5", "--json"], "");
        let value = json_of(&ran);
        assert_eq!(value["explored"], json!(4));
        for step in ["verify_ns", "prepare_ns", "run_ns"] {
            assert!(value[step].as_f64().unwrap() > 0.0, "{value}");
        }
    }
    assert!(lab(&["bench", "-", "--time", "5"], SUM).stdout.contains("  run "));
}

#[test]
fn objects_have_sections_and_programs() {
    let Some(clang) = clang() else { return };
    let object = compile(clang, &example("syscount.bpf.c"));
    let (_folder, path) = file("syscount.o", object);
    let ran = lab(&["verify", &path, "--json"], "");
    let value = json_of(&ran);
    assert_eq!((ran.status, &value[0]["accepted"]), (0, &json!(true)), "{}", ran.stderr);
    let (name, section) =
        (value[0]["name"].as_str().unwrap(), value[0]["section"].as_str().unwrap());
    for choice in [["--program", name], ["--section", section]] {
        let ran = lab(&["cost", &path, choice[0], choice[1]], "");
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains(name), "{}", ran.stdout);
    }
    fails(&lab(&["verify", &path, "--program", "nobody"], ""), 1, "no such program");
    // Source lines, where the compiler wrote them.
    let text = lab(&["disasm", &path], "").stdout;
    assert!(text.contains("syscount.bpf.c:"), "{text}");
}

#[test]
fn a_refusal_of_an_object_names_the_source_line() {
    let Some(clang) = clang() else { return };
    let (_folder, path) = file("bad.o", compile(clang, &example("bad_null.bpf.c")));
    let ran = lab(&["verify", &path], "");
    fails(&ran, 1, "refused at instruction");
    assert!(ran.stdout.contains("bad_null.bpf.c:"), "{}", ran.stdout);
}

#[test]
fn profiles_have_their_own_limits() {
    let long = format!("r0 = 0\n{}exit", "r0 += 1\n".repeat(5000));
    let (_folder, path) = file("long.s", long);
    assert_eq!(lab(&["verify", &path], "").status, 0);
    fails(&lab(&["verify", &path, "--profile", "embedded"], ""), 1, "5002 instructions");
}

/// `bpf-lab disasm FILE | head -1` says nothing on standard error.
#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let (_folder, path) = file("long.s", "r0 = 1\n".repeat(100_000) + "exit\n");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_bpf-lab"))
        .args(["disasm", &path])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(said, "");
    assert!(!child.wait().unwrap().success());
}
