//! The maps of a case: the operations of its map kinds, carried out on the engine's maps.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use kernel_bpf::btf::Btf;
use kernel_bpf::loader::is_gpl_compatible;
use kernel_bpf::map::{
    KernelPointer, Map, MapDef, MapError, MapExtras, MapRef, MapType, TailTarget, ValueFields,
};
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::verify;

use super::case::{MapCreate, MapKind, Operation};
use crate::engine::{EngineKind, Profile, Ready};

/// A map that a case's program refers to.
#[derive(Clone)]
pub(crate) struct CaseMap {
    pub(crate) kind: String,
    def: MapDef,
    inner: Option<(MapDef, ValueFields)>,
    fields: ValueFields,
    pointers: Arc<[KernelPointer]>,
    /// The map itself; the reason where the engine cannot create one: the program can be
    /// verified by the definition then, but not run.
    pub(crate) map: Result<Arc<Map>, String>,
}

impl MapRef for CaseMap {
    fn def(&self) -> MapDef {
        self.def
    }

    fn read_frozen(&self, offset: u32, into: &mut [u8]) -> bool {
        self.map.as_ref().is_ok_and(|map| map.read_frozen(offset, into))
    }

    fn inner_def(&self) -> Option<MapDef> {
        match &self.map {
            Ok(map) => map.inner_def().or(self.inner.map(|(def, _)| def)),
            Err(_) => self.inner.map(|(def, _)| def),
        }
    }

    fn value_fields(&self) -> ValueFields {
        self.fields
    }

    fn inner_fields(&self) -> ValueFields {
        self.inner.map(|(_, fields)| fields).unwrap_or_default()
    }

    fn kernel_pointers(&self) -> &[KernelPointer] {
        &self.pointers
    }
}

/// For whom the maps are: programs in them must be of the same kind.
#[derive(Clone, Copy)]
pub(crate) struct Purpose {
    pub(crate) prog_type: ProgType,
    pub(crate) expected_attach_type: u32,
    pub(crate) engine: EngineKind,
    pub(crate) profile: Profile,
}

/// The descriptors of one map kind. A closed one stays in the tables: what it names lives on
/// where something else refers to it.
#[derive(Default)]
struct Descriptors {
    maps: HashMap<i64, CaseMap>,
    btfs: HashMap<i64, Btf>,
    /// Programs that are ready to be called; the reason where one is not.
    programs: HashMap<i64, Result<Arc<TailTarget>, String>>,
}

impl Descriptors {
    fn map(&mut self, fd: i64) -> Result<&mut CaseMap> {
        self.maps.get_mut(&fd).with_context(|| format!("there is no map {fd}"))
    }
}

/// Makes the map of one kind.
pub(crate) fn create(name: &str, kind: &MapKind, purpose: Purpose) -> Result<CaseMap> {
    let mut descriptors = Descriptors::default();
    for operation in kind.operations() {
        perform(operation, &mut descriptors, name, purpose)?;
    }
    let fd = kind.patch_fd().context("its operations create no map")?;
    descriptors.maps.remove(&fd).with_context(|| format!("there is no map with descriptor {fd}"))
}

fn perform(
    operation: &Operation,
    descriptors: &mut Descriptors,
    kind: &str,
    purpose: Purpose,
) -> Result<()> {
    match operation {
        Operation::MapCreate(create) => {
            let map = map_create(create, descriptors, kind, purpose.profile)?;
            descriptors.maps.insert(create.fd, map);
        }
        Operation::MapUpdate { fd, key, value, flags, value_fd } => {
            let target = match value_fd {
                Some(value_fd) => Some(
                    descriptors
                        .programs
                        .get(value_fd)
                        .with_context(|| format!("there is no program {value_fd}"))?
                        .clone(),
                ),
                None => None,
            };
            let known = descriptors.map(*fd)?;
            let Ok(map) = &known.map else { return Ok(()) };
            match target {
                None => map.update(&key.0, &value.0, *flags),
                Some(Ok(program)) => map.set_program(&key.0, program, *flags),
                Some(Err(reason)) => {
                    known.map = Err(format!("a program for the map: {reason}"));
                    return Ok(());
                }
            }
            .map_err(|error| anyhow!("map_update: {error}"))?;
        }
        Operation::MapFreeze { fd } => {
            if let Ok(map) = &descriptors.map(*fd)?.map {
                map.freeze().map_err(|error| anyhow!("map_freeze: {error}"))?;
            }
        }
        Operation::BtfLoad { fd, btf } => {
            let btf = Btf::parse(&btf.0).map_err(|error| anyhow!("btf_load: {error}"))?;
            descriptors.btfs.insert(*fd, btf);
        }
        Operation::ProgLoad { fd, license, insns } => {
            let program = prog_load(*fd, &insns.0, license, descriptors, purpose);
            descriptors.programs.insert(*fd, program.map_err(|error| format!("{error:#}")));
        }
        Operation::Close {} => {}
        Operation::Unknown => bail!("an operation that this tool does not know"),
    }
    Ok(())
}

fn map_create(
    create: &MapCreate,
    descriptors: &Descriptors,
    kind: &str,
    profile: Profile,
) -> Result<CaseMap> {
    let map_type = MapType::from_number(create.map_type)
        .with_context(|| format!("there is no map type {}", create.map_type))?;
    let def = MapDef {
        map_type,
        key_size: create.key_size,
        value_size: create.value_size,
        max_entries: create.max_entries,
        flags: create.map_flags,
    };
    let named = |fd: Option<i64>| fd.filter(|fd| *fd >= 0);
    let inner = named(create.inner_map_fd)
        .map(|fd| descriptors.maps.get(&fd).with_context(|| format!("there is no inner map {fd}")));
    let inner = inner.transpose()?;
    let (mut fields, mut pointers) = (ValueFields::default(), Vec::new());
    if let Some(fd) = named(create.btf_fd) {
        let btf = descriptors.btfs.get(&fd).with_context(|| format!("there is no BTF {fd}"))?;
        let value = create.btf_value_type_id;
        fields = btf.value_fields(value).map_err(|error| anyhow!("map_create: {error}"))?;
        pointers = btf.kernel_pointers(value).unwrap_or_default();
    }
    let extras = MapExtras {
        inner: inner.and_then(|inner| inner.map.clone().ok()),
        fields,
        typed: named(create.btf_fd).is_some(),
        ..MapExtras::default()
    };
    let map = match profile.create_map(def, &extras) {
        Ok(map) => Ok(Arc::new(map)),
        // Maps of what this machine has none of: programs run as if they were empty.
        Err(MapError::NotSupported) => profile
            .stand_in(def)
            .map(Arc::new)
            .map_err(|error| format!("no map of type {} can be created: {error}", map_type.name())),
        Err(error) => bail!("map_create: {error}"),
    };
    let inner = inner.map(|inner| (inner.def, inner.fields));
    Ok(CaseMap { kind: kind.to_owned(), def, inner, fields, pointers: pointers.into(), map })
}

/// Verifies a program and makes it ready to be called by programs of the case.
fn prog_load(
    fd: i64,
    insns: &[u8],
    license: &str,
    descriptors: &Descriptors,
    purpose: Purpose,
) -> Result<Arc<TailTarget>> {
    let by_fd = |fd: i32| descriptors.maps.get(&i64::from(fd))?.map.clone().ok();
    let mut program = Program::from_bytes(insns, purpose.prog_type, by_fd, |_| None, Arc::ptr_eq)?;
    program.expected_attach_type = purpose.expected_attach_type;
    program.gpl_compatible = is_gpl_compatible(license);
    let verified = verify(program, &purpose.profile.verify_options())
        .map_err(|rejection| anyhow!("{}", rejection.message))?;
    Ready::new(&verified, purpose.engine, purpose.profile)?.tail_target(u32::try_from(fd)?)
}
