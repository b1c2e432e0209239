/* A linear-chain conditional random field (Lafferty, McCallum, Pereira 2001) over hashed features
 * of the characters around a unit. Plain C99, no globals; see kernels.c for how it is called.
 *
 * A text is an array of code points. Its units are its characters, or (grouped) runs of letters
 * and of digits, which scripts with spaces call words; white space is no unit. Every unit has one
 * tag: O, then B I E S (begin, inside, end, single) of the first label, of the second, and so on.
 *
 * A text may be anything; a model file may too, once tagger.py has checked its arrays.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

enum { DONE = 0, NO_MEMORY = -1, CLASH = -2 };

/* ---- Text to units ---------------------------------------------------------------------- */

/* What `traits` holds of a character: its folded form, and above that its kind and case. */
enum { FORM = 0xFFFF, KIND = 0xF, KIND_AT = 16, UPPER = 1 << 20 };
enum { SPACE, HAN, NUMERAL, DIGIT, LETTER, HIRAGANA, KATAKANA, HANGUL, OTHER, MARK };
enum { BASIC = 0x10000, PLANE_2 = 0x20000, PLANE_4 = 0x40000 }; /* planes 2 and 3 are Han */
enum { AROUND = 3, LONGEST = 4, MOST_FEATURES = 40, AFFIX = 4, MOST_LENGTH = 6, TAGS = 4 };

typedef struct {
    uint64_t hash;      /* of its characters */
    int64_t start, end; /* in the text */
    uint32_t type;      /* kind, case and length, and whether white space is before it */
} Unit;

typedef struct {
    int32_t grouped;        /* whether runs of letters, and of digits, are one unit */
    int32_t slot_bits;      /* from 1 to 31 */
    const uint32_t *traits; /* of the first BASIC characters */
    const uint32_t *keys;   /* [2^slot_bits] an open-addressed table of the features' keys */
    const int32_t *found;   /* [2^slot_bits] the feature there, or -1; at least one is -1 */
} Shape;

typedef struct {
    Unit *units; /* with AROUND units of nothing on either side, which `first` is past */
    int64_t unit_capacity;
    Unit *first;
    int64_t num;
    uint64_t *grams; /* hashes of the n-grams of 2 .. LONGEST units from each unit */
    int64_t gram_capacity;
    const uint32_t *chars;
} Reading;

static const uint64_t SEED = 0xA4093822299F31D0u; /* digits of pi */
static const uint64_t STEP = 0x9E3779B97F4A7C15u; /* 2^64 / golden ratio (Knuth, TAOCP 6.4) */
static const uint64_t LAST = 0xD6E8FEB86659FD93u; /* any odd number with mixed bits */

static uint64_t mix(uint64_t hash, uint64_t item) {
    hash = (hash ^ item) * STEP;
    return hash ^ hash >> 32;
}

/* Makes *block hold at least `wanted` items; its content is lost. */
static int reserve(void **block, int64_t *capacity, int64_t wanted, size_t size) {
    if (wanted <= *capacity) return DONE;
    int64_t room = wanted + wanted / 2 + 256;
    if ((uint64_t)room > SIZE_MAX / size) return NO_MEMORY;
    free(*block);
    *block = malloc((size_t)room * size);
    *capacity = *block ? room : 0;
    return *block ? DONE : NO_MEMORY;
}

static uint32_t trait(const Shape *shape, uint32_t c) {
    if (c < BASIC) return shape->traits[c];
    return (uint32_t)(c >= PLANE_2 && c < PLANE_4 ? HAN : MARK) << KIND_AT | (c & FORM);
}

static uint32_t form(const Shape *shape, uint32_t c) {
    return c < BASIC ? shape->traits[c] & FORM : c;
}

static uint32_t kind(uint32_t trait) { return trait >> KIND_AT & KIND; }

static int in_run(uint32_t kind) { return kind == LETTER || kind == DIGIT || kind == HANGUL; }

/* Case of a run: none, all upper, first upper, any upper. */
static uint32_t case_of(uint32_t first, int64_t uppers, int64_t size) {
    if (!uppers) return 0;
    if (uppers == size) return size > 1 ? 1 : 2;
    return first & UPPER ? 2 : 3;
}

static int read_units(const Shape *shape, const uint32_t *chars, int64_t size, Reading *r) {
    if (reserve((void **)&r->units, &r->unit_capacity, size + 2 * AROUND, sizeof *r->units))
        return NO_MEMORY;
    r->chars = chars;
    r->first = r->units + AROUND;
    int64_t n = 0;
    uint32_t spaced = 0;
    for (int64_t i = 0; i < size;) {
        uint32_t head = trait(shape, chars[i]), its = kind(head);
        if (its == SPACE) {
            spaced = 1;
            i++;
            continue;
        }
        Unit *u = &r->first[n++];
        uint64_t hash = SEED;
        int64_t uppers = 0, start = i;
        do {
            uppers += (trait(shape, chars[i]) & UPPER) != 0;
            hash = mix(hash, form(shape, chars[i++]));
        } while (shape->grouped && in_run(its) && i < size && kind(trait(shape, chars[i])) == its);
        uint32_t length = (uint32_t)(i - start < MOST_LENGTH ? i - start : MOST_LENGTH);
        uint32_t type = its | case_of(head, uppers, i - start) << 4 | length << 8 | spaced << 12;
        *u = (Unit){hash, start, i, type};
        spaced = 0;
    }
    r->num = n;
    for (int64_t k = 1; k <= AROUND; k++) {
        r->first[-k] = (Unit){mix(SEED, 0x110000), 0, 0, 0xFFFF};
        r->first[n + k - 1] = (Unit){mix(SEED, 0x110001), 0, 0, 0xFFFE};
    }
    return DONE;
}

static int read_grams(Reading *r) {
    int64_t padded = r->num + 2 * AROUND;
    if (reserve((void **)&r->grams, &r->gram_capacity, padded * LONGEST, sizeof *r->grams))
        return NO_MEMORY;
    for (int64_t i = 0; i < padded; i++) {
        uint64_t hash = SEED;
        for (int64_t n = 0; n < LONGEST; n++) {
            if (i + n < padded) hash = mix(hash, r->units[i + n].hash);
            r->grams[i * LONGEST + n] = hash;
        }
    }
    return DONE;
}

/* The n-grams that are features of a unit: from how many units before it, and how long. */
static const int8_t TEMPLATES[][2] = {
    {-2, 1}, {-1, 1}, {0, 1}, {1, 1}, {2, 1},
    {-2, 2}, {-1, 2}, {0, 2}, {1, 2},
    {-3, 3}, {-2, 3}, {-1, 3}, {0, 3}, {1, 3},
    {-3, 4}, {-2, 4}, {-1, 4}, {0, 4},
};
enum { NUM_TEMPLATES = sizeof TEMPLATES / sizeof *TEMPLATES, OWN = 2 };
enum { BESIDE = 50, TYPES_3, TYPES_5, TYPE, PREFIX = 60, SUFFIX = 70 };

static uint32_t key_of(uint64_t hash, uint64_t template) {
    return (uint32_t)((mix(hash, template) * LAST) >> 32);
}

/* The keys of unit i; returns how many, at most MOST_FEATURES. That of the unit itself, whatever
 * is around it, is number OWN. */
static int32_t read_keys(const Shape *shape, const Reading *r, int64_t i, uint32_t *out) {
    int32_t n = 0;
    const Unit *u = &r->first[i];
    const uint64_t *grams = &r->grams[(i + AROUND) * LONGEST];
    for (int32_t k = 0; k < NUM_TEMPLATES; k++)
        out[n++] = key_of(grams[TEMPLATES[k][0] * LONGEST + TEMPLATES[k][1] - 1], (uint64_t)k);
    out[n++] = key_of(mix(u[-1].hash, u[1].hash), BESIDE);
    out[n++] = key_of(mix(mix(SEED, u[-1].type), mix(u->type, u[1].type)), TYPES_3);
    uint64_t wide = mix(mix(mix(SEED, u[-2].type), u[-1].type), u->type);
    out[n++] = key_of(mix(mix(wide, u[1].type), u[2].type), TYPES_5);
    out[n++] = key_of(mix(SEED, u->type), TYPE);
    if (u->end - u->start > 1) {
        uint64_t prefix = SEED, suffix = SEED;
        for (int64_t k = 0; k < AFFIX && k < u->end - u->start; k++) {
            prefix = mix(prefix, form(shape, r->chars[u->start + k]));
            suffix = mix(suffix, form(shape, r->chars[u->end - 1 - k]));
            out[n++] = key_of(prefix, (uint64_t)(PREFIX + k));
            out[n++] = key_of(suffix, (uint64_t)(SUFFIX + k));
        }
    }
    return n;
}

static int32_t lookup(const Shape *shape, uint32_t key) {
    uint64_t mask = ((uint64_t)1 << shape->slot_bits) - 1, at = key >> (32 - shape->slot_bits);
    while (shape->found[at] >= 0 && shape->keys[at] != key) at = (at + 1) & mask;
    return shape->found[at];
}

/* The features of unit i: those of its keys that the model knows. Sets *own to that of the unit
 * itself, or -1. */
static int32_t read_features(const Shape *shape, const Reading *r, int64_t i, int32_t *out,
                             int32_t *own) {
    uint32_t keys[MOST_FEATURES];
    int32_t n = 0, num = read_keys(shape, r, i, keys);
    for (int32_t k = 0; k < num; k++) {
        int32_t feature = lookup(shape, keys[k]);
        if (feature >= 0) out[n++] = feature;
        if (k == OWN) *own = feature;
    }
    return n;
}

static void reading_free(Reading *r) {
    free(r->units);
    free(r->grams);
}

/* The units of `num` texts, text i being chars[starts[i]] .. chars[starts[i + 1]]: where each
 * starts and ends in its text, and how many each text has. Returns how many in all. */
EXPORT int64_t fl_crf_units(const Shape *shape, const uint32_t *chars, const int64_t *starts,
                            int64_t num, int64_t *begins, int64_t *ends, int64_t *sizes) {
    Reading r = {0};
    int64_t at = 0;
    for (int64_t i = 0; i < num; i++) {
        if (read_units(shape, chars + starts[i], starts[i + 1] - starts[i], &r)) {
            reading_free(&r);
            return NO_MEMORY;
        }
        for (int64_t k = 0; k < r.num; k++, at++) {
            begins[at] = r.first[k].start;
            ends[at] = r.first[k].end;
        }
        sizes[i] = r.num;
    }
    reading_free(&r);
    return at;
}

/* Adds one to counts[the first `bits` of the key], up to 255, for every key of every unit. */
EXPORT int64_t fl_crf_count(const Shape *shape, const uint32_t *chars, const int64_t *starts,
                            int64_t num, int32_t bits, uint8_t *counts) {
    Reading r = {0};
    uint32_t keys[MOST_FEATURES];
    for (int64_t i = 0; i < num; i++) {
        if (read_units(shape, chars + starts[i], starts[i + 1] - starts[i], &r) || read_grams(&r)) {
            reading_free(&r);
            return NO_MEMORY;
        }
        for (int64_t t = 0; t < r.num; t++) {
            int32_t n = read_keys(shape, &r, t, keys);
            for (int32_t k = 0; k < n; k++) {
                uint8_t *count = &counts[keys[k] >> (32 - bits)];
                *count += *count < UINT8_MAX;
            }
        }
    }
    reading_free(&r);
    return DONE;
}

/* The keys of the texts first..last, as often as they occur, whose count is at least `least`;
 * `out` has room for MOST_FEATURES of every character. Returns how many. */
EXPORT int64_t fl_crf_keys(const Shape *shape, const uint32_t *chars, const int64_t *starts,
                           int64_t first, int64_t last, int32_t bits, const uint8_t *counts,
                           int64_t least, uint32_t *out) {
    Reading r = {0};
    uint32_t keys[MOST_FEATURES];
    int64_t at = 0;
    for (int64_t i = first; i < last; i++) {
        if (read_units(shape, chars + starts[i], starts[i + 1] - starts[i], &r) || read_grams(&r)) {
            reading_free(&r);
            return NO_MEMORY;
        }
        for (int64_t t = 0; t < r.num; t++) {
            int32_t n = read_keys(shape, &r, t, keys);
            for (int32_t k = 0; k < n; k++)
                if (counts[keys[k] >> (32 - bits)] >= least) out[at++] = keys[k];
        }
    }
    reading_free(&r);
    return at;
}

enum { FURTHEST = 1024 }; /* half full, 2^24 keys that are hashes stay within 100 slots */

/* Fills the table of `num` different keys, at most half as many as it has slots. CLASH when they
 * are no hashes: too many of them want the same slot. */
EXPORT int64_t fl_crf_table(const uint32_t *given, int64_t num, int32_t bits, uint32_t *keys,
                            int32_t *found) {
    uint64_t mask = ((uint64_t)1 << bits) - 1;
    for (uint64_t i = 0; i <= mask; i++) found[i] = -1;
    for (int64_t i = 0; i < num; i++) {
        uint64_t at = given[i] >> (32 - bits);
        int32_t moved = 0;
        for (; found[at] >= 0; at = (at + 1) & mask)
            if (++moved > FURTHEST) return CLASH;
        keys[at] = given[i];
        found[at] = (int32_t)i;
    }
    return DONE;
}

/* ---- The chain -------------------------------------------------------------------------- */

typedef struct {
    int32_t num_tags, stride; /* stride: num_tags rounded up to a multiple of 8 */
    int32_t num_links;
    const int32_t *from, *to;      /* [num_links] the transitions that may be, in order of `to` */
    const int32_t *link;           /* [num_tags, num_tags] the number of a transition, or -1 */
    const uint8_t *opens, *closes; /* [num_tags] whether a text may begin, or end, with a tag */
} Chain;

typedef struct {
    float *scores;        /* [units, stride] of each tag; then exp(score - highest of the unit) */
    double *alpha, *beta; /* [units, stride] each row scaled to sum 1 */
    double *scale;        /* [units] what alpha was divided by */
    int64_t capacity;     /* units there is room for */
    double *links;        /* [num_links] exp of their weights */
    double *row;          /* [stride] */
} Lattice;

static const float LOWEST = -60.0f; /* below the highest score of a unit: e^-60 is as good as 0 */

static void lattice_free(Lattice *l) {
    free(l->scores);
    free(l->alpha);
    free(l->beta);
    free(l->scale);
    free(l->links);
    free(l->row);
}

/* Room for the links and one row; call it once, before `lattice_reserve`. */
static int lattice_start(Lattice *l, const Chain *c) {
    l->links = malloc((size_t)c->num_links * sizeof *l->links);
    l->row = malloc((size_t)c->stride * sizeof *l->row);
    return l->links && l->row ? DONE : NO_MEMORY;
}

static int lattice_reserve(Lattice *l, const Chain *c, int64_t num) {
    if (num <= l->capacity) return DONE;
    int64_t room = num + num / 2 + 64;
    if ((uint64_t)room > SIZE_MAX / sizeof(double) / (uint64_t)c->stride) return NO_MEMORY;
    free(l->scores);
    free(l->alpha);
    free(l->beta);
    free(l->scale);
    l->scores = malloc((size_t)(room * c->stride) * sizeof *l->scores);
    l->alpha = malloc((size_t)(room * c->stride) * sizeof *l->alpha);
    l->beta = malloc((size_t)(room * c->stride) * sizeof *l->beta);
    l->scale = malloc((size_t)room * sizeof *l->scale);
    l->capacity = l->scores && l->alpha && l->beta && l->scale ? room : 0;
    return l->capacity ? DONE : NO_MEMORY;
}

static void set_links(const Chain *c, const float *weights, Lattice *l) {
    for (int32_t k = 0; k < c->num_links; k++) l->links[k] = exp((double)weights[k]);
}

/* e^x for -87 < x <= 0, within 2e-7 of it: x = n ln 2 + f, and the polynomial of e^f of Cephes'
 * expf (Moshier 1992). The same on every machine, and four at a time. */
static float exponential(float x) {
    float n = (float)(int32_t)(x * 1.44269504f - 0.5f);
    float f = x - n * 0.693359375f + n * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * f + 1.3981999507e-3f;
    y = y * f + 8.3334519073e-3f;
    y = y * f + 4.1665795894e-2f;
    y = y * f + 1.6666665459e-1f;
    y = y * f + 5.0000001201e-1f;
    y = y * f * f + f + 1.0f;
    int32_t bits = ((int32_t)n + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return y * power;
}

/* scores -> exp(score - highest) of each unit. */
static void exponentiate(const Chain *c, Lattice *l, int64_t num) {
    for (int64_t t = 0; t < num; t++) {
        float *row = l->scores + t * c->stride, highest = row[0];
        for (int32_t y = 1; y < c->num_tags; y++)
            if (row[y] > highest) highest = row[y];
        for (int32_t y = 0; y < c->stride; y++) {
            float below = row[y] - highest;
            row[y] = exponential(below < LOWEST ? LOWEST : below > 0.0f ? 0.0f : below);
        }
    }
}

static double scaled(double *row, int32_t num) {
    double sum = 0.0;
    for (int32_t y = 0; y < num; y++) sum += row[y];
    for (int32_t y = 0; y < num; y++) row[y] /= sum;
    return sum;
}

/* No sum here or below is ever 0: a score is at least e^-60, a link e^-20, and from any tag the
 * way to any other is at most two links long, so what is best stays far within a double. */
static void forward(const Chain *c, Lattice *l, int64_t num) {
    for (int64_t t = 0; t < num; t++) {
        double *row = l->alpha + t * c->stride, *before = row - c->stride;
        const float *score = l->scores + t * c->stride;
        memset(row, 0, (size_t)c->num_tags * sizeof *row);
        if (t)
            for (int32_t k = 0; k < c->num_links; k++)
                row[c->to[k]] += before[c->from[k]] * l->links[k];
        else
            for (int32_t y = 0; y < c->num_tags; y++) row[y] = c->opens[y];
        for (int32_t y = 0; y < c->num_tags; y++) row[y] *= score[y];
        if (t == num - 1)
            for (int32_t y = 0; y < c->num_tags; y++) row[y] *= c->closes[y];
        l->scale[t] = scaled(row, c->num_tags);
    }
}

static void backward(const Chain *c, Lattice *l, int64_t num) {
    for (int64_t t = num - 1; t >= 0; t--) {
        double *row = l->beta + t * c->stride, *after = row + c->stride;
        if (t == num - 1)
            for (int32_t y = 0; y < c->num_tags; y++) row[y] = c->closes[y];
        else {
            const float *score = l->scores + (t + 1) * c->stride;
            for (int32_t y = 0; y < c->num_tags; y++) l->row[y] = after[y] * score[y];
            memset(row, 0, (size_t)c->num_tags * sizeof *row);
            for (int32_t k = 0; k < c->num_links; k++)
                row[c->from[k]] += l->row[c->to[k]] * l->links[k];
        }
        scaled(row, c->num_tags);
    }
}

/* ---- Training --------------------------------------------------------------------------- */

typedef struct {
    float *weights, *squares;    /* [features, stride] and the sums of squared gradients */
    float *links, *link_squares; /* [num_links] */
    float rate;                  /* of AdaGrad */
    float least; /* a unit whose right tag misses less than that of probability 1 is left alone */
} Learner;

typedef struct {
    const uint32_t *chars;
    const int64_t *starts; /* text i is chars[starts[i]] .. chars[starts[i + 1]] */
    const int64_t *firsts; /* the tags of its units begin at truth[firsts[i]] */
    const int16_t *truth;
    const int32_t *order; /* the texts to visit */
    int64_t num;
} Lesson;

typedef struct {
    Reading reading;
    Lattice lattice;
    int32_t *features; /* [units, MOST_FEATURES] */
    int64_t feature_capacity;
    int32_t *sizes; /* [units] */
    int64_t size_capacity;
    double *expected; /* [num_links] */
    float *gradient;  /* [stride] */
} Bench;

static void bench_free(Bench *b) {
    reading_free(&b->reading);
    lattice_free(&b->lattice);
    free(b->features);
    free(b->sizes);
    free(b->expected);
    free(b->gradient);
}

static int bench_start(Bench *b, const Chain *c) {
    b->expected = malloc((size_t)c->num_links * sizeof *b->expected);
    b->gradient = calloc((size_t)c->stride, sizeof *b->gradient);
    return b->expected && b->gradient ? lattice_start(&b->lattice, c) : NO_MEMORY;
}

/* Reads text i of the lesson and its features, and scores its tags. */
static int read_scores(const Shape *shape, const Chain *c, const Learner *m, const Lesson *given,
                       int64_t i, Bench *b) {
    Reading *r = &b->reading;
    int64_t start = given->starts[i];
    if (read_units(shape, given->chars + start, given->starts[i + 1] - start, r) || read_grams(r)
        || lattice_reserve(&b->lattice, c, r->num)
        || reserve((void **)&b->features, &b->feature_capacity, r->num * MOST_FEATURES,
                   sizeof *b->features)
        || reserve((void **)&b->sizes, &b->size_capacity, r->num, sizeof *b->sizes))
        return NO_MEMORY;
    for (int64_t t = 0; t < r->num; t++) {
        int32_t *features = b->features + t * MOST_FEATURES, own;
        b->sizes[t] = read_features(shape, r, t, features, &own);
        float *row = b->lattice.scores + t * c->stride;
        memset(row, 0, (size_t)c->stride * sizeof *row);
        for (int32_t k = 0; k < b->sizes[t]; k++) {
            const float *w = m->weights + (int64_t)features[k] * c->stride;
            for (int32_t y = 0; y < c->stride; y++) row[y] += w[y];
        }
    }
    return DONE;
}

/* AdaGrad (Duchi, Hazan, Singer 2011) for every feature of unit t: their gradient is the same. */
static void step(const Chain *c, const Learner *m, const Bench *b, int64_t t) {
    for (int32_t k = 0; k < b->sizes[t]; k++) {
        int64_t at = (int64_t)b->features[t * MOST_FEATURES + k] * c->stride;
        float *w = m->weights + at, *square = m->squares + at;
        for (int32_t y = 0; y < c->stride; y++) {
            float g = b->gradient[y];
            square[y] += g * g;
            w[y] -= m->rate * g / sqrtf(square[y] + 1e-8f);
        }
    }
}

static const float STEEPEST = 20.0f; /* of a link's weight; tagger.py holds files to it too */

static void step_links(const Chain *c, const Learner *m, const Bench *b) {
    for (int32_t k = 0; k < c->num_links; k++) {
        float g = (float)b->expected[k];
        m->link_squares[k] += g * g;
        float w = m->links[k] - m->rate * g / sqrtf(m->link_squares[k] + 1e-8f);
        m->links[k] = w > STEEPEST ? STEEPEST : w < -STEEPEST ? -STEEPEST : w;
    }
}

/* Adds the probability of each link into unit t, less the right one. */
static void expect(const Chain *c, const int16_t *truth, int64_t t, Bench *b) {
    Lattice *l = &b->lattice;
    const double *before = l->alpha + (t - 1) * c->stride, *beta = l->beta + t * c->stride;
    const float *score = l->scores + t * c->stride;
    double total = 0.0;
    for (int32_t y = 0; y < c->num_tags; y++) l->row[y] = score[y] * beta[y];
    for (int32_t k = 0; k < c->num_links; k++)
        total += before[c->from[k]] * l->links[k] * l->row[c->to[k]];
    for (int32_t k = 0; k < c->num_links; k++)
        b->expected[k] += before[c->from[k]] * l->links[k] * l->row[c->to[k]] / total;
    b->expected[c->link[truth[t - 1] * c->num_tags + truth[t]]] -= 1.0;
}

/* One step along the gradient of the log-likelihood of the text on the bench. */
static void learn(const Chain *c, const Learner *m, const int16_t *truth, Bench *b) {
    Lattice *l = &b->lattice;
    int sure_before = 0;
    memset(b->expected, 0, (size_t)c->num_links * sizeof *b->expected);
    for (int64_t t = 0; t < b->reading.num; t++) {
        const double *alpha = l->alpha + t * c->stride, *beta = l->beta + t * c->stride;
        double sum = 0.0;
        for (int32_t y = 0; y < c->num_tags; y++) sum += l->row[y] = alpha[y] * beta[y];
        for (int32_t y = 0; y < c->num_tags; y++) b->gradient[y] = (float)(l->row[y] / sum);
        b->gradient[truth[t]] -= 1.0f;
        int sure = b->gradient[truth[t]] > -m->least;
        if (t && !(sure && sure_before)) expect(c, truth, t, b);
        if (!sure) step(c, m, b, t);
        sure_before = sure;
    }
    step_links(c, m, b);
}

/* One pass over the texts of the lesson, in their order. */
EXPORT int64_t fl_crf_learn(const Shape *shape, const Chain *c, const Learner *m,
                            const Lesson *given) {
    Bench b = {0};
    int failed = bench_start(&b, c);
    for (int64_t k = 0; k < given->num && !failed; k++) {
        int64_t i = given->order[k];
        failed = read_scores(shape, c, m, given, i, &b);
        if (failed || !b.reading.num) continue;
        set_links(c, m->links, &b.lattice);
        exponentiate(c, &b.lattice, b.reading.num);
        forward(c, &b.lattice, b.reading.num);
        backward(c, &b.lattice, b.reading.num);
        learn(c, m, given->truth + given->firsts[i], &b);
    }
    bench_free(&b);
    return failed ? NO_MEMORY : DONE;
}

/* Sets *loss to the sum of the negative log-likelihoods of the texts of the lesson. */
EXPORT int64_t fl_crf_loss(const Shape *shape, const Chain *c, const Learner *m,
                           const Lesson *given, double *loss) {
    Bench b = {0};
    Lattice *l = &b.lattice;
    int failed = bench_start(&b, c);
    if (!failed) set_links(c, m->links, l);
    *loss = 0.0;
    for (int64_t k = 0; k < given->num && !failed; k++) {
        int64_t i = given->order[k];
        failed = read_scores(shape, c, m, given, i, &b);
        if (failed) continue;
        const int16_t *truth = given->truth + given->firsts[i];
        exponentiate(c, l, b.reading.num);
        forward(c, l, b.reading.num);
        for (int64_t t = 0; t < b.reading.num; t++) {
            *loss += log(l->scale[t]) - log((double)l->scores[t * c->stride + truth[t]]);
            if (t) *loss -= (double)m->links[c->link[truth[t - 1] * c->num_tags + truth[t]]];
        }
    }
    bench_free(&b);
    return failed ? NO_MEMORY : DONE;
}

/* Sets own[feature] to 1 for the features that are a unit of these texts, whatever is around. */
EXPORT int64_t fl_crf_own(const Shape *shape, const uint32_t *chars, const int64_t *starts,
                          int64_t num, uint8_t *own) {
    Reading r = {0};
    uint32_t keys[MOST_FEATURES];
    for (int64_t i = 0; i < num; i++) {
        if (read_units(shape, chars + starts[i], starts[i + 1] - starts[i], &r) || read_grams(&r)) {
            reading_free(&r);
            return NO_MEMORY;
        }
        for (int64_t t = 0; t < r.num; t++) {
            read_keys(shape, &r, t, keys);
            int32_t feature = lookup(shape, keys[OWN]);
            if (feature >= 0) own[feature] = 1;
        }
    }
    reading_free(&r);
    return DONE;
}

/* ---- Answers ---------------------------------------------------------------------------- */

typedef struct {
    const int16_t *weights; /* [features, stride] */
    const float *links;     /* [num_links] */
    float scale;            /* a score is the sum of the weights times that */
} Model;

typedef struct {
    int64_t text, start, end; /* of which text, from where to where in it */
    int32_t label;
    float score; /* the probability of just this entity there */
} Found;

typedef struct {
    Reading reading;
    Lattice lattice;
    float *best; /* [units, stride] the score of the best tags up to there */
    int64_t best_capacity;
    int16_t *back; /* [units, stride] the tag before, on that way */
    int64_t back_capacity;
    int32_t *sum;  /* [stride] */
    int16_t *tags; /* [units] */
    int64_t tag_capacity;
} Desk;

static void desk_free(Desk *d) {
    reading_free(&d->reading);
    lattice_free(&d->lattice);
    free(d->best);
    free(d->back);
    free(d->sum);
    free(d->tags);
}

/* Scores the tags of every unit; returns whether the model knows any unit. */
static int score(const Shape *shape, const Chain *c, const Model *m, Desk *d) {
    int32_t features[MOST_FEATURES], own = -1, known = 0;
    for (int64_t t = 0; t < d->reading.num; t++) {
        int32_t num = read_features(shape, &d->reading, t, features, &own);
        known |= own >= 0;
        memset(d->sum, 0, (size_t)c->stride * sizeof *d->sum);
        for (int32_t k = 0; k < num; k++) {
            const int16_t *w = m->weights + (int64_t)features[k] * c->stride;
            for (int32_t y = 0; y < c->stride; y++) d->sum[y] += w[y];
        }
        float *row = d->lattice.scores + t * c->stride;
        for (int32_t y = 0; y < c->stride; y++) row[y] = (float)d->sum[y] * m->scale;
    }
    return known;
}

/* The most likely tags (Viterbi 1967), in d->tags; returns whether any is not O. */
static int decode(const Chain *c, const Model *m, Desk *d) {
    const float never = -1e30f;
    int64_t num = d->reading.num;
    for (int64_t t = 0; t < num; t++) {
        float *best = d->best + t * c->stride, *before = best - c->stride;
        int16_t *back = d->back + t * c->stride;
        const float *row = d->lattice.scores + t * c->stride;
        for (int32_t y = 0; y < c->num_tags; y++) {
            best[y] = t || !c->opens[y] ? never : 0.0f;
            back[y] = 0;
        }
        for (int32_t k = 0; t && k < c->num_links; k++) {
            float way = before[c->from[k]] + m->links[k];
            if (way > best[c->to[k]]) {
                best[c->to[k]] = way;
                back[c->to[k]] = (int16_t)c->from[k];
            }
        }
        for (int32_t y = 0; y < c->num_tags; y++) best[y] += row[y];
        /* Only differences count: so that a text of any length stays exact. */
        float base = best[0];
        for (int32_t y = 1; y < c->num_tags; y++) base = best[y] > base ? best[y] : base;
        for (int32_t y = 0; y < c->num_tags; y++) best[y] -= base;
    }
    const float *last = d->best + (num - 1) * c->stride;
    int16_t tag = 0;
    for (int32_t y = 1; y < c->num_tags; y++)
        if (c->closes[y] && last[y] > last[tag]) tag = (int16_t)y;
    int any = 0;
    for (int64_t t = num - 1; t >= 0; t--) {
        d->tags[t] = tag;
        any |= tag != 0;
        tag = d->back[t * c->stride + tag];
    }
    return any;
}

/* The probability that the units first..last (included) are one entity with the tags decoded. */
static float probability(const Chain *c, const Lattice *l, const int16_t *tags, int64_t first,
                         int64_t last) {
    double way = l->alpha[first * c->stride + tags[first]], all = 0.0;
    for (int64_t t = first + 1; t <= last; t++)
        way *= l->links[c->link[tags[t - 1] * c->num_tags + tags[t]]]
               * l->scores[t * c->stride + tags[t]] / l->scale[t];
    const double *alpha = l->alpha + last * c->stride, *beta = l->beta + last * c->stride;
    for (int32_t y = 0; y < c->num_tags; y++) all += alpha[y] * beta[y];
    double p = way * beta[tags[last]] / all;
    return p > 1.0 ? 1.0f : p > 0.0 ? (float)p : 0.0f;
}

/* Writes the entities that d->tags says to `found`; returns how many. */
static int64_t entities(const Chain *c, const Desk *d, int64_t text, Found *found) {
    const Unit *units = d->reading.first;
    int64_t num = 0, first = 0;
    for (int64_t t = 0; t < d->reading.num; t++) {
        int32_t role = d->tags[t] ? (d->tags[t] - 1) % TAGS : -1;
        if (role == 0 || role == 3) first = t;
        if (role != 2 && role != 3) continue;
        found[num++] = (Found){text, units[first].start, units[t].end, (d->tags[t] - 1) / TAGS,
                               probability(c, &d->lattice, d->tags, first, t)};
    }
    return num;
}

/* The entities of the texts first..last, by text and start; `found` has room for one of every
 * character. known[i] becomes whether the model knows any unit of text i. Returns how many. */
EXPORT int64_t fl_crf_find(const Shape *shape, const Chain *c, const Model *m,
                           const uint32_t *chars, const int64_t *starts, int64_t first,
                           int64_t last, uint8_t *known, Found *found) {
    Desk d = {0};
    int64_t num = 0;
    d.sum = malloc((size_t)c->stride * sizeof *d.sum);
    int failed = !d.sum || lattice_start(&d.lattice, c);
    if (!failed) set_links(c, m->links, &d.lattice);
    for (int64_t i = first; i < last && !failed; i++) {
        Reading *r = &d.reading;
        failed = read_units(shape, chars + starts[i], starts[i + 1] - starts[i], r)
                 || read_grams(r) || lattice_reserve(&d.lattice, c, r->num)
                 || reserve((void **)&d.best, &d.best_capacity, r->num * c->stride, sizeof *d.best)
                 || reserve((void **)&d.back, &d.back_capacity, r->num * c->stride, sizeof *d.back)
                 || reserve((void **)&d.tags, &d.tag_capacity, r->num, sizeof *d.tags);
        if (failed) continue;
        known[i] = (uint8_t)score(shape, c, m, &d);
        if (!known[i] || !decode(c, m, &d)) continue;
        exponentiate(c, &d.lattice, r->num);
        forward(c, &d.lattice, r->num);
        backward(c, &d.lattice, r->num);
        num += entities(c, &d, i, found + num);
    }
    desk_free(&d);
    return failed ? NO_MEMORY : num;
}
