/* A thousand times a function that calls a function, neither inlined. */
#include "program.h"

NOINLINE u64 inner(u64 x, u64 y) {
    return (x ^ y) * 5 + 1;
}

NOINLINE u64 outer(u64 x, u64 y) {
    return inner(x + y, x >> 3) ^ y;
}

INLINE u64 program(u8 *memory) {
    u64 x = load64(memory);
    FIXED_LOOP
    for (u32 i = 0; i < 1000; i++) {
        x += outer(x, i);
    }
    return fold(x);
}

#include "entry.h"
