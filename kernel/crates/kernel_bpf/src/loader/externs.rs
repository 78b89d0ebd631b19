//! What an object wants of the kernel by name: its configuration (`__kconfig`), and its symbols
//! and functions (`__ksym`), of which a kernel of ours gives none.
//!
//! Configuration variables lie in a read-only map of their own, `.kconfig`.
//! [`Object::configure`] fills it from the text of a kernel's `.config`; a variable that the
//! text does not have is 0 if it is weak, and an error if it is not.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::maps::{Datasecs, variables};
use super::{Object, ObjectError, ObjectMap};
use crate::btf::{Btf, Kind, TypeId};

/// The section, and the map.
const CONFIG: &str = ".kconfig";
/// The kernel's version, as `KERNEL_VERSION(a, b, c)`.
const VERSION: &str = "LINUX_KERNEL_VERSION";
/// Most bytes of all configuration variables together.
const MAX_BYTES: usize = 1 << 20;

/// What a configuration variable can hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigKind {
    /// `y` is 1.
    Bool,
    /// `enum libbpf_tristate`: no 0, yes 1, module 2.
    Tristate,
    /// The letter itself, or a number.
    Char,
    Number {
        signed: bool,
    },
    /// Cut to the array's length, and terminated.
    Text,
}

/// A variable whose value the kernel's configuration has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigVariable {
    pub name: String,
    /// May be absent.
    pub weak: bool,
    /// Bytes from the start of the map's value.
    pub offset: usize,
    pub size: usize,
    pub kind: ConfigKind,
}

/// All that an object wants.
#[derive(Default)]
pub(super) struct Externs {
    pub(super) config: Vec<ConfigVariable>,
    /// Where each name is among them.
    by_name: BTreeMap<String, Vec<usize>>,
    symbols: BTreeSet<String>,
    bytes: usize,
    value_type: TypeId,
}

impl Externs {
    /// Reads the sections `.kconfig` and `.ksyms` of the BTF.
    pub(super) fn collect(types: &Datasecs<'_>) -> Result<Self, ObjectError> {
        let btf = types.btf;
        let mut externs = Self::default();
        if let Some((_, Kind::Datasec { vars, .. })) = types.of(".ksyms") {
            externs.symbols = vars.iter().map(|var| btf.name(var.type_id).to_string()).collect();
        }
        let Some((id, Kind::Datasec { vars, .. })) = types.of(CONFIG) else {
            return Ok(externs);
        };
        externs.value_type = id;
        for var in vars {
            let name = btf.name(var.type_id);
            let Some(Kind::Var { type_id, .. }) = btf.get(var.type_id).map(|ty| &ty.kind) else {
                return Err(ObjectError::new(name, "a configuration that is no variable"));
            };
            let kind = config_kind(btf, *type_id)
                .ok_or_else(|| ObjectError::new(name, "a configuration of an unknown type"))?;
            let size = btf.size_of(*type_id).unwrap_or(0) as usize;
            let align = if kind == ConfigKind::Text { 1 } else { size.max(1) };
            let offset = externs.bytes.next_multiple_of(align);
            externs.bytes = offset.saturating_add(size);
            if externs.bytes > MAX_BYTES {
                return Err(ObjectError::new(name, "too much configuration"));
            }
            let name = name.to_string();
            externs.by_name.entry(name.clone()).or_default().push(externs.config.len());
            externs.config.push(ConfigVariable { name, weak: false, offset, size, kind });
        }
        Ok(externs)
    }

    /// The map of the configuration, if there is any.
    pub(super) fn map(&self) -> Option<ObjectMap> {
        if self.bytes == 0 {
            return None;
        }
        let contents = vec![0; self.bytes.next_multiple_of(8)];
        let mut map = variables(CONFIG, contents, true, None).ok()?;
        map.value_type = self.value_type;
        Some(map)
    }

    /// Marks the variables that may be absent.
    pub(super) fn mark_weak<'s>(&mut self, names: impl Iterator<Item = &'s str>) {
        for name in names {
            for &index in self.by_name.get(name).into_iter().flatten() {
                if let Some(variable) = self.config.get_mut(index) {
                    variable.weak = true;
                }
            }
        }
    }

    pub(super) fn config_offset(&self, name: &str) -> Option<usize> {
        let index = *self.by_name.get(name)?.first()?;
        self.config.get(index).map(|found| found.offset)
    }

    pub(super) fn is_kernel_symbol(&self, name: &str) -> bool {
        self.symbols.contains(name)
    }
}

/// What a type of configuration variable holds, as libbpf reads it.
fn config_kind(btf: &Btf, type_id: TypeId) -> Option<ConfigKind> {
    let (id, kind) = btf.resolve(type_id)?;
    Some(match kind {
        Kind::Int { size: 1, encoding, .. } if encoding & 4 != 0 => ConfigKind::Bool,
        Kind::Int { size: 1, .. } => ConfigKind::Char,
        Kind::Int { size: 2 | 4 | 8, encoding, .. } => {
            ConfigKind::Number { signed: encoding & 1 != 0 }
        }
        Kind::Enum { size: 4, .. } if btf.name(id) == "libbpf_tristate" => ConfigKind::Tristate,
        Kind::Array { element, count, .. } if *count > 0 && btf.size_of(*element) == Some(1) => {
            ConfigKind::Text
        }
        _ => return None,
    })
}

impl Object {
    /// Fills in what the programs want to know of the kernel: its version, as
    /// `KERNEL_VERSION` makes it, and its configuration, as lines `CONFIG_NAME=value`.
    ///
    /// # Errors
    /// A variable that must be there and is not, or whose value does not fit it.
    pub fn configure(&mut self, version: u32, config: &str) -> Result<(), ObjectError> {
        let Some(contents) = self
            .maps
            .iter_mut()
            .find(|map| map.name == CONFIG)
            .and_then(|map| map.contents.as_mut())
        else {
            return Ok(());
        };
        let config = Lines::new(config);
        for variable in &self.config {
            let fail = |reason: &str| ObjectError::new(&variable.name, reason);
            let value = if variable.name == VERSION {
                Some(version.to_string())
            } else {
                config.value(&variable.name).map(String::from)
            };
            let Some(value) = value else {
                if variable.weak {
                    continue;
                }
                return Err(fail("this kernel's configuration does not have it"));
            };
            let bytes = encode(variable, &value).ok_or_else(|| {
                fail(&format!("the kernel's value {value} does not fit the variable"))
            })?;
            let place = contents.get_mut(variable.offset..variable.offset + variable.size);
            place.ok_or_else(|| fail("beyond the map"))?.copy_from_slice(&bytes);
        }
        self.config.clear();
        Ok(())
    }
}

/// A configuration's lines `NAME=value`, by name; of several, the first.
struct Lines<'c>(BTreeMap<&'c str, &'c str>);

impl<'c> Lines<'c> {
    fn new(config: &'c str) -> Self {
        let mut lines = BTreeMap::new();
        for (name, value) in config.lines().filter_map(|line| line.split_once('=')) {
            lines.entry(name).or_insert(value.trim());
        }
        Self(lines)
    }

    fn value(&self, name: &str) -> Option<&'c str> {
        self.0.get(name).copied()
    }
}

/// A value's bytes, exactly as many as the variable has.
fn encode(variable: &ConfigVariable, value: &str) -> Option<Vec<u8>> {
    let number = |value: i128| -> Option<Vec<u8>> {
        let bits = variable.size * 8;
        let signed = matches!(variable.kind, ConfigKind::Number { signed: true });
        let (low, high) = match signed {
            true => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
            false => (0, (1i128 << bits) - 1),
        };
        (low..=high).contains(&value).then(|| value.to_le_bytes().into_iter().collect())
    };
    let mut bytes = match (variable.kind, value) {
        (ConfigKind::Text, value) => {
            let text = value.strip_prefix('"')?.strip_suffix('"')?;
            let room = variable.size.checked_sub(1)?;
            text.bytes().take(room).collect()
        }
        (ConfigKind::Bool, "y") => vec![1],
        (ConfigKind::Bool, "n") => vec![0],
        (ConfigKind::Tristate, "n") => vec![0],
        (ConfigKind::Tristate, "y") => vec![1],
        (ConfigKind::Tristate, "m") => vec![2],
        (ConfigKind::Char, "y" | "n" | "m") => value.as_bytes().to_vec(),
        (ConfigKind::Bool | ConfigKind::Tristate, _) => return None,
        (_, value) => {
            let parsed = match value.strip_prefix("0x") {
                Some(hex) => i128::from(u64::from_str_radix(hex, 16).ok()?),
                None => value.parse::<i128>().ok()?,
            };
            number(parsed)?
        }
    };
    bytes.resize(variable.size, 0);
    Some(bytes)
}
