//! Programs made by hand, right and wrong, and random bytes.

use super::{ElfError, Executable, Header, Limits, Segment, SegmentRights};
use proptest::prelude::*;
use std::vec::Vec;

const MACHINE: u16 = 62;
const LIMITS: Limits = Limits { low: 0x1000, high: 1 << 47, bias: 0x5000_0000, file_bytes: 0x9000 };

fn header(kind: u16, count: u16) -> Vec<u8> {
    let mut bytes = Vec::from([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for half in [kind, MACHINE] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(1u32.to_le_bytes());
    for word in [0x40_1000u64, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0u32.to_le_bytes());
    for half in [64, 56, count, 64, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes
}

#[derive(Clone, Copy)]
struct Ph {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file: u64,
    memory: u64,
    align: u64,
}

const TEXT: Ph = Ph {
    kind: 1,
    flags: 5,
    offset: 0,
    address: 0x40_0000,
    file: 0x1234,
    memory: 0x1234,
    align: 4096,
};
const DATA: Ph = Ph {
    kind: 1,
    flags: 6,
    offset: 0x1234,
    address: 0x40_2234,
    file: 0x10,
    memory: 0x3000,
    align: 4096,
};

fn program_headers(list: &[Ph]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for ph in list {
        bytes.extend(ph.kind.to_le_bytes());
        bytes.extend(ph.flags.to_le_bytes());
        for word in [ph.offset, ph.address, ph.address, ph.file, ph.memory, ph.align] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes
}

fn parse(kind: u16, list: &[Ph]) -> Result<Executable, ElfError> {
    let header = Header::parse(&header(kind, list.len() as u16), MACHINE)?;
    Executable::parse(&header, &program_headers(list), &LIMITS)
}

#[test]
fn a_program_of_two_segments() {
    let program = parse(2, &[TEXT, DATA]).unwrap();
    assert_eq!(program.entry, 0x40_1000);
    assert_eq!(program.program_headers, Some(0x40_0040));
    assert_eq!(program.end, 0x40_6000);
    assert_eq!(
        program.segments,
        [
            Segment {
                start: 0x40_0000,
                end: 0x40_2000,
                file_offset: 0,
                file_bytes: 0x1234,
                rights: SegmentRights::READ | SegmentRights::EXECUTE
            },
            Segment {
                start: 0x40_2000,
                end: 0x40_6000,
                file_offset: 0x1000,
                file_bytes: 0x244,
                rights: SegmentRights::READ | SegmentRights::WRITE
            },
        ]
    );
}

#[test]
fn a_relocatable_program_moves() {
    let program = parse(3, &[TEXT]).unwrap();
    assert_eq!(program.entry, 0x5040_1000);
    assert_eq!(program.segments[0].start, 0x5040_0000);
}

#[test]
fn wrong_programs_are_refused() {
    let refused = |list: &[Ph]| parse(2, list).unwrap_err();
    assert_eq!(refused(&[Ph { flags: 7, ..TEXT }]), ElfError::WriteAndExecute);
    assert_eq!(refused(&[Ph { kind: 3, ..TEXT }, TEXT]), ElfError::Dynamic);
    assert_eq!(refused(&[Ph { file: 0x2000, ..TEXT }]), ElfError::Malformed);
    assert_eq!(
        refused(&[Ph { offset: 0x8000, file: 0x1001, memory: 0x1001, ..TEXT }]),
        ElfError::Malformed
    );
    assert_eq!(refused(&[Ph { offset: u64::MAX - 0xfff, ..TEXT }]), ElfError::Malformed);
    assert_eq!(refused(&[Ph { offset: 1, ..TEXT }]), ElfError::Malformed);
    assert_eq!(refused(&[Ph { address: 0, ..TEXT }]), ElfError::BadAddress);
    assert_eq!(refused(&[Ph { memory: u64::MAX, ..TEXT }]), ElfError::BadAddress);
    assert_eq!(refused(&[Ph { address: 1 << 47, ..TEXT }]), ElfError::BadAddress);
    assert_eq!(refused(&[Ph { address: u64::MAX - 0xfff, ..TEXT }]), ElfError::BadAddress);
    assert_eq!(refused(&[DATA, TEXT]), ElfError::Malformed);
    assert_eq!(refused(&[TEXT, TEXT]), ElfError::Malformed);
    assert_eq!(refused(&[Ph { align: 3, ..TEXT }]), ElfError::Malformed);
    assert_eq!(refused(&[Ph { kind: 4, ..TEXT }]), ElfError::Malformed);
    assert_eq!(refused(&[DATA]), ElfError::BadAddress, "the entry is outside");
}

#[test]
fn wrong_headers_are_refused() {
    let good = header(2, 1);
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Header::parse(&bytes, MACHINE).unwrap_err()
    };
    assert_eq!(changed(0, 0), ElfError::NotElf);
    assert_eq!(changed(4, 1), ElfError::WrongKind);
    assert_eq!(changed(5, 2), ElfError::WrongKind);
    assert_eq!(changed(16, 1), ElfError::WrongKind);
    assert_eq!(changed(18, 183), ElfError::WrongKind);
    assert_eq!(changed(54, 32), ElfError::Malformed);
    assert_eq!(changed(56, 0), ElfError::Malformed);
    assert_eq!(changed(57, 0xff), ElfError::Malformed);
    assert_eq!(Header::parse(&good[..63], MACHINE), Err(ElfError::NotElf));
    assert_eq!(Header::parse(&[], MACHINE), Err(ElfError::NotElf));
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_in_bounds(
        kind in 2u16..4,
        fields in proptest::collection::vec(
            (0u32..5, 0u32..8, any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), 0u8..64), 1..6),
        shrink in 0u32..64,
    ) {
        let list: Vec<Ph> = fields
            .into_iter()
            .map(|(kind, flags, offset, address, file, memory, align)| Ph {
                kind: kind.min(1),
                flags,
                offset: (offset >> shrink) & !0xfff,
                address: (address >> shrink) & !0xfff,
                file: file >> shrink,
                memory: memory >> shrink,
                align: 1 << align,
            })
            .collect();
        if let Ok(program) = parse(kind, &list) {
            let mut last = LIMITS.low;
            for segment in &program.segments {
                prop_assert!(segment.start >= last && segment.end > segment.start);
                prop_assert!(segment.end <= LIMITS.high);
                prop_assert!(segment.file_bytes <= segment.end - segment.start);
                prop_assert!(segment.file_offset + segment.file_bytes as u64 <= LIMITS.file_bytes);
                last = segment.end;
            }
        }
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut start = header(2, 2);
        let length = bytes.len().min(start.len());
        start[24..length.max(24)].copy_from_slice(&bytes[24.min(length)..length]);
        if let Ok(header) = Header::parse(&start, MACHINE) {
            let _ = Executable::parse(&header, &bytes, &LIMITS);
        }
    }
}
