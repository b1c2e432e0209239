/* A hash of each text of a column. C99.
 *
 * Called through ctypes, which releases the GIL; checks nothing: columns.py has checked. Texts
 * are concatenated: row i has the bytes starts[i] to starts[i + 1].
 */
#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

static const uint64_t BASE = 0x9E3779B97F4A7C15u; /* 2^64 / golden ratio, odd */

/* A permutation of 64 bits: the finaliser of SplitMix64 (Steele, Lea, Flood 2014). */
static inline uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

static inline uint64_t word_at(const uint8_t *p) { /* the first byte lowest, on any machine */
    uint64_t word;
    memcpy(&word, p, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static inline uint64_t stirred(uint64_t lane, uint64_t word) {
    lane = (lane ^ word) * 0xBF58476D1CE4E5B9u;
    return (lane ^ lane >> 29) * BASE;
}

/* Four lanes, because each step waits for the one before it in its lane. Every step is a
 * permutation of the lane for a given word, so texts that differ in one word never meet; others
 * do with a chance of 2^-64. */
static uint64_t hash_of(const uint8_t *p, int64_t left) {
    uint64_t hash = mixed((uint64_t)left + BASE);
    uint8_t last[8] = {0};
    if (left >= 32) {
        uint64_t a = hash, b = hash + BASE, c = hash + 2 * BASE, d = hash + 3 * BASE;
        for (; left >= 32; left -= 32, p += 32) {
            a = stirred(a, word_at(p));
            b = stirred(b, word_at(p + 8));
            c = stirred(c, word_at(p + 16));
            d = stirred(d, word_at(p + 24));
        }
        hash = mixed(mixed(mixed(mixed(a) ^ b) ^ c) ^ d);
    }
    for (; left >= 8; left -= 8, p += 8) hash = stirred(hash, word_at(p));
    if (left) memcpy(last, p, (size_t)left);
    return mixed(hash ^ word_at(last));
}

EXPORT void fl_hash(const uint8_t *content, const int64_t *starts, int64_t num, uint64_t *out) {
    for (int64_t row = 0; row < num; row++)
        out[row] = hash_of(content + starts[row], starts[row + 1] - starts[row]);
}
