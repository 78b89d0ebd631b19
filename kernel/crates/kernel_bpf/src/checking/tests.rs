//! Random programs that the verifier accepts never do what it said that they do not, cost no
//! more than it said, and come to the same end in the interpreter.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Machine;
use super::generate::{CONTEXT, Random, VALUE_SIZES, program};
use crate::helper::mock::Mock;
use crate::interpreter::Interpreter;
use crate::map::{Epoch, Map, MapDef, MapEnvironment, MapType, def::flags};
use crate::profile::{ActiveProfile, CloudProfile, PhysicalProfile};
use crate::prog_type::ProgType;
use crate::program::Program;
use crate::verifier::{BranchFact, InsnFacts, Proof, Region, Verified, verify};

/// Quiet between runs, never during one.
static EPOCH: Epoch = Epoch::new();

fn maps() -> Vec<Arc<Map>> {
    EPOCH.online(0);
    let environment = MapEnvironment { cpus: 1, seed: 7, epoch: &EPOCH };
    let create = |map_type, index: usize, max_entries, flags| {
        let value_size = u32::from(VALUE_SIZES[index]);
        let def = MapDef { map_type, key_size: 4, value_size, max_entries, flags };
        Arc::new(Map::create::<CloudProfile>(def, &environment).unwrap())
    };
    Vec::from([
        create(MapType::Array, 0, 4, 0),
        create(MapType::Hash, 1, 256, 0),
        create(MapType::Array, 2, 2, flags::RDONLY_PROG),
    ])
}

/// Contexts of a few kinds: zeros, ones, small numbers, anything.
fn context(random: &mut Random, kind: u64) -> [u8; CONTEXT] {
    let mut bytes = [0; CONTEXT];
    for word in bytes.chunks_mut(8) {
        let value = match kind {
            0 => 0,
            1 => u64::MAX,
            2 => random.below(20),
            3 => 1 << random.below(64),
            4 => random.below(40).wrapping_sub(20),
            _ => random.next(),
        };
        word.copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

/// What the runs of a program came to.
#[derive(Default)]
struct Ran {
    executed: u64,
    /// Runs of the code for other machines, under emulation.
    elsewhere: u64,
}

/// Runs an accepted program in both interpreters, several times on the same maps.
fn check(seed: u64, random: &mut Random, program: &Verified<Program<Arc<Map>>>) -> Ran {
    #[cfg(feature = "host-jit")]
    let (twin, compiled) = compiled_twin(program);
    let mut machine = Machine::new(program);
    let ready = Interpreter::<ActiveProfile>::new(program).unwrap();
    let services = Mock::default();
    let mut compare = true;
    let mut ran = Ran::default();
    for kind in 0..8 {
        let mut bytes = context(random, kind);
        let outcome = machine.run(&bytes);
        let outcome = outcome.unwrap_or_else(|violation| {
            panic!("seed {seed:#x}, {violation}\n{:#?}", listing(program));
        });
        ran.executed += outcome.cost;
        services.clock.store(0, core::sync::atomic::Ordering::Relaxed);
        let result = ready.run(&mut bytes, &services).unwrap();
        EPOCH.quiesce(0);
        // Once a run depended on an address, the maps may differ from then on.
        compare &= !outcome.tainted;
        if compare && !outcome.result.tainted {
            let expected = outcome.result.bits;
            assert_eq!(result, expected, "seed {seed:#x}\n{:#?}", listing(program));
        }
        if compare {
            compare_maps(seed, &machine, program);
        }
        #[cfg(feature = "host-jit")]
        if compare && !outcome.result.tainted {
            use crate::jit::tests::emulated;
            for (machine, result, _) in emulated::run(program.get(), Some(program.proof()), &bytes)
            {
                ran.elsewhere += 1;
                let expected = outcome.result.bits;
                assert_eq!(result, expected, "{machine}, seed {seed:#x}\n{:#?}", listing(program));
            }
        }
        #[cfg(feature = "host-jit")]
        {
            services.clock.store(0, core::sync::atomic::Ordering::Relaxed);
            let result = compiled.run(&mut bytes, &services).unwrap();
            EPOCH.quiesce(0);
            if compare && !outcome.result.tainted {
                let expected = outcome.result.bits;
                assert_eq!(result, expected, "compiled, seed {seed:#x}\n{:#?}", listing(program));
            }
            if compare {
                compare_maps(seed, &machine, &twin);
            }
        }
    }
    ran
}

/// The same program with maps of its own, compiled; in each of the machine's ways in turns.
#[cfg(feature = "host-jit")]
fn compiled_twin(
    program: &Program<Arc<Map>>,
) -> (Verified<Program<Arc<Map>>>, crate::jit::Compiled) {
    use crate::jit::{Compiled, host::Native, tests};

    let mut options = ActiveProfile::verify_options();
    options.max_processed = 5_000;
    let twin = Program::new(program.insns.clone(), program.prog_type, maps());
    let twin = verify(twin, &options).unwrap();
    let ways = tests::options();
    let way = &ways[program.insns.len() % ways.len()];
    // SAFETY: this is the machine that the test runs on.
    let compiled = unsafe { Compiled::new::<ActiveProfile, Native>(&twin, way) }.unwrap();
    (twin, compiled)
}

fn listing(program: &Program<Arc<Map>>) -> Vec<(usize, crate::insn::Insn)> {
    program.insns.iter().copied().enumerate().collect()
}

fn compare_maps(seed: u64, machine: &Machine<'_>, program: &Program<Arc<Map>>) {
    for (index, map) in program.maps.iter().enumerate() {
        let values = machine.memory.values(index);
        assert_eq!(values.len(), map.entries() as usize, "seed {seed:#x}, map {index}");
        for (key, expected) in values {
            let mut value = [0; 64];
            map.lookup(&key, &mut value).unwrap();
            if let Some(expected) = expected {
                assert_eq!(value[..expected.len()], expected, "seed {seed:#x}, map {index}");
            }
        }
    }
}

/// How many programs that the verifier accepts; more in a nightly run.
fn rounds() -> u64 {
    std::env::var("LEMMA_FUZZ_PROGRAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000)
}

#[test]
fn accepted_programs_keep_what_was_proved() {
    let start = std::env::var("LEMMA_FUZZ_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1u64);
    let mut options = ActiveProfile::verify_options();
    options.max_processed = 5_000;
    let (mut accepted, mut executed, mut elsewhere) = (0u64, 0u64, 0u64);
    let mut made = 0;
    while accepted < rounds() {
        // A verifier that refuses everything is sound and of no use.
        assert!(made < 1000 || made < accepted * 10, "{accepted} of {made} accepted");
        let seed = start.wrapping_add(made).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        made += 1;
        let mut random = Random(seed);
        let size = 2 + random.below(16);
        let insns = program(&mut random, size);
        let built = Program::new(insns, ProgType::RawTracepoint, maps());
        if let Ok(verified) = verify(built, &options) {
            accepted += 1;
            let ran = check(seed, &mut random, &verified);
            executed += ran.executed;
            elsewhere += ran.elsewhere;
        }
    }
    assert!(executed > accepted * 20, "{executed} executed by {accepted}");
    std::println!(
        "{accepted} of {made} accepted, {executed} instructions executed, {elsewhere} runs elsewhere"
    );
}

/// The checking interpreter does find what is wrong: programs that the verifier refuses are run
/// with claims that allow everything but bad accesses.
#[test]
fn refused_programs_are_caught_in_the_act() {
    let mut options = ActiveProfile::verify_options();
    options.max_processed = 5_000;
    let mut caught = 0;
    for round in 0..1_000u64 {
        let seed = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = Random(seed);
        let insns = program(&mut random, 12);
        let built = Program::new(insns, ProgType::RawTracepoint, maps());
        if verify(built.clone(), &options).is_ok() {
            continue;
        }
        let anything = InsnFacts {
            reached: true,
            region: Region::Mixed,
            branch: BranchFact::Both,
            ..InsnFacts::default()
        };
        let facts = alloc::vec![anything; built.insns.len()];
        let proof = Proof { facts, worst_case: 10_000, ..Proof::default() };
        let mut machine = Machine::with_proof(&built, &proof);
        let bytes = context(&mut random, 5);
        caught += usize::from(machine.run(&bytes).is_err());
    }
    assert!(caught > 50, "{caught} caught");
    std::println!("{caught} caught");
}
