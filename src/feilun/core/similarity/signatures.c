/* Near-duplicate texts: shingles, one-permutation MinHash, banding, exact verification. C99.
 *
 * Python calls these through ctypes, which releases the GIL; there are no globals, and every
 * function works only on what it is given, so threads may sign disjoint ranges of rows at once.
 * Those that allocate return NO_MEMORY when they cannot; nothing else can fail, because
 * native.py checks every size first. Texts are concatenated: row i has the bytes starts[i] to
 * starts[i + 1]. They should be UTF-8; any other bytes are read within their bounds as well.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

enum { DONE = 0, NO_MEMORY = -1 };
enum { SLOTS = 128, ORDER = 5 };
enum { LONGEST_WALK = 128, MOST_FAILURES = 16 }; /* per row and band; see `link_row` */

typedef struct {
    const uint8_t *content;
    const int64_t *starts;
} Texts;

/* ---- Shingles --------------------------------------------------------------------------- */

static const uint64_t BASE = 0x9E3779B97F4A7C15u; /* 2^64 / golden ratio, odd */

/* A permutation of 64 bits: the finaliser of SplitMix64 (Steele, Lea, Flood 2014). */
static inline uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* The code point at *at, which moves behind it, never beyond `end`. */
static inline uint32_t next_char(const uint8_t **at, const uint8_t *end) {
    const uint8_t *p = *at;
    uint32_t c = *p++;
    if (c >= 0xE0 && c < 0xF0 && end - p >= 2) { /* Chinese, without the loop */
        c = (c & 0x0F) << 12 | (uint32_t)(p[0] & 0x3F) << 6 | (p[1] & 0x3F);
        p += 2;
    } else if (c >= 0xC0) {
        int more = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
        if (end - p < more) more = (int)(end - p);
        c &= 0xFFu >> (more + 2);
        for (int i = 0; i < more; i++) c = c << 6 | (*p++ & 0x3F);
    }
    *at = p;
    return c;
}

/* Walks over the hashes of a text's shingles. A polynomial in BASE modulo 2^64 rolls over the
 * last ORDER code points (Karp and Rabin 1987); one more product spreads it over all bits: a
 * step of `mixed`, whose other one finds nothing more and takes a fifth of the time. */
typedef struct {
    const uint8_t *at, *end;
    uint64_t hash, power;       /* power: BASE^ORDER */
    uint64_t w0, w1, w2, w3, w4; /* the last ORDER code points: registers, not an array */
} Shingles;

static inline int shingle_next(Shingles *s, uint64_t *out) {
    if (s->at == s->end) return 0;
    uint64_t c = (uint64_t)next_char(&s->at, s->end) + 1;
    s->hash = s->hash * BASE + (c - s->w0 * s->power);
    s->w0 = s->w1, s->w1 = s->w2, s->w2 = s->w3, s->w3 = s->w4, s->w4 = c;
    uint64_t spread = (s->hash ^ s->hash >> 32) * 0xD6E8FEB86659FD93u;
    *out = spread ^ spread >> 29;
    return 1;
}

/* 1 and the first shingle in *first, or 0: the text is shorter than a shingle. */
static inline int shingles_begin(Shingles *s, Texts t, int64_t row, uint64_t *first) {
    memset(s, 0, sizeof *s);
    s->at = t.content + t.starts[row];
    s->end = t.content + t.starts[row + 1];
    s->power = BASE * BASE * BASE * BASE * BASE;
    for (int i = 0; i < ORDER; i++)
        if (!shingle_next(s, first)) return 0;
    return 1;
}

/* ---- Signing ---------------------------------------------------------------------------- */

/* The whole text in 64 bits: rows are ordered by it, and equal texts found. */
static uint64_t whole(Texts t, int64_t row) {
    const uint8_t *p = t.content + t.starts[row];
    int64_t left = t.starts[row + 1] - t.starts[row];
    uint64_t hash = mixed((uint64_t)left + BASE), word;
    for (; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        hash = (hash ^ word) * BASE;
        hash ^= hash >> 32;
    }
    word = 0;
    if (left) memcpy(&word, p, (size_t)left);
    return mixed((hash ^ word) * BASE);
}

/* For each slot an order of all slots, in which an empty one looks for a value to borrow. */
static void lenders(uint8_t (*table)[SLOTS]) {
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
 * keeps its least value; an empty slot takes that of the first filled one in its own order
 * (optimal densification, Shrivastava 2017). 0: the text has no shingle. */
static int sketch(Texts t, int64_t row, const uint8_t (*table)[SLOTS], uint32_t *out) {
    uint32_t least[SLOTS];
    uint64_t hash;
    Shingles s;
    if (!shingles_begin(&s, t, row, &hash)) return 0;
    memset(least, 0xFF, sizeof least);
    do {
        uint32_t slot = (uint32_t)(hash >> 57), value = (uint32_t)hash & 0xFFFFFFFEu;
        /* Even, so never the mark of empty. No branch: half of them would be foreseen wrongly. */
        least[slot] = value < least[slot] ? value : least[slot];
    } while (shingle_next(&s, &hash));
    for (int slot = 0; slot < SLOTS; slot++) {
        uint32_t value = least[slot];
        for (int i = 0; value == UINT32_MAX; i++) value = least[table[slot][i]];
        out[slot] = value;
    }
    return 1;
}

/* Of the rows first..last: hashes[row]; shingled[row]; and keys[band * num + row], 32 bits
 * of `rows` slots each. A row without shingles has no keys. */
EXPORT int64_t fl_sign(const uint8_t *content, const int64_t *starts, int64_t num, int64_t first,
                       int64_t last, int64_t bands, int64_t rows, uint64_t *hashes,
                       uint8_t *shingled, uint32_t *keys) {
    Texts t = {content, starts};
    uint32_t slots[SLOTS];
    uint8_t(*table)[SLOTS] = malloc(SLOTS * sizeof *table);
    if (!table) return NO_MEMORY;
    lenders(table);
    for (int64_t row = first; row < last; row++) {
        hashes[row] = whole(t, row);
        shingled[row] = (uint8_t)sketch(t, row, (const uint8_t(*)[SLOTS])table, slots);
        if (!shingled[row]) continue;
        for (int64_t band = 0; band < bands; band++) {
            uint64_t key = (uint64_t)band;
            for (int64_t i = 0; i < rows; i++) {
                key = (key ^ slots[band * rows + i]) * BASE;
                key ^= key >> 32;
            }
            keys[band * num + row] = (uint32_t)(mixed(key) >> 32);
        }
    }
    free(table);
    return DONE;
}

/* ---- Clusters --------------------------------------------------------------------------- */

/* Union-find (Tarjan 1975) in which the root of a cluster is its first row. */
static uint32_t root_of(uint32_t *parent, uint32_t row) {
    while (parent[row] != row) {
        parent[row] = parent[parent[row]];
        row = parent[row];
    }
    return row;
}

static void join(uint32_t *parent, uint32_t a, uint32_t b) {
    a = root_of(parent, a);
    b = root_of(parent, b);
    if (a < b) parent[b] = a;
    else parent[a] = b;
}

static int same(Texts t, uint32_t a, uint32_t b) {
    int64_t size = t.starts[a + 1] - t.starts[a];
    return size == t.starts[b + 1] - t.starts[b] &&
           memcmp(t.content + t.starts[a], t.content + t.starts[b], (size_t)size) == 0;
}

/* Joins equal texts. `order` holds every row by (hash, row); what is left in it, as many as
 * are returned, is one row of each text that has shingles. */
EXPORT int64_t fl_join_equal(const uint8_t *content, const int64_t *starts, uint32_t *order,
                             int64_t num, const uint64_t *hashes, const uint8_t *shingled,
                             uint32_t *parent) {
    Texts t = {content, starts};
    int64_t kept = 0;
    uint32_t first = 0;
    for (int64_t i = 0; i < num; i++) {
        uint32_t row = order[i];
        if (i > 0 && hashes[row] == hashes[first] && same(t, row, first)) {
            join(parent, row, first);
            continue;
        }
        first = row;
        if (shingled[row]) order[kept++] = row;
    }
    return kept;
}

/* A set of hashes by open addressing; 0 is free, and a hash of 0 counts as 1. */
typedef struct {
    uint64_t *slots, mask;
    int64_t capacity, num;
} Set;

static int set_clear(Set *set, int64_t most) {
    int64_t size = 64;
    while (size < 2 * most) size *= 2;
    if (size > set->capacity) {
        free(set->slots);
        set->capacity = 0;
        set->slots = (uint64_t)size > SIZE_MAX / 8 ? NULL : malloc((size_t)size * 8);
        if (!set->slots) return NO_MEMORY;
        set->capacity = size;
    }
    memset(set->slots, 0, (size_t)size * 8);
    set->mask = (uint64_t)size - 1;
    set->num = 0;
    return DONE;
}

/* Where `hash` is, or the free slot where it would be. */
static inline uint64_t *set_find(const Set *set, uint64_t hash) {
    uint64_t at = hash & set->mask;
    while (set->slots[at] && set->slots[at] != hash) at = (at + 1) & set->mask;
    return set->slots + at;
}

static int set_of(Set *set, Texts t, uint32_t row) {
    uint64_t hash;
    Shingles s;
    if (set_clear(set, t.starts[row + 1] - t.starts[row])) return NO_MEMORY;
    if (!shingles_begin(&s, t, row, &hash)) return DONE;
    do {
        hash += hash == 0;
        uint64_t *slot = set_find(set, hash);
        set->num += *slot == 0;
        *slot = hash;
    } while (shingle_next(&s, &hash));
    return DONE;
}

typedef struct {
    Texts texts;
    const uint32_t *keys; /* of a band from band * num_rows: together, so that they stay cached */
    int64_t bands, num_rows;
    int64_t least; /* bands that two rows must share to be compared */
    double threshold;
    uint32_t *parent;
    uint32_t *heads, *nexts; /* buckets of the band at hand: 1 + row; 0 ends */
    int shift;               /* a key's bucket: its product with BASE, shifted right */
    Set ours, theirs;
} Linker;

/* |A ∩ B| / |A ∪ B| of the set `ours` and the shingles of `row`; below 0: no memory. */
static double jaccard(Linker *l, uint32_t row) {
    int64_t shared = 0;
    uint64_t hash;
    Shingles s;
    Set *set = &l->theirs;
    if (set_clear(set, l->texts.starts[row + 1] - l->texts.starts[row])) return NO_MEMORY;
    if (!shingles_begin(&s, l->texts, row, &hash)) return 0;
    do {
        hash += hash == 0;
        uint64_t *slot = set_find(set, hash);
        if (*slot) continue;
        *slot = hash;
        set->num++;
        shared += *set_find(&l->ours, hash) != 0;
    } while (shingle_next(&s, &hash));
    return (double)shared / (double)(l->ours.num + set->num - shared);
}

static int share_bands(const Linker *l, uint32_t a, uint32_t b, int64_t wanted) {
    const uint32_t *keys = l->keys;
    for (int64_t left = l->bands; left >= wanted && wanted > 0; left--, keys += l->num_rows)
        wanted -= keys[a] == keys[b];
    return wanted <= 0;
}

/* Compares `row` with those before it that have its key, newest first.
 *
 * A phrase that a tenth of the corpus has makes buckets of a tenth of the corpus: there a row
 * is compared with LONGEST_WALK others at most, and each failure asks the next for one more
 * band in common (a pair at the threshold has about eight), so that the work per row does not
 * grow with the corpus. Real near-duplicates meet again in bands without that phrase. */
static int link_row(Linker *l, uint32_t row, const uint32_t *keys, uint32_t head) {
    int64_t failures = 0;
    int built = 0;
    for (int walked = 0; head && walked < LONGEST_WALK; walked++, head = l->nexts[head - 1]) {
        uint32_t other = head - 1;
        if (keys[other] != keys[row]) continue;
        if (root_of(l->parent, other) == root_of(l->parent, row)) continue;
        int64_t wanted = failures < 2 ? 1 : failures < 6 ? failures : 5;
        if (wanted > l->bands / 4) wanted = l->bands / 4;
        if (wanted < l->least) wanted = l->least;
        if (wanted > 1 && !share_bands(l, row, other, wanted)) continue;
        if (!built && set_of(&l->ours, l->texts, row)) return NO_MEMORY;
        built = 1;
        double likeness = jaccard(l, other);
        if (likeness < 0) return NO_MEMORY;
        if (likeness >= l->threshold - 1e-12) join(l->parent, row, other);
        else if (++failures == MOST_FAILURES) break;
    }
    return DONE;
}

static int link_all(Linker *l, const uint32_t *order, int64_t num, size_t num_heads) {
    for (int64_t band = 0; band < l->bands; band++) {
        const uint32_t *keys = l->keys + band * l->num_rows;
        memset(l->heads, 0, num_heads * sizeof *l->heads);
        for (int64_t i = 0; i < num; i++) {
            uint32_t row = order[i];
            uint64_t bucket = keys[row] * BASE >> l->shift;
            uint32_t head = l->heads[bucket];
            if (head && link_row(l, row, keys, head)) return NO_MEMORY;
            l->nexts[row] = head;
            l->heads[bucket] = row + 1;
        }
    }
    return DONE;
}

/* Joins in `parent` (of num_rows) the rows of `order` whose shingle sets are that alike. */
EXPORT int64_t fl_link(const uint8_t *content, const int64_t *starts, const uint32_t *order,
                       int64_t num, int64_t num_rows, const uint32_t *keys, int64_t bands,
                       int64_t least, double threshold, uint32_t *parent) {
    Linker l = {.texts = {content, starts}, .keys = keys, .bands = bands,
                .num_rows = num_rows, .least = least, .threshold = threshold, .parent = parent, .shift = 63};
    size_t num_heads = 2;
    while (num_heads < 2 * (uint64_t)num && l.shift > 32) num_heads *= 2, l.shift--;
    l.heads = malloc(num_heads * sizeof *l.heads);
    l.nexts = malloc(((size_t)num_rows + 1) * sizeof *l.nexts);
    int64_t answer = l.heads && l.nexts ? link_all(&l, order, num, num_heads) : NO_MEMORY;
    free(l.heads);
    free(l.nexts);
    free(l.ours.slots);
    free(l.theirs.slots);
    return answer;
}

/* parent[row] becomes the first row of the cluster. */
EXPORT void fl_flatten(uint32_t *parent, int64_t num) {
    for (int64_t row = 0; row < num; row++) parent[row] = parent[parent[row]];
}
