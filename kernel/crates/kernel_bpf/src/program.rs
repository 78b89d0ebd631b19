//! [`Program`]: instructions with all that the verifier must know about them.
//!
//! A program is plain data that anybody may build. What says that it is safe is
//! [`crate::verifier::Verified`], which only the verifier makes.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::insn::{DecodeError, Imm64, Insn, decode};
use crate::prog_type::ProgType;

/// A program as loaded: decoded, maps resolved, not yet verified.
///
/// `M` stands for a map, usually an `Arc` (see [`crate::map::MapRef`]).
#[derive(Clone, Debug)]
pub struct Program<M> {
    /// For messages and listings.
    pub name: String,
    /// One entry per slot; maps are named by [`Imm64::MapIndex`] and
    /// [`Imm64::MapIndexValue`], indices into `maps`.
    pub insns: Vec<Insn>,
    pub prog_type: ProgType,
    /// Linux's `expected_attach_type`; for [`ProgType::LemmaHook`] it names the hook.
    pub expected_attach_type: u32,
    /// Whether its licence lets it call helpers that are for GPL programs only.
    pub gpl_compatible: bool,
    pub maps: Vec<M>,
    /// Source lines, sorted by instruction; empty when there is no BTF.ext.
    pub line_info: Vec<LineInfo>,
    /// Functions, sorted by instruction; empty when there is no BTF.ext.
    pub func_info: Vec<FuncInfo>,
    /// The program's own BTF, as loaded.
    pub btf: Option<Arc<[u8]>>,
    /// The kernel function, hook or structure that it is for, by its number in the
    /// kernel's BTF (`attach_btf_id`); 0 for none.
    pub attach_btf_id: u32,
    /// Whether it may sleep (`BPF_F_SLEEPABLE`).
    pub sleepable: bool,
}

/// The source line that starts at an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineInfo {
    /// First slot.
    pub insn: u32,
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
    /// The line itself.
    pub text: Arc<str>,
}

/// The function that starts at an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FuncInfo {
    /// First slot.
    pub insn: u32,
    /// Its `BTF_KIND_FUNC`.
    pub type_id: u32,
    pub name: Arc<str>,
    /// Whether its linkage is global: verified once on its own by Linux.
    pub global: bool,
}

/// Why a program cannot be built from bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProgramError {
    Decode(DecodeError),
    /// An instruction names a descriptor that is not a map.
    NotAMap {
        slot: usize,
        fd: i32,
    },
    /// An instruction names a map by an index that the list does not have.
    NoSuchMap {
        slot: usize,
        index: u32,
    },
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => error.fmt(f),
            Self::NotAMap { slot, fd } => {
                write!(f, "instruction {slot}: fd {fd} is not pointing to valid bpf_map")
            }
            Self::NoSuchMap { slot, index } => {
                write!(f, "instruction {slot}: there is no map with index {index}")
            }
        }
    }
}

impl core::error::Error for ProgramError {}

impl<M> Program<M> {
    /// A program from decoded instructions that refer to maps by index.
    #[must_use]
    pub fn new(insns: Vec<Insn>, prog_type: ProgType, maps: Vec<M>) -> Self {
        Self {
            name: String::new(),
            insns,
            prog_type,
            expected_attach_type: 0,
            gpl_compatible: false,
            maps,
            line_info: Vec::new(),
            func_info: Vec::new(),
            btf: None,
            attach_btf_id: 0,
            sleepable: false,
        }
    }

    /// Decodes `bytes` and resolves each map by `by_fd` (a descriptor) or
    /// `by_index` (a position in the caller's `fd_array`). The same map, as told
    /// by `same`, is listed once.
    ///
    /// # Errors
    /// An instruction that does not decode, or a map that is not there.
    pub fn from_bytes(
        bytes: &[u8],
        prog_type: ProgType,
        mut by_fd: impl FnMut(i32) -> Option<M>,
        mut by_index: impl FnMut(u32) -> Option<M>,
        same: impl Fn(&M, &M) -> bool,
    ) -> Result<Self, ProgramError> {
        let mut insns = decode(bytes).map_err(ProgramError::Decode)?;
        let mut maps: Vec<M> = Vec::new();
        let mut position = |map: M| -> u32 {
            let found = maps.iter().position(|known| same(known, &map));
            let at = found.unwrap_or_else(|| {
                maps.push(map);
                maps.len() - 1
            });
            u32::try_from(at).unwrap_or(u32::MAX)
        };
        for (slot, insn) in insns.iter_mut().enumerate() {
            let Insn::LoadImm64 { value, .. } = insn else { continue };
            *value = match *value {
                Imm64::MapFd(fd) => {
                    let map = by_fd(fd).ok_or(ProgramError::NotAMap { slot, fd })?;
                    Imm64::MapIndex(position(map))
                }
                Imm64::MapFdValue { fd, offset } => {
                    let map = by_fd(fd).ok_or(ProgramError::NotAMap { slot, fd })?;
                    Imm64::MapIndexValue { index: position(map), offset }
                }
                Imm64::MapIndex(index) => {
                    let map = by_index(index).ok_or(ProgramError::NoSuchMap { slot, index })?;
                    Imm64::MapIndex(position(map))
                }
                Imm64::MapIndexValue { index, offset } => {
                    let map = by_index(index).ok_or(ProgramError::NoSuchMap { slot, index })?;
                    Imm64::MapIndexValue { index: position(map), offset }
                }
                other => other,
            };
        }
        Ok(Self::new(insns, prog_type, maps))
    }

    /// The same program with other things standing for its maps, in the same order.
    #[must_use]
    pub fn with_maps<N>(self, maps: Vec<N>) -> Program<N> {
        Program {
            name: self.name,
            insns: self.insns,
            prog_type: self.prog_type,
            expected_attach_type: self.expected_attach_type,
            gpl_compatible: self.gpl_compatible,
            maps,
            line_info: self.line_info,
            func_info: self.func_info,
            btf: self.btf,
            attach_btf_id: self.attach_btf_id,
            sleepable: self.sleepable,
        }
    }

    /// The source line of a slot: that of the last entry at or before it.
    #[must_use]
    pub fn line_of(&self, slot: usize) -> Option<&LineInfo> {
        let after = self.line_info.partition_point(|line| line.insn as usize <= slot);
        self.line_info.get(after.checked_sub(1)?)
    }

    /// The function that a slot belongs to.
    #[must_use]
    pub fn function_of(&self, slot: usize) -> Option<&FuncInfo> {
        let after = self.func_info.partition_point(|func| func.insn as usize <= slot);
        self.func_info.get(after.checked_sub(1)?)
    }
}
