/* Clusters of near-duplicates: groups of rows with one key, exact verification, union-find. C99.
 *
 * Threads may link disjoint sets of records at once.
 */
#define _POSIX_C_SOURCE 200809L
#include "texts.h"

#include <unistd.h>

enum { FEW = 16, LONGEST_WALK = 128, MOST_CANDIDATES = 16 };   /* see `link_members` */
enum { PER_PART = 4096, MOST_PART_BITS = 11, MARK_BITS = 16 }; /* see `each_group` */
enum { FAILED_BITS = 14, AHEAD = 16 };

/* ---- Records: a key in the upper half, a row in the lower ------------------------------- */

/* Appends the rows whose digest says that they are in bands, and whose key >> shift is `part`
 * (shift 32: all); returns how many. `out` has room for `num`. */
EXPORT int64_t fl_pick(const uint32_t *keys, const Digest *digests, int64_t num, int64_t first,
                       int64_t shift, int64_t part, uint64_t *out) {
    int64_t kept = 0;
    for (int64_t i = 0; i < num; i++) {
        out[kept] = (uint64_t)keys[i] << 32 | (uint64_t)(first + i);
        kept += ((uint64_t)keys[i] >> shift == (uint64_t)part) & (digests[i].high > HIGH);
    }
    return kept;
}

/* The same of the upper halves of hashes, of every row. */
EXPORT int64_t fl_pick_hashes(const uint64_t *hashes, int64_t num, int64_t first, int64_t shift,
                              int64_t part, uint64_t *out) {
    int64_t kept = 0;
    for (int64_t i = 0; i < num; i++) {
        out[kept] = (hashes[i] >> 32) << 32 | (uint64_t)(first + i);
        kept += hashes[i] >> 32 >> shift == (uint64_t)part;
    }
    return kept;
}

/* ---- Clusters --------------------------------------------------------------------------- */

/* Union-find (Tarjan 1975) in which the root of a cluster is its first row. Threads may join at
 * once: only a root is ever hooked, below a smaller one, by compare-and-swap (Anderson and Woll
 * 1991), and a shortened path leads to an ancestor as well. */
static uint32_t root_of(uint32_t *parent, uint32_t row) {
    for (;;) {
        uint32_t up = __atomic_load_n(parent + row, __ATOMIC_RELAXED);
        if (up == row) return row;
        uint32_t above = __atomic_load_n(parent + up, __ATOMIC_RELAXED);
        if (above == up) return up;
        __atomic_store_n(parent + row, above, __ATOMIC_RELAXED);
        row = above;
    }
}

static void join(uint32_t *parent, uint32_t a, uint32_t b) {
    for (;;) {
        a = root_of(parent, a);
        b = root_of(parent, b);
        if (a == b) return;
        uint32_t low = a < b ? a : b, high = a < b ? b : a, expected = high;
        if (__atomic_compare_exchange_n(parent + high, &expected, low, 0, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
            return;
    }
}

/* All that is known of the rows; the same layout as `native.Rows`. Row i has the bytes
 * starts[i] to starts[i + 1] of `content` or, where that is NULL, of files: those from row
 * firsts[f] on lie in files[f], shifted by shifts[f]. */
typedef struct {
    const uint8_t *content;
    const int64_t *starts;
    const int64_t *files, *firsts, *shifts;
    int64_t num_files;
    const uint64_t *hashes;
    Digest *digests;
    const int32_t *allowed; /* per level and number of filled slots: bits that may differ */
    uint32_t *parent;
    double threshold;
} Rows;

typedef struct {
    Digest digest;
    uint64_t hash;
    uint32_t row;
} Member;

typedef struct {
    uint32_t place, stamp; /* where the shingle was last; the last comparison that had it, too */
} Slot;

typedef struct {
    uint64_t hash, slot;
} Step;

typedef struct {
    void *items;
    size_t bytes;
} Buffer;

typedef struct {
    const Rows *rows;
    Buffer text, chars, members, records, suspects, sorted;
    Buffer ours, theirs; /* sets of shingles by open addressing; 0 is free */
    Buffer facts, steps; /* of each slot of `ours`; of each shingle in its order */
    uint64_t our_mask, their_mask;
    int64_t our_num;
    uint32_t our_row, stamp; /* our_row: 1 + the row whose shingles are in `ours` */
    uint64_t failed[1 << FAILED_BITS];
    uint8_t marks[1 << MARK_BITS];
} Linker;

/* Room for `bytes`; what was in it is lost. New room is zero. */
static void *room(Buffer *buffer, size_t bytes) {
    if (bytes >= buffer->bytes) { /* also when both are 0: NULL only says that there is none */
        free(buffer->items);
        buffer->bytes = 0;
        if (bytes < (size_t)1 << 20) bytes += bytes / 2 + 64; /* not again for a little more */
        else bytes += 64;
        buffer->items = calloc(1, bytes);
        if (buffer->items) buffer->bytes = bytes;
    }
    return buffer->items;
}

static int64_t size_of(const Rows *rows, uint32_t row) {
    return rows->starts[row + 1] - rows->starts[row];
}

/* 0, and the bytes of `row` in *text, until the next call for a row of a file. */
static int text_of(Linker *l, uint32_t row, const uint8_t **text) {
    const Rows *rows = l->rows;
    if (rows->content) {
        *text = rows->content + rows->starts[row];
        return DONE;
    }
    int64_t size = size_of(rows, row), low = 0, high = rows->num_files;
    uint8_t *to = room(&l->text, (size_t)size + 1);
    if (!to) return NO_MEMORY;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (rows->firsts[middle] <= (int64_t)row) low = middle;
        else high = middle;
    }
    for (int64_t have = 0; have < size;) {
        ssize_t more = pread((int)rows->files[low], to + have, (size_t)(size - have),
                             (off_t)(rows->starts[row] + rows->shifts[low] + have));
        if (more <= 0) return NO_TEXT;
        have += more;
    }
    *text = to;
    return DONE;
}

/* ---- Verification ----------------------------------------------------------------------- */

typedef struct {
    const uint32_t *at, *end;
    uint64_t hash;
} Shingles;

/* The 64-bit hash of the next shingle, never 0. A polynomial in BASE modulo 2^64 rolls over the
 * last ORDER code points (Karp and Rabin 1987); one more product spreads it over all bits. */
static inline uint64_t shingle_next(Shingles *s) {
    const uint64_t power = BASE * BASE * BASE * BASE * BASE;
    const uint32_t *c = s->at++;
    uint64_t gone = c[-1] + (uint64_t)1;
    s->hash = s->hash * BASE + (c[ORDER - 1] + (uint64_t)1 - gone * power);
    uint64_t spread = (s->hash ^ s->hash >> 32) * 0xD6E8FEB86659FD93u;
    spread ^= spread >> 29;
    return spread + (spread == 0);
}

/* The number of shingles of `row`, and a walk over them; below 0: a failure. */
static int64_t shingles_of(Linker *l, uint32_t row, Shingles *s) {
    const uint8_t *text;
    int64_t size = size_of(l->rows, row);
    uint32_t *chars = room(&l->chars, ((size_t)size + 1) * sizeof *chars);
    if (!chars) return NO_MEMORY;
    int failure = text_of(l, row, &text);
    if (failure) return failure;
    chars[0] = 0; /* what leaves when the first shingle comes */
    int64_t num = decode(&text, text + size, chars + 1, size) - (ORDER - 1);
    if (num < 0) num = 0;
    s->at = chars + 1, s->end = s->at + num, s->hash = 1;
    for (int i = 0; num > 0 && i < ORDER - 1; i++) s->hash = s->hash * BASE + s->at[i] + 1;
    return num;
}

/* Where `hash` is, or the free slot where it would be. */
static inline uint64_t find(const uint64_t *slots, uint64_t mask, uint64_t hash) {
    uint64_t at = hash & mask;
    while (slots[at] && slots[at] != hash) at = (at + 1) & mask;
    return at;
}

static uint64_t *cleared(Buffer *buffer, int64_t most, uint64_t *mask) {
    uint64_t size = 64, wanted = (uint64_t)most * (most < 4096 ? 3 : 2); /* small: less crowded */
    while (size < wanted) size *= 2;
    uint64_t *slots = room(buffer, size * sizeof *slots);
    if (slots) memset(slots, 0, size * sizeof *slots);
    *mask = size - 1;
    return slots;
}

/* `ours` and what is said of it: the shingles of `row`, as a set and one after the other. */
static int set_ours(Linker *l, uint32_t row) {
    Shingles s;
    l->our_row = 0;
    int64_t num = shingles_of(l, row, &s);
    if (num < 0) return (int)num;
    uint64_t *slots = cleared(&l->ours, num, &l->our_mask);
    Slot *facts = room(&l->facts, ((size_t)l->our_mask + 1) * sizeof *facts);
    Step *steps = room(&l->steps, ((size_t)num + 1) * sizeof *steps);
    if (!slots || !facts || !steps) return NO_MEMORY;
    l->our_num = 0;
    for (uint32_t i = 0; s.at < s.end; i++) {
        uint64_t hash = shingle_next(&s), at = find(slots, l->our_mask, hash);
        l->our_num += slots[at] == 0;
        slots[at] = hash;
        facts[at].place = i;
        steps[i] = (Step){hash, at};
    }
    steps[num].hash = 0;
    l->our_row = row + 1;
    return DONE;
}

/* 1: the sets of shingles of both rows have a Jaccard similarity of `threshold` or more; 0: they
 * have not; below 0: a failure. Texts that are alike go along together for long: what follows
 * in one is first looked for behind the same in the other, then in the set. Stops where more
 * are foreign to `row` than could be. */
static int alike(Linker *l, uint32_t row, uint32_t other) {
    double threshold = l->rows->threshold - 1e-12;
    Shingles s;
    int failure = l->our_row == row + 1 ? DONE : set_ours(l, row);
    if (failure) return failure;
    int64_t num = shingles_of(l, other, &s), shared = 0, foreign = 0;
    if (num < 0) return (int)num;
    if ((double)num < threshold * (double)l->our_num) return 0;
    double bound = (double)l->our_num / threshold - (double)l->our_num + 1;
    int64_t most = bound < (double)num ? (int64_t)bound : num;
    uint64_t *theirs = cleared(&l->theirs, most + 1, &l->their_mask);
    if (!theirs) return NO_MEMORY;
    const uint64_t *ours = l->ours.items;
    const Step *steps = l->steps.items, *step = steps;
    Slot *facts = l->facts.items;
    uint32_t stamp = ++l->stamp;
    while (s.at < s.end) {
        uint64_t hash = shingle_next(&s), at;
        if (step->hash != hash) {
            at = find(ours, l->our_mask, hash);
            if (!ours[at]) {
                at = find(theirs, l->their_mask, hash);
                foreign += theirs[at] == 0;
                theirs[at] = hash;
                if (foreign > most) return 0;
                continue;
            }
            step = steps + facts[at].place;
        }
        at = step++->slot;
        shared += facts[at].stamp != stamp;
        facts[at].stamp = stamp;
    }
    return (double)shared / (double)(l->our_num + foreign) >= threshold;
}

/* 1: the rows have the same bytes. */
static int equal(Linker *l, uint32_t row, uint32_t other) {
    const uint8_t *one, *two;
    int64_t size = size_of(l->rows, row);
    if (size != size_of(l->rows, other)) return 0;
    int failure = text_of(l, row, &one);
    if (failure) return failure;
    if (!l->rows->content) {
        uint8_t *kept = room(&l->chars, (size_t)size + 1);
        if (!kept) return NO_MEMORY;
        memcpy(kept, one, (size_t)size);
        one = kept;
    }
    failure = text_of(l, other, &two);
    return failure ? failure : memcmp(one, two, (size_t)size) == 0;
}

/* ---- Groups: the rows of one key -------------------------------------------------------- */

/* Joins rows with the same text to the first of them, and takes the others out of the bands. */
static int join_group(Linker *l, const uint64_t *group, int64_t num) {
    const Rows *rows = l->rows;
    for (int64_t i = 0; i + 1 < num; i++) {
        uint32_t first = (uint32_t)group[i];
        if (rows->parent[first] != first) continue;
        for (int64_t j = i + 1; j < num; j++) {
            uint32_t other = (uint32_t)group[j];
            if (rows->hashes[other] != rows->hashes[first]) continue;
            if (rows->parent[other] != other) continue;
            int answer = equal(l, first, other);
            if (answer < 0) return answer;
            if (!answer) continue;
            rows->parent[other] = first;
            rows->digests[other] = (Digest){0, 0};
        }
    }
    return DONE;
}

static inline int ones(uint64_t x) { /* an idiom: the compiler knows it */
    x -= x >> 1 & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
    return (int)(((x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * 0x0101010101010101u >> 56);
}

static int by_content(const void *one, const void *two) {
    const Member *a = one, *b = two;
    if (a->hash != b->hash) return a->hash < b->hash ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

/* Compares and joins two rows, unless they are together already: that, and what has failed
 * before, changes only the time. */
static int compare(Linker *l, uint32_t row, uint32_t other) {
    if (root_of(l->rows->parent, row) == root_of(l->rows->parent, other)) return DONE;
    uint64_t pair = (uint64_t)row << 32 | other;
    uint64_t *failed = l->failed + (pair * BASE >> (64 - FAILED_BITS));
    if (*failed == pair) return DONE;
    int answer = alike(l, row, other);
    if (answer > 0) join(l->rows->parent, row, other);
    else if (answer == 0) *failed = pair;
    return answer < 0 ? answer : DONE;
}

/* Compares the rows of a group with each other, where their digests let them be alike.
 *
 * Which pairs are compared is a matter of the texts in the group alone, never of what is joined
 * already: so the partition is the same for any order of rows and bands and any threads. A
 * phrase that a tenth of the corpus has makes groups of a tenth of the corpus: in a group of
 * more than FEW a row, in the order of their hashes, meets LONGEST_WALK others at most and is
 * compared with MOST_CANDIDATES, the digests being asked for more from one to the next, so that
 * the work per row does not grow with the corpus. Real near-duplicates meet again in bands
 * without that phrase. */
WIDE static int link_members(Linker *l, Member *members, int64_t num) {
    const int32_t *allowed = l->rows->allowed;
    for (int64_t i = 1; i < num; i++) {
        const Member *mine = members + i;
        int candidates = 0;
        for (int64_t j = i - 1; j >= 0 && j >= i - LONGEST_WALK; j--) {
            const Digest a = mine->digest, b = members[j].digest;
            int level = num <= FEW || candidates < 2 ? 0 : candidates < 6 ? 1 : 2;
            uint64_t filled = (a.high < b.high ? a.high : b.high) >> HIGH_BITS;
            int apart = ones(a.low ^ b.low) + ones((a.high ^ b.high) & HIGH);
            if (apart > allowed[level * (SLOTS + 1) + (int64_t)filled]) continue;
            int failure = compare(l, mine->row, members[j].row);
            if (failure) return failure;
            if (++candidates == MOST_CANDIDATES) break;
        }
    }
    return DONE;
}

static int link_group(Linker *l, const uint64_t *group, int64_t num) {
    const Rows *rows = l->rows;
    Member *members = room(&l->members, (size_t)num * sizeof *members);
    if (!members) return NO_MEMORY;
    for (int64_t i = 0; i < num; i++) {
        uint32_t row = (uint32_t)group[i];
        members[i] = (Member){rows->digests[row], num > FEW ? rows->hashes[row] : 0, row};
    }
    if (num > FEW) qsort(members, (size_t)num, sizeof *members, by_content);
    return link_members(l, members, num);
}

typedef int Handler(Linker *l, const uint64_t *group, int64_t num);

/* By keys, and rows of a key as they were: by insertion, or byte by byte of the key. */
static int sort(Linker *l, uint64_t *items, int64_t num) {
    if (num <= 32) {
        for (int64_t i = 1, j; i < num; i++) {
            uint64_t item = items[i];
            for (j = i; j > 0 && items[j - 1] >> 32 > item >> 32; j--) items[j] = items[j - 1];
            items[j] = item;
        }
        return DONE;
    }
    uint64_t *other = room(&l->sorted, (size_t)num * sizeof *other), *from = items;
    uint32_t places[4][256] = {{0}};
    if (!other) return NO_MEMORY;
    for (int64_t i = 0; i < num; i++)
        for (int byte = 0; byte < 4; byte++) places[byte][items[i] >> (32 + 8 * byte) & 255]++;
    for (int byte = 0; byte < 4; byte++) {
        int shift = 32 + 8 * byte;
        uint32_t *place = places[byte], sum = 0;
        if (place[from[0] >> shift & 255] == num) continue; /* all have it */
        for (int i = 0; i < 256; i++) {
            uint32_t here = place[i];
            place[i] = sum;
            sum += here;
        }
        for (int64_t i = 0; i < num; i++) other[place[from[i] >> shift & 255]++] = from[i];
        uint64_t *swapped = from;
        from = other;
        other = swapped;
    }
    if (from != items) memcpy(items, from, (size_t)num * sizeof *items);
    return DONE;
}

/* Hands over every group in records[0..num), whose keys agree above bit `top` of a record. Most
 * keys are alone: a table of marks sorts them out, without a decision. */
static int groups_in(Linker *l, const uint64_t *records, int64_t num, int top, Handler *handle) {
    uint64_t *suspects = room(&l->suspects, (size_t)num * sizeof *suspects);
    if (!suspects) return NO_MEMORY;
    int bits = 6;
    while (bits < MARK_BITS && bits < top - 32 && (int64_t)1 << bits < 16 * num) bits++;
    int shift = top - bits;
    uint64_t mask = ((uint64_t)1 << bits) - 1;
    int64_t kept = 0;
    memset(l->marks, 0, (size_t)1 << bits);
    for (int64_t i = 0; i < num; i++) {
        uint8_t *mark = l->marks + (records[i] >> shift & mask);
        *mark = (uint8_t)(*mark << 1 | 1); /* 0, 1, 3, … 255, 255 */
    }
    for (int64_t i = 0; i < num; i++) {
        suspects[kept] = records[i];
        kept += l->marks[records[i] >> shift & mask] > 1;
    }
    if (sort(l, suspects, kept)) return NO_MEMORY;
    for (int64_t first = 0, last; first < kept; first = last) {
        uint64_t key = suspects[first] >> 32;
        if (first + AHEAD < kept)
            __builtin_prefetch(l->rows->digests + (uint32_t)suspects[first + AHEAD]);
        for (last = first + 1; last < kept && suspects[last] >> 32 == key;) last++;
        int failure = last - first > 1 ? handle(l, suspects + first, last - first) : DONE;
        if (failure) return failure;
    }
    return DONE;
}

/* The same for any number, of which the keys agree in their upper `known` bits: in parts that
 * fit the cache, so that the time per record does not grow with the corpus. */
static int each_group(Linker *l, const uint64_t *records, int64_t num, int known, Handler *handle) {
    int64_t ends[(1 << MOST_PART_BITS) + 1] = {0};
    int bits = 0;
    while (bits < MOST_PART_BITS && num >> bits > PER_PART) bits++;
    if (bits == 0) return groups_in(l, records, num, 64 - known, handle);
    int shift = 64 - known - bits;
    uint64_t mask = ((uint64_t)1 << bits) - 1, *sorted = room(&l->records, (size_t)num * 8);
    if (!sorted) return NO_MEMORY;
    for (int64_t i = 0; i < num; i++) ends[(records[i] >> shift & mask) + 1]++;
    for (uint64_t part = 0; part <= mask; part++) ends[part + 1] += ends[part];
    for (int64_t i = 0; i < num; i++) sorted[ends[records[i] >> shift & mask]++] = records[i];
    for (uint64_t part = 0; part <= mask; part++) {
        int64_t first = part ? ends[part - 1] : 0;
        int failure = groups_in(l, sorted + first, ends[part] - first, shift, handle);
        if (failure) return failure;
    }
    return DONE;
}

/* Joins the rows of `records` that are equal (`twins`) or alike. Their keys agree in the upper
 * `known` bits, at most 8; no other thread has a record with one of their keys. */
EXPORT int64_t fl_link(const Rows *rows, const uint64_t *records, int64_t num, int64_t known,
                       int64_t twins) {
    Linker *l = calloc(1, sizeof *l);
    if (!l) return NO_MEMORY;
    l->rows = rows;
    int answer = each_group(l, records, num, (int)known, twins ? join_group : link_group);
    Buffer *all[] = {&l->text, &l->chars, &l->members, &l->records, &l->suspects,
                     &l->sorted, &l->ours, &l->theirs, &l->facts, &l->steps};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]->items);
    free(l);
    return answer;
}

/* parent[row] becomes the first row of the cluster. */
EXPORT void fl_flatten(uint32_t *parent, int64_t num) {
    for (int64_t row = 0; row < num; row++) parent[row] = parent[parent[row]];
}
