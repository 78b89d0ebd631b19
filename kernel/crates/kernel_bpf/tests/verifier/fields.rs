//! Locks, timers and kernel pointers in map values.

use kernel_bpf::asm::assemble;
use kernel_bpf::map::def::flags;
use kernel_bpf::map::{KernelPointer, MapDef, MapRef, MapType, ValueFields};
use kernel_bpf::prog_type::ProgType::{self, RawTracepoint as RawTp, SchedCls, SocketFilter};
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Cause, Proof, Rejection, VerifyOptions, verify};

/// Map 0: a counter and a lock at 4; map 1: a timer at 0 and 16 bytes; map 2: a pointer to
/// `thing` at 0, one with reference at 8, one to `other` at 16; map 3: a lock again; map 4: an
/// array of maps like map 3, map 5 of hash maps, map 6 of arrays of any length.
struct Fields(MapDef, ValueFields, Vec<KernelPointer>, Option<MapDef>);

impl MapRef for Fields {
    fn def(&self) -> MapDef {
        self.0
    }
    fn value_fields(&self) -> ValueFields {
        self.1
    }
    fn kernel_pointers(&self) -> &[KernelPointer] {
        &self.2
    }
    fn inner_def(&self) -> Option<MapDef> {
        self.3
    }
    fn inner_fields(&self) -> ValueFields {
        let lock = ValueFields { spin_lock: Some(4), timer: None };
        self.3.map(|_| lock).unwrap_or_default()
    }
}

fn maps() -> Vec<Fields> {
    let array = |value_size, max_entries| MapDef {
        map_type: MapType::Array,
        key_size: 4,
        value_size,
        max_entries,
        flags: 0,
    };
    let pointer = |offset, target: &str, referenced| KernelPointer {
        offset,
        target: target.into(),
        referenced,
    };
    let outer = |inner| {
        let outer = MapDef { map_type: MapType::ArrayOfMaps, ..array(4, 1) };
        Fields(outer, ValueFields::default(), vec![], Some(inner))
    };
    let lock = ValueFields { spin_lock: Some(4), timer: None };
    let timer = ValueFields { spin_lock: None, timer: Some(0) };
    let pointers =
        vec![pointer(0, "thing", false), pointer(8, "thing", true), pointer(16, "other", true)];
    vec![
        Fields(array(8, 1), lock, vec![], None),
        Fields(array(32, 1), timer, vec![], None),
        Fields(array(24, 1), ValueFields::default(), pointers, None),
        Fields(array(8, 4), lock, vec![], None),
        outer(array(8, 4)),
        outer(MapDef { map_type: MapType::Hash, ..array(8, 4) }),
        outer(MapDef { flags: flags::INNER_MAP, ..array(8, 4) }),
    ]
}

fn load(kind: ProgType, text: &str) -> Result<Proof, Box<Rejection>> {
    let mut program = Program::new(assemble(text).unwrap(), kind, maps());
    program.gpl_compatible = true;
    verify(program, &VerifyOptions::cloud()).map(|verified| verified.proof().clone())
}

fn accept(text: &str) -> Proof {
    load(SchedCls, text).unwrap_or_else(|rejection| panic!("{text}\n{rejection}"))
}

fn refuse(text: &str, cause: Cause) {
    match load(SchedCls, text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(rejection) => assert_eq!(rejection.cause, cause, "{text}\n{rejection}"),
    }
}

/// With a value of a map in r6.
fn with_value(map: u32, body: &str) -> String {
    format!(
        "*(u32 *)(r10 - 4) = 0\n r9 = r1\n r1 = map[{map}] ll\n r2 = r10\n r2 += -4\n \
         call bpf_map_lookup_elem\n if r0 == 0 goto out\n r6 = r0\n {body}\n out: r0 = 0\n exit"
    )
}

const TAKE: &str = "r1 = r6\n r1 += 4\n call bpf_spin_lock\n";
const GIVE: &str = "r1 = r6\n r1 += 4\n call bpf_spin_unlock\n";

#[test]
fn locks_are_taken_and_given_back() {
    let inside = "r1 = *(u32 *)(r6 + 0)\n r1 += 1\n *(u32 *)(r6 + 0) = r1\n";
    accept(&with_value(0, &format!("{TAKE}{inside}{GIVE}")));
    refuse(&with_value(0, TAKE), Cause::Lock);
    refuse(&with_value(0, GIVE), Cause::Lock);
    refuse(&with_value(0, &format!("{TAKE}{TAKE}{GIVE}")), Cause::Lock);
    refuse(&with_value(0, &format!("{TAKE}call bpf_ktime_get_ns\n{GIVE}")), Cause::Lock);
    // On one path only.
    refuse(
        &with_value(0, &format!("r7 = *(u32 *)(r6 + 0)\n{TAKE} if r7 == 1 goto out\n{GIVE}")),
        Cause::Lock,
    );
    // The lock itself is nobody's to touch.
    refuse(&with_value(0, "*(u32 *)(r6 + 4) = 0"), Cause::OutOfBounds);
    refuse(&with_value(0, "r1 = *(u64 *)(r6 + 0)"), Cause::OutOfBounds);
    refuse(&with_value(0, "r1 = r6\n r1 += 3\n call bpf_spin_lock"), Cause::BadArgument);
    refuse(&with_value(2, "r1 = r6\n call bpf_spin_lock"), Cause::BadArgument);
    // A helper may not read it either.
    refuse(
        &with_value(0, "r1 = r6\n r2 = 8\n r3 = 0\n r4 = 0\n r5 = 0\n call bpf_csum_diff"),
        Cause::OutOfBounds,
    );
    // The lock of another element is another lock.
    let other = "*(u32 *)(r10 - 4) = 1\n r1 = map[3] ll\n r2 = r10\n r2 += -4\n call bpf_map_lookup_elem\n if r0 == 0 goto out\n r7 = r0\n";
    let unlock_other = "r1 = r7\n r1 += 4\n call bpf_spin_unlock\n";
    refuse(&with_value(3, &format!("{other}{TAKE}{unlock_other}")), Cause::Lock);
    accept(&with_value(3, &format!("{other}{TAKE}{GIVE}")));
    let load = |kind| load(kind, &with_value(0, "r1 = 0")).unwrap_err().cause;
    assert_eq!(load(SocketFilter), Cause::MapMismatch);
    assert_eq!(load(RawTp), Cause::MapMismatch);
}

#[test]
fn timers_call_back_later() {
    let init = "r1 = r6\n r2 = map[1] ll\n r3 = 1\n call bpf_timer_init\n";
    let set = "r1 = r6\n r2 = func f ll\n call bpf_timer_set_callback\n";
    let start = "r1 = r6\n r2 = 1000\n r3 = 0\n call bpf_timer_start\n";
    let whole = |callback: &str| {
        format!("{} f: {callback}", with_value(1, &format!("{init}{set}{start}")) + "\n")
    };
    let proof = accept(&whole("*(u64 *)(r3 + 16) = 1\n r0 = 0\n exit"));
    assert_eq!(proof.deferred.len(), 1);
    assert_eq!(proof.deferred[0].1, 3);
    // It may start itself again, without end to what is verified.
    let again = "r6 = r3\n r1 = r3\n r2 = func f ll\n call bpf_timer_set_callback\n r0 = 0\n exit";
    assert_eq!(accept(&whole(again)).deferred.len(), 1);
    refuse(&whole("r0 = 1\n exit"), Cause::ReturnValue);
    refuse(&whole("*(u64 *)(r3 + 32) = 1\n r0 = 0\n exit"), Cause::OutOfBounds);
    refuse(&whole("*(u64 *)(r3 + 8) = 1\n r0 = 0\n exit"), Cause::OutOfBounds);
    // The map must be the timer's own.
    refuse(&with_value(1, &init.replace("map[1]", "map[0]")), Cause::MapMismatch);
    refuse(&with_value(1, &init.replace("r1 = r6", "r1 = r6\n r1 += 8")), Cause::BadArgument);
}

#[test]
fn kernel_pointers_are_exchanged_whole() {
    accept(&with_value(2, "r1 = *(u64 *)(r6 + 0)\n if r1 == 0 goto out\n *(u64 *)(r6 + 0) = r1"));
    accept(&with_value(2, "*(u64 *)(r6 + 0) = 0"));
    refuse(&with_value(2, "*(u64 *)(r6 + 0) = 1"), Cause::OutOfBounds);
    refuse(&with_value(2, "*(u64 *)(r6 + 8) = 0"), Cause::OutOfBounds);
    refuse(&with_value(2, "r1 = *(u32 *)(r6 + 0)"), Cause::OutOfBounds);
    refuse(&with_value(2, "*(u64 *)(r6 + 0) = r6"), Cause::BadArgument);
    refuse(
        &with_value(
            2,
            "r1 = *(u64 *)(r6 + 0)\n if r1 == 0 goto out\n r1 += 4\n *(u64 *)(r6 + 0) = r1",
        ),
        Cause::BadArgument,
    );
    // Without the kernel's types nothing in it can be read.
    refuse(
        &with_value(2, "r1 = *(u64 *)(r6 + 0)\n if r1 == 0 goto out\n r2 = *(u64 *)(r1 + 0)"),
        Cause::OutOfBounds,
    );
    let take = "r1 = r6\n r1 += 8\n r2 = 0\n call bpf_kptr_xchg\n if r0 == 0 goto out\n";
    refuse(&with_value(2, take), Cause::Reference);
    let put = "r1 = r6\n r1 += 8\n r2 = r0\n call bpf_kptr_xchg\n if r0 == 0 goto out\n";
    // What comes out again must be given back as well: here it is not.
    refuse(&with_value(2, &format!("{take}{put}")), Cause::Reference);
    refuse(&with_value(2, &format!("{take}{}", put.replace("+= 8", "+= 16"))), Cause::BadArgument);
    refuse(&with_value(2, &take.replace("+= 8", "+= 0")), Cause::BadArgument);
}

/// With a map inside of another in r6.
fn with_inner(map: u32, body: &str) -> String {
    with_value(map, &format!("*(u32 *)(r10 - 8) = 3\n {body}"))
}

#[test]
fn locks_in_maps_inside_of_maps_are_locks() {
    let value = "r1 = r6\n r2 = r10\n r2 += -8\n call bpf_map_lookup_elem\n r6 = r0\n";
    let checked = format!("{value} if r0 == 0 goto out\n");
    accept(&with_inner(4, &format!("{checked} *(u32 *)(r6 + 0) = 1")));
    refuse(&with_inner(4, &format!("{checked} *(u32 *)(r6 + 4) = 1")), Cause::OutOfBounds);
    let unlock = "r1 = r6\n r1 += 4\n call bpf_spin_unlock\n";
    accept(&with_inner(4, &format!("{checked} {TAKE} {unlock}")));
    refuse(&with_inner(4, &format!("{checked} {TAKE}")), Cause::Lock);
    // The fourth element of an array is there, unless the array may be shorter.
    accept(&with_inner(4, &format!("{value} *(u32 *)(r6 + 0) = 1")));
    refuse(&with_inner(6, &format!("{value} *(u32 *)(r6 + 0) = 1")), Cause::MayBeNull);
}

#[test]
fn maps_inside_of_maps_may_have_more_elements() {
    let each = |map| {
        let body = "r1 = r6\n r2 = func cb ll\n r3 = 0\n r4 = 0\n call bpf_for_each_map_elem\n";
        accept(&format!("{}\n cb: r0 = 0\n exit", with_inner(map, body))).worst_case
    };
    assert!(each(4) < 1000, "{}", each(4));
    assert!(each(5) > 1 << 32 && each(6) > 1 << 32, "{} {}", each(5), each(6));
}

/// Two elements, whose locks a callback may have changed for each other.
#[test]
fn which_element_it_is_matters_to_a_lock() {
    let element = |index, slot| {
        format!(
            "*(u32 *)(r10 - 20) = {index}\n r1 = map[3] ll\n r2 = r10\n r2 += -20
             call bpf_map_lookup_elem\n if r0 == 0 goto out\n *(u64 *)(r10 - {slot}) = r0\n"
        )
    };
    let swapped = |swap: &str, given: u32| {
        format!(
            "{}{} r1 = 1\n r2 = func cb ll\n r3 = r10\n r4 = 0\n call bpf_loop
             r6 = *(u64 *)(r10 - 8)\n r7 = *(u64 *)(r10 - {given})\n r1 = r6\n r1 += 4
             call bpf_spin_lock\n r1 = r7\n r1 += 4\n call bpf_spin_unlock\n out: r0 = 0\n exit
             cb: r3 = *(u64 *)(r2 - 8)\n r4 = *(u64 *)(r2 - 16)\n {swap} r0 = 0\n exit",
            element(0, 8),
            element(1, 16)
        )
    };
    let swap = "*(u64 *)(r2 - 8) = r4\n *(u64 *)(r2 - 16) = r3\n";
    accept(&swapped("", 8));
    refuse(&swapped("", 16), Cause::Lock);
    refuse(&swapped(swap, 16), Cause::Lock);
    // That of the round before.
    let kept = "*(u64 *)(r10 - 8) = 0\n r1 = map[3] ll\n r2 = func cb ll\n r3 = r10\n r4 = 0
         call bpf_for_each_map_elem\n r0 = 0\n exit
         cb: r6 = r3\n r7 = r4\n r1 = *(u64 *)(r7 - 8)\n if r1 == 0 goto first\n r1 += 4
         call bpf_spin_lock\n r1 = r6\n r1 += 4\n call bpf_spin_unlock
         first: *(u64 *)(r7 - 8) = r6\n r0 = 0\n exit";
    refuse(kept, Cause::Lock);
}
