/* Classifies 256 records of 8 bytes with a tree of comparisons that has 18 leaves. */
#include "program.h"

INLINE u32 classify(u64 record) {
    u32 low = record, high = record >> 32;
    if (record < 0x4000000000000000ULL) {
        if (low < 0x40000000) {
            if (high & 1) return low < 0x10000000 ? 1 : 2;
            return high < 0x20000000 ? 3 : 4;
        }
        if (low < 0xc0000000) {
            if ((int)low < 0) return 5;
            return (high & 0xff) < 0x80 ? 6 : 7;
        }
        return (low & 0xffff) > 0x7fff ? 8 : 9;
    }
    if (record < 0xa000000000000000ULL) {
        if ((int)low > 0x20000000) return (high >> 8 & 3) == 1 ? 10 : 11;
        if ((int)low > -0x40000000) return 12;
        return high == low ? 13 : 14;
    }
    if (low > 0x80000000) {
        if (record > 0xe000000000000000ULL) return 15;
        return (low & 0x1000) ? 16 : 17;
    }
    return 18;
}

INLINE u64 program(u8 *memory) {
    u64 sum = 0;
    FIXED_LOOP
    for (u32 i = 0; i < 256; i++) {
        sum = sum * 7 + classify(load64(memory + i * 8));
    }
    return fold(sum);
}

#include "entry.h"
