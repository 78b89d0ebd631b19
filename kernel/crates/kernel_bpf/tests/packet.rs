//! Programs that look at packets: direct access between `data` and `data_end`, and the fields
//! of their contexts.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly")]

mod common;

use std::sync::Arc;

use common::{Host, clang, compile_text, create_maps, environment};
use kernel_bpf::interpreter::{Interpreter, PacketContext};
use kernel_bpf::loader::Object;
use kernel_bpf::profile::{ActiveProfile, PhysicalProfile};
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::verifier::verify;

fn run(section: &str, body: &str, packet: &mut [u8]) -> Option<u64> {
    let text = format!(
        "#include \"bpf_helpers.h\"
        struct __sk_buff {{ __u32 len, pad[18], data, data_end; }};
        struct xdp_md {{ __u32 data, data_end, data_meta; }};
        char _license[] SEC(\"license\") = \"GPL\";
        SEC(\"{section}\") int f({body}"
    );
    let object = Object::parse(&compile_text(clang()?, &text)).unwrap();
    let maps = create_maps(&object, &environment());
    let program = object.programs[0].to_program(&object, &maps, Arc::ptr_eq).unwrap();
    let verified = verify(program, &ActiveProfile::verify_options());
    let verified = verified.unwrap_or_else(|rejection| panic!("{rejection}"));
    let ready = Interpreter::<ActiveProfile>::new(&verified).unwrap();
    assert_eq!(ready.run(&mut [0; 256], &Host::default()), None, "not without a packet");
    let mut context = PacketContext::new(verified.prog_type, packet).unwrap();
    let other = if section == "xdp" { ProgType::SchedCls } else { ProgType::Xdp };
    let mut nothing = [];
    let mut wrong = PacketContext::new(other, &mut nothing).unwrap();
    assert_eq!(ready.run_packet(&mut wrong, &Host::default()), None, "another structure");
    ready.run_packet(&mut context, &Host::default())
}

const SUM: &str = "struct xdp_md *ctx) {
    __u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    if (data + 4 > end) return 0;
    return data[0] + data[1] + data[2] + data[3];
}";

#[test]
fn an_xdp_program_reads_its_packet() {
    let Some(sum) = run("xdp", SUM, &mut [1, 2, 3, 4, 5]) else { return };
    assert_eq!(sum, 10);
    assert_eq!(run("xdp", SUM, &mut [1, 2, 3]), Some(0), "too short");
    assert_eq!(run("xdp", SUM, &mut []), Some(0));
}

#[test]
fn a_classifier_writes_its_packet() {
    let mut packet = [7; 20];
    let body = "struct __sk_buff *skb) {
        __u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
        if (data + 16 > end) return 99;
        data[15] = 42;
        return skb->len;
    }";
    let Some(length) = run("tc", body, &mut packet) else { return };
    assert_eq!(length, 20);
    assert_eq!((packet[14], packet[15], packet[16]), (7, 42, 7));
}

#[test]
fn legacy_loads_end_the_program_beyond_the_packet() {
    let body = "void *skb) {
        unsigned long long value;
        asm volatile(\"r6 = %1; r0 = *(u16 *)skb[12]; %0 = r0\"
                     : \"=r\"(value) : \"r\"(skb)
                     : \"r0\", \"r1\", \"r2\", \"r3\", \"r4\", \"r5\", \"r6\");
        return value;
    }";
    let mut packet: Vec<u8> = (0..14).collect();
    let Some(value) = run("socket", body, &mut packet) else { return };
    assert_eq!(value, 0x0c0d, "in host order");
    assert_eq!(run("socket", body, &mut packet[..13]), Some(0));
}

#[test]
fn only_programs_of_packets_take_one_and_its_pointers_stay() {
    let Some(clang) = clang() else { return };
    // A context that is larger than that of any packet.
    let text = "#include \"bpf_helpers.h\"
        char _license[] SEC(\"license\") = \"GPL\";
        SEC(\"tracepoint/a/b\") int f(long *record) { return record[250]; }";
    let object = Object::parse(&compile_text(clang, text)).unwrap();
    let program = object.programs[0].to_program(&object, &[], Arc::ptr_eq).unwrap();
    let verified = verify(program, &ActiveProfile::verify_options()).ok().unwrap();
    let ready = Interpreter::<ActiveProfile>::new(&verified).unwrap();
    let mut packet = [0; 14];
    for prog_type in [ProgType::Xdp, ProgType::SchedCls] {
        let mut context = PacketContext::new(prog_type, &mut packet).unwrap();
        assert_eq!(ready.run_packet(&mut context, &Host::default()), None);
        let before: Vec<_> = (0..54).map(|word| context.get_u32(word * 4)).collect();
        let size = if prog_type == ProgType::Xdp { 24 } else { 192 };
        for offset in (size..size + 24).step_by(4) {
            context.set_u32(offset, 0x4141_4141);
        }
        let after: Vec<_> = (0..54).map(|word| context.get_u32(word * 4)).collect();
        assert_eq!(before, after);
    }
}

#[test]
fn a_classifier_copies_from_its_packet_and_sums_it() {
    let body = |offset: u32| {
        format!(
            "struct __sk_buff *skb) {{
                long (*load)(void *, __u32, void *, __u32) = (void *)26;
                long (*sum)(void *, __u32, void *, __u32, __u32) = (void *)28;
                __u32 words[2] = {{ 5, 6 }};
                if (load(skb, {offset}, words, 8)) return words[0] | words[1] ? 99 : 98;
                return sum(0, 0, words, 8, 0);
            }}"
        )
    };
    let mut packet: Vec<u8> = (0..20).collect();
    let Some(sum) = run("tc", &body(12), &mut packet) else { return };
    let halves = packet[12..20].chunks(2).map(|half| u64::from(half[0]) | u64::from(half[1]) << 8);
    assert_eq!(sum, halves.sum::<u64>());
    // Beyond the packet nothing is copied, and nothing stays as it was.
    assert_eq!(run("tc", &body(13), &mut packet), Some(98));
    assert_eq!(run("tc", &body(u32::MAX), &mut packet), Some(98));
    // There is no socket to find, whatever is asked for.
    let lookup = "struct __sk_buff *skb) {
        void *(*find)(void *, void *, __u32, __u64, __u64) = (void *)84;
        long (*release)(void *) = (void *)86;
        __u32 addresses[3] = {};
        void *found = find(skb, addresses, 12, 0, 0);
        if (found) { release(found); return 1; }
        return 2;
    }";
    assert_eq!(run("tc", lookup, &mut packet), Some(2));
}
