//! The stack of a program at its first instruction (System V ABI for AMD64, figure 3.9, and
//! its like for the other machines; the order of the parts is Linux's, `fs/binfmt_elf.c`).
//!
//! From the stack pointer, which is a multiple of 16, upward: the argument count; pointers to
//! the arguments and a null; pointers to the environment and a null; the auxiliary vector;
//! padding; 16 random bytes; the platform's name; the arguments' and the environment's
//! strings; the path; 8 zero bytes at the top.

use alloc::vec::Vec;

/// The longest argument, its terminator included: Linux's `MAX_ARG_STRLEN`.
pub const MAX_STRING_BYTES: usize = 128 * 1024;
/// Arguments, environment, and the pointers to them: a quarter of the default stack limit.
pub const MAX_TOTAL_BYTES: usize = 2 * 1024 * 1024;

/// The entries of the auxiliary vector that Lemma passes, with Linux's numbers (`getauxval(3)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum AuxiliaryType {
    Null = 0,
    ProgramHeaders = 3,
    ProgramHeaderBytes = 4,
    ProgramHeaderCount = 5,
    PageSize = 6,
    Base = 7,
    Flags = 8,
    Entry = 9,
    UserId = 11,
    EffectiveUserId = 12,
    GroupId = 13,
    EffectiveGroupId = 14,
    Platform = 15,
    HardwareCapabilities = 16,
    ClockTicks = 17,
    Secure = 23,
    Random = 25,
    HardwareCapabilities2 = 26,
    Path = 31,
}

/// Why the arguments were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentsError {
    /// One string or all together are longer than allowed.
    TooBig,
    /// No kernel memory to hold them.
    OutOfMemory,
}

/// A list of strings, each held with its terminator: `argv` or `envp`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    bytes: Vec<u8>,
    count: usize,
}

impl Arguments {
    /// No strings.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), count: 0 }
    }

    /// Adds a string, which must not contain a null byte; what follows one is dropped.
    ///
    /// # Errors
    /// If it is too long, or all are, or there is no memory.
    pub fn push(&mut self, string: &[u8]) -> Result<(), ArgumentsError> {
        let string = string.split(|&byte| byte == 0).next().unwrap_or(string);
        if string.len() >= MAX_STRING_BYTES {
            return Err(ArgumentsError::TooBig);
        }
        if self.total() + string.len() + 1 + size_of::<usize>() > MAX_TOTAL_BYTES {
            return Err(ArgumentsError::TooBig);
        }
        self.bytes.try_reserve(string.len() + 1).map_err(|_| ArgumentsError::OutOfMemory)?;
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
        self.count += 1;
        Ok(())
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The strings, without terminators.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split(|&byte| byte == 0).take(self.count)
    }

    /// All strings, one behind the other, each with its terminator (as `/proc/PID/cmdline`).
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, for good.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What they take on the stack: strings and pointers.
    fn total(&self) -> usize {
        self.bytes.len() + self.count * size_of::<usize>()
    }
}

/// What goes on a stack.
pub struct StackRequest<'a> {
    /// One past the highest address of the stack; a multiple of 16.
    pub top: usize,
    pub arguments: &'a Arguments,
    pub environment: &'a Arguments,
    /// The path as it was given to `execve`.
    pub path: &'a [u8],
    /// The machine's name.
    pub platform: &'a [u8],
    pub random: [u8; 16],
    /// The auxiliary vector, without what points into the stack and without the final null.
    pub auxiliary: &'a [(AuxiliaryType, usize)],
}

/// The bytes of a stack and where they belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackImage {
    /// The stack pointer at the first instruction; the bytes lie from here to the top.
    pub pointer: usize,
    pub bytes: Vec<u8>,
}

impl StackRequest<'_> {
    /// Lays the stack out.
    ///
    /// # Errors
    /// If arguments and environment together are too long, or there is no memory.
    pub fn build(&self) -> Result<StackImage, ArgumentsError> {
        const WORD: usize = size_of::<usize>();
        if self.arguments.total() + self.environment.total() > MAX_TOTAL_BYTES
            || self.path.len() >= MAX_STRING_BYTES
        {
            return Err(ArgumentsError::TooBig);
        }
        // The addresses of the parts, from the top down.
        let path = self.top - WORD - (self.path.len() + 1);
        let environment = path - self.environment.bytes.len();
        let arguments = environment - self.arguments.bytes.len();
        let platform = arguments - (self.platform.len() + 1);
        let random = (platform - self.random.len()) & !15;
        let pointers = self.arguments.count + self.environment.count + 3;
        let words = pointers + 2 * (self.auxiliary.len() + 4);
        let pointer = (random - words * WORD) & !15;

        let mut bytes = Vec::new();
        bytes.try_reserve_exact(self.top - pointer).map_err(|_| ArgumentsError::OutOfMemory)?;
        let mut word = |value: usize| bytes.extend_from_slice(&value.to_ne_bytes());
        word(self.arguments.count);
        for (list, mut at) in [(self.arguments, arguments), (self.environment, environment)] {
            for string in list.iter() {
                word(at);
                at += string.len() + 1;
            }
            word(0);
        }
        let own = [
            (AuxiliaryType::Random, random),
            (AuxiliaryType::Path, path),
            (AuxiliaryType::Platform, platform),
            (AuxiliaryType::Null, 0),
        ];
        for &(kind, value) in self.auxiliary.iter().chain(&own) {
            word(kind as usize);
            word(value);
        }
        for (at, part, terminated) in [
            (random, self.random.as_slice(), false),
            (platform, self.platform, true),
            (arguments, self.arguments.as_bytes(), false),
            (environment, self.environment.as_bytes(), false),
            (path, self.path, true),
        ] {
            bytes.resize(at - pointer, 0);
            bytes.extend_from_slice(part);
            if terminated {
                bytes.push(0);
            }
        }
        bytes.resize(self.top - pointer, 0);
        Ok(StackImage { pointer, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Arguments, ArgumentsError, AuxiliaryType, MAX_STRING_BYTES, MAX_TOTAL_BYTES, StackImage,
        StackRequest,
    };
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    const TOP: usize = 0x7fff_ffff_f000;

    fn list(strings: &[&[u8]]) -> Arguments {
        let mut arguments = Arguments::new();
        for string in strings {
            arguments.push(string).unwrap();
        }
        arguments
    }

    /// Reads a stack as a C runtime does.
    struct Reader<'a>(&'a StackImage);

    impl Reader<'_> {
        fn word(&self, address: usize) -> usize {
            let at = address - self.0.pointer;
            usize::from_ne_bytes(self.0.bytes[at..at + 8].try_into().unwrap())
        }

        fn string(&self, address: usize) -> Vec<u8> {
            let bytes = &self.0.bytes[address - self.0.pointer..];
            bytes.iter().copied().take_while(|&byte| byte != 0).collect()
        }

        fn strings(&self, at: &mut usize) -> Vec<Vec<u8>> {
            let mut strings = Vec::new();
            while self.word(*at) != 0 {
                strings.push(self.string(self.word(*at)));
                *at += 8;
            }
            *at += 8;
            strings
        }
    }

    proptest! {
        #[test]
        fn a_runtime_finds_everything(
            argv in proptest::collection::vec(proptest::collection::vec(1u8..=255, 0..40), 0..20),
            envp in proptest::collection::vec(proptest::collection::vec(1u8..=255, 0..40), 0..20),
            path in proptest::collection::vec(1u8..=255, 1..60),
            random in any::<[u8; 16]>(),
        ) {
            let borrowed = |strings: &[Vec<u8>]| {
                list(&strings.iter().map(Vec::as_slice).collect::<Vec<_>>())
            };
            let image = StackRequest {
                top: TOP,
                arguments: &borrowed(&argv),
                environment: &borrowed(&envp),
                path: &path,
                platform: b"x86_64",
                random,
                auxiliary: &[(AuxiliaryType::PageSize, 4096), (AuxiliaryType::Entry, 0x40_1000)],
            }
            .build()
            .unwrap();
            prop_assert!(image.pointer.is_multiple_of(16));
            prop_assert_eq!(image.pointer + image.bytes.len(), TOP);
            let reader = Reader(&image);
            let mut at = image.pointer;
            prop_assert_eq!(reader.word(at), argv.len());
            at += 8;
            prop_assert_eq!(reader.strings(&mut at), argv);
            prop_assert_eq!(reader.strings(&mut at), envp);
            let mut auxiliary = std::collections::BTreeMap::new();
            while reader.word(at) != 0 {
                auxiliary.insert(reader.word(at), reader.word(at + 8));
                at += 16;
            }
            prop_assert_eq!(auxiliary[&6], 4096);
            prop_assert_eq!(auxiliary[&9], 0x40_1000);
            prop_assert_eq!(reader.string(auxiliary[&31]), path);
            prop_assert_eq!(reader.string(auxiliary[&15]), b"x86_64");
            let at = auxiliary[&25] - image.pointer;
            prop_assert_eq!(&image.bytes[at..at + 16], &random);
        }
    }

    #[test]
    fn lengths_are_limited() {
        let mut arguments = Arguments::new();
        assert_eq!(arguments.push(&vec![b'a'; MAX_STRING_BYTES]), Err(ArgumentsError::TooBig));
        assert_eq!(arguments.push(&vec![b'a'; MAX_STRING_BYTES - 1]), Ok(()));
        let mut pushed = 1;
        while arguments.push(&vec![b'a'; MAX_STRING_BYTES - 1]).is_ok() {
            pushed += 1;
        }
        assert_eq!(pushed, MAX_TOTAL_BYTES / (MAX_STRING_BYTES + 8));
        let request = StackRequest {
            top: TOP,
            arguments: &arguments,
            environment: &arguments,
            path: b"/a",
            platform: b"",
            random: [0; 16],
            auxiliary: &[],
        };
        assert_eq!(request.build(), Err(ArgumentsError::TooBig));
    }

    #[test]
    fn many_empty_strings_count_their_pointers() {
        let mut arguments = Arguments::new();
        let mut pushed = 0;
        while arguments.push(b"").is_ok() {
            pushed += 1;
        }
        assert_eq!(pushed, MAX_TOTAL_BYTES / 9);
        assert_eq!(arguments.iter().count(), pushed);
    }
}
