//! [`Link`]: an attachment that is an object of its own (`BPF_LINK_CREATE`,
//! `BPF_RAW_TRACEPOINT_OPEN`). It holds the program; when its last descriptor and pin are
//! gone, the program is detached.

use alloc::sync::Arc;

use kernel_sync::Mutex;

use super::BpfManager;
use super::hooks::{AttachError, AttachmentId, Hook};
use super::program::LoadedProgram;

/// A program at a hook.
pub struct Link {
    pub id: u32,
    pub hook: &'static Hook,
    /// Made by `BPF_RAW_TRACEPOINT_OPEN`, and shown as such.
    pub raw_tracepoint: bool,
    state: Mutex<Option<Attached>>,
}

struct Attached {
    program: Arc<LoadedProgram>,
    attachment: AttachmentId,
}

impl Link {
    pub(super) fn new(
        id: u32,
        hook: &'static Hook,
        raw_tracepoint: bool,
        program: Arc<LoadedProgram>,
        attachment: AttachmentId,
    ) -> Self {
        Self { id, hook, raw_tracepoint, state: Mutex::new(Some(Attached { program, attachment })) }
    }

    /// The program that runs for this link; `None` once it has been detached.
    pub fn program(&self) -> Option<Arc<LoadedProgram>> {
        self.state.lock().as_ref().map(|attached| Arc::clone(&attached.program))
    }

    /// Puts `program` in the place of the one that runs. With `expected`, only if that is the
    /// one.
    pub fn update(
        &self,
        program: Arc<LoadedProgram>,
        expected: Option<&Arc<LoadedProgram>>,
    ) -> Result<(), AttachError> {
        let mut state = self.state.lock();
        let attached = state.as_mut().ok_or(AttachError::NotAttached)?;
        if expected.is_some_and(|expected| !Arc::ptr_eq(expected, &attached.program)) {
            return Err(AttachError::NotExpected);
        }
        self.hook.replace(attached.attachment, Arc::clone(&program.code))?;
        let old = core::mem::replace(&mut attached.program, program);
        drop(state);
        drop(old);
        Ok(())
    }

    /// Takes the program away; the link stays, without one.
    pub fn detach(&self) -> Result<(), AttachError> {
        let attached = self.state.lock().take().ok_or(AttachError::NotAttached)?;
        self.hook.detach(attached.attachment)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Failing means that it was detached before.
        let _ = self.detach();
        if let Some(manager) = BpfManager::get() {
            manager.links.remove(self.id);
        }
    }
}
