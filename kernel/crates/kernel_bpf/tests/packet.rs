//! Programs that look at packets: direct access between `data` and `data_end`, and the fields
//! of their contexts.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly")]

mod common;

use std::sync::Arc;

use common::{Host, compile_text, create_maps, environment, tools::clang};
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

/// Helpers by Linux's numbers, and the fields that they change.
const HELPERS: &str = "#define U __attribute__((unused))
    struct __sk_buff { __u32 len, a[3], protocol, vlan_present, vlan_tci, vlan_proto,
                           b[9], hash, c, data, data_end; };
    struct xdp_md { __u32 data, data_end, data_meta; };
    static long (*const store)(void *, __u32, const void *, __u32, __u64) U = (void *)9;
    static long (*const l3)(void *, __u32, __u64, __u64, __u64) U = (void *)10;
    static long (*const l4)(void *, __u32, __u64, __u64, __u64) U = (void *)11;
    static long (*const push)(void *, __u16, __u16) U = (void *)18;
    static long (*const pop)(void *) U = (void *)19;
    static long (*const load)(void *, __u32, void *, __u32) U = (void *)26;
    static long (*const diff)(void *, __u32, void *, __u32, __u32) U = (void *)28;
    static __u32 (*const hash)(void *) U = (void *)34;
    static long (*const tail)(void *, __u32, __u64) U = (void *)38;
    static long (*const relative)(void *, __u32, void *, __u32, __u32) U = (void *)68;
    static long (*const xdp_head)(void *, int) U = (void *)44;
    static long (*const xdp_meta)(void *, int) U = (void *)54;
    static long (*const xdp_tail)(void *, int) U = (void *)65;
    static void *(*const socket)(void *, void *, __u32, __u64, __u64) U = (void *)84;
    static long (*const release)(void *) U = (void *)86;";

/// Runs a program on a packet with room around it: its answer, and what it leaves.
fn change(section: &str, body: &str, packet: &[u8]) -> Option<(i64, Vec<u8>)> {
    let text = format!(
        "#include \"bpf_helpers.h\"
        {HELPERS}
        char _license[] SEC(\"license\") = \"GPL\";
        SEC(\"{section}\") int f({body}"
    );
    let object = Object::parse(&compile_text(clang()?, &text)).unwrap();
    let maps = create_maps(&object, &environment());
    let program = object.programs[0].to_program(&object, &maps, Arc::ptr_eq).unwrap();
    let verified = verify(program, &ActiveProfile::verify_options());
    let verified = verified.unwrap_or_else(|rejection| panic!("{rejection}"));
    let ready = Interpreter::<ActiveProfile>::new(&verified).unwrap();
    let mut memory = [&[0xee; 64], packet, &[0xdd; 64]].concat();
    let link = section == "xdp" || section == "tc";
    let start = 64 + if link { 0 } else { 14 };
    let end = 64 + packet.len();
    let mut context =
        PacketContext::with_room(verified.prog_type, &mut memory, start..end).unwrap();
    let result = ready.run_packet(&mut context, &Host::default()).unwrap();
    let range = context.range();
    // Programs return an int.
    Some((i64::from(result as i32), memory[range].to_vec()))
}

/// Ethernet, IPv4 without options, UDP, and eight bytes.
fn udp() -> Vec<u8> {
    let mut packet = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    packet.extend([0x45, 0, 0, 36, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let sum = !packet[14..34].chunks(2).fold(0u32, |sum, word| {
        let sum = sum + u32::from(u16::from_be_bytes([word[0], word[1]]));
        (sum & 0xffff) + (sum >> 16)
    });
    packet[24..26].copy_from_slice(&(sum as u16).to_be_bytes());
    packet.extend([0, 53, 0, 99, 0, 16, 0, 0]);
    packet.extend(*b"payload!");
    packet
}

#[test]
fn helpers_read_and_write_bytes() {
    let body = "struct __sk_buff *skb) {
        __u8 here[4] = {1, 2, 3, 4}, there[4] = {9, 9, 9, 9};
        if (load(skb, 42, here, 4) || here[0] != 'p') return 1;
        if (load(skb, 47, there, 4) != -14 || there[0] || there[3]) return 2;
        if (relative(skb, 0, here, 4, 1) || here[0] != 0x45) return 3;
        if (relative(skb, 12, here, 2, 0) || here[0] != 8) return 4;
        if (relative(skb, 0, here, 4, 7) != -14) return 5;
        if (store(skb, 46, \"word\", 4, 0) || store(skb, 47, \"word\", 4, 0) != -14) return 6;
        if (store(skb, 0, \"word\", 4, 64) != -22) return 7;
        return 0; }";
    let Some((answer, left)) = change("tc", body, &udp()) else { return };
    assert_eq!((answer, &left[42..]), (0, &b"paylword"[..]));
    // Above the link layer its header can still be read.
    let body = "struct __sk_buff *skb) {
        __u8 type[2] = {}, first[1] = {};
        if (relative(skb, 12, type, 2, 0) || relative(skb, 0, first, 1, 1)) return 1;
        return type[0] * 256 + first[0]; }";
    assert_eq!(change("socket", body, &udp()).unwrap().0, 8 * 256 + 0x45);
}

#[test]
fn helpers_keep_checksums_right() {
    let body = "struct __sk_buff *skb) {
        __u32 old = 0, new = 0x0100000a, sum;
        if (load(skb, 26, &old, 4)) return 1;
        new += 0x05000000;
        if (store(skb, 26, &new, 4, 0) || l3(skb, 24, old, new, 4)) return 2;
        if (l4(skb, 40, old, new, 4 | 0x10 | 0x20)) return 3;
        if (l3(skb, 25, old, new, 4) != -14 || l3(skb, 24, old, new, 3) != -22) return 4;
        sum = diff(&old, 4, &new, 4, 0);
        if (l3(skb, 24, 0, sum, 0) || l3(skb, 24, new, old, 4)) return 5;
        if (diff(&old, 3, 0, 0, 0) != -22) return 6;
        return hash(skb) == skb->hash && skb->hash ? 0 : 7; }";
    let Some((answer, left)) = change("tc", body, &udp()) else { return };
    assert_eq!((answer, &left[26..30]), (0, &[10, 0, 0, 6][..]));
    assert_eq!(left[40..42], [0, 0], "UDP without a checksum keeps none");
    let sum = left[14..34].chunks(2).fold(0u32, |sum, word| {
        let sum = sum + u32::from(u16::from_be_bytes([word[0], word[1]]));
        (sum & 0xffff) + (sum >> 16)
    });
    assert_eq!(sum, 0xffff, "the header sums to what the standard says");
}

#[test]
fn tags_go_in_and_out() {
    let body = "struct __sk_buff *skb) {
        if (push(skb, 0, 5) || !skb->vlan_present || skb->vlan_tci != 5 || skb->len != 50) return 1;
        if (push(skb, 0xa888, 6) || skb->len != 54 || skb->vlan_proto != 0xa888) return 2;
        return 0; }";
    let Some((answer, left)) = change("tc", body, &udp()) else { return };
    assert_eq!((answer, &left[..18]), (0, &[&udp()[..12], &[0x81, 0, 0, 5, 8, 0]].concat()[..]));
    let body = "struct __sk_buff *skb) {
        if (push(skb, 0, 5) || push(skb, 0, 6) || pop(skb)) return 1;
        if (skb->vlan_tci != 5 || skb->len != 50) return 2;
        if (pop(skb) || skb->vlan_present || pop(skb)) return 3;
        return 0; }";
    assert_eq!(change("tc", body, &udp()).unwrap(), (0, udp()));
}

#[test]
fn packets_grow_as_far_as_there_is_room() {
    let body = "struct __sk_buff *skb) {
        if (tail(skb, 60, 0) || skb->len != 60) return 1;
        if (tail(skb, 5000, 0) != -22 || tail(skb, 4, 0) != -22 || skb->len != 60) return 2;
        return tail(skb, 52, 0); }";
    let Some((answer, left)) = change("tc", body, &udp()) else { return };
    assert_eq!((answer, left), (0, [&udp()[..], &[0, 0]].concat()));
    let body = "struct xdp_md *ctx) {
        if (xdp_head(ctx, -32) || xdp_head(ctx, -64) != -22) return 1;
        if (xdp_meta(ctx, -8) || xdp_meta(ctx, -6) != -22 || xdp_meta(ctx, -4000) != -22) return 2;
        if ((long)ctx->data_end - (long)ctx->data != 82) return 3;
        if ((long)ctx->data - (long)ctx->data_meta != 8) return 4;
        if (xdp_head(ctx, 32) || (long)ctx->data - (long)ctx->data_meta != 8) return 5;
        if (xdp_head(ctx, 45) != -22 || xdp_tail(ctx, -45) != -22) return 6;
        if (xdp_tail(ctx, 64) || xdp_tail(ctx, 1) != -22) return 7;
        return xdp_tail(ctx, -64 - 8); }";
    assert_eq!(change("xdp", body, &udp()).unwrap(), (0, udp()[..42].to_vec()));
}

#[test]
fn there_are_no_sockets() {
    let body = "struct __sk_buff *skb) {
        __u8 tuple[12] = {};
        void *found = socket(skb, tuple, 12, 0, 0);
        if (found) { release(found); return 1; }
        return 0; }";
    let Some((answer, _)) = change("tc", body, &udp()) else { return };
    assert_eq!(answer, 0);
}

#[test]
fn only_programs_of_packets_take_one() {
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
