//! `bpf-lab sign`: keys, signed objects, and what is refused.

mod common;

use std::path::Path;

use common::{Ran, compile, lab, tools::clang};
use serde_json::json;

fn fails(ran: &Ran, part: &str) {
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains(part), "{}", ran.stderr);
}

#[test]
fn objects_are_signed_as_built_and_checked() {
    let Some(clang) = clang() else { return };
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/syscount.bpf.c");
    let object = compile(clang, &example);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("built.o"), &object).unwrap();

    for key in ["mine", "other"] {
        let ran = lab(&["sign", "--new-key", &at(key)], "");
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(at(key)).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
    }
    fails(&lab(&["sign", "--new-key", &at("mine")], ""), "exists");

    let sign =
        ["sign", &at("built.o"), "--key", &at("mine"), "--version", "7", "--output", &at("s.o")];
    let ran = lab(&sign, "");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let signed = std::fs::read(at("s.o")).unwrap();
    assert!(signed.starts_with(&object), "the file as built is in front");
    assert_eq!(std::fs::read(at("built.o")).unwrap(), object, "and left alone");

    let check = |file: &str, key: &str, running: &str| {
        lab(&["sign", &at(file), "--check", &at(key), "--running", running, "--json"], "")
    };
    let ran = check("s.o", "mine.pub", "7");
    let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(value["version"], json!(7));
    fails(&check("s.o", "mine.pub", "8"), "version 7 is older than version 8");
    fails(&check("s.o", "other.pub", "1"), "unknown key");
    fails(&check("built.o", "mine.pub", "1"), "not signed");
    for position in [100, object.len() + 1] {
        let mut changed = signed.clone();
        changed[position] ^= 1;
        std::fs::write(at("changed.o"), changed).unwrap();
        fails(&check("changed.o", "mine.pub", "1"), "does not belong");
    }

    // A signed object is still an object, and signing it again replaces the signature.
    assert_eq!(lab(&["verify", &at("s.o")], "").status, 0);
    let ran = lab(&["sign", &at("s.o"), "--key", &at("mine"), "--version", "9"], "");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let again = std::fs::read(at("s.o")).unwrap();
    assert_eq!((again.len(), again.starts_with(&object)), (signed.len(), true));
    assert_eq!(check("s.o", "mine.pub", "9").status, 0);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("text"), "no object").unwrap();
    std::fs::write(at("short"), "00ff").unwrap();
    std::fs::write(at("key"), "11".repeat(32)).unwrap();
    fails(&lab(&["sign", &at("text"), "--key", &at("key")], ""), "ELF");
    fails(&lab(&["sign", &at("text"), "--key", &at("short")], ""), "32 bytes, not 2");
    fails(&lab(&["sign", &at("text"), "--check", &at("none")], ""), "none");
    assert_eq!(lab(&["sign", &at("text")], "").status, 2);
    assert_eq!(lab(&["sign"], "").status, 2);
}
