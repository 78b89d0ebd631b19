/* A chain of shifts and multiplications (xorshift64*), 10,000 rounds. */
#include "program.h"

INLINE u64 program(u8 *memory) {
    u64 x = load64(memory) | 1, sum = 0;
    FIXED_LOOP
    for (u32 round = 0; round < 10000; round++) {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        sum += x * 0x2545F4914F6CDD1DULL;
    }
    return fold(sum);
}

#include "entry.h"
