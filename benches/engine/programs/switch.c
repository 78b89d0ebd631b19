/* A byte-code machine of sixteen operations with an accumulator, over 1,024 bytes of code. */
#include "program.h"

INLINE u64 program(u8 *memory) {
    u64 a = 1, b = 2;
    FIXED_LOOP
    for (u32 at = 0; at < 1024; at++) {
        u32 code = memory[at], operand = code >> 4;
        switch (code & 15) {
        case 0: a += operand; break;
        case 1: a -= b; break;
        case 2: a ^= b << 7; break;
        case 3: a *= 0x10001; break;
        case 4: b += a; break;
        case 5: b ^= a >> 5; break;
        case 6: a |= operand; break;
        case 7: a = ~a; break;
        case 8: a = a << 3 | a >> 61; break;
        case 9: b -= operand; break;
        case 10: { u64 other = a; a = b; b = other; break; }
        case 11: a &= b | 0xff; break;
        case 12: b = b * 3 + 1; break;
        case 13: if (a & 1) b++; break;
        case 14: a += b >> operand; break;
        default: b = -b; break;
        }
    }
    return fold(a ^ b);
}

#include "entry.h"
