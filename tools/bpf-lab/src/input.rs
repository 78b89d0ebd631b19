//! Programs from files: ELF objects, hexadecimal text, or assembly.
//!
//! [`ProgramArguments`] are the options that all commands on programs share; they give
//! [`Loaded`] programs, with their maps created.

#![forbid(unsafe_code)]

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use kernel_bpf::asm::assemble;
use kernel_bpf::hook;
use kernel_bpf::insn::{Insn, encode};
use kernel_bpf::loader::{Object, ObjectProgram, is_gpl_compatible};
use kernel_bpf::map::{Map, MapDef, MapExtras, MapType};
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Rejection, Verified, VerifyOptions, verify_with_log};

use crate::engine::Profile;
use crate::hex;

/// Where a program is, and what is not in its file.
#[derive(Args, Debug)]
pub(crate) struct ProgramArguments {
    /// An ELF object, or text: instructions in hexadecimal, or assembly. `-` is standard input
    file: PathBuf,
    /// The program type: as bpftool names it (xdp, socket_filter, …), or a hook of Lemma's
    /// (timer, sys_enter, …). An object's sections say theirs
    #[arg(long = "type", value_name = "NAME")]
    prog_type: Option<String>,
    /// Linux's expected_attach_type
    #[arg(long, value_name = "NUMBER")]
    attach_type: Option<u32>,
    /// Only programs of this section of an object
    #[arg(long, value_name = "NAME")]
    section: Option<String>,
    /// Only the program with this name
    #[arg(long, value_name = "NAME")]
    program: Option<String>,
    /// A map for text, TYPE:KEY:VALUE:ENTRIES in bytes (hash:8:16:1024); the first is `map[0]`
    #[arg(long = "map", value_name = "MAP", value_parser = parse_map)]
    maps: Vec<MapDef>,
    /// The licence of a program given as text
    #[arg(long, value_name = "TEXT", default_value = "GPL")]
    license: String,
    /// Whose limits apply
    #[arg(long, value_enum, default_value_t)]
    pub(crate) profile: Profile,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How the verifier is to be asked.
#[derive(Args, Debug)]
pub(crate) struct VerifierArguments {
    /// As for a loader without privileges
    #[arg(long)]
    unprivileged: bool,
    /// Refuse accesses that are not aligned
    #[arg(long)]
    strict_alignment: bool,
    /// Show what the verifier does: 1 each instruction, 2 with states, 4 statistics, or a sum
    #[arg(long, value_name = "LEVEL", default_value_t = 0)]
    log_level: u32,
}

fn parse_map(text: &str) -> Result<MapDef, String> {
    let fields: Vec<&str> = text.split(':').collect();
    let [map_type, key, value, entries] = fields[..] else {
        return Err("a map is TYPE:KEY:VALUE:ENTRIES".into());
    };
    let known = MapType::ALL.into_iter().find(|known| known.name() == map_type);
    let map_type = known.ok_or_else(|| format!("there is no map type {map_type}"))?;
    let number = |text: &str| text.parse::<u32>().map_err(|error| format!("{text}: {error}"));
    let (key_size, value_size) = (number(key)?, number(value)?);
    Ok(MapDef { map_type, key_size, value_size, max_entries: number(entries)?, flags: 0 })
}

/// A program with its maps.
pub(crate) struct Loaded {
    /// The section of the object; empty for text.
    pub(crate) section: String,
    pub(crate) program: Program<Arc<Map>>,
}

/// What a file is.
enum Content {
    Object(Box<Object>),
    Text(Vec<Insn>),
}

impl ProgramArguments {
    /// The programs that are meant: all of an object, or the one of a text.
    ///
    /// # Errors
    /// A file that is none of what it may be, or has no such program.
    pub(crate) fn load(&self) -> Result<Vec<Loaded>> {
        let programs = match self.read()? {
            Content::Object(object) => self.of_object(&object)?,
            Content::Text(insns) => vec![self.of_text(insns)?],
        };
        if programs.is_empty() {
            bail!("{}: there is no such program", self.file.display());
        }
        Ok(programs)
    }

    /// The one program that is meant.
    pub(crate) fn load_one(&self) -> Result<Loaded> {
        let mut programs = self.load()?;
        let names: Vec<&str> = programs.iter().map(|one| one.program.name.as_str()).collect();
        if programs.len() > 1 {
            bail!("choose one with --program: {}", names.join(", "));
        }
        programs.pop().context("there is no such program")
    }

    fn read(&self) -> Result<Content> {
        let place = || self.file.display().to_string();
        let mut bytes = Vec::new();
        if self.file.as_os_str() == "-" {
            std::io::stdin().read_to_end(&mut bytes).context("standard input")?;
        } else {
            bytes = std::fs::read(&self.file).with_context(place)?;
        }
        if bytes.starts_with(b"\x7fELF") {
            let object = Object::parse(&bytes).with_context(place)?;
            return Ok(Content::Object(Box::new(object)));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| anyhow!("{}: neither an ELF object nor text", place()))?;
        if let Ok(bytes) = hex::decode(text)
            && !bytes.is_empty()
        {
            return Ok(Content::Text(kernel_bpf::insn::decode(&bytes).with_context(place)?));
        }
        Ok(Content::Text(assemble(text).with_context(place)?))
    }

    fn of_object(&self, object: &Object) -> Result<Vec<Loaded>> {
        let wanted = |program: &&ObjectProgram| {
            self.section.as_ref().is_none_or(|section| *section == program.section)
                && self.program.as_ref().is_none_or(|name| *name == program.name)
        };
        let load = |program: &ObjectProgram| {
            // Each program gets maps of its own: what one run leaves does not meet another.
            let maps = self.profile.create_maps(object)?;
            let mut loaded = program
                .to_program(object, &maps, Arc::ptr_eq)
                .with_context(|| program.name.clone())?;
            if self.prog_type.is_some() {
                (loaded.prog_type, loaded.expected_attach_type) = self.kind()?;
            } else if let Some(attach_type) = self.attach_type {
                loaded.expected_attach_type = attach_type;
            }
            Ok(Loaded { section: program.section.clone(), program: loaded })
        };
        object.programs.iter().filter(wanted).map(load).collect()
    }

    fn of_text(&self, insns: Vec<Insn>) -> Result<Loaded> {
        if self.section.is_some() || self.program.is_some() {
            bail!("--section and --program choose from an ELF object");
        }
        let maps = self.maps.iter().map(|def| {
            let map = self.profile.create_map(*def, &MapExtras::default());
            Ok(Arc::new(map.map_err(|error| anyhow!("a {} map: {error}", def.map_type.name()))?))
        });
        let maps: Vec<Arc<Map>> = maps.collect::<Result<_>>()?;
        let (prog_type, expected_attach_type) = self.kind()?;
        // Through bytes, so that maps are resolved as those of a loader.
        let mut program = Program::from_bytes(
            &encode(&insns),
            prog_type,
            |_| None,
            |index| maps.get(index as usize).cloned(),
            Arc::ptr_eq,
        )
        .with_context(|| self.file.display().to_string())?;
        program.name = self
            .file
            .file_stem()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        program.expected_attach_type = expected_attach_type;
        program.gpl_compatible = is_gpl_compatible(&self.license);
        Ok(Loaded { section: String::new(), program })
    }

    /// The type that the command line names, or that of a program that says nothing.
    fn kind(&self) -> Result<(ProgType, u32)> {
        let attach_type = self.attach_type.unwrap_or_default();
        let Some(name) = self.prog_type.as_deref() else {
            return Ok((ProgType::RawTracepoint, attach_type));
        };
        if let Some(decl) = hook::by_name(name) {
            return Ok((ProgType::LemmaHook, decl.attach_type));
        }
        let found = ProgType::ALL.into_iter().find(|known| known.name() == name);
        let prog_type = found.with_context(|| {
            let types = ProgType::ALL.iter().map(|known| known.name());
            let hooks = hook::HOOKS.iter().map(|decl| decl.name);
            let names: Vec<&str> = types.chain(hooks).collect();
            format!("there is no program type {name}; there are {}", names.join(", "))
        })?;
        Ok((prog_type, attach_type))
    }
}

impl VerifierArguments {
    /// Verifies a program; the log goes to standard error.
    pub(crate) fn verify(
        &self,
        program: Program<Arc<Map>>,
        profile: Profile,
    ) -> Result<Verified<Program<Arc<Map>>>, Box<Rejection>> {
        let mut log = String::new();
        let outcome = verify_with_log(program, &self.options(profile), &mut log);
        eprint!("{log}");
        outcome
    }

    fn options(&self, profile: Profile) -> VerifyOptions {
        let mut options = profile.verify_options();
        if self.unprivileged {
            options = options.for_unprivileged();
        }
        options.strict_alignment = self.strict_alignment;
        options.log_level = self.log_level;
        options
    }
}

/// A refusal in one line, as an error.
pub(crate) fn refused(name: &str, rejection: &Rejection) -> anyhow::Error {
    match rejection.insn {
        Some(insn) => anyhow!("{name} refused at instruction {insn}: {}", rejection.message),
        None => anyhow!("{name} refused: {}", rejection.message),
    }
}
