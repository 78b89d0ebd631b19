//! `bpf-lab batch`: its format, line by line.

#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

mod common;

use common::{hex, lab};
use serde_json::{Value, json};

const SOCKET_FILTER: u32 = 1;
const SCHED_CLS: u32 = 3;
const TRACEPOINT: u32 = 5;
const XDP: u32 = 6;

/// Judges cases; one verdict for each, in order.
fn judge(arguments: &[&str], cases: &[Value]) -> Vec<Value> {
    let input: String = cases.iter().map(|case| format!("{case}\n")).collect();
    let ran = lab(&[&["batch", "--jobs", "2"], arguments].concat(), &input);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let verdicts: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verdicts.len(), cases.len());
    for (case, verdict) in cases.iter().zip(&verdicts) {
        assert_eq!(case["name"], verdict["name"]);
    }
    verdicts
}

fn one(case: Value) -> Value {
    judge(&[], &[case]).remove(0)
}

#[test]
fn verdicts_have_the_fields_that_readers_expect() {
    let verdict = one(json!({
        "name": "two", "prog_type": SOCKET_FILTER, "insns": hex("r0 = 0\n exit"),
        "expect": "accept", "load_flags": 0, "fixups": [], "btf": null, "func_info": null,
    }));
    let fields: Vec<&String> = verdict.as_object().unwrap().keys().collect();
    let expected =
        ["insn", "micros", "name", "processed", "reason", "retvals", "verdict", "worst_case"];
    assert_eq!(fields, expected);
    assert_eq!(verdict["verdict"], "accept");
    assert_eq!((&verdict["worst_case"], &verdict["processed"]), (&json!(2), &json!(2)));
    assert_eq!((&verdict["retvals"], &verdict["insn"]), (&json!([]), &Value::Null));
}

#[test]
fn a_refusal_names_the_instruction() {
    let verdict = one(json!({
        "name": "uninitialised", "prog_type": TRACEPOINT, "insns": hex("r1 = 0\n r0 = r7\n exit"),
    }));
    assert_eq!((&verdict["verdict"], &verdict["insn"]), (&json!("reject"), &json!(1)));
    assert!(verdict["reason"].as_str().unwrap().contains("r7"), "{verdict}");
    let verdict = one(json!({ "name": 7, "prog_type": TRACEPOINT, "insns": "ff00000000000000" }));
    assert_eq!((&verdict["verdict"], &verdict["insn"]), (&json!("reject"), &json!(0)));
}

#[test]
fn what_cannot_be_judged_is_an_error_on_its_line() {
    let good = json!({ "name": "good", "prog_type": XDP, "insns": hex("r0 = 1\n exit") });
    let input = format!(
        "{good}\n{{ not json\n\n{}\n{}\n{}\n{good}\n",
        json!({ "name": "type", "prog_type": 9999, "insns": hex("r0 = 1\n exit") }),
        json!({ "name": "digits", "prog_type": XDP, "insns": "b7x" }),
        json!({ "name": "kind", "prog_type": XDP, "insns": hex("r0 = 1\n exit"),
                "fixups": [{ "insn_index": 0, "map_kind": "no_such" }] }),
    );
    let ran = lab(&["batch", "--jobs", "3"], &input);
    assert_eq!(ran.status, 0);
    let verdicts: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let what: Vec<&str> = verdicts.iter().map(|v| v["verdict"].as_str().unwrap()).collect();
    assert_eq!(what, ["accept", "error", "error", "error", "error", "error", "accept"]);
    let names: Vec<&Value> = verdicts.iter().map(|verdict| &verdict["name"]).collect();
    assert_eq!(names[3..6], ["type", "digits", "kind"]);
    for verdict in &verdicts[1..6] {
        assert!(!verdict["reason"].as_str().unwrap().is_empty());
    }
}

#[test]
fn a_case_that_crashes_or_hangs_costs_one_verdict() {
    let crash = hex("r1 = 8\n r0 = *(u64 *)(r1 + 0)\n exit");
    let verdicts = judge(
        &[],
        &[
            json!({ "name": 1, "trusted": true, "r1": "null", "insns": crash,
                    "runs": [{ "data_size": 0 }] }),
            json!({ "name": 2, "prog_type": XDP, "insns": hex("r0 = 1\n exit") }),
        ],
    );
    assert_eq!(verdicts[0]["verdict"], "error");
    assert!(verdicts[0]["reason"].as_str().unwrap().contains("crashed"), "{}", verdicts[0]);
    assert_eq!(verdicts[1]["verdict"], "accept");
}

/// The map's descriptor goes into the first instruction.
fn with_map(operations: Value, program: &str) -> Value {
    json!({
        "name": "map", "prog_type": SOCKET_FILTER, "license": "GPL",
        "insns": format!("1811000000000000{}{}", "00".repeat(8), hex(program)),
        "fixups": [{ "insn_index": 0, "map_kind": "k" }],
        "maps": { "k": operations }, "run": true, "runs": [{ "data": "00".repeat(64) }],
    })
}

const LOOKUP: &str = "*(u32 *)(r10 - 4) = 0
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    if r0 == 0 goto +1
    r0 = *(u32 *)(r0 + 0)
    exit";

#[test]
fn maps_are_made_as_the_operations_say() {
    let create = json!({ "op": "map_create", "fd": 100, "type": 2, "key_size": 4,
                         "value_size": 4, "max_entries": 1, "map_flags": 0 });
    let update = json!({ "op": "map_update", "fd": 100, "key": "00000000", "value": "2a000000" });
    let verdict = one(with_map(json!([create, update]), LOOKUP));
    assert_eq!((&verdict["verdict"], &verdict["retvals"]), (&json!("accept"), &json!([42])));
    // A value of one byte is too small for the program's load.
    let small = json!({ "op": "map_create", "fd": 100, "type": 2, "key_size": 4,
                        "value_size": 1, "max_entries": 1 });
    let verdict = one(with_map(json!([small]), LOOKUP));
    assert_eq!((&verdict["verdict"], &verdict["insn"]), (&json!("reject"), &json!(7)));
}

#[test]
fn map_kinds_come_from_a_file_too() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let kind = json!({ "kind": "k", "patch_fd": 101, "ops": [
        { "op": "map_create", "fd": 100, "type": 2, "key_size": 4, "value_size": 1,
          "max_entries": 1 },
        { "op": "map_create", "fd": 101, "type": 1, "key_size": 4, "value_size": 8,
          "max_entries": 2 },
        { "op": "map_update", "fd": 101, "key": "00000000", "value": "0700000000000000",
          "flags": 1 },
        { "op": "close", "fd": 100 },
    ] });
    std::io::Write::write_all(&mut file, format!("{kind}\n").as_bytes()).unwrap();
    let mut case = with_map(json!([]), LOOKUP);
    case["maps"] = Value::Null;
    let path = file.path().to_str().unwrap();
    let verdict = judge(&["--map-kinds", path], &[case]).remove(0);
    assert_eq!((&verdict["verdict"], &verdict["retvals"]), (&json!("accept"), &json!([7])));
    let ran = lab(&["batch", "--map-kinds", "/no/such/file"], "");
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}

#[test]
fn unprivileged_loaders_may_less() {
    let case = |unprivileged: bool| {
        json!({ "name": "leak", "prog_type": SOCKET_FILTER, "unprivileged": unprivileged,
                "insns": hex("r0 = r1\n exit") })
    };
    let verdicts = judge(&[], &[case(false), case(true)]);
    assert_eq!(verdicts[0]["verdict"], "accept");
    assert_eq!(verdicts[1]["verdict"], "reject");
}

#[test]
fn strict_alignment_is_a_load_flag() {
    let case = |flags: u32| {
        json!({ "name": flags, "prog_type": XDP, "load_flags": flags,
                "insns": hex("r2 = *(u32 *)(r1 + 0)
                    r3 = *(u32 *)(r1 + 4)
                    r0 = 0
                    r4 = r2
                    r4 += 8
                    if r4 > r3 goto +1
                    r0 = *(u32 *)(r2 + 1)
                    exit") })
    };
    let verdicts = judge(&[], &[case(0), case(1)]);
    assert_eq!(verdicts[0]["verdict"], "accept");
    assert_eq!(verdicts[1]["verdict"], "reject");
}

#[test]
fn packets_begin_where_the_hook_sees_them() {
    let length = hex("r0 = *(u32 *)(r1 + 0)\n exit");
    let packet = format!("{}{}", "00".repeat(12), "0800") + &"11".repeat(50);
    let case = |prog_type: u32, insns: &str| {
        json!({ "name": prog_type, "prog_type": prog_type, "insns": insns, "run": true,
                "runs": [{ "data": packet }] })
    };
    let verdicts = judge(
        &[],
        &[
            // A socket filter's packet begins above the link layer, a classifier's below.
            case(SOCKET_FILTER, &length),
            case(SCHED_CLS, &length),
            // The protocol, in network order.
            case(SCHED_CLS, &hex("r0 = *(u32 *)(r1 + 16)\n exit")),
            case(
                XDP,
                &hex("r2 = *(u32 *)(r1 + 0)
                    r3 = *(u32 *)(r1 + 4)
                    r0 = r3
                    r0 -= r2
                    exit"),
            ),
        ],
    );
    let values: Vec<&Value> = verdicts.iter().map(|verdict| &verdict["retvals"][0]).collect();
    assert_eq!(values, [50, 64, 8, 64]);
    // Too short for a header: the verdict stands, there is no result.
    let short = one(json!({ "name": "short", "prog_type": XDP, "insns": hex("r0 = 1\n exit"),
                            "run": true, "runs": [{ "data": "00" }] }));
    assert_eq!((&short["verdict"], &short["retvals"]), (&json!("accept"), &json!([null])));
    assert!(short["reason"].as_str().unwrap().contains("14 bytes"), "{short}");
}

/// Types that Linux runs for sockets only: the data is their message, or their context's fields.
#[test]
fn programs_about_sockets_are_run() {
    let message = "r2 = *(u64 *)(r1 + 0)\n r3 = *(u64 *)(r1 + 8)\n r0 = 0\n r4 = r2\n r4 += 1
                   if r4 > r3 goto +1\n r0 = *(u8 *)(r2 + 0)\n exit";
    let stream = "r2 = *(u32 *)(r1 + 76)\n r3 = *(u32 *)(r1 + 80)\n r0 = 0\n r4 = r2\n r4 += 1
                  if r4 > r3 goto +1\n r0 = *(u8 *)(r2 + 0)\n exit";
    let option = "r2 = *(u64 *)(r1 + 8)\n r3 = *(u64 *)(r1 + 16)\n r0 = 0\n r4 = r2\n r4 += 1
                  if r4 > r3 goto +1\n r0 = *(u8 *)(r2 + 0)\n r0 &= 1\n exit";
    let cookies = "r6 = r1\n call bpf_get_netns_cookie\n r7 = r0\n r1 = r6
                   call bpf_get_socket_cookie\n r0 += r7\n r0 &= 1\n exit";
    let address = "r0 = *(u32 *)(r1 + 4)\n r0 &= 1\n exit";
    let family = "r0 = *(u32 *)(r1 + 4)\n r0 &= 1\n exit";
    for (kind, attach, text, expected) in [
        ("sk_msg", 0, message, json!([7, 0])),
        ("sk_reuseport", 39, message, json!([7, 0])),
        ("sk_skb", 0, stream, json!([7, 0])),
        ("cgroup_sockopt", 22, option, json!([1, 0])),
        ("cgroup_sock_addr", 10, address, json!([1, 0])),
        ("cgroup_sock_addr", 10, cookies, json!([1, 1])),
        ("cgroup_sock", 2, family, json!([1, 0])),
    ] {
        for engine in ["interpreter", "jit"] {
            let verdict = one(json!({
                "name": kind, "prog_type_name": kind, "expected_attach_type": attach,
                "insns": hex(text), "run": true, "engine": engine,
                "runs": [{ "data": "0708090a0b", "retval": 0 }, { "data": "", "retval": 0 }],
            }));
            assert_eq!(verdict["retvals"], expected, "{kind}, {engine}: {verdict}");
        }
    }
}

#[test]
fn trusted_cases_are_not_verified() {
    let verdicts = judge(
        &[],
        &[
            // Reads a register that nothing wrote, r2: the memory's length here.
            json!({ "name": "conformance", "trusted": true, "mem": "0102030405",
                    "insns": hex("r0 = *(u8 *)(r1 + 4)\n r0 += r2\n exit"), "helper_calls": [] }),
            json!({ "name": "none", "trusted": true, "mem": "",
                    "insns": hex("r0 = r1\n r0 -= 1\n exit") }),
            // Counts its runs in the buffer.
            json!({ "name": "buffer", "trusted": true, "r1": "buffer", "nr_testruns": 10,
                    "data": "05", "runs": [{ "data_size": 8 }],
                    "insns": hex("r0 = 1\n r0 = atomic_fetch_add((u64 *)(r1 + 0), r0)\n exit") }),
            json!({ "name": "skb", "trusted": true, "r1": "skb", "data": "aabb",
                    "frag_data": "cc", "runs": [{ "data_size": 2 }],
                    "insns": hex("r6 = r1\n r0 = *(u8 *)skb[2]\n exit") }),
        ],
    );
    let values: Vec<&Value> = verdicts.iter().map(|verdict| &verdict["retvals"]).collect();
    assert_eq!(values, [&json!([10]), &json!([u64::MAX]), &json!([14]), &json!([0xcc])]);
    // The same, as a program to verify, is refused.
    let verdict = one(json!({ "name": "verified", "prog_type": TRACEPOINT,
                              "insns": hex("r0 = *(u8 *)(r1 + 4)\n r0 += r2\n exit") }));
    assert_eq!(verdict["verdict"], "reject");
}

#[test]
fn a_thousand_cases_keep_their_order() {
    let cases: Vec<Value> = (0..1000)
        .map(|number| {
            json!({ "name": number, "prog_type": XDP, "run": true, "runs": [{ "data": "00".repeat(14) }],
                    "insns": hex(&format!("r0 = {number}\n exit")) })
        })
        .collect();
    for (number, verdict) in judge(&[], &cases).iter().enumerate() {
        assert_eq!(verdict["retvals"], json!([number]));
    }
}

#[test]
fn maps_of_programs_and_of_maps_are_filled() {
    let callee = hex("r0 = 42\n exit");
    let create = json!({ "op": "map_create", "fd": 100, "type": 3, "key_size": 4,
                         "value_size": 4, "max_entries": 4, "btf_fd": -1, "inner_map_fd": -1 });
    let load = |insns: &str| {
        json!({ "op": "prog_load", "fd": 101, "prog_type": "same_as_test", "license": "GPL",
                "insns": insns })
    };
    let update = json!({ "op": "map_update", "fd": 100, "key": "02000000", "value": "65000000",
                         "flags": 0, "value_fd": 101 });
    let close = json!({ "op": "close", "fd": 101 });
    // The map is in r1; r6 is the context.
    let call = "r2 = r1
        r1 = r6
        r3 = 2
        call bpf_tail_call
        r0 = 1
        exit";
    let case = |insns: &str, engine: &str| {
        let mut case = with_map(json!([create, load(insns), update, close]), call);
        case["insns"] = json!(hex("r6 = r1") + "1811000000000000" + &"00".repeat(8) + &hex(call));
        case["fixups"][0]["insn_index"] = json!(1);
        case["engine"] = json!(engine);
        one(case)
    };
    for engine in ["interpreter", "jit"] {
        if engine == "jit" && !cfg!(target_arch = "x86_64") {
            continue;
        }
        let verdict = case(&callee, engine);
        assert_eq!((&verdict["verdict"], &verdict["retvals"]), (&json!("accept"), &json!([42])));
    }
    // A program for the array that is refused leaves the case to be judged, not run.
    let verdict = case(&hex("r0 = r9\n exit"), "interpreter");
    assert_eq!((&verdict["verdict"], &verdict["retvals"]), (&json!("accept"), &json!([])));
    assert!(verdict["reason"].as_str().unwrap().contains("r9"), "{verdict}");

    let inner = json!({ "op": "map_create", "fd": 100, "type": 2, "key_size": 4,
                        "value_size": 4, "max_entries": 1 });
    let outer = json!({ "op": "map_create", "fd": 101, "type": 12, "key_size": 4,
                        "value_size": 4, "max_entries": 1, "inner_map_fd": 100 });
    let close = json!({ "op": "close", "fd": 100 });
    let look = "*(u32 *)(r10 - 4) = 0
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        if r0 == 0 goto none
        r0 = 1
        exit
        none: r0 = 5
        exit";
    let verdict = one(with_map(json!([inner, outer, close]), look));
    assert_eq!((&verdict["verdict"], &verdict["retvals"]), (&json!("accept"), &json!([5])));
}

#[test]
fn types_are_given_by_number_or_name() {
    let case = |fields: Value| {
        let mut case =
            json!({ "name": "typed", "insns": hex("r0 = *(u32 *)(r1 + 4)\n r0 *= 2\n exit") });
        case.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        one(case)["verdict"].clone()
    };
    // The second field of a socket buffer is a number, of an XDP context a packet's end.
    for fields in [
        json!({ "prog_type": SCHED_CLS }),
        json!({ "prog_type": "sched_cls" }),
        json!({ "prog_type": "BPF_PROG_TYPE_SCHED_CLS", "prog_type_name": null }),
        json!({ "prog_type": null, "prog_type_name": "sched_cls", "unknown": [1] }),
    ] {
        assert_eq!(case(fields.clone()), "accept", "{fields}");
    }
    assert_eq!(case(json!({ "prog_type": "XDP" })), "reject", "a pointer is multiplied");
    assert_eq!(case(json!({ "prog_type": "no_such" })), "error");
    assert_eq!(case(json!({})), "error");
}

#[test]
fn every_map_type_can_be_verified_with() {
    for map_type in kernel_bpf::map::MapType::ALL {
        use kernel_bpf::map::MapType as M;
        let (key, value, entries, flags) = match map_type {
            M::Ringbuf | M::UserRingbuf => (0, 0, 4096, 0),
            M::Queue | M::Stack => (0, 4, 1, 0),
            M::BloomFilter => (0, 4, 1, 0),
            M::LpmTrie => (8, 4, 1, 1),
            M::StackTrace => (4, 8, 1, 0),
            M::SkStorage | M::InodeStorage | M::TaskStorage | M::CgrpStorage => (4, 8, 0, 1),
            M::CgroupStorage | M::PercpuCgroupStorage => (16, 64, 0, 0),
            _ => (4, 4, 1, 0),
        };
        let types = "9feb0100180000000000000010000000100000000500000000000000000000010400000020000001\
                     00696e7400";
        let mut create = json!({ "op": "map_create", "fd": 100, "type": map_type.number(),
            "key_size": key, "value_size": value, "max_entries": entries, "map_flags": flags,
            "name": null, "btf_fd": -1, "inner_map_fd": null });
        let mut operations = Vec::new();
        if map_type == M::TaskStorage {
            create["btf_fd"] = json!(7);
            create["btf_value_type_id"] = json!(1);
            operations.push(json!({ "op": "btf_load", "fd": 7, "btf": types }));
        }
        if matches!(map_type, M::ArrayOfMaps | M::HashOfMaps) {
            create["inner_map_fd"] = json!(9);
            operations.push(json!({ "op": "map_create", "fd": 9, "type": 2, "key_size": 4,
                "value_size": 4, "max_entries": 1 }));
        }
        operations.push(create);
        let verdict = one(with_map(json!({ "ops": operations, "patch_fd": 100 }), "r0 = 0\n exit"));
        assert_eq!(verdict["verdict"], "accept", "{} {verdict}", map_type.name());
        let known = matches!(map_type, M::StructOps | M::UserRingbuf | M::Arena);
        let retvals = if known { json!([]) } else { json!([0]) };
        assert_eq!(verdict["retvals"], retvals, "{} {verdict}", map_type.name());
    }
}

#[test]
fn maps_of_what_a_host_has_none_of_are_empty() {
    let create = |map_type: u32, key: u32, value: u32, entries: u32| {
        json!([{ "op": "map_create", "fd": 1, "type": map_type, "key_size": key,
                 "value_size": value, "max_entries": entries, "map_flags": 0 }])
    };
    // A map of sockets for XDP: no socket in it.
    let mut case = with_map(create(17, 4, 4, 1), LOOKUP);
    case["prog_type"] = json!(XDP);
    assert_eq!(one(case)["retvals"], json!([0]));
    // A control group's storage: a value of zeros.
    let storage = "r2 = 0\n call bpf_get_local_storage\n r1 = *(u32 *)(r0 + 0)\n r1 += 7
        *(u32 *)(r0 + 60) = r1\n r0 = *(u32 *)(r0 + 60)\n r0 &= 1\n exit";
    let mut case = with_map(create(19, 16, 64, 0), storage);
    case["prog_type"] = json!(8);
    assert_eq!(one(case)["retvals"], json!([1]));
    // An operation that nobody knows is an error on the lines that need it.
    let verdict = one(with_map(json!([{ "op": "map_shake", "fd": 1 }]), LOOKUP));
    assert_eq!(verdict["verdict"], "error", "{verdict}");
}

#[test]
fn packets_can_grow_in_a_run() {
    // Two tags: the first goes into the packet when the second comes.
    let program = "r6 = r1\n r2 = 0\n r3 = 5\n call bpf_skb_vlan_push\n r1 = r6\n r2 = 0\n r3 = 6
        call bpf_skb_vlan_push\n r0 = *(u16 *)skb[14]\n exit";
    let verdict = one(json!({ "name": "tags", "prog_type": SCHED_CLS, "license": "GPL",
        "insns": hex(program), "run": true, "runs": [{ "data": "00".repeat(64), "retval": 5 }] }));
    assert_eq!(verdict["retvals"], json!([5]), "{verdict}");
}

#[test]
fn a_trusted_case_without_runs_runs_once_on_its_data() {
    let program = hex("r0 = *(u8 *)(r1 + 1)\n exit");
    let case = json!({ "name": "t", "trusted": true, "r1": "buffer", "insns": program,
                       "data": "0a0b0c", "frag_data": null, "nr_testruns": null });
    assert_eq!(one(case.clone())["retvals"], json!([11]));
    let mut sized = case;
    sized["runs"] = json!([{ "data_size": 2, "result": 11 }, { "data_size": 3 }]);
    assert_eq!(one(sized)["retvals"], json!([11, 11]));
}
