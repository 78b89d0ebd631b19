/* Parses a packet sixteen times: Ethernet, perhaps a VLAN tag, IPv4 with options, TCP or UDP.
 * Every bound is checked, and the five-tuple is hashed. */
#include "program.h"

#define PACKET 64

INLINE u32 net16(const u8 *packet, u32 at) {
    return (u32)packet[at] << 8 | packet[at + 1];
}

INLINE u32 net32(const u8 *packet, u32 at) {
    return net16(packet, at) << 16 | net16(packet, at + 2);
}

INLINE u64 mix(u64 hash, u64 value) {
    return (hash ^ value) * 0x9E3779B97F4A7C15ULL;
}

/* The hash of the five-tuple; 0 for what is no TCP or UDP over IPv4. */
INLINE u64 parse(const u8 *packet, u32 length) {
    u32 at = 14;
    if (at > length) return 0;
    u32 type = net16(packet, 12);
    if (type == 0x8100) {
        if (at + 4 > length) return 0;
        type = net16(packet, at + 2);
        at += 4;
    }
    if (type != 0x0800 || at + 20 > length) return 0;
    u32 version = packet[at] >> 4, words = packet[at] & 15;
    if (version != 4 || words < 5) return 0;
    u32 header = words * 4;
    if (at + header > length) return 0;
    u32 protocol = packet[at + 9];
    u64 hash = mix(protocol, net32(packet, at + 12));
    hash = mix(hash, net32(packet, at + 16));
    at += header;
    if (protocol == 6) {
        if (at + 20 > length) return 0;
    } else if (protocol == 17) {
        if (at + 8 > length) return 0;
    } else {
        return 0;
    }
    return mix(hash, net32(packet, at));
}

INLINE u64 program(u8 *memory) {
    u64 sum = 0;
    FIXED_LOOP
    for (u32 round = 0; round < 16; round++) {
        u8 *packet = memory + round * PACKET;
        /* Half of the packets have a tag, options, and UDP. */
        u32 odd = round & 1, at = 14 + odd * 4;
        packet[12] = odd ? 0x81 : 0x08;
        packet[13] = 0;
        packet[at - 2] = 0x08;
        packet[at - 1] = 0;
        packet[at] = 0x45 + odd;
        packet[at + 9] = odd ? 17 : 6;
        sum = sum * 31 + parse(packet, PACKET);
    }
    return fold(sum);
}

#include "entry.h"
