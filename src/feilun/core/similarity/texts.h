/* What signing and linking share: threads' rules, characters, digests. C99.
 *
 * Python calls the functions of signatures.c and links.c through ctypes, which releases the GIL;
 * there are no globals. What can fail returns NO_MEMORY or NO_TEXT; nothing else can, because
 * native.py checks every size first. Texts should be UTF-8; any other bytes are read within
 * their bounds as well.
 */
#ifndef FEILUN_TEXTS_H
#define FEILUN_TEXTS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/* Twice compiled, chosen when loaded; the arithmetic is of integers, so both say the same. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

enum { DONE = 0, NO_MEMORY = -1, NO_TEXT = -2 };
enum { SLOTS = 128, ORDER = 5 };

static const uint64_t BASE = 0x9E3779B97F4A7C15u; /* 2^64 / golden ratio, odd */

/* The code point at *at, which moves behind it, never beyond `end`. */
static inline uint32_t next_char(const uint8_t **at, const uint8_t *end) {
    const uint8_t *p = *at;
    uint32_t c = *p++;
    if (c >= 0xC0) {
        int more = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
        if (end - p < more) more = (int)(end - p);
        c &= 0xFFu >> (more + 2);
        for (int i = 0; i < more; i++) c = c << 6 | (*p++ & 0x3F);
    }
    *at = p;
    return c;
}

/* At most `room` code points from *at on, which moves behind them; returns how many. Eight
 * characters of ASCII go with one decision, and so do runs of three bytes (Chinese). */
static inline int eight_ascii(const uint8_t *p, uint32_t *out) {
    uint64_t eight;
    memcpy(&eight, p, 8);
    for (int i = 0; i < 8; i++) out[i] = p[i];
    return !(eight & 0x8080808080808080u);
}

static int64_t decode(const uint8_t **at, const uint8_t *end, uint32_t *out, int64_t room) {
    const uint8_t *p = *at;
    int64_t num = 0;
    while (num < room && p < end) {
        if (*p < 0x80 && end - p >= 8 && room - num >= 8 && eight_ascii(p, out + num)) {
            p += 8, num += 8;
            continue;
        }
        while (num < room && end - p >= 3 && (*p & 0xF0) == 0xE0) {
            uint32_t upper = (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6;
            out[num++] = upper | (p[2] & 0x3F);
            p += 3;
        }
        if (num < room && p < end) out[num++] = next_char(&p, end);
    }
    *at = p;
    return num;
}

/* What a row is known by before its text is read again: one bit of each of 120 slots, which
 * two texts share with a chance of (1 + J) / 2 (b-bit MinHash, Li and König 2010), and above
 * them the number of slots filled; that is 0 for a row that is in no band. */
typedef struct {
    uint64_t low, high;
} Digest;

enum { HIGH_BITS = 56 };
static const uint64_t HIGH = ((uint64_t)1 << HIGH_BITS) - 1;

#endif
