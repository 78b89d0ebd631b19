//! The ELF file: sections, symbols and relocations, checked to lie within the file and to
//! refer to each other only where there is something.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use elf::ElfBytes;
use elf::abi::{
    EM_BPF, ET_REL, SHF_ALLOC, SHF_EXECINSTR, SHN_ABS, SHN_COMMON, SHN_LORESERVE, SHN_UNDEF,
    SHT_NOBITS, SHT_PROGBITS, SHT_REL, SHT_RELA, STB_LOCAL, STB_WEAK, STT_FUNC, STT_SECTION,
};
use elf::endian::LittleEndian;

use super::ObjectError;

/// Most bytes of all sections without contents in the file (`.bss`).
const MAX_ZEROED: u64 = 64 << 20;

/// A section that means something to a BPF object.
pub(super) struct Section<'a> {
    pub(super) name: &'a str,
    /// Contents; empty for one of zeros.
    pub(super) data: &'a [u8],
    /// Size, of one of zeros too.
    pub(super) size: usize,
    /// Instructions.
    pub(super) code: bool,
    /// Part of the program's memory (and not debugging information and the like).
    pub(super) loaded: bool,
    pub(super) relocations: Vec<Relocation>,
}

/// A symbol.
#[derive(Clone, Copy)]
pub(super) struct Symbol<'a> {
    pub(super) name: &'a str,
    /// Index of the section that it is in; `None` if it is not defined here.
    pub(super) section: Option<usize>,
    pub(super) value: u64,
    pub(super) size: u64,
    pub(super) function: bool,
    pub(super) local: bool,
    /// May be absent.
    pub(super) weak: bool,
    /// The section itself.
    pub(super) is_section: bool,
}

/// A place that is filled in with where a symbol is.
#[derive(Clone, Copy)]
pub(super) struct Relocation {
    /// In bytes from the start of the section.
    pub(super) offset: u64,
    pub(super) kind: u32,
    /// Index among the symbols.
    pub(super) symbol: usize,
}

/// An object file.
pub(super) struct File<'a> {
    /// By ELF's index.
    pub(super) sections: Vec<Section<'a>>,
    pub(super) symbols: Vec<Symbol<'a>>,
    /// The symbols of each section.
    by_section: Vec<Vec<usize>>,
    /// Symbols other than sections, by section and name; the first of each name.
    by_name: BTreeMap<(usize, &'a str), usize>,
    /// The first section of each name.
    named: BTreeMap<&'a str, usize>,
}

impl<'a> File<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, ObjectError> {
        let file = |reason: String| ObjectError::new("", reason);
        let elf = ElfBytes::<LittleEndian>::minimal_parse(bytes)
            .map_err(|error| file(format!("not a little-endian ELF file: {error}")))?;
        if elf.ehdr.e_machine != EM_BPF || elf.ehdr.e_type != ET_REL {
            return Err(file(String::from("not a relocatable BPF object (clang -target bpf -c)")));
        }
        let bad = |error| file(format!("damaged ELF file: {error}"));
        let (Some(headers), Some(names)) = elf.section_headers_with_strtab().map_err(bad)? else {
            return Err(file(String::from("the ELF file has no sections")));
        };
        let mut sections = Vec::new();
        let mut zeroed = 0u64;
        let mut present = 0usize;
        for header in headers.iter() {
            let name = names.get(header.sh_name as usize).map_err(bad)?;
            let zeros = header.sh_type == SHT_NOBITS;
            let data = if zeros {
                zeroed = zeroed.saturating_add(header.sh_size);
                if zeroed > MAX_ZEROED {
                    return Err(ObjectError::new(name, "more than 64 MiB of zeros"));
                }
                &[]
            } else {
                match elf.section_data(&header).map_err(bad)? {
                    (data, None) => {
                        // Sections over the same bytes would each get a copy.
                        present = present.saturating_add(data.len());
                        if present > bytes.len() {
                            return Err(ObjectError::new(name, "sections overlap in the file"));
                        }
                        data
                    }
                    (_, Some(_)) => return Err(ObjectError::new(name, "compressed section")),
                }
            };
            let size = if zeros { header.sh_size as usize } else { data.len() };
            let loaded = header.sh_flags & u64::from(SHF_ALLOC) != 0;
            let code = loaded
                && header.sh_type == SHT_PROGBITS
                && header.sh_flags & u64::from(SHF_EXECINSTR) != 0;
            sections.push(Section { name, data, size, code, loaded, relocations: Vec::new() });
        }
        let symbols = symbols(&elf, sections.len())?;
        for header in headers.iter() {
            if header.sh_type != SHT_REL && header.sh_type != SHT_RELA {
                continue;
            }
            let Some(section) = sections.get_mut(header.sh_info as usize) else {
                return Err(file(String::from("relocations of a section that is not there")));
            };
            // Debugging information relocates itself; nobody reads it here.
            if !section.loaded {
                continue;
            }
            if header.sh_type == SHT_RELA {
                return Err(ObjectError::new(section.name, "relocations with addends (RELA)"));
            }
            for rel in elf.section_data_as_rels(&header).map_err(bad)? {
                if rel.r_sym as usize >= symbols.len() {
                    return Err(ObjectError::new(section.name, "a relocation without a symbol"));
                }
                section.relocations.push(Relocation {
                    offset: rel.r_offset,
                    kind: rel.r_type,
                    symbol: rel.r_sym as usize,
                });
            }
        }
        for section in &mut sections {
            section.relocations.sort_by_key(|relocation| relocation.offset);
        }
        Ok(Self::indexed(sections, symbols))
    }

    fn indexed(sections: Vec<Section<'a>>, symbols: Vec<Symbol<'a>>) -> Self {
        let mut by_section = Vec::new();
        by_section.resize_with(sections.len(), Vec::new);
        let mut by_name = BTreeMap::new();
        for (number, symbol) in symbols.iter().enumerate() {
            let Some(section) = symbol.section else { continue };
            if let Some(list) = by_section.get_mut(section) {
                list.push(number);
            }
            if !symbol.is_section {
                by_name.entry((section, symbol.name)).or_insert(number);
            }
        }
        let mut named = BTreeMap::new();
        for (index, section) in sections.iter().enumerate() {
            named.entry(section.name).or_insert(index);
        }
        Self { sections, symbols, by_section, by_name, named }
    }

    /// The index of the section with this name.
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.named.get(name).copied()
    }

    /// The section with this name.
    pub(super) fn section(&self, name: &str) -> Option<&Section<'a>> {
        self.sections.get(self.index_of(name)?)
    }

    /// The symbols in a section, in the order of the file.
    pub(super) fn symbols_of(&self, section: usize) -> impl Iterator<Item = &Symbol<'a>> {
        let numbers = self.by_section.get(section).map(Vec::as_slice).unwrap_or_default();
        numbers.iter().filter_map(|&number| self.symbols.get(number))
    }

    /// The symbol in a section that has this name and is not the section itself.
    pub(super) fn symbol(&self, section: usize, name: &str) -> Option<&Symbol<'a>> {
        self.symbols.get(*self.by_name.get(&(section, name))?)
    }
}

fn symbols<'a>(
    elf: &ElfBytes<'a, LittleEndian>,
    sections: usize,
) -> Result<Vec<Symbol<'a>>, ObjectError> {
    let bad = |error| ObjectError::new("", format!("damaged symbol table: {error}"));
    let Some((table, names)) = elf.symbol_table().map_err(bad)? else {
        return Err(ObjectError::new("", "the object has no symbols (was it stripped?)"));
    };
    let mut symbols = Vec::new();
    for symbol in table.iter() {
        let section = match symbol.st_shndx {
            SHN_UNDEF | SHN_ABS | SHN_COMMON => None,
            index if index >= SHN_LORESERVE || usize::from(index) >= sections => {
                return Err(ObjectError::new("", "a symbol in a section that is not there"));
            }
            index => Some(usize::from(index)),
        };
        symbols.push(Symbol {
            name: names.get(symbol.st_name as usize).map_err(bad)?,
            section,
            value: symbol.st_value,
            size: symbol.st_size,
            function: symbol.st_symtype() == STT_FUNC,
            local: symbol.st_bind() == STB_LOCAL,
            weak: symbol.st_bind() == STB_WEAK,
            is_section: symbol.st_symtype() == STT_SECTION,
        });
    }
    Ok(symbols)
}

#[cfg(test)]
mod tests {
    use super::{EM_BPF, ET_REL, File, MAX_ZEROED};
    use alloc::string::ToString as _;
    use alloc::vec::Vec;

    /// An object of the empty section, the names, and one of zeros for each size.
    fn zeros(sizes: &[u64]) -> Vec<u8> {
        let count = 2 + sizes.len();
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(16, 0);
        for half in [ET_REL, EM_BPF] {
            bytes.extend(half.to_le_bytes());
        }
        bytes.extend(1u32.to_le_bytes());
        for word in [0u64, 0, 64] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(0u32.to_le_bytes());
        for half in [64, 0, 0, 64, count as u16, 1] {
            bytes.extend(half.to_le_bytes());
        }
        let names = (64 + 64 * count) as u64;
        let sections = [(0u32, 0u64), (3, 1)].into_iter().chain(sizes.iter().map(|s| (8, *s)));
        for (kind, size) in sections {
            bytes.extend([0; 4]);
            bytes.extend(kind.to_le_bytes());
            for word in [2, 0, names, size, 0, 1, 0] {
                bytes.extend(word.to_le_bytes());
            }
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn sections_do_not_overlap() {
        // Of 192 bytes each, all at the beginning of the file.
        let overlapping = |count: usize| {
            let mut bytes = zeros(&alloc::vec![192; count]);
            for header in 2..2 + count {
                let at = 64 + 64 * header;
                bytes[at + 4] = 1;
                bytes[at + 24..at + 32].fill(0);
            }
            File::parse(&bytes).err().unwrap().to_string()
        };
        assert!(overlapping(1).contains("no symbols"), "{}", overlapping(1));
        assert!(overlapping(200).contains("overlap"), "{}", overlapping(200));
    }

    #[test]
    fn zeros_are_limited_in_all() {
        let refusal = |sizes: &[u64]| File::parse(&zeros(sizes)).err().unwrap().to_string();
        assert!(refusal(&[MAX_ZEROED]).contains("no symbols"));
        for sizes in [&[MAX_ZEROED + 1][..], &[MAX_ZEROED / 2; 3], &[u64::MAX, u64::MAX]] {
            assert!(refusal(sizes).contains("64 MiB"), "{}", refusal(sizes));
        }
    }
}
