//! Programs of the host that the tests of other machines use: clang, which has LLVM's assembler
//! and linker driver for every machine, and the user-mode emulators of QEMU.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{env, eprintln, format, fs, panic, process};

/// The path of a program, or of one of its versions (`clang-19`).
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let versions = (14..=22).rev().map(|version| format!("{program}-{version}"));
    let names: Vec<String> = [program.to_string()].into_iter().chain(versions).collect();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let candidates = names.iter().flat_map(|name| folders.iter().map(move |dir| dir.join(name)));
    candidates.into_iter().find(|file| file.is_file())
}

/// Says that a test was left out for want of a program; where everything must be there, fails.
pub(crate) fn missing(what: &str) {
    if env::var_os("CI").is_some() {
        panic!("{what} is missing: install it (apt-get install clang lld qemu-user)");
    }
    eprintln!("SKIPPED: {what} is missing (apt-get install clang lld qemu-user)");
}

/// A folder of this process that goes when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let path = env::temp_dir().join(format!("kernel_bpf-{name}-{}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs clang, which must succeed.
pub(crate) fn clang(clang: &Path, arguments: &[&str], files: &[&Path]) {
    let output = Command::new(clang).args(arguments).args(files).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "clang {arguments:?}: {message}");
}

/// Compares encodings with those of LLVM's assembler for a machine. Each form is an instruction
/// as the emitter encodes it, and what it should be.
pub(crate) fn compare_encodings(name: &str, arguments: &[&str], forms: &[(u32, &str)]) {
    let Some(assembler) = find("clang") else { return missing("clang") };
    let folder = Folder::new(name);
    let (source, object) = (folder.file("forms.s"), folder.file("forms.o"));
    let text: String = forms.iter().map(|(_, text)| format!("{text}\n")).collect();
    fs::write(&source, text).unwrap();
    let mut all = Vec::from(["-c", "-o", object.to_str().unwrap()]);
    all.extend(arguments);
    clang(&assembler, &all, &[&source]);
    let bytes = fs::read(&object).unwrap();
    let file = elf::ElfBytes::<elf::endian::LittleEndian>::minimal_parse(&bytes).unwrap();
    let section = file.section_header_by_name(".text").unwrap().unwrap();
    let (code, _) = file.section_data(&section).unwrap();
    assert_eq!(code.len(), forms.len() * 4, "an instruction that is not one word");
    for (&(found, text), expected) in forms.iter().zip(code.chunks(4)) {
        let expected = u32::from_le_bytes(expected.try_into().unwrap());
        assert_eq!(found, expected, "{text}: {found:#010x} is not {expected:#010x}");
    }
}
