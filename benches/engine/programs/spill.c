/* The block function of ChaCha20 (RFC 8439), four blocks: sixteen values are live at once. */
#include "program.h"

#define QUARTER(a, b, c, d) \
    a += b; d ^= a; d = d << 16 | d >> 16; \
    c += d; b ^= c; b = b << 12 | b >> 20; \
    a += b; d ^= a; d = d << 8 | d >> 24; \
    c += d; b ^= c; b = b << 7 | b >> 25

INLINE u64 program(u8 *memory) {
    const u32 *key = (const u32 *)memory;
    u32 *out = (u32 *)(memory + 4096);
    u64 sum = 0;
    FIXED_LOOP
    for (u32 block = 0; block < 4; block++) {
        u32 a0 = 0x61707865, a1 = 0x3320646e, a2 = 0x79622d32, a3 = 0x6b206574;
        u32 b0 = key[0], b1 = key[1], b2 = key[2], b3 = key[3];
        u32 c0 = key[4], c1 = key[5], c2 = key[6], c3 = key[7];
        u32 d0 = block, d1 = key[8], d2 = key[9], d3 = key[10];
        FIXED_LOOP
        for (u32 round = 0; round < 10; round++) {
            QUARTER(a0, b0, c0, d0);
            QUARTER(a1, b1, c1, d1);
            QUARTER(a2, b2, c2, d2);
            QUARTER(a3, b3, c3, d3);
            QUARTER(a0, b1, c2, d3);
            QUARTER(a1, b2, c3, d0);
            QUARTER(a2, b3, c0, d1);
            QUARTER(a3, b0, c1, d2);
        }
        out[0] = a0 + 0x61707865; out[1] = a1 + 0x3320646e;
        out[2] = a2 + 0x79622d32; out[3] = a3 + 0x6b206574;
        out[4] = b0 + key[0]; out[5] = b1 + key[1]; out[6] = b2 + key[2]; out[7] = b3 + key[3];
        out[8] = c0 + key[4]; out[9] = c1 + key[5]; out[10] = c2 + key[6]; out[11] = c3 + key[7];
        out[12] = d0 + block; out[13] = d1 + key[8]; out[14] = d2 + key[9]; out[15] = d3 + key[10];
        sum = sum * 3 + ((u64)out[0] << 32 | out[15]) + out[7];
    }
    return fold(sum);
}

#include "entry.h"
