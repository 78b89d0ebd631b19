/* The sieve of Eratosthenes over 4,096 flags; how many primes there are. */
#include "program.h"

#define FLAGS 4096

INLINE u64 program(u8 *memory) {
    FIXED_LOOP
    for (u32 i = 0; i < FLAGS; i++) {
        *(volatile u8 *)(memory + i) = 1;
    }
    FIXED_LOOP
    for (u32 i = 2; i < 64; i++) {
        if (memory[i]) {
            FIXED_LOOP
            for (u32 j = i * i; j < FLAGS; j += i) {
                memory[j] = 0;
            }
        }
    }
    u64 primes = 0;
    FIXED_LOOP
    for (u32 i = 2; i < FLAGS; i++) {
        primes += memory[i];
    }
    return primes;
}

#include "entry.h"
