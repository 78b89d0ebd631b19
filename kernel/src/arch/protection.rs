//! A test of what protects the kernel, against the tables and registers that the CPU uses now:
//! `selftest=protection` on the kernel's command line runs it and ends with its result.
//!
//! The tables are walked here; what a machine's registers must say stands in its folder's
//! `protection.rs`.

use super::image::{data_end, kernel_image, rodata_end, text_end, text_start};
use super::machine::layout::{DIRECT_MAP, image_to_phys};
use super::machine::{Entry, guard_pages, mmu, protection};
use super::paging::{index, span, table};
use super::traits::{PAGE_SIZE, Protection};

/// What the walk found.
#[derive(Default)]
struct Findings {
    pages: usize,
    writable_and_executable: usize,
    user: usize,
    executable_outside_text: usize,
    constant_writable: usize,
    guards_present: usize,
    below_the_kernel: usize,
}

/// Looks at one page or block of `size` bytes.
fn look(findings: &mut Findings, address: usize, size: usize, entry: Entry) {
    let rights = entry.kernel_rights();
    let executable = rights.contains(Protection::EXECUTE);
    let writable = rights.contains(Protection::WRITE);
    let frames = entry.frame()..entry.frame() + size as u64;
    let constant = image_to_phys(text_start())..image_to_phys(rodata_end());
    findings.pages += 1;
    findings.writable_and_executable += usize::from(writable && executable);
    findings.user += usize::from(rights.contains(Protection::USER));
    let in_text = (text_start()..text_end()).contains(&address);
    findings.executable_outside_text += usize::from(executable && !in_text);
    let shows_constants = frames.start < constant.end && constant.start < frames.end;
    findings.constant_writable += usize::from(writable && shows_constants);
    findings.below_the_kernel += usize::from(address < DIRECT_MAP);
    let guarded = guard_pages().any(|page| (address..address + size).contains(&page));
    findings.guards_present += usize::from(guarded);
}

/// Visits every page below a table.
fn walk(findings: &mut Findings, current: u64, level: u32, base: usize) {
    for slot in 0..512 {
        // SAFETY: the tables are the kernel's own, and nobody changes them during the test.
        let entry = unsafe { (*table(current))[slot] };
        if !entry.is_present() {
            continue;
        }
        let address = base + slot * span(level);
        if level == 1 || entry.is_huge() {
            look(findings, address, span(level), entry);
        } else {
            walk(findings, entry.frame(), level - 1, address);
        }
    }
}

/// See [`crate::arch::Architecture::check_protection`].
pub(super) fn check() -> Result<(), usize> {
    let mut findings = Findings::default();
    let root = protection::root();
    let levels = mmu::user_levels();
    // The address of the root's slot 0, seen from the upper half, whose bits are extended. So are
    // those of a root that has users' half too, whose addresses are then below all of the kernel's.
    walk(&mut findings, root, levels, usize::MAX << (12 + 9 * levels));
    let found = [
        ("pages writable and executable", findings.writable_and_executable),
        ("pages reachable from user mode", findings.user),
        ("pages executable outside the kernel's text", findings.executable_outside_text),
        ("writable views of text or constants", findings.constant_writable),
        ("guard pages mapped", findings.guards_present),
        ("pages mapped in the user half", findings.below_the_kernel),
        ("no pages found at all", usize::from(findings.pages == 0)),
        ("text does not execute from its own pages", usize::from(!text_is_mapped(root))),
    ];
    let registers = protection::missing().map(|(what, missing)| (what, usize::from(missing)));
    let mut violations = 0;
    for (what, count) in found.into_iter().chain(registers) {
        if count != 0 {
            log::error!("protection: {what}: {count}");
            violations += 1;
        }
    }
    log::info!("protection: {} pages walked, {violations} violations", findings.pages);
    if violations == 0 { Ok(()) } else { Err(violations) }
}

/// Where an address leads, and what the kernel may do there.
fn query(root: u64, address: usize) -> Option<(u64, Protection)> {
    let mut current = root;
    for level in (1..=mmu::user_levels()).rev() {
        // SAFETY: nobody changes the kernel's tables during the test.
        let entry = unsafe { (*table(current))[index(address, level)] };
        if !entry.is_present() {
            return None;
        }
        if level == 1 || entry.is_huge() {
            return Some((entry.frame() + (address % span(level)) as u64, entry.kernel_rights()));
        }
        current = entry.frame();
    }
    None
}

/// Text and variables are where the layout says, in the direct map too.
fn text_is_mapped(root: u64) -> bool {
    let direct = query(root, DIRECT_MAP + kernel_image().start as usize);
    let text = query(root, text_start());
    let data = query(root, data_end() - PAGE_SIZE);
    let execute = Protection::EXECUTE;
    matches!((direct, text, data), (Some(direct), Some(text), Some(data))
        if direct.0 == text.0
            && text.1.contains(execute)
            && !direct.1.contains(execute)
            && !data.1.contains(execute)
            && data.1.contains(Protection::WRITE))
}
