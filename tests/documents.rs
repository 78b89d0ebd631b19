//! The pages of the book that are made from the code: `docs/hooks.md` from the declarations of
//! the hooks, `docs/support.md` from the tables of system calls, `bpf(2)` commands, helpers, map
//! types and program types. The test fails when a page says something else than the code; with
//! `LEMMA_WRITE_DOCS=1` in the environment it writes the pages instead.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernel_bpf::hook::{FailSafe, HOOKS};
use kernel_bpf::map::def::flags;
use kernel_bpf::map::{Epoch, Map, MapDef, MapEnvironment, MapExtras, MapType};
use kernel_bpf::profile::ActiveProfile;
use kernel_bpf::prog_type::context::ContextRule;
use kernel_bpf::prog_type::{self, ProgType};
use lemma::machine::Arch;

/// No architecture's system calls have higher numbers.
const TABLES_END: usize = 1024;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// Compares a page with what it should say, or writes it.
fn check(page: &str, wanted: &str) {
    let path = root().join("docs").join(page);
    if std::env::var_os("LEMMA_WRITE_DOCS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/{page} does not say what the code says; run \
         `LEMMA_WRITE_DOCS=1 cargo test --test documents` and look at the difference"
    );
}

#[test]
fn the_page_of_hooks_is_current() {
    let mut page = String::from(
        "# Hooks\n\nMade from the declarations in `kernel/crates/kernel_bpf/src/hook.rs`.\n\n\
         A program for a hook is in the section `hook/NAME`, and sees the context below. Programs of \
         Linux's types may observe at the same places, with Linux's contexts: `raw_tp/sys_enter`, \
         `raw_tp/sys_exit`, `tp/raw_syscalls/sys_enter`, `tp/raw_syscalls/sys_exit`, and \
         `perf_event` at the timer.\n",
    );
    for hook in HOOKS {
        let (least, most) = hook.returns;
        let returns = if least == most { format!("{least}") } else { format!("{least} to {most}") };
        let fail_safe = match hook.fail_safe {
            FailSafe::Ignore => "the answer is not used",
            FailSafe::Pass => "the event goes on as if there were no program",
        };
        let interrupt = if hook.interrupt { "in an interrupt" } else { "in a task" };
        write!(
            page,
            "\n## {}\n\nRuns at {}.\n\n\
             | attach type | budget, cloud | budget, embedded | may return | without a usable answer | runs |\n\
             |---|---|---|---|---|---|\n\
             | {} | {} instructions | {} instructions | {returns} | {fail_safe} | {interrupt} |\n\n\
             `{}`, {} bytes, read-only:\n\n| offset | bytes | field |\n|---|---|---|\n",
            hook.name,
            hook.summary,
            hook.attach_type,
            hook.budget_cloud,
            hook.budget_embedded,
            hook.context.name,
            hook.context.size,
        )
        .unwrap();
        let ContextRule::Fields(fields) = hook.context.rule else {
            panic!("the context of {} is not a list of fields", hook.name);
        };
        for field in fields {
            writeln!(page, "| {} | {} | `{}` |", field.offset, field.size, field.name).unwrap();
        }
        let helpers: Vec<_> = kernel_bpf::helper::table::all()
            .filter(|helper| hook.allows(helper.id))
            .filter(|helper| kernel_bpf::helper::is_implemented(helper.id))
            .map(|helper| format!("`{}`", helper.name))
            .collect();
        writeln!(page, "\nHelpers: {}.", helpers.join(", ")).unwrap();
    }
    check("hooks.md", &page);
}

/// The words `NAME` of lines `NAME => …,` between two markers of a source file.
fn names_between(source: &str, start: &str, end: &str, prefix: &str) -> Vec<String> {
    let from = source.find(start).unwrap_or_else(|| panic!("no {start:?} in the source"));
    let rest = &source[from + start.len()..];
    let to = rest.find(end).unwrap_or_else(|| panic!("no {end:?} in the source"));
    rest[..to]
        .lines()
        .filter_map(|line| line.trim().strip_prefix(prefix)?.split_once(" => "))
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| {
            !name.is_empty() && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
        })
        .collect()
}

/// The system calls that the kernel's table has, on whichever architecture.
fn system_calls() -> Vec<String> {
    let table = std::fs::read_to_string(root().join("kernel/src/syscall/mod.rs")).unwrap();
    let mut calls = names_between(&table, "static TABLE", "\n};", "");
    calls.sort();
    calls.into_iter().map(|name| name.to_lowercase()).collect()
}

fn list(names: impl IntoIterator<Item = String>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Whether some ordinary definition of the type can be created.
fn can_be_created(map_type: MapType, extras: &[MapExtras]) -> bool {
    let sizes = [(4, 8, 4096), (8, 8, 16), (4, 4, 16), (0, 8, 16), (0, 0, 4096), (4, 8, 0)];
    sizes.into_iter().any(|(key_size, value_size, max_entries)| {
        [0, flags::NO_PREALLOC].into_iter().any(|flags| {
            let def = MapDef { map_type, key_size, value_size, max_entries, flags };
            extras.iter().any(|extras| Map::memory_needed(&def, extras, 1).is_ok())
        })
    })
}

/// What some types want beside sizes, and others refuse: an inner map, types.
fn map_extras() -> [MapExtras; 3] {
    let epoch: &'static Epoch = Box::leak(Box::new(Epoch::new()));
    let environment = MapEnvironment { cpus: 1, seed: 0, epoch };
    let def =
        MapDef { map_type: MapType::Array, key_size: 4, value_size: 8, max_entries: 1, flags: 0 };
    let inner = Map::create::<ActiveProfile>(def, &environment).unwrap();
    [
        MapExtras::default(),
        MapExtras { inner: Some(Arc::new(inner)), ..MapExtras::default() },
        MapExtras { typed: true, ..MapExtras::default() },
    ]
}

#[test]
fn the_page_of_what_is_supported_is_current() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let commands = names_between(
        &read("kernel/src/syscall/bpf.rs"),
        "match number as u32 {",
        "};",
        "command::",
    );

    let helpers = kernel_bpf::helper::table::all()
        .filter(|helper| kernel_bpf::helper::is_implemented(helper.id))
        .map(|helper| format!("{} ({})", helper.name, helper.id));
    let extras = map_extras();
    let maps = MapType::ALL.into_iter().filter(|&map_type| can_be_created(map_type, &extras));
    let types = ProgType::ALL
        .into_iter()
        .filter(|&kind| (0..64).any(|attach| prog_type::decl(kind, attach).is_some()));

    let page = format!(
        "# What is supported\n\nMade from the tables in the code.\n\n\
         ## System calls\n\n{}.\n\nAll others return `ENOSYS`.\n\n\
         ## Commands of `bpf(2)`\n\n{}.\n\nAll others return `EINVAL`.\n\n\
         ## Helpers\n\n{}.\n\n## Map types\n\n{}.\n\n\
         ## Program types that the verifier knows\n\n{}.\n\n\
         Of these {} can be made ready to run; the others are verified only. In this kernel they \
         run at [hooks](hooks.md) and in test runs, which answer `ENOTSUPP` for types that need a \
         socket; what is for neither, loads and has nothing to run it, as on a Linux without such \
         devices.\n\n\
         ## Architectures\n\n{}.\n\nWhere an architecture's Linux has no call of an older name \
         (`open`, `fork`, `pipe`), Lemma has none there either.\n",
        list(system_calls()),
        list(commands),
        list(helpers),
        list(maps.map(|map_type| map_type.name().to_owned())),
        list(types.clone().map(|kind| kind.name().to_owned())),
        list(types.filter(|kind| kind.has_run_time()).map(|kind| kind.name().to_owned())),
        list(Arch::ALL.map(|arch| arch.name().to_owned())),
    );
    check("support.md", &page);
}

/// A system call that no hostile argument has been tried on is not finished.
#[test]
fn each_system_call_is_called_with_hostile_arguments() {
    let folder = root().join("userspace/usertests/src/hostile");
    let attacked = |file: &str| -> Vec<String> {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let calls = text.split("(\"").skip(1).map(|call| {
            let (name, number) = call.split_once("\", nr::__NR_").unwrap();
            assert!(number.starts_with(&format!("{name})")), "{name} has another's number");
            name.to_owned()
        });
        calls.collect()
    };
    let everywhere = attacked("table.rs");
    for arch in Arch::ALL {
        let own = attacked(&format!("table/{}.rs", arch.name()));
        let has_number = |name: &String| {
            use kernel_abi::syscall::{generic, x86_64};
            match (arch, name.as_str()) {
                (Arch::X86_64, name) => (0..TABLES_END).any(|nr| x86_64::name(nr) == Some(name)),
                (Arch::Riscv64, "renameat") => false,
                (Arch::Riscv64, "riscv_flush_icache") => true,
                (_, name) => (0..TABLES_END).any(|nr| generic::name(nr) == Some(name)),
            }
        };
        let calls: Vec<_> = system_calls().into_iter().filter(has_number).collect();
        assert!(calls.len() > 140, "{calls:?}");
        for call in calls {
            assert!(
                everywhere.contains(&call) || own.contains(&call),
                "{call} is not in usertests' hostile table for {}",
                arch.name()
            );
        }
    }
}

/// System calls that no test names, and what makes them all the same.
const CALLED_UNNAMED: [(&str, &str); 1] =
    [("rt_sigreturn", "each signal handler of the tests returns by it")];

/// The text of every Rust file below a folder, or of one file.
fn text_of(path: &str) -> String {
    let path = root().join(path);
    let mut files = Vec::new();
    if path.is_dir() {
        sources(&path, &mut files);
    } else {
        files.push(path);
    }
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

/// Whether the text has the name, not as a part of a longer one.
fn mentions(text: &str, name: &str) -> bool {
    let in_name = |byte: Option<&u8>| byte.is_some_and(|&b| b == b'_' || b.is_ascii_alphanumeric());
    text.match_indices(name).any(|(at, _)| !in_name(text.as_bytes().get(at + name.len())))
}

/// A system call that no test of its behaviour makes is not finished, either. A test names a call's
/// number, or uses something that does: one of `calls.rs`, where an unused one would not compile,
/// or one of the programs' runtime. (An import that is not used does not compile.)
#[test]
fn each_system_call_is_made_by_a_test_of_its_behaviour() {
    let tests =
        text_of("userspace/usertests/src/tests") + &text_of("userspace/usertests/src/calls.rs");
    let runtime = text_of("userspace/rt/src");
    let functions: Vec<_> = runtime.split("\npub fn ").skip(1).collect();
    for call in system_calls() {
        let number = format!("__NR_{call}");
        // As `LEGACY_CALLS` of the runtime has it.
        let old = format!("old.{call}");
        let by_function = || {
            functions.iter().any(|function| {
                let name = function.split(['(', '<']).next().unwrap_or_default();
                mentions(function, &number) && tests.contains(&format!("::{name}("))
            })
        };
        let unnamed = CALLED_UNNAMED.iter().any(|(name, _)| *name == call);
        assert!(
            mentions(&tests, &number) || mentions(&tests, &old) || by_function() || unnamed,
            "no test under userspace/usertests/src/tests calls {call}"
        );
    }
    assert!(!mentions(&tests, "__NR_rename"), "a name within a longer one");
}

/// Every Rust file below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Only `kernel/src/arch/` knows which CPU the kernel is on; the compilers of the engine know
/// which the host is.
#[test]
fn nothing_above_the_architecture_layer_asks_for_the_cpu() {
    let mut files = Vec::new();
    sources(&root().join("kernel"), &mut files);
    assert!(files.len() > 100);
    let allowed = ["kernel/src/arch/", "kernel/crates/kernel_bpf/src/jit/"];
    for file in files {
        let place = file.strip_prefix(root()).unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let asks = ["target_arch", "target_pointer_width"].iter().any(|word| text.contains(word));
        let may = allowed.iter().any(|folder| place.starts_with(folder))
            // The linker script is the machine's.
            || place == "kernel/build.rs";
        assert!(may || !asks, "{place} asks which CPU this is");
    }
}

/// The crates an architecture needs are chosen by the target in the kernel's manifest, and there
/// only.
#[test]
fn only_the_kernel_chooses_crates_by_the_cpu() {
    let mut manifests = vec![root().join("kernel/Cargo.toml")];
    for entry in root().join("kernel/crates").read_dir().unwrap() {
        manifests.push(entry.unwrap().path().join("Cargo.toml"));
    }
    assert!(manifests.len() > 10);
    for (number, manifest) in manifests.iter().enumerate() {
        let text = std::fs::read_to_string(manifest).unwrap();
        for line in text.lines().filter(|line| line.contains("target_arch")) {
            let section = line.starts_with("[target.'cfg(") && line.ends_with(")'.dependencies]");
            assert!(section && number == 0, "{}: {line}", manifest.display());
        }
    }
}

/// What not every architecture has: file, owners. There is nothing like it on the other machines.
const OWN_FILES: &[(&str, &[&str])] = &[
    // The tables of a PC's firmware; input and output ports; counters that may differ among CPUs.
    ("acpi.rs", &["x86_64"]),
    ("port.rs", &["x86_64"]),
    ("tsc_sync.rs", &["x86_64"]),
    // Floating-point state by several formats; the others have one, in `context.rs`.
    ("fp.rs", &["x86_64"]),
    // Versions of Arm's interrupt controller; RISC-V's; the calls of its firmware.
    ("gic", &["aarch64"]),
    ("plic.rs", &["riscv64"]),
    ("sbi.rs", &["riscv64"]),
    // `memset` and `memcpy`, for which x86_64 has instructions.
    ("memory.rs", &["aarch64", "riscv64"]),
];

/// Whoever knows one architecture's folder finds everything in the others.
#[test]
fn each_architecture_has_the_same_file_names() {
    let mut owners: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for arch in Arch::ALL {
        let folder = root().join("kernel/src/arch").join(arch.name());
        for entry in folder.read_dir().unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            owners.entry(name).or_default().insert(arch.name());
        }
    }
    assert!(owners.len() > 20, "{owners:?}");
    let everybody = Arch::ALL.map(Arch::name);
    let listed = |name: &str| OWN_FILES.iter().find(|(own, _)| *own == name);
    for (name, owners) in &owners {
        let wanted = listed(name).map_or(&everybody[..], |(_, few)| few);
        assert_eq!(*owners, BTreeSet::from_iter(wanted.iter().copied()), "{name}");
    }
    for (name, _) in OWN_FILES {
        assert!(owners.contains_key(*name), "{name} is nowhere");
    }
}

#[test]
fn the_map_of_the_house_has_every_crate() {
    let map = std::fs::read_to_string(root().join("docs/house.md")).unwrap();
    for entry in root().join("kernel/crates").read_dir().unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(map.contains(&format!("{name}/")), "docs/house.md does not have {name}");
    }
}

/// Each test that the page of evidence names is there, and nothing turns it off.
#[test]
fn the_evidence_exists() {
    let page = std::fs::read_to_string(root().join("docs/evidence.md")).unwrap();
    let mut tests = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let evidence = row.split('|').nth(2).unwrap();
        let mut source = String::new();
        for name in evidence.split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                let below =
                    if name.starts_with("bpf-lab") { "tools" } else { "kernel/crates/kernel_bpf" };
                source = std::fs::read_to_string(root().join(below).join(name)).unwrap();
            } else {
                let at = source.find(&format!("fn {name}() {{"));
                let at = at.unwrap_or_else(|| panic!("no test {name}"));
                let before = source[..at].trim_end().lines().rev().map(str::trim);
                let attributes: Vec<_> =
                    before.take_while(|line| line.starts_with(['#', '/'])).collect();
                let off =
                    |line: &&str| ["#[cfg", "#[ignore"].iter().any(|off| line.starts_with(off));
                assert!(attributes.contains(&"#[test]"), "{name} is no test");
                assert!(!attributes.iter().any(off), "{name} does not always run");
                tests += 1;
            }
        }
        assert!(!source.is_empty(), "nothing shows: {row}");
    }
    assert!(tests > 30, "{tests}");
}
