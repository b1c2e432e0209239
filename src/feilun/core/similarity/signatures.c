/* Signatures of texts: shingles, one-permutation MinHash, digests, the keys of bands. C99.
 *
 * Threads may sign disjoint ranges of rows at once. Row i has the bytes starts[i] to
 * starts[i + 1] of `content`.
 */
#include "texts.h"

enum { BLOCK = 2048 };

/* A permutation of 64 bits: the finaliser of SplitMix64 (Steele, Lea, Flood 2014). */
static inline uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* ---- Signing ---------------------------------------------------------------------------- */

/* out[i]: 32 bits of the shingle c[i..i + ORDER), for the sketch only. */
WIDE static void shingle_bits(const uint32_t *c, int64_t num, uint32_t *restrict out) {
    const uint32_t base = 0x9E3779B1u;
    for (int64_t i = 0; i < num; i++) {
        uint32_t x = (c[i] * base + c[i + 1]) * base + c[i + 2];
        x = (x * base + c[i + 3]) * base + c[i + 4];
        x = (x ^ x >> 15) * 0x2C1B3C6Du;
        x = (x ^ x >> 12) * 0x297A2D39u;
        out[i] = x & 0xFFFFFFFEu; /* even, so never the mark of empty */
    }
}

/* For each slot an order of all slots, in which an empty one looks for a value to borrow: a
 * table that `fl_sign` is given. */
EXPORT void fl_lenders(uint8_t (*table)[SLOTS]) {
    uint64_t state = BASE;
    for (int slot = 0; slot < SLOTS; slot++) {
        for (int i = 0; i < SLOTS; i++) table[slot][i] = (uint8_t)i;
        for (int i = SLOTS - 1; i > 0; i--) {
            int other = (int)(mixed(state += BASE) % (uint64_t)(i + 1));
            uint8_t kept = table[slot][i];
            table[slot][i] = table[slot][other];
            table[slot][other] = kept;
        }
    }
}

/* One-permutation MinHash (Li, Owen, Zhang 2012): a shingle's top 7 bits say the slot, which
 * keeps the least one; an empty slot takes that of the first filled one in its own order
 * (optimal densification, Shrivastava 2017). Returns how many were filled; 0: no shingle. */
static int sketch(const uint8_t *at, const uint8_t *end, 
 const uint8_t (*table)[SLOTS], uint32_t *out) {
    uint32_t chars[BLOCK + ORDER - 1], bits[BLOCK], least[SLOTS];
    uint8_t empty[SLOTS];
    int64_t kept = 0; /* code points of the block before */
    memset(least, 0xFF, sizeof least);
    while (at < end) {
        int64_t have = kept + decode(&at, end, chars + kept, BLOCK), num = have - (ORDER - 1);
        if (num > 0) {
            shingle_bits(chars, num, bits);
            for (int64_t i = 0; i < num; i++) { /* no branch: many would be foreseen wrongly */
                uint32_t value = bits[i], *slot = least + (value >> 25);
                *slot = value < *slot ? value : *slot;
            }
        }
        kept = have < ORDER - 1 ? have : ORDER - 1;
        memmove(chars, chars + have - kept, (size_t)kept * sizeof *chars);
    }
    int empties = 0;
    for (int slot = 0; slot < SLOTS; slot++) {
        out[slot] = least[slot];
        empty[empties] = (uint8_t)slot;
        empties += least[slot] == UINT32_MAX;
    }
    if (empties == SLOTS) return 0;
    for (int i = 0; i < empties; i++) {
        const uint8_t *order = table[empty[i]];
        uint32_t value = UINT32_MAX;
        for (int try = 0; value == UINT32_MAX; try += 4) { /* four at once, again without a branch */
            uint32_t a = least[order[try]], b = least[order[try + 1]];
            uint32_t c = least[order[try + 2]], d = least[order[try + 3]];
            c = c == UINT32_MAX ? d : c;
            b = b == UINT32_MAX ? c : b;
            value = a == UINT32_MAX ? b : a;
        }
        out[empty[i]] = value;
    }
    return SLOTS - empties;
}

static Digest digest_of(const uint32_t *slots, int filled) {
    Digest made = {0, 0};
    for (int i = 0; i < 64; i++) made.low |= (uint64_t)(slots[i] * 0x9E3779B1u >> 31) << i;
    for (int i = 0; i < HIGH_BITS; i++)
        made.high |= (uint64_t)(slots[64 + i] * 0x9E3779B1u >> 31) << i;
    made.high |= (uint64_t)filled << HIGH_BITS;
    return made;
}

/* Of the rows first..last: digests[row], and keys[band * num + row]: 32 bits of `rows` slots
 * each. A row without shingles has no keys. */
EXPORT void fl_sign(const uint8_t *content, const int64_t *starts, int64_t num, int64_t first,
                    int64_t last, int64_t bands, int64_t rows, const uint8_t (*lenders)[SLOTS],
                    Digest *digests, uint32_t *keys) {
    uint32_t slots[SLOTS];
    for (int64_t row = first; row < last; row++) {
        int filled = sketch(content + starts[row], content + starts[row + 1],
                            lenders, slots);
        digests[row] = filled ? digest_of(slots, filled) : (Digest){0, 0};
        for (int64_t band = 0; filled && band < bands; band++) {
            uint64_t key = (uint64_t)band;
            for (int64_t i = 0; i < rows; i++) {
                key = (key ^ slots[band * rows + i]) * BASE;
                key ^= key >> 32;
            }
            keys[band * num + row] = (uint32_t)(mixed(key) >> 32);
        }
    }
}
