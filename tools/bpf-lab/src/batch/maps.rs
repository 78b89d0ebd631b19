//! The maps of a case: the operations of its map kinds, carried out on the engine's maps.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kernel_bpf::btf::Btf;
use kernel_bpf::map::{Map, MapDef, MapError, MapExtras, MapRef, MapType};

use super::case::{MapKind, Operation};
use crate::engine::Profile;

/// A map that a case's program refers to.
#[derive(Clone)]
pub(crate) struct CaseMap {
    pub(crate) kind: String,
    def: MapDef,
    inner: Option<MapDef>,
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
            Ok(map) => map.inner_def().or(self.inner),
            Err(_) => self.inner,
        }
    }
}

/// The descriptors of one map kind.
#[derive(Default)]
struct Descriptors {
    maps: HashMap<i64, CaseMap>,
}

/// Makes the map of one kind.
pub(crate) fn create(name: &str, kind: &MapKind, profile: Profile) -> Result<CaseMap> {
    let mut descriptors = Descriptors::default();
    let mut closed = HashMap::new();
    for operation in kind.operations() {
        // A closed descriptor's map lives on where another map refers to it.
        if let Operation::Close { fd } = operation {
            if let Some(map) = descriptors.maps.remove(fd) {
                closed.insert(*fd, map);
            }
            continue;
        }
        perform(operation, &mut descriptors, name, profile)?;
    }
    let fd = kind.patch_fd().context("its operations create no map")?;
    let map = descriptors.maps.remove(&fd).or_else(|| closed.remove(&fd));
    map.with_context(|| format!("there is no map with descriptor {fd}"))
}

fn perform(
    operation: &Operation,
    descriptors: &mut Descriptors,
    kind: &str,
    profile: Profile,
) -> Result<()> {
    match operation {
        Operation::MapCreate {
            fd,
            map_type,
            key_size,
            value_size,
            max_entries,
            map_flags,
            inner_map_fd,
        } => {
            let map_type = MapType::from_number(*map_type)
                .with_context(|| format!("there is no map type {map_type}"))?;
            let def = MapDef {
                map_type,
                key_size: *key_size,
                value_size: *value_size,
                max_entries: *max_entries,
                flags: *map_flags,
            };
            let inner = match inner_map_fd {
                Some(inner) if *inner >= 0 => {
                    let inner = descriptors.maps.get(inner);
                    Some(inner.with_context(|| format!("there is no map {inner_map_fd:?}"))?)
                }
                _ => None,
            };
            let extras = MapExtras {
                inner: inner.and_then(|inner| inner.map.clone().ok()),
                ..MapExtras::default()
            };
            let inner = inner.map(|inner| inner.def);
            let map = match profile.create_map(def, &extras) {
                Ok(map) => Ok(Arc::new(map)),
                Err(MapError::NotSupported) => {
                    Err(format!("no map of type {} can be created", map_type.name()))
                }
                Err(error) => bail!("map_create: {error}"),
            };
            descriptors.maps.insert(*fd, CaseMap { kind: kind.to_owned(), def, inner, map });
        }
        Operation::MapUpdate { fd, key, value, flags, value_fd } => {
            let known = descriptors.maps.get_mut(fd);
            let known = known.with_context(|| format!("there is no map {fd}"))?;
            if value_fd.is_some() {
                known.map = Err("maps are not filled with programs".to_owned());
            }
            let Ok(map) = &known.map else { return Ok(()) };
            // What user space may not change, the operations were not meant to.
            map.update(&key.0, &value.0, *flags)
                .map_err(|error| anyhow::anyhow!("map_update: {error}"))?;
        }
        Operation::MapFreeze { fd } => {
            let map = descriptors.maps.get(fd).with_context(|| format!("there is no map {fd}"))?;
            if let Ok(map) = &map.map {
                map.freeze().map_err(|error| anyhow::anyhow!("map_freeze: {error}"))?;
            }
        }
        Operation::BtfLoad { btf } => {
            Btf::parse(&btf.0).map_err(|error| anyhow::anyhow!("btf_load: {error}"))?;
        }
        // Programs matter to the maps that hold them, which cannot be filled yet.
        Operation::ProgLoad {} | Operation::Close { .. } => {}
    }
    Ok(())
}
