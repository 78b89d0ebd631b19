/* A thousand times division and remainder, 64 and 32 bits, by variables and by constants. */
#include "program.h"

INLINE u64 program(u8 *memory) {
    u64 x = load64(memory) | 1, sum = 0;
    u32 y = load32(memory + 8) | 1;
    FIXED_LOOP
    for (u32 i = 0; i < 1000; i++) {
        u64 divisor = (x >> 40) | 1;
        u32 divisor32 = (y >> 20) | 1;
        sum += x / divisor + x % (divisor + 2);
        sum += y / divisor32 + y % (divisor32 + 2);
        sum += x / 1000003 + x % 10;
        sum += y / 7 + y % 641;
        x = x * 6364136223846793005ULL + 1442695040888963407ULL;
        y = y * 1664525 + 1013904223;
    }
    return fold(sum);
}

#include "entry.h"
