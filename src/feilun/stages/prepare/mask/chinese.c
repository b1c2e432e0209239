/* Chinese names of persons in a column of texts: every surname with one or two characters behind
 * it, scored by a sum of weights. C99.
 *
 * Called through ctypes, which releases the GIL; checks nothing: scorer.py has checked. Texts are
 * concatenated UTF-8: row i has the bytes starts[i] to starts[i + 1]. Places are told in
 * characters. Time and memory are linear in a text but for the sort of its candidates.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

enum { HAN = 20992, EDGE = HAN, DIGIT, LETTER, SPACE, COMMA, LIST, STOP, COLON, OPENS, CLOSES, DOT,
       OTHER, SYMBOLS };
enum { FAMILY1, FAMILY2, GIVEN1, FIRST, SECOND, LEFT, RIGHT, ENDING, BEGINNING, COST, WEIGHTS };
enum { STRONG = 1, WEAK = 2, TITLE = 4, SPEECH = 8, CUES = 15, CUT = 16, OPENER = 32, COMPOUND = 128 };
enum { REPEATED = 4, CUT_UP, OPENED, LISTED }; /* the last of `bonus`, behind those of the cues */
enum { PIECE = 1 << 20 }; /* bytes of a long text that are looked at together */
enum { NONE = -32768, LONGEST = 4, FIELDS = 16, NEW_CHARACTER = 2000, MOST = 65536 };

typedef struct {
    const uint64_t *keys; /* words of two to four characters, 16 bits each; 0: free */
    const int16_t *cost, *left, *right;
    const uint8_t *cue;
    const int16_t *symbols; /* WEIGHTS of each symbol */
    const int16_t *bias, *margin, *inner, *head, *whole, *bonus;
    int64_t mask;
    int64_t threshold, low; /* from which a candidate is a name, or the repetition of one */
    int64_t announced;      /* not 0: only with a cue */
} Table;

typedef struct {
    uint64_t key;
    int32_t start, length, score;
} Found;

typedef struct {
    int32_t *symbol;    /* of each character */
    int32_t *character; /* its code point */
    int32_t (*slot)[LONGEST + 1];
    int32_t *alpha, *beta;
    uint8_t *last, *next; /* length of the word that ends (begins) here on the best way */
    Found *found;
    int64_t *best;
    int32_t *taken;
} Work;

static inline int32_t symbol_of(uint32_t c) {
    if (c >= 0x4E00 && c < 0x4E00 + HAN) return (int32_t)c - 0x4E00;
    if (c < 128) {
        if (c >= '0' && c <= '9') return DIGIT;
        if ((c | 32) >= 'a' && (c | 32) <= 'z') return LETTER;
        switch (c) {
        case ' ': case '\t': return SPACE;
        case ',': case ';': return COMMA;
        case '.': case '!': case '?': case '\n': case '\r': case '~': return STOP;
        case ':': return COLON;
        case '(': case '[': case '<': case '{': return OPENS;
        case ')': case ']': case '>': case '}': return CLOSES;
        default: return OTHER;
        }
    }
    switch (c) {
    case 0x3000: case 0xA0: return SPACE;
    case 0xFF0C: case 0xFF1B: return COMMA;
    case 0x3001: return LIST;
    case 0x3002: case 0xFF01: case 0xFF1F: case 0x2026: case 0xFF5E: case 0xFF0E: return STOP;
    case 0xFF1A: return COLON;
    case 0xFF08: case 0x300A: case 0x201C: case 0x2018: case 0x3010: case 0x300C: return OPENS;
    case 0xFF09: case 0x300B: case 0x201D: case 0x2019: case 0x3011: case 0x300D: return CLOSES;
    case 0xB7: case 0x2022: case 0x30FB: case 0x2027: return DOT;
    default: break;
    }
    if (c >= 0xFF10 && c <= 0xFF19) return DIGIT;
    return (c >= 0xFF21 && c <= 0xFF5A) || (c >= 0xC0 && c < 0x250) ? LETTER : OTHER;
}

static int32_t decode(const uint8_t *p, const uint8_t *end, Work *w) {
    int32_t n = 0;
    while (p < end) {
        uint32_t c = *p;
        int more = c < 0x80 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
        if (more) c &= 0x3Fu >> more;
        for (p++; more && p < end; more--) c = c << 6 | (*p++ & 0x3Fu);
        w->character[n] = (int32_t)c;
        w->symbol[n++] = symbol_of(c);
    }
    return n;
}

static inline int32_t lookup(const Table *t, uint64_t key) {
    uint64_t at = (key * 0x9E3779B97F4A7C15u) >> 20;
    for (;; at++) {
        at &= (uint64_t)t->mask;
        if (t->keys[at] == key) return (int32_t)at;
        if (!t->keys[at]) return -1;
    }
}

static inline uint64_t packed(const int32_t *c, int length) {
    uint64_t key = 0;
    for (int k = 0; k < length; k++) key = key << 16 | (uint64_t)(c[k] & 0xFFFF);
    return key;
}

static inline int weight(const Table *t, int32_t symbol, int which) {
    return t->symbols[(int64_t)symbol * WEIGHTS + which];
}

static inline int32_t word_cost(const Table *t, const Work *w, int32_t at, int length) {
    if (length == 1) {
        int cost = weight(t, w->symbol[at], COST);
        return cost ? cost : NEW_CHARACTER;
    }
    return w->slot[at][length] < 0 ? INT32_MAX / 4 : t->cost[w->slot[at][length]];
}

/* The cheapest way through the Chinese characters from a to b in words, from both ends. */
static void segment(const Table *t, Work *w, int32_t a, int32_t b) {
    for (int32_t i = a; i < b; i++)
        for (int length = 2; length <= LONGEST; length++) {
            w->slot[i][length] = -1;
            if (i + length <= b) {
                int32_t slot = lookup(t, packed(w->character + i, length));
                if (slot >= 0 && t->cost[slot] > 0) w->slot[i][length] = slot;
            }
        }
    w->alpha[a] = 0;
    for (int32_t j = a + 1; j <= b; j++) {
        w->alpha[j] = INT32_MAX / 2;
        for (int length = 1; length <= LONGEST && j - length >= a; length++) {
            int32_t cost = w->alpha[j - length] + word_cost(t, w, j - length, length);
            if (cost < w->alpha[j]) w->alpha[j] = cost, w->last[j] = (uint8_t)length;
        }
    }
    w->beta[b] = 0;
    for (int32_t i = b - 1; i >= a; i--) {
        w->beta[i] = INT32_MAX / 2;
        for (int length = 1; length <= LONGEST && i + length <= b; length++) {
            int32_t cost = w->beta[i + length] + word_cost(t, w, i, length);
            if (cost < w->beta[i]) w->beta[i] = cost, w->next[i] = (uint8_t)length;
        }
    }
}

static inline int bucket(const Table *t, const int32_t *c, int length) {
    int32_t slot = lookup(t, packed(c, length));
    if (slot < 0 || t->cost[slot] <= 0) return 0;
    int level = (1900 - t->cost[slot]) / 100;
    return level < 1 ? 1 : level > 15 ? 15 : level;
}

static int begins(const Table *t, const Work *w, int32_t n, int32_t j) {
    int found = 0;
    for (int32_t length = 1; length <= LONGEST && j + length <= n; length++) {
        int32_t slot = lookup(t, packed(w->character + j, length));
        if (slot >= 0) found |= t->cue[slot] & (TITLE | SPEECH);
    }
    return found;
}

/* What stands behind a name: 先生, 说, 收。, (身份证, 13800138000. CUT: it begins in the name. */
static int behind(const Table *t, const Work *w, int32_t n, int32_t j) {
    const int32_t *c = w->character;
    int found = begins(t, w, n, j);
    if (c[j - 1] == 0x6536 && (j == n || w->symbol[j] >= HAN)) found |= CUT; /* 收 */
    if (j < n && c[j] == 0x6536 && (j + 1 == n || w->symbol[j + 1] >= HAN)) found |= TITLE;
    for (int32_t length = 2; length <= LONGEST && j - 1 + length <= n; length++) {
        int32_t slot = lookup(t, packed(c + j - 1, length));
        if (slot >= 0 && t->cue[slot] & (TITLE | SPEECH)) found |= CUT;
    }
    int32_t k = j;
    while (k < n && k < j + 2 && (w->symbol[k] == SPACE || w->symbol[k] == COMMA ||
                                  w->symbol[k] == OPENS))
        k++;
    if (k + 1 < n && ((c[k] == 0x8EAB && c[k + 1] == 0x4EFD) ||
                      (c[k] == '1' && c[k + 1] >= '3' && c[k + 1] <= '9')))
        found |= SPEECH;
    return found;
}

/* What stands before a name: 姓名：, 姓名是, 找. */
static int before(const Table *t, const Work *w, int32_t i) {
    const int32_t *c = w->character;
    int found = 0, colon = 0, other = 0;
    int32_t k = i;
    if (k > 0 && w->symbol[k - 1] == SPACE) k--;
    if (k > 0) {
        colon = w->symbol[k - 1] == COLON;
        other = w->symbol[k - 1] == COMMA || c[k - 1] == '|' || c[k - 1] == '(' ||
                c[k - 1] == 0xFF08;
        k -= colon || other;
    }
    if (k > 0 && w->symbol[k - 1] == SPACE) k--;
    for (int skip = 0; skip < 2 && k - skip > 0; skip++) {
        /* 是为叫名 */
        if (skip && c[k - 1] != 0x662F && c[k - 1] != 0x4E3A && c[k - 1] != 0x53EB &&
            c[k - 1] != 0x540D)
            break;
        for (int length = 1; length <= LONGEST && k - skip - length >= 0; length++) {
            int32_t slot = lookup(t, packed(c + k - skip - length, length));
            if (slot < 0) continue;
            found |= t->cue[slot] & STRONG;
            if (!skip && !other) found |= t->cue[slot] & WEAK;
            if (k == i && !skip) found |= t->cue[slot] & OPENER;
        }
    }
    return found;
}

/* The cheapest way through the characters from i to j, at most LONGEST, in words. */
static int32_t inside(const Table *t, const Work *w, int32_t i, int32_t j) {
    int32_t best[LONGEST + 1] = {0};
    for (int32_t k = 1; k <= j - i; k++) {
        best[k] = INT32_MAX / 2;
        for (int length = 1; length <= k; length++) {
            int32_t cost = best[k - length] + word_cost(t, w, i + k - length, length);
            if (cost < best[k]) best[k] = cost;
        }
    }
    return best[j - i];
}

/* The features of the candidate from i to j in the run a to b; its score. */
static int32_t describe(const Table *t, const Work *w, int32_t n, const int32_t run[2], int32_t i,
                        int32_t j, int compound, int32_t *f) {
    const int32_t *c = w->character;
    int32_t given = i + 1 + compound, alone = j - given == 1;
    f[1] = i, f[2] = j, f[3] = 2 * compound + !alone;
    f[4] = compound ? -1 : w->symbol[i];
    f[5] = w->symbol[given], f[6] = alone ? -1 : w->symbol[given + 1];
    f[7] = i ? w->symbol[i - 1] : EDGE, f[8] = j < n ? w->symbol[j] : EDGE;
    f[9] = i > run[0] && w->last[i] > 1 ? w->slot[i - w->last[i]][w->last[i]] : -1;
    f[10] = j < run[1] && w->next[j] > 1 ? w->slot[j][w->next[j]] : -1;
    /* How much dearer the run becomes when no word may go across the candidate's ends. */
    int32_t broken = w->alpha[i] + inside(t, w, i, j) + w->beta[j] - w->alpha[run[1]];
    broken /= 30;
    f[11] = broken < 0 ? 0 : broken > 47 ? 47 : broken;
    f[12] = alone ? 0 : bucket(t, c + given, 2);
    f[13] = compound ? 0 : bucket(t, c + i, 2);
    f[14] = j - i > 2 ? bucket(t, c + i, j - i) : 0;
    f[15] = before(t, w, i) | behind(t, w, n, j);
    int32_t score = t->bias[f[3]] + t->margin[f[11]] + t->inner[f[12]] + t->head[f[13]] +
                    t->whole[f[14]] + weight(t, f[7], f[9] < 0 ? LEFT : ENDING) +
                    weight(t, f[8], f[10] < 0 ? RIGHT : BEGINNING);
    if (f[4] >= 0) score += weight(t, f[4], alone ? FAMILY1 : FAMILY2);
    score += weight(t, f[5], alone ? GIVEN1 : FIRST);
    if (!alone) score += weight(t, f[6], SECOND);
    if (f[9] >= 0) score += t->left[f[9]];
    if (f[10] >= 0) score += t->right[f[10]];
    int best = 0;
    for (int bit = 0; bit < 4; bit++)
        if (f[15] >> bit & 1 && t->bonus[bit] > best) best = t->bonus[bit];
    if (f[15] & OPENER && t->bonus[OPENED] > best) best = t->bonus[OPENED];
    return score + best - (f[15] & CUT ? t->bonus[CUT_UP] : 0);
}

/* 某 is what hides a name already: 赵某甲乙. */
static int hidden(const Work *w, int32_t n, int32_t i, int32_t j) {
    for (int32_t k = i > 2 ? i - 2 : 0; k <= j && k < n; k++)
        if (w->character[k] == 0x67D0) return 1;
    return 0;
}

static int by_key(const void *a, const void *b) {
    const Found *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->start < y->start ? -1 : x->start > y->start;
}

static int by_start(const void *a, const void *b) {
    const Found *x = a, *y = b;
    return x->start != y->start ? (x->start < y->start ? -1 : 1) : x->length - y->length;
}

/* Names come in lists: 王芳、李明. Who is beside a sure one is likelier to be one. */
static void in_lists(const Table *t, Work *w, int32_t n, int32_t num) {
    uint8_t *ends = w->last, *starts = w->next;
    memset(ends, 0, (size_t)n + 1), memset(starts, 0, (size_t)n + 1);
    for (int32_t k = 0; k < num; k++) {
        const Found *f = w->found + k;
        if (f->score >= t->threshold + 100) starts[f->start] = ends[f->start + f->length] = 1;
    }
    for (int32_t k = 0; k < num; k++) {
        int32_t i = w->found[k].start, j = i + w->found[k].length;
        int listed = (i > 0 && w->symbol[i - 1] == LIST && ends[i - 1]) ||
                     (j + 1 < n && w->symbol[j] == LIST && starts[j + 1]);
        if (listed) w->found[k].score += t->bonus[LISTED];
    }
}

/* What is a name once in a text is one wherever it could be. */
static void repeat(const Table *t, Found *found, int32_t num) {
    qsort(found, (size_t)num, sizeof *found, by_key);
    for (int32_t first = 0, last; first < num; first = last) {
        int32_t best = found[first].score;
        for (last = first + 1; last < num && found[last].key == found[first].key; last++)
            if (found[last].score > best) best = found[last].score;
        if (best < t->threshold) continue;
        for (int32_t k = first; k < last; k++)
            if (found[k].score < t->threshold) found[k].score = (int32_t)t->threshold + 1;
    }
}

/* The names that do not overlap and whose scores add up to the most. */
static int64_t chosen(const Table *t, Work *w, int32_t num, const int32_t base[2], int32_t *out) {
    Found *found = w->found;
    int32_t kept = 0;
    for (int32_t k = 0; k < num; k++)
        if (found[k].score >= t->threshold) found[kept++] = found[k];
    qsort(found, (size_t)kept, sizeof *found, by_start);
    /* best[k]: of the candidates from k on; the next one that k leaves free is near. */
    w->best[kept] = 0;
    for (int32_t k = kept - 1; k >= 0; k--) {
        int32_t next = k + 1;
        while (next < kept && found[next].start < found[k].start + found[k].length) next++;
        int64_t with = w->best[next] + found[k].score - t->threshold + 1;
        w->taken[k] = with > w->best[k + 1] ? next : -1;
        w->best[k] = with > w->best[k + 1] ? with : w->best[k + 1];
    }
    int64_t num_out = 0;
    for (int32_t k = 0; k < kept;) {
        if (w->taken[k] < 0) {
            k++;
            continue;
        }
        int32_t *o = out + 4 * num_out++;
        o[0] = base[0], o[1] = base[1] + found[k].start, o[2] = o[1] + found[k].length;
        o[3] = found[k].score;
        k = w->taken[k];
    }
    return num_out;
}

/* What the characters of a candidate say without what is around it; NONE: it cannot be a name.
 * `kind`: 0 and 1, one and two characters behind a surname; 2 and 3, behind a surname of two. */
static int alone_score(const Table *t, const Work *w, int32_t i, int32_t b, int kind) {
    int pair = kind >> 1, two = kind & 1;
    int32_t g = i + 1 + pair;
    if (g + two >= b) return NONE;
    int family = 0;
    if (pair) {
        int32_t slot = lookup(t, packed(w->character + i, 2));
        if (slot < 0 || !(t->cue[slot] & COMPOUND)) return NONE;
    } else {
        family = weight(t, w->symbol[i], two ? FAMILY2 : FAMILY1);
        if (family == NONE) return NONE;
    }
    return t->bias[kind] + family +
           (two ? weight(t, w->symbol[g], FIRST) + weight(t, w->symbol[g + 1], SECOND)
                : weight(t, w->symbol[g], GIVEN1));
}

/* A text's candidates; with `all`, what describes each goes to `out`. */
static int64_t of_text(const Table *t, Work *w, int32_t n, int32_t base[2], int32_t *out, int all) {
    int64_t num_all = 0;
    int32_t num = 0;
    for (int32_t a = 0, b; a < n; a = b + 1) {
        for (b = a; b < n && w->symbol[b] < HAN; b++) {}
        int32_t run[2] = {a, b};
        int ready = 0;
        for (int32_t i = a; i + 1 < b; i++) {
            for (int kind = 0; kind < 4; kind++) {
                int pair = kind >> 1, score = alone_score(t, w, i, b, kind);
                int32_t j = i + 2 + pair + (kind & 1);
                if (score == NONE || (!all && score < t->low) || hidden(w, n, i, j)) continue;
                if (!ready) segment(t, w, a, b), ready = 1;
                int32_t f[FIELDS] = {base[0]};
                score = describe(t, w, n, run, i, j, pair, f);
                if (all) memcpy(out + FIELDS * num_all++, f, sizeof f);
                if (t->announced && !(f[15] & CUES) && score >= t->threshold)
                    score = (int32_t)t->threshold - 1;
                if (!all && score >= t->threshold - t->bonus[REPEATED])
                    w->found[num++] = (Found){packed(w->character + i, j - i), i, j - i, score};
            }
        }
    }
    if (all) return num_all;
    if (num > 1) in_lists(t, w, n, num), repeat(t, w->found, num);
    return num ? chosen(t, w, num, base, out) : 0;
}

static void let_go(Work *w) {
    free(w->symbol), free(w->character), free(w->slot), free(w->alpha), free(w->beta);
    free(w->last), free(w->next), free(w->found), free(w->best), free(w->taken);
}

/* Where the piece of a long text ends that begins at p: behind an ASCII character if one is near,
 * else between two characters. */
static const uint8_t *cut(const uint8_t *p) {
    const uint8_t *until = p + PIECE;
    for (int back = 0; back < 4096; back++)
        if (until[-back - 1] < 0x80) return until - back;
    while ((*until & 0xC0) == 0x80) until--;
    return until;
}

/* Names in the rows `first` to `last`: row, start, end, score, four numbers each in `out`, which
 * has room for one per six bytes; with `all` every candidate, FIELDS numbers each, room for four
 * per three bytes. The number of them; -1: no memory. */
EXPORT int64_t fl_names(const Table *t, const uint8_t *content, const int64_t *starts,
                        int64_t first, int64_t last, int64_t all, int32_t *out) {
    size_t longest = 0;
    for (int64_t row = first; row < last; row++)
        if ((size_t)(starts[row + 1] - starts[row]) > longest)
            longest = (size_t)(starts[row + 1] - starts[row]);
    if (longest > PIECE) longest = PIECE;
    size_t room = longest + LONGEST + 2, most = 4 * (longest / 3) + 8;
    Work w = {
        malloc(room * sizeof(int32_t)), malloc(room * sizeof(int32_t)),
        malloc(room * sizeof(int32_t[LONGEST + 1])), malloc(room * sizeof(int32_t)),
        malloc(room * sizeof(int32_t)), malloc(room), malloc(room),
        malloc(most * sizeof(Found)), malloc((most + 1) * sizeof(int64_t)),
        malloc(most * sizeof(int32_t)),
    };
    int64_t num = 0;
    if (!w.symbol || !w.character || !w.slot || !w.alpha || !w.beta || !w.last || !w.next ||
        !w.found || !w.best || !w.taken)
        num = -1;
    for (int64_t row = first; row < last && num >= 0; row++) {
        const uint8_t *p = content + starts[row], *end = content + starts[row + 1];
        int32_t base[2] = {(int32_t)row, 0};
        while (p < end) {
            const uint8_t *until = end - p > PIECE ? cut(p) : end;
            int32_t n = decode(p, until, &w);
            num += of_text(t, &w, n, base, out + num * (all ? FIELDS : 4), (int)all);
            base[1] += n;
            p = until;
        }
    }
    let_go(&w);
    return num;
}
