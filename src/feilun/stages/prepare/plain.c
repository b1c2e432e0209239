/* Texts written in one way (NFKC), where every character stands for itself. C99.
 *
 * Called through ctypes, which releases the GIL; checks nothing: nfkc.py has checked. Texts are
 * concatenated UTF-8: row i has the bytes starts[i] to starts[i + 1].
 *
 * Easy are the visible characters of ASCII, its space and the full-width one, the Chinese
 * characters of Unicode 1.1 (U+4E00 to U+9FA5), the full-width forms of ASCII, and the punctuation
 * of U+2012 to U+2016, U+2018 to U+201F, U+2026, U+3001 to U+3003, U+3008 to U+3011 and U+3014 to
 * U+301B.
 * NFKC changes each of them without regard to its neighbours, as long as all are of these; a test
 * holds every one against Unicode's own tables.
 */
#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

enum { HARD = -1 };

/* Writes a character of three bytes, returns how many bytes that made; HARD if it is not easy. */
static inline int three_bytes(const uint8_t *p, uint8_t *out) {
    uint32_t c = (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
    if (c >= 0xFF01 && c <= 0xFF5E) {
        *out = (uint8_t)(c - 0xFEE0);
        return 1;
    }
    if (c == 0x2026) {
        memset(out, '.', 3);
        return 3;
    }
    int same = (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x2012 && c <= 0x201F && c != 0x2017) ||
               (c >= 0x3001 && c <= 0x301B && (c <= 0x3003 || c >= 0x3014 ||
                                              (c >= 0x3008 && c <= 0x3011)));
    if (!same) return HARD;
    memcpy(out, p, 3);
    return 3;
}

/* The bytes of a text written anew at `out`, runs of spaces as one and none at the ends; HARD
 * where a character is not easy. */
static int64_t write(const uint8_t *p, const uint8_t *end, uint8_t *out) {
    uint8_t *to = out;
    int apart = 0; /* whether a space stands before what comes next */
    while (p < end) {
        int wide = *p >= 0x80;
        if (wide && (*p < 0xE0 || *p >= 0xF0 || end - p < 3)) return HARD;
        if (*p == ' ' || (*p == 0xE3 && p[1] == 0x80 && p[2] == 0x80)) { /* U+3000 */
            apart = to > out;
            p += wide ? 3 : 1;
            continue;
        }
        if (apart) {
            *to++ = ' ';
            apart = 0;
        }
        if (wide) {
            int size = three_bytes(p, to);
            if (size == HARD) return HARD;
            to += size;
            p += 3;
        } else {
            if (*p < ' ' || *p == 0x7F) return HARD;
            *to++ = *p++;
        }
    }
    return to - out;
}

/* Writes the texts one after the other to `out` (room: all bytes) and where each begins to
 * `found` (one more than texts). `hard` becomes 1 for those that are not easy, which are empty
 * in `out`, and 0 for the others. */
EXPORT void fl_plain(const uint8_t *content, const int64_t *starts, int64_t num, uint8_t *out,
                     int64_t *found, uint8_t *hard) {
    int64_t at = 0;
    for (int64_t row = 0; row < num; row++) {
        int64_t size = write(content + starts[row], content + starts[row + 1], out + at);
        found[row] = at;
        hard[row] = size == HARD;
        if (size != HARD) at += size;
    }
    found[num] = at;
}
