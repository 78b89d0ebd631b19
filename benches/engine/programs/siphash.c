/* SipHash-2-4 of 512 bytes. */
#include "program.h"

#define LENGTH 512
#define ROTATE(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))
#define ROUND \
    v0 += v1; v1 = ROTATE(v1, 13); v1 ^= v0; v0 = ROTATE(v0, 32); \
    v2 += v3; v3 = ROTATE(v3, 16); v3 ^= v2; \
    v0 += v3; v3 = ROTATE(v3, 21); v3 ^= v0; \
    v2 += v1; v1 = ROTATE(v1, 17); v1 ^= v2; v2 = ROTATE(v2, 32)

INLINE u64 program(u8 *memory) {
    u64 k0 = load64(memory), k1 = load64(memory + 8);
    u64 v0 = k0 ^ 0x736f6d6570736575ULL, v1 = k1 ^ 0x646f72616e646f6dULL;
    u64 v2 = k0 ^ 0x6c7967656e657261ULL, v3 = k1 ^ 0x7465646279746573ULL;
    FIXED_LOOP
    for (u32 i = 0; i < LENGTH; i += 8) {
        u64 word = load64(memory + 16 + i);
        v3 ^= word;
        ROUND;
        ROUND;
        v0 ^= word;
    }
    u64 last = (u64)LENGTH << 56;
    v3 ^= last;
    ROUND;
    ROUND;
    v0 ^= last;
    v2 ^= 0xff;
    ROUND;
    ROUND;
    ROUND;
    ROUND;
    return fold(v0 ^ v1 ^ v2 ^ v3);
}

#include "entry.h"
