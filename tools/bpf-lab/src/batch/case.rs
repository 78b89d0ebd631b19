//! The input of `bpf-lab batch`: one case a line, as JSON. Absent and null fields are empty.

#![forbid(unsafe_code)]

use std::collections::HashMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::engine::EngineKind;
use crate::hex;

/// Bytes, given in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        hex::decode(&text).map(Hex).map_err(serde::de::Error::custom)
    }
}

/// Reads a field whose null means its default.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// One program, and what to do with it.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    #[serde(default)]
    pub(crate) name: Value,
    /// Number in `union bpf_attr`, or name; without it, `prog_type_name`.
    #[serde(default)]
    pub(crate) prog_type: Option<TypeOf>,
    #[serde(default)]
    pub(crate) prog_type_name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) expected_attach_type: u32,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) license: String,
    /// `prog_flags` of `BPF_PROG_LOAD`.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) load_flags: u32,
    #[serde(default)]
    pub(crate) insns: Hex,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) fixups: Vec<Fixup>,
    #[serde(default)]
    pub(crate) btf: Hex,
    #[serde(default)]
    pub(crate) func_info: Hex,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) func_info_cnt: u32,
    #[serde(default)]
    pub(crate) line_info: Hex,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) line_info_cnt: u32,
    /// Map kinds of this case alone.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) maps: HashMap<String, MapKind>,

    /// Run the program once it is accepted.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) run: bool,
    /// Do not verify: a test of instructions.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) trusted: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) unprivileged: bool,
    #[serde(default)]
    pub(crate) engine: Option<EngineKind>,
    /// What each run is given.
    #[serde(default)]
    pub(crate) runs: Option<Vec<Run>>,
    /// What the one run is given, where there is no list of runs.
    #[serde(default)]
    pub(crate) mem: Option<Hex>,

    /// What r1 of a trusted program is.
    #[serde(default)]
    pub(crate) r1: Option<Argument>,
    #[serde(default)]
    pub(crate) data: Hex,
    /// What follows `data` in a packet.
    #[serde(default)]
    pub(crate) frag_data: Hex,
    /// Runs of a trusted program on one buffer, of which the last counts.
    #[serde(default)]
    pub(crate) nr_testruns: Option<u32>,
    /// Bytes of stack that a trusted program uses.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) stack_depth: u32,
}

/// A program's type.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum TypeOf {
    Number(u32),
    /// As bpftool names it, or as Linux's header does.
    Name(String),
}

/// The descriptor of a map belongs into this `ld_imm64`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Fixup {
    pub(crate) insn_index: usize,
    pub(crate) map_kind: String,
}

/// Input of one test run.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Run {
    #[serde(default)]
    pub(crate) data: Hex,
    /// How much of the case's `data` a trusted program gets.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) data_size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Argument {
    Skb,
    Buffer,
    Null,
}

/// How to make a map: the operations alone, or with the descriptor that is meant.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum MapKind {
    Operations(Vec<Operation>),
    Named { ops: Vec<Operation>, patch_fd: Option<i64> },
}

impl MapKind {
    pub(crate) fn operations(&self) -> &[Operation] {
        match self {
            Self::Operations(ops) | Self::Named { ops, .. } => ops,
        }
    }

    /// The descriptor of the map that is meant: as said, or that of the last one created.
    pub(crate) fn patch_fd(&self) -> Option<i64> {
        if let Self::Named { patch_fd: Some(fd), .. } = self {
            return Some(*fd);
        }
        self.operations().iter().rev().find_map(|operation| match operation {
            Operation::MapCreate(create) => Some(create.fd),
            _ => None,
        })
    }
}

/// A line of `--map-kinds`.
#[derive(Debug, Deserialize)]
pub(crate) struct NamedKind {
    pub(crate) kind: String,
    #[serde(flatten)]
    pub(crate) map: MapKind,
}

/// A command of `bpf(2)`. Descriptors are names; -1 is none.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Operation {
    MapCreate(MapCreate),
    MapUpdate {
        fd: i64,
        key: Hex,
        value: Hex,
        #[serde(default, deserialize_with = "nullable")]
        flags: u64,
        /// The value is the descriptor of a program or map.
        #[serde(default)]
        value_fd: Option<i64>,
    },
    MapFreeze {
        fd: i64,
    },
    BtfLoad {
        fd: i64,
        btf: Hex,
    },
    /// A program of the case's own type.
    ProgLoad {
        fd: i64,
        #[serde(default, deserialize_with = "nullable")]
        license: String,
        insns: Hex,
    },
    Close {},
    /// One that this tool does not know: a case that needs it is not judged.
    #[serde(other)]
    Unknown,
}

/// `BPF_MAP_CREATE`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct MapCreate {
    pub(crate) fd: i64,
    #[serde(rename = "type")]
    pub(crate) map_type: u32,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) key_size: u32,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) value_size: u32,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) max_entries: u32,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) map_flags: u32,
    #[serde(default)]
    pub(crate) btf_fd: Option<i64>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) btf_value_type_id: u32,
    #[serde(default)]
    pub(crate) inner_map_fd: Option<i64>,
}
