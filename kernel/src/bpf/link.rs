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

    /// Puts `program`, which is of the same type, in the place of the one that runs. With
    /// `expected`, only if that is the one. A tracepoint's link keeps its program, as on Linux.
    pub fn update(
        &self,
        program: Arc<LoadedProgram>,
        expected: Option<&Arc<LoadedProgram>>,
    ) -> Result<(), AttachError> {
        if self.raw_tracepoint {
            return Err(AttachError::WrongType);
        }
        let mut state = self.state.lock();
        let attached = state.as_mut().ok_or(AttachError::LinkDetached)?;
        if expected.is_some_and(|expected| !Arc::ptr_eq(expected, &attached.program)) {
            return Err(AttachError::NotExpected);
        }
        if program.code.prog_type() != attached.program.code.prog_type() {
            return Err(AttachError::WrongType);
        }
        self.hook.replace(attached.attachment, Arc::clone(&program.code))?;
        let old = core::mem::replace(&mut attached.program, program);
        drop(state);
        drop(old);
        Ok(())
    }

    /// Takes the program away; the link stays, without one. It may have been so before. A
    /// tracepoint's link goes only as a whole, as on Linux.
    pub fn detach(&self) -> Result<(), AttachError> {
        if self.raw_tracepoint {
            return Err(AttachError::NotDetachable);
        }
        self.take_away()
    }

    fn take_away(&self) -> Result<(), AttachError> {
        match self.state.lock().take() {
            Some(attached) => self.hook.detach(attached.attachment),
            None => Ok(()),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // It fails only for want of memory for the shorter list.
        let _ = self.take_away();
        if let Some(manager) = BpfManager::get() {
            manager.links.remove(self.id);
        }
    }
}
