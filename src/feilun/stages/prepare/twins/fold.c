/* The twin keys of texts whose characters each stand for themselves. C99.
 *
 * Called through ctypes, which releases the GIL; checks nothing: keys.py has checked. Texts are
 * concatenated UTF-8: row i has the bytes starts[i] to starts[i + 1].
 *
 * Easy are ASCII, the Chinese characters of Unicode 1.1 (U+4E00 to U+9FA5), their full-width
 * forms of ASCII, and the punctuation of U+2010 to U+205E and U+3000 to U+3003, U+3008 to U+3011,
 * U+3014 to U+301B. NFKC and lower case change each of them without regard to its neighbours, as
 * long as all are of these; a test holds every one against Unicode's own tables.
 */
#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

static inline int kept_ascii(uint8_t c, uint8_t *out) {
    uint8_t lower = c | 0x20;
    if (c >= '0' && c <= '9') *out = c;
    else if (lower >= 'a' && lower <= 'z') *out = lower;
    else return 0;
    return 1;
}

enum { HARD = -1, DROPPED = 0, ASCII = 1, WHOLE = 3 };

/* What becomes of a character of three bytes: it stays whole, becomes the ASCII in *out, goes, or
 * is not easy. */
static inline int three_bytes(const uint8_t *p, uint8_t *out) {
    uint32_t c = (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
    if (c >= 0x4E00 && c <= 0x9FA5) return WHOLE;
    if (c >= 0xFF01 && c <= 0xFF5E) return kept_ascii((uint8_t)(c - 0xFEE0), out) ? ASCII : DROPPED;
    if (c >= 0x2010 && c <= 0x205E) return DROPPED;
    if (c >= 0x3000 && c <= 0x301B)
        return c <= 0x3003 || (c >= 0x3008 && c <= 0x3011) || c >= 0x3014 ? DROPPED : HARD;
    return HARD;
}

/* The key of one text at `out`, and its length; HARD where a character is not easy, or where
 * nothing is left. */
static int64_t fold(const uint8_t *p, const uint8_t *end, uint8_t *out) {
    uint8_t *to = out;
    while (p < end) {
        if (*p < 0x80) {
            to += kept_ascii(*p++, to);
            continue;
        }
        if (*p < 0xE0 || *p >= 0xF0 || end - p < 3) return HARD;
        int kind = three_bytes(p, to);
        if (kind == HARD) return HARD;
        if (kind == WHOLE) memcpy(to, p, 3);
        to += kind;
        p += 3;
    }
    return to == out ? HARD : to - out;
}

/* Folds the texts one after the other to `out` (room: all bytes); sizes[row] is -1 for those that
 * are not easy, which take no room. Returns the bytes written. */
EXPORT int64_t fl_fold(const uint8_t *content, const int64_t *starts, int64_t num, uint8_t *out,
                       int64_t *sizes) {
    uint8_t *to = out;
    for (int64_t row = 0; row < num; row++) {
        sizes[row] = fold(content + starts[row], content + starts[row + 1], to);
        if (sizes[row] > 0) to += sizes[row];
    }
    return to - out;
}

/* Puts the easy keys and the others together, row by row: sizes[row] bytes from `easy`, or where
 * that is -1 the next of `hard`. */
EXPORT void fl_together(const uint8_t *easy, const int64_t *sizes, const uint8_t *hard,
                        const int64_t *hard_starts, int64_t num, uint8_t *out) {
    int64_t next = 0;
    for (int64_t row = 0; row < num; row++) {
        int64_t size = sizes[row];
        if (size >= 0) {
            memcpy(out, easy, (size_t)size);
            easy += size;
        } else {
            size = hard_starts[next + 1] - hard_starts[next];
            memcpy(out, hard + hard_starts[next++], (size_t)size);
        }
        out += size;
    }
}
