//! What the embedder offers so that a helper needs no call, or a shorter one: where a CPU's number
//! lies, by a pointer that each CPU has, and the clock. In the place of the kernel's pointer stands
//! one that programs of users have: here the base of `gs`, and under emulation `TPIDR_EL0`, which
//! is put for `TPIDR_EL1` into the code, and `tp`.

use std::vec::Vec;

use super::emulated::run_operations;
use super::operations::{lowered, mov};
use crate::jit::Intrinsics;
use crate::jit::emitter::Emission;
use crate::jit::front::Lowered;
use crate::jit::ir::{Op, Place};
use crate::map::ArrayLookup;

/// Where the runner's pointer points to in its memory (`runner.c`), and words of that memory.
const POINTER: usize = 0x8000;
const WORDS: usize = 0x4000;

/// Reads of `TPIDR_EL1` become such of `TPIDR_EL0`. On RISC-V no instruction looks like one.
fn for_users(code: &[u8]) -> Vec<u8> {
    let word = |bytes: &[u8; 4]| match u32::from_le_bytes(*bytes) {
        read if read & !0x1f == 0xd538_d080 => 0xd53b_d040 | read & 0x1f,
        other => other,
    };
    code.as_chunks().0.iter().flat_map(|bytes| word(bytes).to_le_bytes()).collect()
}

/// What operations come to, which get the address of the runner's memory. In the memory is the
/// index 3, and then each word tells its place.
fn run(offset: i32, ops: &[Op], arrays: &[ArrayLookup]) -> Vec<(&'static str, u64)> {
    let memory = (0..WORDS as u32).map(|index| if index == 0 { 3 } else { index });
    let memory: Vec<u8> = memory.flat_map(u32::to_le_bytes).collect();
    let intrinsics = Intrinsics { cpu_id: Some(offset), ktime: None };
    let code = |assemble: &dyn Fn(&Lowered<'_>) -> Emission| {
        for_users(&assemble(&lowered(&[ops], arrays)).bytes)
    };
    run_operations(&intrinsics, &memory, code)
}

/// Offsets around the reaches of the machines' loads.
const OFFSETS: [i32; 11] = [0, 4, 2044, 2048, 4092, 4096, 16_380, 16_384, -4, -2048, -2052];

#[test]
fn other_machines_find_the_number_of_the_cpu() {
    for offset in OFFSETS {
        let number = (POINTER as i64 + i64::from(offset)) as u64 / 4;
        for (machine, result) in run(offset, &[Op::CpuId, Op::Exit], &[]) {
            assert_eq!(result, number, "{machine}, {offset}");
        }
        for (cpu_stride, stride) in [(64, 8), (4096, 24), (0x1_0000_0008, 8)] {
            let base = 0x1234_5678_9000;
            let array = ArrayLookup { base, entries: 4, stride, cpu_stride, cpus: 0x10000 };
            let ops = [mov(Place::R2, Place::R1), Op::Lookup { array: 0 }, Op::Exit];
            let value = base as u64 + 3 * stride as u64 + number * cpu_stride as u64;
            for (machine, result) in run(offset, &ops, &[array]) {
                assert_eq!(result, value, "{machine}, {offset}, {array:?}");
            }
        }
    }
}

/// In the place of the counter's reads, copies of what r6 holds.
fn counting_r6(code: &[u8]) -> Vec<u8> {
    let word = |bytes: &[u8; 4]| match u32::from_le_bytes(*bytes) {
        // `mrs t, cntvct_el0`, and `mov t, x19`.
        read if read & !0x1f == 0xd53b_e040 => 0xaa13_03e0 | read & 0x1f,
        // `rdtime d`, and `mv d, s0`.
        read if read & !0xf80 == 0xc010_2073 => 0x0004_0013 | read & 0xf80,
        other => other,
    };
    code.as_chunks().0.iter().flat_map(|bytes| word(bytes).to_le_bytes()).collect()
}

/// Nanoseconds in a tick, times 2^32: of counters of 10 MHz, 62.5 MHz, 1 GHz, 3.1 GHz, and what
/// makes every bit of the product count.
const FACTORS: [u64; 6] =
    [100 << 32, 16 << 32, 1 << 32, 1_385_473_966, u64::MAX, 0x8765_4321_0fed_cba9];

#[test]
fn other_machines_tell_the_time_by_their_counter() {
    for factor in FACTORS {
        for ticks in [0, 1, 0xffff_ffff, 1 << 32, 0x1234_5678_9abc_def0, u64::MAX] {
            let ops =
                [Op::Constant { dst: Place::R6, value: ticks }, Op::Clock { factor }, Op::Exit];
            let code = |assemble: &dyn Fn(&Lowered<'_>) -> Emission| {
                counting_r6(&assemble(&lowered(&[&ops], &[])).bytes)
            };
            let expected = ((u128::from(ticks) * u128::from(factor)) >> 32) as u64;
            for (machine, result) in run_operations(&Intrinsics::default(), &[0; 8], code) {
                assert_eq!(result, expected, "{machine}, {ticks:#x} ticks, {factor:#x}");
            }
        }
    }
    // And the counter itself, which counts.
    let ops = [Op::Clock { factor: 1 << 32 }, Op::Exit];
    let code = |assemble: &dyn Fn(&Lowered<'_>) -> Emission| assemble(&lowered(&[&ops], &[])).bytes;
    let run = || run_operations(&Intrinsics::default(), &[0; 8], code);
    for ((machine, earlier), (_, later)) in run().into_iter().zip(run()) {
        assert!(0 < earlier && earlier < later, "{machine}: {earlier}, then {later}");
    }
}

/// The same here, for whole programs.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod native {
    use core::sync::atomic::Ordering;
    use std::{format, vec};

    use super::{FACTORS, OFFSETS};
    use crate::asm::assemble;
    use crate::engine::tests::cpus::hundreds;
    use crate::helper::mock::Mock;
    use crate::jit::host::Native;
    use crate::jit::{Clock, Compiled, Intrinsics, Options, tests};
    use crate::map::MapType;
    use crate::profile::{ActiveProfile, PhysicalProfile};
    use crate::prog_type::ProgType;
    use crate::program::Program;
    use crate::verifier::verify;

    const CPUS: usize = 3;
    const CLOCK: u64 = 1_000_000;

    extern "C" fn clock() -> u64 {
        CLOCK
    }

    /// Gives this thread a base of `gs`, which nothing else in it uses.
    fn set_pointer(address: usize) {
        const ARCH_PRCTL: usize = 158;
        const SET_GS: usize = 0x1001;
        let mut result = ARCH_PRCTL;
        // SAFETY: the call changes nothing but the base of `gs`.
        unsafe {
            core::arch::asm!("syscall", inout("rax") result, in("rdi") SET_GS, in("rsi") address,
                out("rcx") _, out("r11") _);
        }
        assert_eq!(result, 0, "arch_prctl");
    }

    #[test]
    fn this_machine_finds_the_number_of_the_cpu_and_the_time() {
        let text = "call 8\n r6 = r0\n call 5\n r7 = r0\n r1 = map[0] ll\n r2 = r10\n r2 += -4
                    *(u32 *)(r10 - 4) = 1\n call 1\n if r0 == 0 goto none\n r0 = *(u64 *)(r0 + 0)
                    r0 *= 10000\n r0 += r6\n r0 += r7\n exit\n none: r0 = 0\n exit";
        let insns = assemble(text).unwrap_or_else(|error| panic!("{error}"));
        let program = Program::new(
            insns,
            ProgType::RawTracepoint,
            vec![hundreds(MapType::PercpuArray, CPUS)],
        );
        let verified = verify(program, &ActiveProfile::verify_options()).unwrap();
        let mut memory = vec![u32::MAX; 0x4000];
        let middle = memory.as_ptr() as usize + 0x8000;
        for offset in OFFSETS {
            for options in tests::options() {
                let ktime = Some(Clock::Function(clock));
                let intrinsics = Intrinsics { cpu_id: Some(offset), ktime };
                let options = Options { intrinsics, ..options };
                // SAFETY: it is this machine, and the base of `gs` is set before the code runs.
                let compiled =
                    unsafe { Compiled::new::<ActiveProfile, Native>(&verified, &options) };
                let compiled = compiled.unwrap();
                for cpu in 0..CPUS {
                    let place = (0x8000 + i64::from(offset)) as usize / 4;
                    memory[place] = cpu as u32;
                    let services = Mock::default();
                    set_pointer(middle);
                    let result = compiled.run(&mut [0; 16], &services);
                    set_pointer(0);
                    memory[place] = u32::MAX;
                    let cpu = cpu as u64;
                    assert_eq!(result, Some((100 + cpu) * 10_000 + cpu + CLOCK), "{offset}");
                    assert_eq!(services.clock.load(Ordering::Relaxed), 0, "asked by a call");
                }
            }
        }
    }

    #[test]
    fn this_machine_tells_the_time_by_its_counter() {
        use core::arch::x86_64::{_mm_lfence, _rdtsc};
        let counter = || {
            // SAFETY: every processor of this kind counts, and has both fences.
            unsafe {
                _mm_lfence();
                let ticks = _rdtsc();
                _mm_lfence();
                ticks
            }
        };
        for helper in ["ktime_get_ns", "ktime_get_boot_ns"] {
            let text = format!("r6 = 3\n call bpf_{helper}\n r0 += r6\n exit");
            let insns = assemble(&text).unwrap_or_else(|error| panic!("{error}"));
            let program = Program::new(insns, ProgType::RawTracepoint, vec![]);
            let verified = verify(program, &ActiveProfile::verify_options()).unwrap();
            for factor in FACTORS {
                let nanos = |ticks: u64| ((u128::from(ticks) * u128::from(factor)) >> 32) as u64;
                for options in tests::options() {
                    let ktime = Some(Clock::Counter { factor });
                    let intrinsics = Intrinsics { cpu_id: None, ktime };
                    let options = Options { intrinsics, ..options };
                    // SAFETY: it is this machine.
                    let compiled =
                        unsafe { Compiled::new::<ActiveProfile, Native>(&verified, &options) };
                    let compiled = compiled.unwrap();
                    let services = Mock::default();
                    let before = counter();
                    let result = compiled.run(&mut [], &services).unwrap().wrapping_sub(3);
                    let after = counter();
                    // In a circle: the greatest factors make more nanoseconds than 64 bits hold.
                    let passed = nanos(after).wrapping_sub(nanos(before));
                    let here = result.wrapping_sub(nanos(before));
                    assert!(here <= passed, "{factor:#x}: {here} of {passed}");
                    assert_eq!(services.clock.load(Ordering::Relaxed), 0, "asked by a call");
                }
            }
        }
    }
}
