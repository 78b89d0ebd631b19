//! An object's maps made in this process: for tools and tests, which have no `bpf(2)`.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Object, ObjectError, Slot};
use crate::btf::Btf;
use crate::map::{Map, MapDef, MapEnvironment, MapExtras};
use crate::profile::PhysicalProfile;

impl Object {
    /// Creates the object's maps as a loader does: contents written, constants frozen, maps of
    /// maps filled. Program arrays stay empty: their programs exist only later.
    ///
    /// # Errors
    /// A map that cannot be created or filled, by name.
    pub fn create_maps<P: PhysicalProfile>(
        &self,
        environment: &MapEnvironment,
    ) -> Result<Vec<Arc<Map>>, ObjectError> {
        let types = self.btf.as_deref().and_then(|bytes| Btf::parse(bytes).ok());
        let mut maps = Vec::new();
        for declared in &self.maps {
            let fail = |error: &dyn ToString| ObjectError::new(&declared.name, error.to_string());
            let cpus = environment.cpus as u32;
            let create = |def: MapDef, extras: &MapExtras| {
                Map::create_with::<P>(def.completed(cpus), extras, environment)
                    .map(Arc::new)
                    .map_err(|error| fail(&error))
            };
            let inner = declared.inner.map(|inner| create(inner, &MapExtras::default()));
            let fields = types.as_ref().map(|types| types.value_fields(declared.value_type));
            let extras = MapExtras {
                map_extra: declared.map_extra,
                inner: inner.transpose()?,
                fields: fields.transpose().map_err(|error| fail(&error))?.unwrap_or_default(),
                typed: declared.key_type != 0 && declared.value_type != 0,
            };
            let map = create(declared.def, &extras)?;
            if let Some(contents) = &declared.contents {
                map.update(&[0; 4], contents, 0).map_err(|error| fail(&error))?;
            }
            if declared.freeze {
                map.freeze().map_err(|error| fail(&error))?;
                // Nobody else has the map yet.
                map.settle();
            }
            maps.push(map);
        }
        for (declared, map) in self.maps.iter().zip(&maps) {
            for (index, slot) in &declared.slots {
                let Slot::Map(inner) = slot else { continue };
                let inner = maps.get(*inner).map(Arc::clone);
                let inner = inner.ok_or_else(|| ObjectError::new(&declared.name, "no such map"))?;
                map.set_map(&index.to_ne_bytes(), inner, 0)
                    .map_err(|error| ObjectError::new(&declared.name, error.to_string()))?;
            }
        }
        Ok(maps)
    }
}
