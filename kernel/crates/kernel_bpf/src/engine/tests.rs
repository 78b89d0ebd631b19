//! Calls that leave a function in other ways than by an instruction to the next: tail calls,
//! and helpers that call back. On every engine.

mod contexts;
pub(crate) mod cpus;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Prepared;
use crate::asm::assemble;
use crate::helper::mock::Mock;
use crate::insn::Insn;
use crate::interpreter::{Interpreter, PacketContext};
use crate::map::{
    Engine, Epoch, Executable, Map, MapDef, MapEnvironment, MapError, MapExtras, MapType,
    TailTarget,
};
use crate::profile::{ActiveProfile, CloudProfile, PhysicalProfile};
use crate::prog_type::ProgType;
use crate::program::{FuncInfo, Program};
use crate::resolve::LoadError;
use crate::trusted::Trust;
use crate::verifier::{Cause, Verified, verify};

type Ready = Prepared<ActiveProfile>;

/// Every engine that there is on this host.
const ENGINES: &[Engine] = &[
    Engine::Interpreter,
    #[cfg(feature = "host-jit")]
    Engine::Compiled,
];

fn prepare(verified: &Verified<Program<Arc<Map>>>, engine: Engine) -> Result<Ready, LoadError> {
    match engine {
        Engine::Interpreter => Interpreter::new(verified).map(Prepared::Interpreter),
        #[cfg(feature = "host-jit")]
        Engine::Compiled => {
            use crate::jit::{Compiled, host::Native, tests};
            let options = &tests::options()[0];
            // SAFETY: this is the machine that the test runs on.
            let compiled = unsafe { Compiled::new::<ActiveProfile, Native>(verified, options) };
            compiled.map(Prepared::Compiled)
        }
        #[cfg(not(feature = "host-jit"))]
        Engine::Compiled => unreachable!("not among the engines"),
    }
}

fn map(map_type: MapType, value_size: u32, max_entries: u32) -> Arc<Map> {
    let epoch: &'static Epoch = Box::leak(Box::new(Epoch::new()));
    // Nothing runs when a test asks what is let go.
    epoch.online(0);
    epoch.offline(0);
    let environment = MapEnvironment { cpus: 1, seed: 1, epoch };
    let def = MapDef { map_type, key_size: 4, value_size, max_entries, flags: 0 };
    Arc::new(Map::create::<CloudProfile>(def, &environment).unwrap())
}

fn program(text: &str, maps: &[Arc<Map>]) -> Program<Arc<Map>> {
    let insns: Vec<Insn> = assemble(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    let mut program = Program::new(insns, ProgType::RawTracepoint, maps.to_vec());
    program.gpl_compatible = true;
    describe_functions(&mut program);
    program
}

/// Says in BTF that every function returns an `int`: else its subprograms may make no tail calls.
fn describe_functions(program: &mut Program<Arc<Map>>) {
    // Types by number: 1 is `int`, 2 a function without parameters that returns one, 3 `f`, such
    // a static function.
    let types = [1, 1 << 24, 4, 0x0100_0020, 0, 13 << 24, 1, 5, 12 << 24, 2u32];
    let strings = b"\0int\0f\0";
    let length = 4 * types.len() as u32;
    let header = [0x0001_eb9f, 24, 0, length, length, strings.len() as u32];
    let words = header.into_iter().chain(types);
    let btf: Vec<u8> = words.flat_map(u32::to_le_bytes).chain(*strings).collect();
    program.btf = Some(btf.into());
    let calls = program.insns.iter().enumerate().filter_map(|(slot, insn)| match *insn {
        Insn::CallLocal { offset } => Some((slot as i64 + 1 + i64::from(offset)) as u32),
        _ => None,
    });
    let mut starts: Vec<u32> = calls.chain([0]).collect();
    starts.sort_unstable();
    starts.dedup();
    let function = |insn| FuncInfo { insn, type_id: 3, name: "f".into(), global: false };
    program.func_info = starts.into_iter().map(function).collect();
}

fn load(text: &str, maps: &[Arc<Map>], engine: Engine) -> Result<Arc<Ready>, LoadError> {
    let verified = verify(program(text, maps), &ActiveProfile::verify_options())
        .unwrap_or_else(|error| panic!("{text}\n{error}"));
    prepare(&verified, engine).map(Arc::new)
}

fn put(array: &Map, index: u32, ready: &Arc<Ready>) -> Result<(), MapError> {
    let target = TailTarget::new(Arc::clone(ready), |ready| ready, index + 100);
    array.set_program(&index.to_ne_bytes(), Arc::new(target), 0)
}

/// Adds `n` to the number at the context, and goes on to `next`.
fn step(n: u32, next: u32) -> String {
    format!(
        "r3 = *(u64 *)(r1 + 0)\n r3 += {n}\n *(u64 *)(r10 - 8) = r3\n r2 = map[0] ll\n r3 = {next}
         call 12\n r0 = {n}\n exit"
    )
}

#[test]
fn a_tail_call_goes_to_the_program_in_the_slot_and_never_comes_back() {
    for &engine in ENGINES {
        on_a_tail_call_goes_to_the_program_in_the_slot_and_never_comes_back(engine);
    }
}

fn on_a_tail_call_goes_to_the_program_in_the_slot_and_never_comes_back(engine: Engine) {
    let array = map(MapType::ProgArray, 4, 4);
    let maps = [Arc::clone(&array)];
    let first = load(&step(1, 1), &maps, engine).unwrap();
    let run = || first.run(&mut [0; 64], &Mock::default());
    assert_eq!(run(), Some(1), "an empty slot lets the caller go on");
    let second = load(&step(2, 2), &maps, engine).unwrap();
    put(&array, 1, &second).unwrap();
    assert_eq!(run(), Some(2));
    let third = load("r0 = *(u64 *)(r1 + 8)\n exit", &[], engine).unwrap();
    put(&array, 2, &third).unwrap();
    let mut context = [0; 64];
    context[8] = 77;
    assert_eq!(first.run(&mut context, &Mock::default()), Some(77));
    // What needs more of the context than there is, is not entered.
    assert_eq!(first.run(&mut [0; 8], &Mock::default()), Some(2));
    let mut id = [0; 4];
    array.lookup(&1u32.to_ne_bytes(), &mut id).unwrap();
    assert_eq!(u32::from_ne_bytes(id), 101);
    array.delete(&1u32.to_ne_bytes()).unwrap();
    assert_eq!(run(), Some(1));
    assert_eq!(array.delete(&1u32.to_ne_bytes()), Err(MapError::NotFound));
    assert_eq!(put(&array, 4, &third), Err(MapError::Full));
}

#[test]
fn a_run_makes_at_most_33_tail_calls() {
    for &engine in ENGINES {
        on_a_run_makes_at_most_33_tail_calls(engine);
    }
}

fn on_a_run_makes_at_most_33_tail_calls(engine: Engine) {
    let (array, counter) = (map(MapType::ProgArray, 4, 1), map(MapType::Array, 8, 1));
    let count = "r6 = r1\n r1 = map[1] ll\n r2 = r10\n r2 += -4\n *(u32 *)(r10 - 4) = 0\n call 1
                 if r0 == 0 goto +2\n r1 = 1\n lock *(u64 *)(r0 + 0) += r1
                 r1 = r6\n r2 = map[0] ll\n r3 = 0\n call 12\n r0 = 9\n exit";
    let ready = load(count, &[Arc::clone(&array), Arc::clone(&counter)], engine).unwrap();
    put(&array, 0, &ready).unwrap();
    for turn in 1..=2u64 {
        assert_eq!(ready.run(&mut [0; 64], &Mock::default()), Some(9));
        let mut value = [0; 8];
        counter.lookup(&[0; 4], &mut value).unwrap();
        assert_eq!(u64::from_ne_bytes(value), turn * 34);
    }
    // The array holds the program, which holds the array.
    let weak = Arc::downgrade(&ready);
    drop(ready);
    assert!(weak.upgrade().is_some());
    array.clear_programs();
    assert!(!array.clear_programs());
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_tail_call_in_a_subprogram_returns_to_its_caller() {
    for &engine in ENGINES {
        on_a_tail_call_in_a_subprogram_returns_to_its_caller(engine);
    }
}

fn on_a_tail_call_in_a_subprogram_returns_to_its_caller(engine: Engine) {
    let array = map(MapType::ProgArray, 4, 1);
    let main = "r6 = 5\n call sub\n r0 += r6\n exit
                sub: r2 = map[0] ll\n r3 = 0\n call 12\n r0 = 1\n exit";
    let ready = load(main, &[Arc::clone(&array)], engine).unwrap();
    assert_eq!(ready.run(&mut [0; 64], &Mock::default()), Some(6));
    put(&array, 0, &load("r6 = 70\n r0 = 100\n r0 += r6\n exit", &[], engine).unwrap()).unwrap();
    assert_eq!(ready.run(&mut [0; 64], &Mock::default()), Some(175));
    put(&array, 0, &load("r0 = 30\n exit", &[], engine).unwrap()).unwrap();
    assert_eq!(ready.run(&mut [0; 64], &Mock::default()), Some(35));
}

/// What a caller does with the result of a function that makes a tail call, and with what the
/// function writes after it: as if the function ended there, with any number.
#[test]
fn the_caller_of_a_function_that_a_tail_call_ends_knows_that() {
    let array = map(MapType::ProgArray, 4, 1);
    let verdict = |main: &str, function: &str| {
        let text = format!("{main}\n r0 = 0\n exit\n f: {function}\n r0 = 0\n exit");
        let verified =
            verify(program(&text, &[Arc::clone(&array)]), &ActiveProfile::verify_options());
        verified.map(|_| ()).map_err(|refused| refused.cause)
    };
    let call = "r2 = map[0] ll\n r3 = 0\n call 12";
    let index = |mask: &str| {
        format!("call f\n {mask} r1 = r10\n r1 += -8\n r1 += r0\n *(u8 *)(r1 + 0) = 1")
    };
    assert_eq!(verdict(&index(""), "r1 = 0"), Ok(()), "without a tail call r0 is 0");
    assert_eq!(verdict(&index(""), call), Err(Cause::PointerArithmetic));
    assert_eq!(verdict(&index("r0 &= 7\n"), call), Ok(()));
    // In a function of the function.
    let deeper = format!("call g\n exit\n g: {call}");
    assert_eq!(verdict(&index(""), &deeper), Err(Cause::PointerArithmetic));
    assert_eq!(verdict(&index("r0 &= 7\n"), &deeper), Ok(()));
    // A pointer is only written when there was no tail call.
    let main = "*(u64 *)(r10 - 8) = 0\n r2 = r10\n r2 += -8\n call f
                r1 = *(u64 *)(r10 - 8)\n r1 = *(u8 *)(r1 + 0)";
    let write = "*(u64 *)(r6 + 0) = r7";
    let keep = "r6 = r2\n r7 = r1";
    assert_eq!(verdict(main, &format!("{keep}\n {write}")), Ok(()));
    assert_eq!(verdict(main, &format!("{keep}\n {write}\n {call}")), Ok(()));
    let after = format!("{keep}\n {call}\n {write}");
    assert_eq!(verdict(main, &after), Err(Cause::NotAPointer));
}

/// A legacy load beyond the packet ends the function that makes it.
#[test]
fn a_legacy_load_in_a_function_returns_to_its_caller() {
    let ready = |main: &str| {
        let text = format!(
            "r7 = r1\n call f\n {main}\n exit
                            f: r6 = r1\n r0 = *(u8 *)skb[5]\n r0 |= 512\n exit"
        );
        let mut program = program(&text, &[]);
        program.prog_type = ProgType::SocketFilter;
        let verified = verify(program, &ActiveProfile::verify_options());
        verified.map(|verified| Interpreter::<ActiveProfile>::new(&verified).unwrap())
    };
    let run = |length: usize| {
        let mut packet: Vec<u8> = (0..length as u8).collect();
        let mut context = PacketContext::new(ProgType::SocketFilter, &mut packet).unwrap();
        ready("r0 += 1000").unwrap().run_packet(&mut context, &Mock::default()).unwrap()
    };
    assert_eq!(run(6), 1000 + 512 + 5);
    assert_eq!(run(5), 1000);
    // The caller does not know that the result has a bit that only the whole function sets.
    let cause = |main: &str| ready(main).err().map(|refused| refused.cause);
    assert_eq!(cause("r0 &= 7\n r1 = r10\n r1 += -8\n r1 += r0\n *(u8 *)(r1 + 0) = 1"), None);
    let beyond = "r0 += -512\n r1 = r10\n r1 += -256\n r1 += r0\n *(u8 *)(r1 + 0) = 1";
    assert_eq!(cause(beyond), Some(Cause::OutOfBounds));
}

#[test]
fn records_of_rings_in_maps_of_maps_are_committed() {
    for &engine in ENGINES {
        on_records_of_rings_in_maps_of_maps_are_committed(engine);
    }
}

fn on_records_of_rings_in_maps_of_maps_are_committed(engine: Engine) {
    let epoch: &'static Epoch = Box::leak(Box::new(Epoch::new()));
    let environment = MapEnvironment { cpus: 1, seed: 1, epoch };
    let def = |map_type, key_size, value_size, max_entries| MapDef {
        map_type,
        key_size,
        value_size,
        max_entries,
        flags: 0,
    };
    let ring = def(MapType::Ringbuf, 0, 0, 4096);
    let ring = Arc::new(Map::create::<CloudProfile>(ring, &environment).unwrap());
    let outer = def(MapType::ArrayOfMaps, 4, 4, 1);
    let extras = MapExtras { inner: Some(Arc::clone(&ring)), ..Default::default() };
    let outer = Map::create_with::<CloudProfile>(outer, &extras, &environment).unwrap();
    outer.set_map(&0u32.to_ne_bytes(), Arc::clone(&ring), 0).unwrap();
    let text = "*(u32 *)(r10 - 4) = 0
        r1 = map[0] ll\n r2 = r10\n r2 += -4\n call 1
        if r0 == 0 goto end
        r1 = r0\n r2 = 8\n r3 = 0\n call 131
        if r0 == 0 goto end
        r1 = r0\n r2 = 0\n call 132
        end: r0 = 0\n exit";
    let ready = load(text, &[Arc::new(outer)], engine).unwrap();
    let services = Mock::default();
    for round in 1..4 {
        ready.run(&mut [0; 64], &services);
        assert_eq!(ring.ring().unwrap().query(3), 16 * round);
    }
    let woken = services.woken.load(core::sync::atomic::Ordering::Relaxed);
    assert_eq!(woken, 1, "the first record is there for the consumer");
}

#[test]
fn tail_calls_do_not_use_up_the_stack() {
    for &engine in ENGINES {
        // Each level keeps 400 bytes of stack while the next one runs.
        let array = map(MapType::ProgArray, 4, 1);
        let nested = "*(u64 *)(r10 - 400) = 1\n r6 = r1\n call sub\n r1 = *(u64 *)(r10 - 400)
                      r0 += r1\n exit
                      sub: r2 = map[0] ll\n r3 = 0\n call 12\n r0 = 0\n exit";
        let ready = load(nested, &[Arc::clone(&array)], engine).unwrap();
        put(&array, 0, &ready).unwrap();
        let levels = ready.run(&mut [0; 64], &Mock::default()).unwrap();
        match engine {
            // All in 512 bytes.
            Engine::Interpreter => assert_eq!(levels, 1),
            // In what a run may take of the machine's stack, and not all 34 that there could be.
            Engine::Compiled => assert!((2..20).contains(&levels), "{levels} levels"),
        }
    }
}

#[test]
fn tail_calls_stay_within_the_budget() {
    for &engine in ENGINES {
        let array = map(MapType::ProgArray, 4, 2);
        put(&array, 0, &load("r0 = 7\n exit", &[], engine).unwrap()).unwrap();
        let program = program(&step(1, 0), &[Arc::clone(&array)]);
        let verified = verify(program, &ActiveProfile::verify_options()).unwrap();
        let worst_case = verified.proof().worst_case;
        for (budget, result) in [(worst_case + 2, 7), (worst_case + 1, 1), (0, 1)] {
            let ready = prepare(&verified, engine).unwrap().within(budget);
            assert_eq!(ready.run(&mut [0; 64], &Mock::default()), Some(result));
        }
    }
}

#[test]
fn an_array_takes_programs_of_one_kind() {
    for &engine in ENGINES {
        on_an_array_takes_programs_of_one_kind(engine);
    }
}

fn on_an_array_takes_programs_of_one_kind(engine: Engine) {
    let array = map(MapType::ProgArray, 4, 1);
    let ready = load(&step(1, 0), &[Arc::clone(&array)], engine).unwrap();
    put(&array, 0, &ready).unwrap();
    let mut other = program("r0 = 0\n exit", &[]);
    other.prog_type = ProgType::PerfEvent;
    let other = verify(other, &ActiveProfile::verify_options()).unwrap();
    let other: Arc<Ready> = Arc::new(prepare(&other, engine).unwrap());
    assert_eq!(put(&array, 0, &other), Err(MapError::Invalid));
    let mut user = program(&step(1, 0), &[Arc::clone(&array)]);
    user.prog_type = ProgType::PerfEvent;
    let user = verify(user, &ActiveProfile::verify_options()).unwrap();
    assert_eq!(prepare(&user, engine).err(), Some(LoadError::OtherPrograms));
}

#[test]
fn callbacks_run_on_the_programs_stack() {
    for &engine in ENGINES {
        on_callbacks_run_on_the_programs_stack(engine);
    }
}

fn on_callbacks_run_on_the_programs_stack(engine: Engine) {
    let hash = map(MapType::Hash, 8, 16);
    for number in 0..10u32 {
        hash.update(&number.to_ne_bytes(), &u64::from(number).to_ne_bytes(), 0).unwrap();
    }
    let sum = "r1 = map[0] ll\n r2 = callback ll\n r3 = r10\n r3 += -8\n r4 = 0
               *(u64 *)(r10 - 8) = 0\n call 164\n r6 = r0\n r6 <<= 32\n r0 = *(u64 *)(r10 - 8)
               r0 |= r6\n exit";
    // callback(map, key, value, context): adds key times value.
    let add = "*(u64 *)(r10 - 8) = r4\n r1 = *(u32 *)(r2 + 0)\n r3 = *(u64 *)(r3 + 0)\n r1 *= r3
               r4 = *(u64 *)(r10 - 8)\n r2 = *(u64 *)(r4 + 0)\n r2 += r1\n *(u64 *)(r4 + 0) = r2
               r0 = 0\n exit";
    let squares: u64 = (0..10).map(|n| n * n).sum();
    assert_eq!(with_callback(engine, sum, add, &[Arc::clone(&hash)]), 10 << 32 | squares);
    let stop = add.replace("r0 = 0", "r0 = 1");
    assert_eq!(with_callback(engine, sum, &stop, &[hash]) >> 32, 1);

    let rounds = |count: &str, flags: &str| {
        format!(
            "r1 = {count}\n r2 = callback ll\n r3 = r10\n r3 += -8\n r4 = {flags}
             *(u64 *)(r10 - 8) = 0\n call 181\n exit"
        )
    };
    let until_seven = "r0 = 0\n if r1 < 7 goto +1\n r0 = 1\n exit";
    assert_eq!(with_callback(engine, &rounds("5", "0"), until_seven, &[]), 5);
    assert_eq!(with_callback(engine, &rounds("50", "0"), until_seven, &[]), 8);
    assert_eq!(with_callback(engine, &rounds("0", "0"), until_seven, &[]), 0);
    assert_eq!(with_callback(engine, &rounds("1", "1"), until_seven, &[]) as i64, -22);
    assert_eq!(with_callback(engine, &rounds("8388609", "0"), until_seven, &[]) as i64, -7);
}

/// Runs a program whose `callback ll` loads the address of a second function.
fn with_callback(engine: Engine, main: &str, callback: &str, maps: &[Arc<Map>]) -> u64 {
    use crate::insn::Imm64;
    let main = main.replace("callback ll", "12345 ll");
    let start = assemble(&main).unwrap().len();
    let mut program = program(&format!("{main}\n{callback}"), maps);
    let at = program
        .insns
        .iter()
        .position(|insn| matches!(insn, Insn::LoadImm64 { value: Imm64::Value(12345), .. }))
        .unwrap();
    if let Some(Insn::LoadImm64 { value, .. }) = program.insns.get_mut(at) {
        *value = Imm64::Func { offset: start as i32 - at as i32 - 1 };
    }
    let trust = Trust::default();
    let ready: Ready = match engine {
        Engine::Interpreter => {
            // SAFETY: these programs keep to their stacks of 64 bytes, and to the map.
            let ready = unsafe { Interpreter::new_trusted(&program, &trust) };
            ready.map(Prepared::Interpreter).unwrap()
        }
        #[cfg(feature = "host-jit")]
        Engine::Compiled => {
            let mut ways = crate::jit::tests::compile_trusted(&program, &trust);
            Prepared::Compiled(ways.swap_remove(0))
        }
        #[cfg(not(feature = "host-jit"))]
        Engine::Compiled => unreachable!("not among the engines"),
    };
    ready.run(&mut [0; 64], &Mock::default()).unwrap()
}

/// An address in the prepared program leads back to its instruction, also where instructions were
/// fused, and where calls return to.
#[test]
fn addresses_lead_back_to_instructions() {
    // Fused in the interpreter: 4 to 6, whose last part loads.
    let text = "r6 = r1
                r2 = *(u32 *)(r6 + 0)
                *(u64 *)(r10 - 8) = r2
                r3 = -8
                r2 = r10
                r2 += r3
                r7 = *(u64 *)(r2 + 0)
                call bpf_ktime_get_ns
                r0 = r7
                exit";
    let verified = verify(program(text, &[]), &ActiveProfile::verify_options()).unwrap();
    for &engine in ENGINES {
        let ready = prepare(&verified, engine).unwrap();
        let entry = match &ready {
            Prepared::Interpreter(ready) => ready.tail_entry(),
            Prepared::Compiled(ready) => ready.tail_entry(),
        };
        assert_eq!(ready.slot_at(entry.code - 1), None, "{engine:?}");
        let mut slots: Vec<usize> =
            (entry.code..).map_while(|address| ready.slot_at(address)).collect();
        assert!(slots.is_sorted(), "{engine:?}: {slots:?}");
        slots.dedup();
        let (first, last) = (slots.first().copied(), slots.last().copied());
        assert!([1, 2, 6, 7].iter().all(|slot| slots.contains(slot)), "{engine:?}: {slots:?}");
        assert_eq!((first, last), (Some(0), Some(9)), "{engine:?}");
        if let Prepared::Compiled(compiled) = &ready {
            let returns = compiled.address() + compiled.positions().first()[8] as usize;
            assert_eq!(ready.slot_at(returns), Some(8));
            assert_eq!(ready.slot_of_caller(returns), Some(7));
        }
    }
}

/// Programs of privileged loaders may read what they never wrote.
#[test]
fn the_interpreters_stack_is_zero_until_it_is_written() {
    let each = |word: &dyn Fn(i32) -> String| (1..=64).map(|at| word(-8 * at)).collect::<String>();
    let load = |text: &str, maps: &[Arc<Map>]| load(text, maps, Engine::Interpreter).unwrap();
    let dirty =
        load(&format!("{} r0 = 0\n exit", each(&|at| format!("*(u64 *)(r10 {at}) = -1\n"))), &[]);
    let reads =
        format!("r0 = 0\n {} exit", each(&|at| format!("r2 = *(u64 *)(r10 {at})\n r0 |= r2\n")));
    let reader = load(&reads, &[]);
    let array = map(MapType::ProgArray, 4, 1);
    put(&array, 0, &reader).unwrap();
    let caller = load("r2 = map[0] ll\n r3 = 0\n call 12\n r0 = 1\n exit", &[array]);
    // The lowest words of functions that call each other.
    let nested = load(
        "call f\n r6 = *(u64 *)(r10 - 112)\n r0 |= r6\n exit
         f: call g\n r6 = *(u64 *)(r10 - 160)\n r0 |= r6\n exit
         g: r0 = *(u64 *)(r10 - 240)\n exit",
        &[],
    );
    let run = |ready: &Ready| ready.run(&mut [], &Mock::default());
    for ready in [&reader, &caller, &nested] {
        assert_eq!(run(&dirty), Some(0));
        assert_eq!(run(ready), Some(0));
    }
    // And of a callback.
    assert_eq!(run(&dirty), Some(0));
    let main = "r6 = *(u64 *)(r10 - 256)\n r1 = 3\n r2 = callback ll\n r3 = r10\n r3 += -8
                r4 = 0\n *(u64 *)(r10 - 8) = 0\n call 181\n r0 = *(u64 *)(r10 - 8)\n r0 |= r6\n exit";
    let callback = "r3 = *(u64 *)(r10 - 256)\n r4 = *(u64 *)(r2 + 0)\n r4 |= r3
                    *(u64 *)(r2 + 0) = r4\n r0 = 0\n exit";
    assert_eq!(with_callback(Engine::Interpreter, main, callback, &[]), 0);
}

/// What is read from a map that can never change is a constant of the code.
#[test]
fn constants_of_frozen_maps_are_not_loaded() {
    let text =
        "r2 = map[0][0]+8 ll\n r3 = *(u64 *)(r2 + 0)\n r0 = *(s8 *)(r2 + 0)\n r0 ^= r3\n exit";
    let number = 0x0123_4567_89ab_cdf0_u64;
    let verified = |frozen: bool| {
        let epoch: &'static Epoch = Box::leak(Box::new(Epoch::new()));
        let environment = MapEnvironment { cpus: 1, seed: 1, epoch };
        let def = MapDef {
            map_type: MapType::Array,
            key_size: 4,
            value_size: 16,
            max_entries: 1,
            flags: crate::map::def::flags::RDONLY_PROG,
        };
        let map = Arc::new(Map::create::<CloudProfile>(def, &environment).unwrap());
        let value: Vec<u8> = [7, number].iter().flat_map(|x| x.to_le_bytes()).collect();
        map.update(&[0; 4], &value, 0).unwrap();
        if frozen {
            map.settle();
            map.freeze().unwrap();
            map.settle();
        }
        verify(program(text, &[map]), &ActiveProfile::verify_options()).unwrap()
    };
    let (plain, constant) = (verified(false), verified(true));
    assert_eq!((plain.proof().constants.len(), constant.proof().constants.len()), (0, 2));
    let expected = number ^ (number as i8 as u64);
    for verified in [&plain, &constant] {
        for &engine in ENGINES {
            let ready = prepare(verified, engine).unwrap();
            assert_eq!(ready.run(&mut [], &Mock::default()), Some(expected));
        }
    }
    let operations = |verified| Interpreter::<ActiveProfile>::new(verified).unwrap().operations();
    assert!(operations(&constant) < operations(&plain));
    #[cfg(feature = "host-jit")]
    {
        use crate::jit::{emit_verified, tests, x86_64::X86_64};
        let holds = |verified| {
            let code = emit_verified::<X86_64>(verified, &tests::options()[0]).unwrap().bytes;
            code.windows(8).any(|bytes| bytes == number.to_le_bytes())
        };
        assert_eq!((holds(&plain), holds(&constant)), (false, true));
    }
}
