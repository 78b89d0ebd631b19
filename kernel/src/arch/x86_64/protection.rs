//! A test of what protects the kernel, against the tables and registers that the CPU uses now:
//! `selftest=protection` on the kernel's command line runs it and ends with its result.

use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};

use super::cpu::{self, FEATURES, has};
use super::entry::{Entry, Flags};
use super::layout::{DIRECT_MAP, image_to_phys};
use super::mmu;
use crate::arch::image::{data_end, kernel_image, rodata_end, text_end, text_start};
use crate::arch::paging::{self, table};

/// What the walk found.
#[derive(Default)]
struct Findings {
    pages: usize,
    writable_and_executable: usize,
    user: usize,
    executable_outside_text: usize,
    constant_writable: usize,
    guards_present: usize,
    identity: usize,
}

fn canonical(address: usize) -> usize {
    if address >> 47 & 1 != 0 { address | 0xffff << 48 } else { address }
}

/// Looks at one page or large page of `size` bytes.
fn look(findings: &mut Findings, address: usize, size: usize, entry: Entry, writable: bool) {
    let flags = entry.flags();
    let executable = !flags.contains(Flags::NO_EXECUTE);
    let frames = entry.frame()..entry.frame() + size as u64;
    let constant = image_to_phys(text_start())..image_to_phys(rodata_end());
    findings.pages += 1;
    findings.writable_and_executable += usize::from(writable && executable);
    findings.user += usize::from(flags.contains(Flags::USER));
    let in_text = (text_start()..text_end()).contains(&address);
    findings.executable_outside_text += usize::from(executable && !in_text);
    let shows_constants = frames.start < constant.end && constant.start < frames.end;
    findings.constant_writable += usize::from(writable && shows_constants);
    findings.identity += usize::from(address < DIRECT_MAP);
    let guarded = cpu::guard_pages().any(|page| (address..address + size).contains(&page));
    findings.guards_present += usize::from(guarded);
}

/// Visits every page below a table.
fn walk(findings: &mut Findings, current: u64, level: u32, base: usize, writable: bool) {
    for slot in 0..512 {
        // SAFETY: the tables are the kernel's own, and nobody changes them during the test.
        let entry = unsafe { (*table(current))[slot] };
        if !entry.is_present() {
            continue;
        }
        let size = 4096usize << (9 * (level - 1));
        let address = canonical(base + slot * size);
        let writable = writable && entry.flags().contains(Flags::WRITABLE);
        if level == 1 || entry.is_huge() {
            look(findings, address, size, entry, writable);
        } else {
            walk(findings, entry.frame(), level - 1, address & ((1 << 48) - 1), writable);
        }
    }
}

/// Runs the test; `Err` counts the violations, which are in the log.
pub(in crate::arch) fn check() -> Result<(), usize> {
    let mut findings = Findings::default();
    walk(&mut findings, mmu::active(), 4, 0, true);
    let cr4 = Cr4::read();
    let feature = |present: bool, flag: Cr4Flags| usize::from(present && !cr4.contains(flag));
    let f = &FEATURES;
    let efer_has_nx = Efer::read().contains(EferFlags::NO_EXECUTE_ENABLE);
    let cr0_has_wp = Cr0::read().contains(Cr0Flags::WRITE_PROTECT);
    let checks = [
        ("pages writable and executable", findings.writable_and_executable),
        ("pages reachable from user mode", findings.user),
        ("pages executable outside the kernel's text", findings.executable_outside_text),
        ("writable views of text or constants", findings.constant_writable),
        ("guard pages mapped", findings.guards_present),
        ("pages mapped in the user half", findings.identity),
        ("no pages found at all", usize::from(findings.pages == 0)),
        ("text does not execute from its own pages", usize::from(!text_is_mapped())),
        ("EFER.NXE off", usize::from(!efer_has_nx)),
        ("CR0.WP off", usize::from(!cr0_has_wp)),
        ("SMEP off", feature(has(&f.smep), Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION)),
        ("SMAP off", feature(has(&f.smap), Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION)),
        ("UMIP off", feature(has(&f.umip), Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION)),
    ];
    let mut violations = 0;
    for (what, count) in checks {
        if count != 0 {
            log::error!("protection: {what}: {count}");
            violations += 1;
        }
    }
    log::info!(
        "protection: {} pages walked, SMEP {}, SMAP {}, UMIP {}, {violations} violations",
        findings.pages,
        has(&f.smep),
        has(&f.smap),
        has(&f.umip),
    );
    if violations == 0 { Ok(()) } else { Err(violations) }
}

/// Text and variables are where the layout says, in the direct map too.
fn text_is_mapped() -> bool {
    let query = |address: usize| {
        // SAFETY: nobody changes the kernel's tables during the test.
        unsafe { paging::entry_finding(mmu::active(), address).map(|entry| *entry) }
    };
    let image = kernel_image();
    let direct = query(DIRECT_MAP + image.start as usize);
    let text = query(text_start());
    let data = query(data_end() - 4096);
    matches!((direct, text, data), (Some(direct), Some(text), Some(data))
        if direct.frame() == text.frame()
            && !text.flags().contains(Flags::NO_EXECUTE)
            && direct.flags().contains(Flags::NO_EXECUTE)
            && data.flags().contains(Flags::NO_EXECUTE | Flags::WRITABLE))
}
