//! Helpers, called as programs call them, with the mock kernel.

mod text;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use super::mock::Mock;
use super::proto::id;
use super::{Environment, by_id, implementation};
use crate::context::PacketContext;
use crate::map::{Epoch, Map, MapDef, MapEnvironment, MapType};
use crate::profile::ActiveProfile;
use crate::prog_type::ProgType;

const EFAULT: u64 = -14i64 as u64;
const EINVAL: u64 = -22i64 as u64;
const ERANGE: u64 = -34i64 as u64;
const EAGAIN: u64 = -11i64 as u64;

fn map(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> Arc<Map> {
    let epoch: &'static Epoch = Box::leak(Box::new(Epoch::new()));
    let environment = MapEnvironment { cpus: 2, seed: 1, epoch };
    let def = MapDef { map_type, key_size, value_size, max_entries, flags: 0 };
    Arc::new(Map::create::<ActiveProfile>(def, &environment).unwrap())
}

fn call(services: &Mock, number: i32, arguments: &[u64]) -> u64 {
    let mut registers = [0; 5];
    registers[..arguments.len()].copy_from_slice(arguments);
    let helper = implementation(number).unwrap();
    let [r1, r2, r3, r4, r5] = registers;
    // SAFETY: each test passes what the helper declares.
    unsafe { helper(r1, r2, r3, r4, r5, &Environment::new(services, 0, 0)) }
}

fn address<T: ?Sized>(of: &T) -> u64 {
    core::ptr::from_ref(of).cast::<u8>().expose_provenance() as u64
}

fn address_mut(of: &mut [u8]) -> u64 {
    of.as_mut_ptr().expose_provenance() as u64
}

#[test]
fn every_implemented_helper_is_declared() {
    let implemented = (0..300).filter(|number| implementation(*number).is_some());
    let numbers: Vec<i32> = implemented.collect();
    assert!(numbers.len() > 20);
    for number in numbers {
        assert!(by_id(number).is_some(), "helper {number} has no declaration");
    }
}

#[test]
fn probing_reads_what_is_there_and_zeroes_what_is_not() {
    let services =
        Mock { memory: vec![(0x1ff0, b"0123456789abcde\0".to_vec())], ..Mock::default() };
    let mut out = [0xaa; 8];
    let to = address_mut(&mut out);
    assert_eq!(call(&services, id::PROBE_READ_KERNEL, &[to, 4, 0x1ff2]), 0);
    assert_eq!(&out, b"2345\xaa\xaa\xaa\xaa");
    assert_eq!(call(&services, id::PROBE_READ_USER, &[to, 8, 0x1ff9]), EFAULT);
    assert_eq!(out, [0; 8]);
    // A string that ends where the memory ends.
    let mut long = [0xaa; 100];
    let to = address_mut(&mut long);
    assert_eq!(call(&services, id::PROBE_READ_USER_STR, &[to, 100, 0x1ff8]), 8);
    assert_eq!(&long[..8], b"89abcde\0");
    // Nothing that is behind the string comes along.
    let other = Mock { memory: vec![(0x2000, b"text\0and behind".to_vec())], ..Mock::default() };
    long.fill(0xaa);
    assert_eq!(call(&other, id::PROBE_READ_KERNEL_STR, &[to, 12, 0x2000]), 5);
    assert_eq!(&long[..6], b"text\0\xaa");
    // One that is cut.
    assert_eq!(call(&services, id::PROBE_READ_KERNEL_STR, &[to, 4, 0x1ff0]), 4);
    assert_eq!(&long[..4], b"012\0");
    assert_eq!(call(&services, id::PROBE_READ_KERNEL_STR, &[to, 0, 0x1ff0]), 0);
    assert_eq!(call(&services, id::PROBE_READ_KERNEL_STR, &[to, 9, 0x9000]), EFAULT);
    assert_eq!(long[..9], [0; 9]);
    // What cannot be the kernel's is told apart.
    let services = Mock { user_end: 0x8000, ..services };
    for (number, at, error) in [
        (id::PROBE_READ_KERNEL, 0, ERANGE),
        (id::PROBE_READ_KERNEL, 0x7fff, ERANGE),
        (id::PROBE_READ_KERNEL, 0x9000, EFAULT),
        (id::PROBE_READ_KERNEL_STR, 0x7000, ERANGE),
        (id::PROBE_READ_USER, 0, EFAULT),
        (id::PROBE_READ_USER_STR, 0x9000, EFAULT),
        (id::PROBE_READ, 0, EFAULT),
        (id::PROBE_READ_STR, 0x9000, EFAULT),
    ] {
        assert_eq!(call(&services, number, &[to, 8, at]), error, "{number} {at:#x}");
    }
}

#[test]
fn the_task_and_the_machine_are_the_kernels() {
    let services = Mock::default();
    assert_eq!(call(&services, id::GET_CURRENT_PID_TGID, &[]), 42 << 32 | 43);
    assert_eq!(call(&services, id::GET_CURRENT_UID_GID, &[]), 100 << 32 | 1000);
    assert_eq!(call(&services, id::GET_PRANDOM_U32, &[]), 4);
    let first = call(&services, id::KTIME_GET_NS, &[]);
    assert_eq!(call(&services, id::KTIME_GET_NS, &[]), first + 1000);
    let mut name = [0xaa; 20];
    let to = address_mut(&mut name);
    assert_eq!(call(&services, id::GET_CURRENT_COMM, &[to, 20]), 0);
    assert_eq!(&name[..6], b"lemma\0");
    assert_eq!(name[6..], [0; 14]);
    assert_eq!(call(&services, id::GET_CURRENT_COMM, &[to, 3]), 0);
    assert_eq!(&name[..3], b"le\0");
}

#[test]
fn maps_of_each_cpu_are_that_cpus() {
    let services = Mock::default();
    let counters = map(MapType::PercpuArray, 4, 8, 4);
    let (handle, key, value) = (address(&*counters), [1, 0, 0, 0], 9u64.to_ne_bytes());
    services.cpu.store(1, core::sync::atomic::Ordering::Relaxed);
    let update = [handle, address(&key), address(&value), 0];
    assert_eq!(call(&services, id::MAP_UPDATE_ELEM, &update), 0);
    let mut all = [0; 16];
    counters.lookup(&key, &mut all).unwrap();
    assert_eq!((all[0], all[8]), (0, 9));
    let mine = call(&services, id::MAP_LOOKUP_ELEM, &[handle, address(&key)]);
    assert_eq!(mine, counters.value_address(&key, 1) as u64);
    let other = [handle, address(&key), 0];
    let other = call(&services, id::MAP_LOOKUP_PERCPU_ELEM, &other);
    assert_eq!(other, counters.value_address(&key, 0) as u64);
    // There are two CPUs.
    for kind in [MapType::PercpuArray, MapType::PercpuHash, MapType::LruPercpuHash] {
        let counters = map(kind, 4, 8, 4);
        let key = [1, 0, 0, 0];
        let update = [address(&*counters), address(&key), address(&value), 0];
        assert_eq!(call(&services, id::MAP_UPDATE_ELEM, &update), 0);
        for (cpu, there) in [(0, true), (1, true), (2, false), (u32::MAX, false)] {
            let lookup = [address(&*counters), address(&key), u64::from(cpu)];
            let found = call(&services, id::MAP_LOOKUP_PERCPU_ELEM, &lookup);
            assert_eq!(found != 0, there, "{kind:?}, CPU {cpu}");
        }
    }
    let delete = call(&services, id::MAP_DELETE_ELEM, &[handle, address(&key)]);
    assert_eq!(delete, EINVAL);
    let bad_flags = [handle, address(&key), address(&value), 9];
    assert_eq!(call(&services, id::MAP_UPDATE_ELEM, &bad_flags), EINVAL);
}

#[test]
fn ring_buffer_records_go_from_reservation_to_the_consumer() {
    let services = Mock::default();
    let other = map(MapType::Ringbuf, 0, 0, 4096);
    let ring = map(MapType::Ringbuf, 0, 0, 4096);
    let handle = address(&*ring);
    let woken = || services.woken.load(core::sync::atomic::Ordering::Relaxed);
    let record = call(&services, id::RINGBUF_RESERVE, &[handle, 16, 0]);
    assert_ne!(record, 0);
    assert_eq!(call(&services, id::RINGBUF_RESERVE, &[handle, 16, 5]), 0, "no flags");
    let data = [7; 16];
    let output = [handle, address(&data), 16, 0];
    assert_eq!(call(&services, id::RINGBUF_OUTPUT, &output), 0);
    assert_eq!(woken(), 0, "the first record is not committed");
    call(&services, id::RINGBUF_SUBMIT, &[record, 0]);
    assert_eq!(woken(), 1);
    assert_eq!(call(&services, id::RINGBUF_QUERY, &[handle, 0]), 48);
    assert_eq!(call(&services, id::RINGBUF_QUERY, &[handle, 1]), 4096);
    let discarded = call(&services, id::RINGBUF_RESERVE, &[handle, 8, 0]);
    call(&services, id::RINGBUF_DISCARD, &[discarded, 2]);
    assert_eq!(woken(), 2, "forced");
    let large = vec![0; 5000];
    let output = [handle, address(&large[..]), 5000, 0];
    assert_eq!(call(&services, id::RINGBUF_OUTPUT, &output), EAGAIN);
    assert!(!other.ring().unwrap().readable());
}

#[test]
fn a_spin_lock_keeps_others_out() {
    // Beside the lock a number that is not atomic to those who hold it.
    let value = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let value = Arc::clone(&value);
            std::thread::spawn(move || {
                let services = Mock::default();
                let [lock, number] = &*value;
                for _ in 0..300 {
                    assert_eq!(call(&services, id::SPIN_LOCK, &[address(lock)]), 0);
                    assert_eq!(lock.load(Ordering::Relaxed), 1);
                    let seen = number.load(Ordering::Relaxed);
                    core::hint::spin_loop();
                    number.store(seen + 1, Ordering::Relaxed);
                    assert_eq!(call(&services, id::SPIN_UNLOCK, &[address(lock)]), 0);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(value.each_ref().map(|word| word.load(Ordering::Relaxed)), [0, 900]);
}

#[test]
fn queues_and_filters_through_their_helpers() {
    let services = Mock::default();
    let queue = map(MapType::Queue, 0, 8, 2);
    let on = |number, argument: u64, flags| {
        call(&services, number, &[address(&*queue), argument, flags])
    };
    let mut out = 7u64;
    let out_address = address(&out);
    for value in [5u64, 6] {
        assert_eq!(on(id::MAP_PUSH_ELEM, address(&value), 0), 0);
    }
    assert_eq!(on(id::MAP_PUSH_ELEM, address(&9u64), 0) as i64, -7);
    assert_eq!(on(id::MAP_PEEK_ELEM, address_mut(words(&mut out)), 0), 0);
    assert_eq!(on(id::MAP_POP_ELEM, address_mut(words(&mut out)), 0), 0);
    assert_eq!((out, out_address), (5, address(&out)));
    assert_eq!(on(id::MAP_POP_ELEM, address_mut(words(&mut out)), 0), 0);
    assert_eq!(on(id::MAP_POP_ELEM, address_mut(words(&mut out)), 0) as i64, -2);
    assert_eq!(out, 0);

    let stacks = map(MapType::StackTrace, 4, 32, 4);
    let stack = |flags| call(&services, id::GET_STACKID, &[0, address(&*stacks), flags]);
    // The mock's stack: a hundred, and so on, outwards.
    let id = stack(0);
    let mut frames = [0; 32];
    stacks.lookup(&(id as u32).to_ne_bytes(), &mut frames).unwrap();
    assert_eq!(frames[..16], [100u64.to_ne_bytes(), 200u64.to_ne_bytes()].concat());
    assert_eq!(stack(1 << 20), EINVAL);
    assert_eq!(stack(1 << 8), EFAULT, "the mock has no user stack");

    let events = map(MapType::PerfEventArray, 4, 4, 1);
    let send = |flags| {
        let data = address(b"record");
        call(&services, id::PERF_EVENT_OUTPUT, &[0, address(&*events), flags, data, 6])
    };
    assert_eq!(send(0xffff_ffff) as i64, -2, "nobody is there");
    assert_eq!(send(5) as i64, -7);
}

fn words(word: &mut u64) -> &mut [u8] {
    // SAFETY: eight bytes are eight bytes.
    unsafe { core::slice::from_raw_parts_mut(core::ptr::from_mut(word).cast(), 8) }
}

#[test]
fn numbers_are_read_as_c_writes_them() {
    let services = Mock::default();
    let read = |number: i32, text: &str, base: u64| {
        let mut out = [0xaa; 8];
        let words = [address(text), text.len() as u64, base, address_mut(&mut out)];
        let used = call(&services, number, &words) as i64;
        (used, i64::from_ne_bytes(out))
    };
    for (text, base, expected) in [
        ("42", 0, (2, 42)),
        (" \t-17 rest", 10, (5, -17)),
        ("0x1F,", 0, (4, 31)),
        ("0x1F", 16, (4, 31)),
        ("1f", 16, (2, 31)),
        ("0755", 0, (4, 493)),
        ("08", 0, (1, 0)),
        ("0x", 0, (1, 0)),
        ("-9223372036854775808", 10, (20, i64::MIN)),
    ] {
        assert_eq!(read(id::STRTOL, text, base), expected, "{text}");
    }
    // Something is written in any case: a program may look at it.
    for (text, base, error) in [
        ("", 0, -22),
        ("x", 10, -22),
        ("-", 10, -22),
        ("0x", 16, -22),
        ("1", 7, -22),
        ("1", 0x110, -22),
        ("9223372036854775808", 10, -34),
        ("99999999999999999999", 10, -34),
    ] {
        assert_eq!(read(id::STRTOL, text, base), (error, 0), "{text}");
    }
    assert_eq!(read(id::STRTOUL, "18446744073709551615", 0), (20, -1));
    assert_eq!(read(id::STRTOUL, "-1", 0), (-22, 0));
    assert_eq!(read(id::STRTOUL, "ff", 16), (2, 255));
}

#[test]
fn stacks_are_written_whole_and_zeroed_behind() {
    let services = Mock::default();
    let mut out = [0xaa; 24];
    let to = address_mut(&mut out);
    assert_eq!(call(&services, id::GET_STACK, &[0, to, 24, 1]), 24);
    assert_eq!(out[..16], [200u64.to_ne_bytes(), 300u64.to_ne_bytes()].concat());
    assert_eq!(call(&services, id::GET_STACK, &[0, to, 24, 256]), EFAULT, "no user stack");
    assert_eq!(out, [0; 24]);
    assert_eq!(call(&services, id::GET_STACK, &[0, to, 23, 0]), EINVAL);
    assert_eq!(call(&services, id::GET_STACK, &[0, to, 24, 1 << 11]), EINVAL);
}

/// A global function does not know that the memory that it was given is the packet's own.
#[test]
fn packets_are_copied_within_themselves() {
    let services = Mock::default();
    for (load, store, prog_type) in [
        (id::SKB_LOAD_BYTES, id::SKB_STORE_BYTES, ProgType::SocketFilter),
        (id::XDP_LOAD_BYTES, id::XDP_STORE_BYTES, ProgType::Xdp),
    ] {
        let mut packet: [u8; 16] = core::array::from_fn(|index| index as u8);
        let start = address_mut(&mut packet);
        let mut context = PacketContext::new(prog_type, &mut packet).unwrap();
        let context = context.as_mut_ptr().expose_provenance() as u64;
        assert_eq!(call(&services, load, &[context, 0, start + 2, 8]), 0);
        assert_eq!(packet, [0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15]);
        assert_eq!(call(&services, store, &[context, 1, start, 4, 0]), 0);
        assert_eq!(packet, [0, 0, 1, 0, 1, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15]);
    }
}

#[test]
fn tasks_have_values_of_their_own() {
    let services = Mock::default();
    let epoch: &'static Epoch = Box::leak(Box::new(Epoch::new()));
    let environment = MapEnvironment { cpus: 2, seed: 1, epoch };
    let map_type = MapType::TaskStorage;
    let def = MapDef { map_type, key_size: 4, value_size: 8, max_entries: 0, flags: 1 };
    let extras = crate::map::MapExtras { typed: true, ..Default::default() };
    let map = Map::create_with::<ActiveProfile>(def, &extras, &environment).unwrap();
    let map = Arc::new(map);
    let task = call(&services, id::GET_CURRENT_TASK_BTF, &[]);
    let get = |task: u64, initial: u64, flags: u64| {
        call(&services, id::TASK_STORAGE_GET, &[address(&*map), task, initial, flags])
    };
    assert_eq!(get(task, 0, 0), 0, "not yet");
    assert_eq!(get(task, 0, 2), 0, "no such flag");
    assert_eq!(get(0, 0, 1), 0, "no task");
    let initial = 77u64;
    let value = get(task, address(&initial), 1);
    assert_eq!(get(task, 0, 1), value, "what is there stays");
    // SAFETY: it is a value of the map, of 8 bytes.
    assert_eq!(unsafe { *core::ptr::with_exposed_provenance::<u64>(value as usize) }, 77);
    assert_ne!(get(task + 1, 0, 1), value);
    let delete = |task| call(&services, id::TASK_STORAGE_DELETE, &[address(&*map), task]) as i64;
    assert_eq!((delete(task), delete(task), delete(0)), (0, -2, -22));
    assert_eq!(map.entries(), 1);
}

/// `bpf_probe_read` and `%s` are older than the difference between the two kinds of memory.
#[test]
fn the_address_says_whose_memory_is_read() {
    let page = |text: &[u8]| {
        let mut page = text.to_vec();
        page.resize(4096, 0);
        page
    };
    let memory = vec![(0x1000, page(b"user")), (0x9000, page(b"kernel"))];
    let services = Mock { memory, user_end: 0x8000, ..Default::default() };
    let mut out = [0; 8];
    let to = address_mut(&mut out);
    for (at, text, theirs) in [(0x1000, "user\0", true), (0x9000, "kernel\0", false)] {
        let length = text.len() as u64;
        services.user_reads.store(0, Ordering::Relaxed);
        assert_eq!(call(&services, id::PROBE_READ, &[to, length, at]), 0);
        assert_eq!(services.user_reads.swap(0, Ordering::Relaxed) > 0, theirs);
        assert_eq!(call(&services, id::PROBE_READ_STR, &[to, 8, at]), length);
        assert_eq!(&out[..text.len()], text.as_bytes());
        assert_eq!(services.user_reads.swap(0, Ordering::Relaxed) > 0, theirs);
        assert_eq!(call(&services, id::TRACE_PRINTK, &[address("%s\0"), 3, at]), length - 1);
        let printed = services.printed.lock().unwrap().pop().unwrap();
        assert_eq!(printed, text.trim_end_matches('\0'));
        assert_eq!(services.user_reads.swap(0, Ordering::Relaxed) > 0, theirs);
        assert_eq!(call(&services, id::PROBE_READ_KERNEL, &[to, 4, at]), 0);
        assert_eq!(services.user_reads.load(Ordering::Relaxed), 0);
    }
}
