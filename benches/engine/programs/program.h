/* What the programs for timing share. Each is one function of 16 KiB of memory, and is compiled
 * natively and for BPF; entry.h, included last, makes the entry that each needs. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define MEMORY 16384
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#define FIXED_LOOP _Pragma("clang loop unroll(disable) vectorize(disable)")

/* So that both halves of a result count where only 32 bits are returned. */
INLINE u64 fold(u64 x) {
    return x ^ x >> 32;
}

INLINE u64 load64(const u8 *from) {
    return *(const u64 *)from;
}

INLINE u32 load32(const u8 *from) {
    return *(const u32 *)from;
}
