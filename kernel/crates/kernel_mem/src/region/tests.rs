//! The regions against a model that notes the rights and backing of each page.

use super::{Backing, Region, RegionError, Regions, Rights, STACK_GUARD_BYTES};
use crate::PAGE_SIZE;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;

/// A file mapped from an offset, or anonymous memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Anonymous,
    File { file: u8, offset: usize },
}

impl Backing for Source {
    fn advance(&self, bytes: usize) -> Self {
        match *self {
            Self::Anonymous => Self::Anonymous,
            Self::File { file, offset } => Self::File { file, offset: offset + bytes },
        }
    }

    fn continues(&self, bytes: usize, next: &Self) -> bool {
        self.advance(bytes) == *next
    }
}

fn region(first: usize, pages: usize, rights: Rights, backing: Source) -> Region<Source> {
    let start = first * PAGE_SIZE;
    Region { start, end: start + pages * PAGE_SIZE, rights, grows_down: false, backing }
}

type Model = BTreeMap<usize, (Rights, Source)>;

fn pages(regions: &Regions<Source>) -> Model {
    let mut model = Model::new();
    for region in regions.iter() {
        for page in (region.start..region.end).step_by(PAGE_SIZE) {
            let backing = region.backing.advance(page - region.start);
            model.insert(page / PAGE_SIZE, (region.rights, backing));
        }
    }
    model
}

#[derive(Clone, Debug)]
enum Step {
    Insert(usize, usize, Rights, Source),
    Remove(usize, usize),
    Protect(usize, usize, Rights),
    Gap(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rights = (0u8..8).prop_map(Rights::from_bits_truncate);
    let source = prop_oneof![
        Just(Source::Anonymous),
        (0u8..2, 0usize..8)
            .prop_map(|(file, page)| Source::File { file, offset: page * PAGE_SIZE })
    ];
    let range = (0usize..60, 1usize..12);
    let step = prop_oneof![
        (range.clone(), rights.clone(), source).prop_map(|((f, n), r, s)| Step::Insert(f, n, r, s)),
        range.clone().prop_map(|(f, n)| Step::Remove(f, n)),
        (range, rights).prop_map(|((f, n), r)| Step::Protect(f, n, r)),
        (1usize..12).prop_map(Step::Gap),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn agrees_with_a_map_of_pages(steps in steps()) {
        let mut regions = Regions::new();
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Insert(first, count, rights, source) => {
                    let free = (first..first + count).all(|page| !model.contains_key(&page));
                    let result = regions.insert(region(first, count, rights, source));
                    prop_assert_eq!(result, if free { Ok(()) } else { Err(RegionError::Overlap) });
                    if free {
                        for page in 0..count {
                            model.insert(first + page, (rights, source.advance(page * PAGE_SIZE)));
                        }
                    }
                }
                Step::Remove(first, count) => {
                    let (start, end) = (first * PAGE_SIZE, (first + count) * PAGE_SIZE);
                    let mut removed = 0;
                    let most = regions.len() + regions.cuts(start, end);
                    regions.remove(start, end, |part| removed += part.length()).unwrap();
                    prop_assert!(regions.len() <= most);
                    let before = model.len();
                    model.retain(|&page, _| page < first || page >= first + count);
                    prop_assert_eq!(removed, (before - model.len()) * PAGE_SIZE);
                }
                Step::Protect(first, count, rights) => {
                    let (start, end) = (first * PAGE_SIZE, (first + count) * PAGE_SIZE);
                    let hole = (first..first + count).find(|page| !model.contains_key(page));
                    let until = regions.mapped_until(start, end);
                    prop_assert_eq!(until, hole.map_or(end, |page| page * PAGE_SIZE));
                    let whole = hole.is_none();
                    let result = regions.protect(start, end, rights);
                    prop_assert_eq!(result, if whole { Ok(()) } else { Err(RegionError::NotMapped) });
                    if whole {
                        for page in first..first + count {
                            model.get_mut(&page).unwrap().0 = rights;
                        }
                    }
                }
                Step::Gap(count) => {
                    let found = regions.find_gap(count * PAGE_SIZE, PAGE_SIZE, 80 * PAGE_SIZE);
                    let expected = (1..=80 - count)
                        .rev()
                        .find(|&first| (first..first + count).all(|page| !model.contains_key(&page)));
                    prop_assert_eq!(found, expected.map(|page| page * PAGE_SIZE));
                }
            }
            prop_assert_eq!(&pages(&regions), &model);
            prop_assert_eq!(regions.bytes(), model.len() * PAGE_SIZE);
            for pair in regions.iter().as_slice().windows(2) {
                prop_assert!(pair[0].end <= pair[1].start, "overlap or disorder");
                let joinable = pair[0].end == pair[1].start
                    && pair[0].rights == pair[1].rights
                    && pair[0].backing.continues(pair[0].length(), &pair[1].backing);
                prop_assert!(!joinable, "neighbours that continue each other were not joined");
            }
        }
    }
}

#[test]
fn what_is_removed_whole_is_not_cut() {
    let mut regions = Regions::new();
    regions.insert(region(10, 4, Rights::READ, Source::Anonymous)).unwrap();
    regions.insert(region(20, 4, Rights::READ, Source::Anonymous)).unwrap();
    for (first, end, cuts) in
        [(10, 14, 0), (5, 30, 0), (14, 20, 0), (11, 14, 1), (10, 13, 1), (12, 22, 2), (11, 13, 2)]
    {
        assert_eq!(regions.cuts(first * PAGE_SIZE, end * PAGE_SIZE), cuts, "{first} to {end}");
    }
}

#[test]
fn ranges_are_checked() {
    let mut regions: Regions<Source> = Regions::new();
    for (start, end) in [(0, 0), (4096, 4096), (8192, 4096), (1, 4097), (0, usize::MAX)] {
        assert_eq!(regions.remove(start, end, |_| ()), Err(RegionError::BadRange));
        assert_eq!(regions.protect(start, end, Rights::READ), Err(RegionError::BadRange));
    }
}

#[test]
fn a_stack_grows_to_its_limit_and_keeps_its_distance() {
    let mut regions = Regions::new();
    let guard = STACK_GUARD_BYTES / PAGE_SIZE;
    regions.insert(region(10, 1, Rights::READ, Source::Anonymous)).unwrap();
    let mut stack = region(1000, 2, Rights::READ | Rights::WRITE, Source::Anonymous);
    stack.grows_down = true;
    regions.insert(stack).unwrap();
    let lowest = 500 * PAGE_SIZE;
    assert_eq!(regions.grow_down(990 * PAGE_SIZE + 5, lowest).unwrap().start, 990 * PAGE_SIZE);
    assert!(regions.grow_down(499 * PAGE_SIZE, lowest).is_err());
    assert!(regions.grow_down((11 + guard - 1) * PAGE_SIZE, 0).is_err());
    assert!(regions.grow_down((11 + guard) * PAGE_SIZE, 0).is_ok());
    assert!(regions.grow_down(5 * PAGE_SIZE, 0).is_err(), "the region above does not grow");
    assert_eq!(regions.find_gap(PAGE_SIZE, 20 * PAGE_SIZE, 1002 * PAGE_SIZE), None);
    assert_eq!(
        regions.find_gap(2 * PAGE_SIZE, 0, 1002 * PAGE_SIZE),
        Some(8 * PAGE_SIZE),
        "below the guard gap there is only what lies under the first region"
    );
}
