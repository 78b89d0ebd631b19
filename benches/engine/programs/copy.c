/* Copies 4,096 bytes one at a time; each depends on all before it, so that it is no memcpy. */
#include "program.h"

#define BYTES 4096

INLINE u64 program(u8 *memory) {
    u32 running = 0;
    FIXED_LOOP
    for (u32 i = 0; i < BYTES; i++) {
        running ^= memory[i];
        memory[BYTES + i] = running;
    }
    return running;
}

#include "entry.h"
