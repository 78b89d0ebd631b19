//! Several CPUs at work: the user programs' tests and the BPF examples pass as on one, and much at
//! once does no harm.

use lemma::build::Options;
use lemma::machine::{Arch, MOST_CPUS};
use lemma::qemu::Outcome;

use crate::guest::{Boot, boot_machine, boot_with, on_each_architecture};
use crate::{bpf, usertests};

on_each_architecture!(
    system_calls_behave_as_linux_s_on_four_cpus,
    examples_give_the_output_they_promise_on_four_cpus,
    programs_are_replaced_under_load_and_no_event_is_lost,
    every_number_of_cpus_starts_and_stops,
    cpus_that_are_not_used_are_told,
    a_panic_stops_all_cpus,
);

/// What `-machine` is told for the other of Arm's interrupt controllers.
pub(crate) const GICV3: &str = "gic-version=3";

/// With four CPUs.
fn four(arch: Arch) -> Options {
    Options { arch, cpus: 4, ..Options::default() }
}

/// With the tests' files on the disk.
fn system_calls_behave_as_linux_s_on_four_cpus(arch: Arch) {
    let mut guest = boot_with(four(arch));
    guest.prompt();
    usertests::pass(&mut guest, arch, 4, "--dir /root");
    guest.shut_down(0);
}

fn examples_give_the_output_they_promise_on_four_cpus(arch: Arch) {
    let mut guest = boot_with(four(arch));
    guest.prompt();
    bpf::examples(guest, arch);
}

/// A thousand replacements and twenty attachments, forks, threads, pipes and files beside them.
fn programs_are_replaced_under_load_and_no_event_is_lost(arch: Arch) {
    programs_are_replaced_under_load(four(arch));
}

fn programs_are_replaced_under_load(options: Options) {
    let mut guest = boot_with(options);
    guest.prompt();
    let report = guest.succeed("usertests stress --seconds 5");
    assert!(report.contains("calls counted over"), "{report}");
    guest.shut_down(0);
}

/// All of them are there, and none keeps the machine from ending. Little memory suffices; so do
/// old CPUs.
fn every_number_of_cpus_starts_and_stops(arch: Arch) {
    for cpus in [2, 8] {
        let cpu = (arch == Arch::X86_64 && cpus == 2).then(|| "qemu64".to_owned());
        starts_and_stops(Options { arch, cpus, cpu, memory_mib: 32, ..Options::default() });
    }
}

fn starts_and_stops(options: Options) {
    let (cpus, old) = (options.cpus, options.cpu.as_deref() == Some("qemu64"));
    let mut guest = boot_with(options);
    let console = guest.prompt();
    assert!(console.contains(&format!("{cpus} of {cpus} CPUs at work")), "{console}");
    let stat = guest.succeed("cat /proc/stat");
    let count = stat.lines().filter(|line| line.starts_with("cpu")).count();
    assert_eq!(count as u32, cpus + 1, "{stat}");
    devices_interrupt_different_cpus(&mut guest, cpus);
    ticks_only_for_programs(&mut guest, cpus);
    if old {
        // They keep the registers of a handler's caller in another form.
        usertests::pass_all(&mut guest, "frames_");
    }
    guest.shut_down(0);
}

/// Every device has one CPU for all of its interrupts, and the serial port and the disk, which have
/// had some, not the same.
fn devices_interrupt_different_cpus(guest: &mut Boot, cpus: u32) {
    let report = guest.succeed("cat /proc/interrupts");
    let mut places = Vec::new();
    for device in ["serial", "virtio-block"] {
        let row = report.lines().find(|row| row.contains(device)).unwrap();
        let counts = counts(row, cpus);
        let taken: Vec<_> = (0..counts.len()).filter(|&cpu| counts[cpu] != 0).collect();
        assert_eq!(taken.len(), 1, "{report}");
        places.extend(taken);
    }
    assert_ne!(places[0], places[1], "{report}");
}

/// How often each CPU was interrupted, by a row of `/proc/interrupts`.
fn counts(row: &str, cpus: u32) -> Vec<u64> {
    let (_, counts) = row.split_once(':').unwrap();
    counts.split_whitespace().take(cpus as usize).map(|count| count.parse().unwrap()).collect()
}

/// Each CPU's timer ticks while a program is attached to it, and not at all when nothing is left
/// to be done: a CPU is interrupted for what sleeps there, and on RISC-V once in a second because
/// its timer cannot be turned off. The ticks show that the count would tell.
fn ticks_only_for_programs(guest: &mut Boot, cpus: u32) {
    /// In a second; the slowest tick that kernels are known for is a hundred in a second.
    const FEW: u64 = 5;
    let ticking = timer_interrupts(guest, cpus);
    assert!(ticking.iter().all(|&count| count > FEW), "no ticks: {ticking:?}");
    guest.succeed("bpf unload jitter");
    let idle = timer_interrupts(guest, cpus);
    assert!(idle.iter().all(|&count| count <= FEW), "ticks: {idle:?}, with programs {ticking:?}");
}

/// How often each CPU's timer interrupts in a second.
fn timer_interrupts(guest: &mut Boot, cpus: u32) -> Vec<u64> {
    const TIMERS: [&str; 3] = ["Local timer interrupts", "arch_timer", "riscv-timer"];
    let report = guest.succeed("cat /proc/interrupts && sleep 1 && cat /proc/interrupts");
    let rows = report.lines().filter(|row| TIMERS.iter().any(|timer| row.contains(timer)));
    let [before, after] = rows.map(|row| counts(row, cpus)).collect::<Vec<_>>().try_into().unwrap();
    after.iter().zip(&before).map(|(after, before)| after - before).collect()
}

/// More than the kernel has room for: as many as it has work, and the console warns.
fn cpus_that_are_not_used_are_told(arch: Arch) {
    let options =
        if arch == Arch::Aarch64 { gicv3(1) } else { Options { arch, ..Options::default() } };
    let append = vec!["selftest=clock".to_owned()];
    let more = MOST_CPUS + 2;
    let guest = boot_machine(Options { append, ..options }, |machine| machine.cpus = more);
    let console = guest.finish(&Outcome::Exited(0));
    let warning = format!("WARN: 2 of the {more} CPUs that firmware names are not used");
    assert!(console.contains(&warning), "{console}");
}

fn a_panic_stops_all_cpus(arch: Arch) {
    panics_once(four(arch));
}

/// The others write to the console all the time, and could go on for a second.
fn panics_once(options: Options) {
    let append = ["selftest=panic-among-others", "panic=1"].map(str::to_owned).into();
    let console = boot_with(Options { append, ..options }).finish(&Outcome::Panicked);
    assert_eq!(console.matches("KERNEL PANIC").count(), 1, "{console}");
    let (before, _) = console.split_once("KERNEL PANIC").unwrap();
    assert!(before.contains(".."), "nobody has written:\n{console}");
    let (_, after) = console.split_once("end of kernel panic").unwrap();
    assert_eq!(after.trim(), "", "{console}");
}

/// The other of Arm's interrupt controllers, through which CPUs reach each other by another way. The
/// embedded profile's four CPUs have it, too.
fn gicv3(cpus: u32) -> Options {
    let machine = vec![GICV3.to_owned()];
    Options { arch: Arch::Aarch64, machine, cpus, ..Options::default() }
}

#[test]
fn aarch64_with_a_gicv3_replaces_programs_under_load() {
    programs_are_replaced_under_load(gicv3(4));
}

/// An old CPU, entered at the hypervisor's level; QEMU has the CPUs from the seventeenth on in
/// another cluster, which interrupts name in another way.
#[test]
fn aarch64_with_a_gicv3_starts_and_stops_every_number_of_cpus() {
    for cpus in [8, 18] {
        let mut options = Options { cpu: Some("cortex-a72".to_owned()), ..gicv3(cpus) };
        options.machine.push("virtualization=on".to_owned());
        starts_and_stops(options);
    }
}

#[test]
fn aarch64_with_a_gicv3_stops_all_cpus_in_a_panic() {
    panics_once(gicv3(4));
}
