//! Maps that hold programs, maps and events: what is put in lives as long as it is inside, and
//! afterwards until no program can see it.

use alloc::sync::Arc;
use core::any::Any;

use super::def::flags;
use super::error::{MapError, UpdateMode};
use super::events::EventSink;
use super::nested::{Inner, same_shape};
use super::object::{Map, Storage, index};
use super::prog_array::{ProgramKind, TailTarget};

impl Map {
    /// Puts a program into a program array.
    ///
    /// # Errors
    /// [`MapError::Invalid`] for flags or a program of another kind than the array's,
    /// [`MapError::Full`] beyond the end, a frozen map, another type of map.
    pub fn set_program(
        &self,
        key: &[u8],
        program: Arc<TailTarget>,
        flags: u64,
    ) -> Result<(), MapError> {
        self.writable()?;
        let Storage::Programs(programs) = &self.storage else {
            return Err(MapError::NotSupported);
        };
        no_flags(flags)?;
        programs.set(index(key)?, program)
    }

    /// Whether a descriptor may be put into this slot of an array of programs, maps or events, and
    /// with these flags: to be asked before what is behind the descriptor.
    ///
    /// # Errors
    /// [`MapError::Invalid`] for flags, [`MapError::Full`] beyond the end.
    pub fn check_slot(&self, key: &[u8], flags: u64) -> Result<(), MapError> {
        no_flags(flags)?;
        if index(key)? < self.def.max_entries { Ok(()) } else { Err(MapError::Full) }
    }

    /// A program of this kind uses the map: program arrays take programs of one kind only, and
    /// other maps do not care.
    ///
    /// # Errors
    /// [`MapError::Invalid`] for a program array of another kind.
    pub fn claim(&self, kind: ProgramKind) -> Result<(), MapError> {
        match &self.storage {
            Storage::Programs(programs) => programs.claim(kind),
            _ => Ok(()),
        }
    }

    /// Empties a program array and lets go of what no program can see any more. Returns whether
    /// programs are left that somebody may see: to be called again when every CPU was quiet.
    ///
    /// To be called when user space has lost the array: programs that hold each other by way of
    /// their arrays would live forever.
    pub fn clear_programs(&self) -> bool {
        match &self.storage {
            Storage::Programs(programs) => programs.slots().clear(),
            _ => false,
        }
    }

    /// Puts a map into a map of maps.
    ///
    /// # Errors
    /// [`MapError::Invalid`] for a map of another shape; else as [`Map::update`].
    pub fn set_map(&self, key: &[u8], map: Arc<Map>, flags: u64) -> Result<(), MapError> {
        self.set_inner(key, Inner::new(map, None), flags)
    }

    /// The same; `owner` lives as long as the map is inside.
    ///
    /// # Errors
    /// As [`Map::set_map`].
    pub fn set_map_of(
        &self,
        key: &[u8],
        map: Arc<Map>,
        owner: Arc<dyn Any + Send + Sync>,
        flags: u64,
    ) -> Result<(), MapError> {
        self.set_inner(key, Inner::new(map, Some(owner)), flags)
    }

    fn set_inner(&self, key: &[u8], inner: Inner, flags: u64) -> Result<(), MapError> {
        self.writable()?;
        let map = &inner.map;
        let meta = self.inner.ok_or(MapError::NotSupported)?;
        if !same_shape(&meta.def, &map.def) || meta.fields != map.fields {
            return Err(MapError::Invalid);
        }
        match &self.storage {
            Storage::Maps(maps) => {
                no_flags(flags)?;
                let address = inner.address();
                maps.set_shown(index(key)?, Some(Arc::new(inner)), address).map(|_| ())
            }
            Storage::MapHash(maps) => {
                maps.set(key, Arc::new(inner), UpdateMode::from_flags(flags)?)
            }
            _ => Err(MapError::NotSupported),
        }
    }

    /// Whether the map keeps programs, maps or events that were taken out of it or replaced,
    /// until somebody lets go of them.
    #[must_use]
    pub fn keeps_retired(&self) -> bool {
        match &self.storage {
            Storage::Programs(programs) => programs.slots().keeps_retired(),
            Storage::Events(events) => events.keeps_retired(),
            Storage::Maps(maps) => maps.keeps_retired(),
            Storage::MapHash(maps) => maps.keeps_retired(),
            _ => false,
        }
    }

    /// Lets go of what was taken out and no program can see any more. To be called after changes,
    /// when every CPU was quiet, where what goes may wait in its end.
    pub fn let_go(&self) {
        match &self.storage {
            Storage::Programs(programs) => programs.slots().let_go(),
            Storage::Events(events) => events.let_go(),
            Storage::Maps(maps) => maps.let_go(),
            Storage::MapHash(maps) => maps.let_go(),
            _ => {}
        }
    }

    /// Puts a sink into a perf event array.
    ///
    /// # Errors
    /// As [`Map::set_program`].
    pub fn set_event(
        &self,
        key: &[u8],
        sink: Arc<dyn EventSink>,
        flags: u64,
    ) -> Result<(), MapError> {
        self.writable()?;
        let Storage::Events(events) = &self.storage else { return Err(MapError::NotSupported) };
        no_flags(flags)?;
        events.set(index(key)?, Some(sink)).map(|_| ())
    }

    /// An opening of a perf event array is closed: what was put in by it goes, unless the map was
    /// created with `BPF_F_PRESERVE_ELEMS`. To be followed by [`Map::let_go`].
    pub fn remove_events_of(&self, origin: usize) {
        let Storage::Events(events) = &self.storage else { return };
        if self.def.flags & flags::PRESERVE_ELEMS != 0 {
            return;
        }
        for index in 0..self.def.max_entries {
            if events.get(index).is_some_and(|sink| sink.origin() == origin) {
                // Fails for no index that there is.
                let _ = events.set(index, None);
            }
        }
    }
}

/// Arrays of descriptors take `BPF_ANY` alone.
fn no_flags(flags: u64) -> Result<(), MapError> {
    if flags == 0 { Ok(()) } else { Err(MapError::Invalid) }
}
