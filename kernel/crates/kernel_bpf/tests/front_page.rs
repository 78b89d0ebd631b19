//! The tables on the crate's front page, `src/tables.md`, are what the code says.
//!
//! `LEMMA_WRITE_DOCS=1 cargo test -p kernel_bpf --test front_page` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use kernel_bpf::helper::is_implemented;
use kernel_bpf::helper::table;
use kernel_bpf::insn::{Insn, decode};
use kernel_bpf::map::{Map, MapDef, MapExtras, MapType};
use kernel_bpf::prog_type::{self, ProgType};

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// An instruction without its registers and numbers: what tells its form from another.
fn form(insn: &Insn) -> String {
    let text = insn.to_string();
    let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let forms = words.map(|word| {
        let (name, end) = match word.strip_suffix(|c: char| !c.is_ascii_alphanumeric()) {
            Some(name) => (name, &word[name.len()..]),
            None => (word, ""),
        };
        let digits = name.strip_prefix(['r', 'w']).unwrap_or(name);
        let operand = !digits.is_empty() && digits.starts_with(|c: char| c.is_ascii_digit());
        let end = end.replace(['+', '-'], "");
        if operand { format!("N{end}") } else { format!("{name}{end}") }
    });
    forms.collect()
}

/// One encoding of every instruction: the fields are such that they fit.
fn instructions() -> Vec<(u8, Insn)> {
    let mut found: Vec<(u8, Insn)> = Vec::new();
    for code in 0..=255u8 {
        for (registers, offset, immediate) in [
            (0x01u8, 0i16, 7i32),
            (0x21, 0, 0),
            (0x00, 0, 0),
            (0x20, 0, 0),
            (0x01, 1, 7),
            (0x21, 1, 0),
            (0x21, 8, 0),
            (0x21, 16, 0),
            (0x21, 32, 0),
            (0x01, 0, 16),
            (0x01, 0, 32),
            (0x01, 0, 64),
            (0x00, 8, 0),
            (0x00, 0, 8),
            (0x10, 0, 8),
            (0x20, 0, 8),
            (0x01, 4, 0),
            (0x21, 0, 0x00),
            (0x21, 0, 0x40),
            (0x21, 0, 0x50),
            (0x21, 0, 0xa0),
            (0x21, 0, 0x01),
            (0x21, 0, 0x41),
            (0x21, 0, 0x51),
            (0x21, 0, 0xa1),
            (0x21, 0, 0xe1),
            (0x21, 0, 0xf1),
            (0x21, 0, 0x100),
            (0x21, 0, 0x110),
            (0x41, 0, 0),
        ] {
            let mut bytes = vec![code, registers];
            bytes.extend(offset.to_le_bytes());
            bytes.extend(immediate.to_le_bytes());
            if code == 0x18 {
                bytes.extend([0; 8]);
            }
            let Ok(insns) = decode(&bytes) else { continue };
            let insn = insns[0];
            if !found.iter().any(|(known, other)| *known == code && form(other) == form(&insn)) {
                found.push((code, insn));
            }
        }
    }
    found
}

fn tables() -> String {
    let mut page = String::from(
        "<!-- Made by tests/front_page.rs from the tables in the code. -->\n\n\
         ## Instructions\n\n\
         Every opcode that decodes, with an example of each form. What no verified program may \
         have is refused by the verifier with a reason.\n\n\
         | opcode | forms |\n|---|---|\n",
    );
    let instructions = instructions();
    for code in 0..=255u8 {
        let forms = instructions.iter().filter(|(of, _)| *of == code);
        let forms: Vec<String> = forms.map(|(_, insn)| format!("`{insn}`")).collect();
        if !forms.is_empty() {
            let _ = writeln!(page, "| {code:#04x} | {} |", forms.join(", ").replace('|', "\\|"));
        }
    }
    page.push_str(
        "\n## Helpers\n\nThe verifier knows every helper here; those without a cross have no \
         implementation, and a program that calls one cannot be prepared to run.\n\n\
         | number | name | runs | cost | licence |\n|---|---|---|---|---|\n",
    );
    let mut helpers: Vec<_> = table::all().collect();
    helpers.sort_by_key(|helper| helper.id);
    for helper in helpers {
        let runs = if is_implemented(helper.id) { "×" } else { "" };
        let licence = if helper.gpl_only { "GPL" } else { "" };
        let (id, name, cost) = (helper.id, helper.name, helper.cost);
        let _ = writeln!(page, "| {id} | `bpf_{name}` | {runs} | {cost} | {licence} |");
    }
    page.push_str("\n## Map types\n\n| number | name | can be created |\n|---|---|---|\n");
    for map_type in MapType::ALL {
        let created = if can_be_created(map_type) { "×" } else { "" };
        let _ = writeln!(page, "| {} | `{}` | {created} |", map_type.number(), map_type.name());
    }
    page.push_str(
        "\n## Program types\n\nThe verifier has the rules of all of them; those without a cross \
         have contexts that only another kernel could fill, and are verified only.\n\n\
         | number | name | runs | context | unprivileged |\n|---|---|---|---|---|\n",
    );
    for prog_type in ProgType::ALL {
        let runs = if prog_type.has_run_time() { "×" } else { "" };
        let decl = (0..64).find_map(|attach_type| prog_type::decl(prog_type, attach_type));
        let context = match (prog_type, decl) {
            (ProgType::LemmaHook, _) => "that of the hook".to_owned(),
            (_, Some(decl)) => decl.context.name.to_owned(),
            (_, None) => String::new(),
        };
        let unprivileged = if decl.is_some_and(|decl| decl.unprivileged) { "×" } else { "" };
        let (number, name) = (prog_type.number(), prog_type.name());
        let _ = writeln!(page, "| {number} | `{name}` | {runs} | {context} | {unprivileged} |");
    }
    page.push_str(
        "\n## Modules with `unsafe`\n\nEvery other module of the library forbids it or has none.\n\n",
    );
    for module in unsafe_modules() {
        let _ = writeln!(page, "* `{module}`");
    }
    page
}

/// Whether some definition of this type is not refused as unknown.
fn can_be_created(map_type: MapType) -> bool {
    use kernel_bpf::map::MapError::NotSupported;

    let shapes = [(4, 4, 4), (8, 8, 4), (0, 0, 4096), (0, 8, 4), (4, 8, 0), (4, 8, 4)];
    shapes.into_iter().any(|(key_size, value_size, max_entries)| {
        let flags = if map_type == MapType::LpmTrie { 1 } else { 0 };
        let def = MapDef { map_type, key_size, value_size, max_entries, flags };
        !matches!(Map::memory_needed(&def, &MapExtras::default(), 1), Err(NotSupported))
    })
}

/// Files of the library, not of its tests, in which the word is code.
fn unsafe_modules() -> Vec<String> {
    let mut folders = vec![source()];
    let mut modules = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(source()).unwrap();
            let name = relative.with_extension("");
            let name = name.to_string_lossy().replace('/', "::");
            let module = name.strip_suffix("::mod").unwrap_or(&name).to_owned();
            let of_tests = module.split("::").any(|part| {
                matches!(part, "tests" | "checking" | "mock") || part.ends_with("_tests")
            });
            if !of_tests && has_unsafe(&fs::read_to_string(&path).unwrap()) {
                modules.push(module);
            }
        }
    }
    modules.sort();
    modules
}

fn has_unsafe(text: &str) -> bool {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut words = code.flat_map(|line| {
        let line = line.split("//").next().unwrap_or_default();
        line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
    });
    words.any(|word| word == "unsafe")
}

#[test]
fn the_front_page_says_what_the_code_says() {
    let (wanted, path) = (tables(), source().join("tables.md"));
    if std::env::var_os("LEMMA_WRITE_DOCS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "src/tables.md does not say what the code says; run `LEMMA_WRITE_DOCS=1 cargo test -p \
         kernel_bpf --test front_page` and look at the difference"
    );
}

#[test]
fn unsafe_code_is_told_from_the_word() {
    let list = unsafe_modules();
    assert!(list.contains(&"memory".to_owned()) && !list.contains(&"verifier".to_owned()));
    assert!(has_unsafe("fn f() { unsafe { g() } }"));
    assert!(!has_unsafe("#![forbid(unsafe_code)] // no unsafe here"));
}
