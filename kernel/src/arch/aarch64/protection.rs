//! A test of what protects the kernel, against the tables and registers that the CPU uses now:
//! `selftest=protection` on the kernel's command line runs it and ends with its result.

use super::asm::read_register;
use super::cpu::{self, FEATURES, has};
use super::entry::{Entry, Flags};
use super::layout::{DIRECT_MAP, image_to_phys};
use crate::arch::image::{data_end, kernel_image, rodata_end, text_end, text_start};
use crate::arch::paging::{ROOT_LEVEL, index, span, table};
use crate::arch::traits::PAGE_SIZE;

/// What the walk found.
#[derive(Default)]
struct Findings {
    pages: usize,
    writable_and_executable: usize,
    user: usize,
    user_executable: usize,
    executable_outside_text: usize,
    constant_writable: usize,
    guards_present: usize,
}

/// Looks at one page or block of `size` bytes.
fn look(findings: &mut Findings, address: usize, size: usize, entry: Entry) {
    let flags = entry.flags();
    let executable = !flags.contains(Flags::PRIVILEGED_NO_EXECUTE);
    let writable = !flags.contains(Flags::READ_ONLY);
    let frames = entry.frame()..entry.frame() + size as u64;
    let constant = image_to_phys(text_start())..image_to_phys(rodata_end());
    findings.pages += 1;
    findings.writable_and_executable += usize::from(writable && executable);
    findings.user += usize::from(flags.contains(Flags::USER));
    findings.user_executable += usize::from(!flags.contains(Flags::USER_NO_EXECUTE));
    let in_text = (text_start()..text_end()).contains(&address);
    findings.executable_outside_text += usize::from(executable && !in_text);
    let shows_constants = frames.start < constant.end && constant.start < frames.end;
    findings.constant_writable += usize::from(writable && shows_constants);
    let guarded = cpu::guard_pages().any(|page| (address..address + size).contains(&page));
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

/// Where TTBR1's half begins.
const UPPER_HALF: usize = 0xffff_0000_0000_0000;

/// Runs the test; `Err` counts the violations, which are in the log.
pub(in crate::arch) fn check() -> Result<(), usize> {
    const NO_USER_WALKS: u64 = 1 << 7;
    const SPAN: u64 = 1 << 23;
    const WRITE_IMPLIES_NO_EXECUTE: u64 = 1 << 19;
    let mut findings = Findings::default();
    let root = read_register!("ttbr1_el1") & Entry::FRAME;
    walk(&mut findings, root, ROOT_LEVEL, UPPER_HALF);
    let control = read_register!("sctlr_el1");
    let pan = has(&FEATURES.pan);
    // PSTATE.PAN, bit 22.
    let pan_is_on = !pan || read_register!("S3_0_C4_C2_3") & 1 << 22 != 0;
    let low_half = read_register!("tcr_el1") & NO_USER_WALKS == 0;
    let checks = [
        ("pages writable and executable", findings.writable_and_executable),
        ("pages reachable from user mode", findings.user),
        ("pages executable by users", findings.user_executable),
        ("pages executable outside the kernel's text", findings.executable_outside_text),
        ("writable views of text or constants", findings.constant_writable),
        ("guard pages mapped", findings.guards_present),
        ("the user half is mapped", usize::from(low_half)),
        ("no pages found at all", usize::from(findings.pages == 0)),
        ("text does not execute from its own pages", usize::from(!text_is_mapped(root))),
        ("WXN off", usize::from(control & WRITE_IMPLIES_NO_EXECUTE == 0)),
        ("PAN off", usize::from(!pan_is_on)),
        ("PAN is not set on entry", usize::from(pan && control & SPAN != 0)),
    ];
    let mut violations = 0;
    for (what, count) in checks {
        if count != 0 {
            log::error!("protection: {what}: {count}");
            violations += 1;
        }
    }
    log::info!("protection: {} pages walked, PAN {pan}, {violations} violations", findings.pages);
    if violations == 0 { Ok(()) } else { Err(violations) }
}

/// Where an address leads, and how: through a page or a block.
fn query(root: u64, address: usize) -> Option<(u64, Flags)> {
    let mut current = root;
    for level in (1..=ROOT_LEVEL).rev() {
        // SAFETY: nobody changes the kernel's tables during the test.
        let entry = unsafe { (*table(current))[index(address, level)] };
        if !entry.is_present() {
            return None;
        }
        if level == 1 || entry.is_huge() {
            return Some((entry.frame() + (address % span(level)) as u64, entry.flags()));
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
    let never = Flags::PRIVILEGED_NO_EXECUTE;
    matches!((direct, text, data), (Some(direct), Some(text), Some(data))
        if direct.0 == text.0
            && !text.1.contains(never)
            && direct.1.contains(never)
            && data.1.contains(never)
            && !data.1.contains(Flags::READ_ONLY))
}
