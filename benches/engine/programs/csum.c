/* The Internet checksum (RFC 1071) of 1,500 bytes, 16 bits at a time. */
#include "program.h"

INLINE u64 program(u8 *memory) {
    u64 sum = 0;
    FIXED_LOOP
    for (u32 i = 0; i < 1500; i += 2) {
        sum += *(const u16 *)(memory + i);
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

#include "entry.h"
