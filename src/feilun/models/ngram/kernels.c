/* Hashed n-grams, a linear support vector machine, and its answers. Plain C99, no globals.
 *
 * Python calls these through ctypes, which releases the GIL; every function works only on what
 * it is given, so any number of threads may call any of them. Those that allocate return
 * NO_MEMORY when they cannot; nothing else can fail, because kernels.py and predict.py check
 * every size first.
 *
 * A text is normalised UTF-8 (NFKC, case folded) with no line break in it; texts come joined by
 * line breaks, so one string and one call carry a batch.
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

enum { DONE = 0, NO_MEMORY = -1 };

/* ---- Text to features ------------------------------------------------------------------- */

typedef struct {
    int32_t min_chars, max_chars; /* orders of character n-grams */
    int32_t max_words;            /* orders of word n-grams, from 1; 0: none */
    int32_t bits;                 /* 2^bits buckets */
} Shape;

typedef struct {
    uint32_t bucket, count;
} Gram;

typedef struct {
    uint32_t *chars; /* the text's code points, between two spaces */
    int64_t num_chars, char_capacity;
    Gram *grams; /* its distinct n-grams, in order of first occurrence */
    int64_t num_grams, gram_capacity;
    uint32_t *slots; /* open addressing: 0 is free, otherwise 1 + an index into grams */
    uint64_t mask;
    int64_t slot_capacity;
} Scratch;

static const uint64_t CHAR_SEED = 0x243F6A8885A308D3u; /* digits of pi: nothing up our sleeve */
static const uint64_t WORD_SEED = 0x13198A2E03707344u;
static const uint64_t STEP = 0x9E3779B97F4A7C15u; /* 2^64 / golden ratio (Knuth, TAOCP 6.4) */
static const uint64_t LAST = 0xD6E8FEB86659FD93u; /* any odd number with mixed bits */

static void scratch_free(Scratch *s) {
    free(s->chars);
    free(s->grams);
    free(s->slots);
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

static int is_space(uint32_t c) { return c == ' ' || (c >= 9 && c <= 13); }

/* Whether `c` belongs to words that their script sets apart by spaces. Ranges, not a table:
 * a punctuation mark taken for a letter costs one useless feature, a table costs 100 kB. */
static int in_word(uint32_t c) {
    if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    if (c < 0xC0 || c == 0xD7 || c == 0xF7) return 0;
    if (c < 0x0E00) return 1;                    /* Latin … Hebrew, Arabic, Indic */
    if (c < 0x0F00) return 0;                    /* Thai, Lao */
    if (c >= 0x1000 && c <= 0x109F) return 0;    /* Burmese */
    if (c >= 0x1780 && c <= 0x17FF) return 0;    /* Khmer */
    if (c < 0x2000) return 1;
    return c >= 0xAC00 && c <= 0xD7A3;           /* Hangul; neither Han, kana nor symbols */
}

/* The character at *p, which moves past it. Never reads at or past `end`: a sequence cut short
 * gives what bytes there are. Surrogates (as `surrogatepass` writes them) are characters. */
static uint32_t decode(const uint8_t **p, const uint8_t *end) {
    const uint8_t *at = *p;
    uint32_t c = *at++;
    int more = c < 0xC0 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    if (more) c &= 0x3Fu >> more;
    while (more-- > 0 && at < end && (*at & 0xC0) == 0x80) c = c << 6 | (*at++ & 0x3Fu);
    *p = at;
    return c;
}

/* Fills s->chars with a space, the characters with runs of white space made one space, and a
 * space; a text of white space alone gives no characters at all. */
static int read_chars(const uint8_t *text, int64_t size, Scratch *s) {
    if (reserve((void **)&s->chars, &s->char_capacity, size + 2, sizeof *s->chars))
        return NO_MEMORY;
    const uint8_t *end = text + size;
    int64_t n = 0;
    s->chars[n++] = ' ';
    while (text < end) {
        /* A stray continuation byte is nothing: fl_most_grams counts on that. */
        if ((*text & 0xC0) == 0x80) {
            text++;
            continue;
        }
        uint32_t c = decode(&text, end);
        if (!is_space(c)) s->chars[n++] = c;
        else if (s->chars[n - 1] != ' ') s->chars[n++] = ' ';
    }
    if (s->chars[n - 1] != ' ') s->chars[n++] = ' ';
    s->num_chars = n > 1 ? n : 0;
    return DONE;
}

/* Sizes the table for the text in s->chars: at most half full, and never more than the buckets
 * need, so that a text of any length has a bounded table. */
static int clear_grams(const Shape *shape, Scratch *s) {
    int64_t orders = shape->max_chars - shape->min_chars + 1 + shape->max_words;
    int64_t most = (int64_t)1 << shape->bits;
    int64_t grams = s->num_chars * orders < most ? s->num_chars * orders : most;
    int64_t slots = 64;
    while (slots < 2 * grams) slots *= 2;
    if (reserve((void **)&s->grams, &s->gram_capacity, grams, sizeof *s->grams)) return NO_MEMORY;
    if (reserve((void **)&s->slots, &s->slot_capacity, slots, sizeof *s->slots)) return NO_MEMORY;
    memset(s->slots, 0, (size_t)slots * sizeof *s->slots);
    s->mask = (uint64_t)slots - 1;
    s->num_grams = 0;
    return DONE;
}

static uint64_t mix(uint64_t hash, uint64_t item) {
    hash = (hash ^ item) * STEP;
    return hash ^ hash >> 32;
}

static void add(uint64_t hash, int32_t bits, Scratch *s) {
    uint32_t bucket = (uint32_t)((hash * LAST) >> (64 - bits));
    uint64_t slot = bucket & s->mask;
    while (s->slots[slot]) {
        Gram *gram = &s->grams[s->slots[slot] - 1];
        if (gram->bucket == bucket) {
            gram->count++;
            return;
        }
        slot = (slot + 1) & s->mask;
    }
    s->grams[s->num_grams].bucket = bucket;
    s->grams[s->num_grams].count = 1;
    s->slots[slot] = (uint32_t)++s->num_grams;
}

static void add_char_grams(const Shape *shape, Scratch *s) {
    for (int64_t i = 0; i < s->num_chars; i++) {
        uint64_t hash = CHAR_SEED;
        int64_t longest = s->num_chars - i < shape->max_chars ? s->num_chars - i : shape->max_chars;
        for (int64_t n = 1; n <= longest; n++) {
            hash = mix(hash, s->chars[i + n - 1]);
            if (n >= shape->min_chars) add(hash, shape->bits, s);
        }
    }
}

enum { MOST_WORDS = 4 };

static void add_word_grams(const Shape *shape, Scratch *s) {
    uint64_t open[MOST_WORDS] = {0}; /* hashes of the n-grams that end at the last word */
    int32_t num_open = 0;
    for (int64_t i = 0; i < s->num_chars;) {
        if (!in_word(s->chars[i])) {
            /* A space joins two words into a pair; anything else parts them. */
            if (s->chars[i++] != ' ') num_open = 0;
            continue;
        }
        uint64_t word = WORD_SEED;
        for (; i < s->num_chars && in_word(s->chars[i]); i++) word = mix(word, s->chars[i]);
        if (num_open < shape->max_words) num_open++;
        for (int32_t n = num_open - 1; n > 0; n--) open[n] = mix(open[n - 1], word);
        open[0] = word;
        for (int32_t n = 0; n < num_open; n++) add(mix(open[n], WORD_SEED), shape->bits, s);
    }
}

static int read_grams(const uint8_t *text, int64_t size, const Shape *shape, Scratch *s) {
    if (read_chars(text, size, s) || clear_grams(shape, s)) return NO_MEMORY;
    add_char_grams(shape, s);
    if (shape->max_words) add_word_grams(shape, s);
    return DONE;
}

/* Sublinear term frequency; the first few are most of them. */
static float damped(uint32_t count) {
    return count == 1 ? 1.0f : (float)(1.0 + log((double)count));
}

/* Where each of `num_texts` texts, joined by line breaks, starts; starts[num_texts] is one past
 * the end of the last plus one. Returns the number of texts found, at most num_texts. */
EXPORT int64_t fl_lines(const uint8_t *bytes, int64_t size, int64_t num_texts, int64_t *starts) {
    int64_t at = 0;
    for (int64_t i = 0; i < num_texts; i++) {
        starts[i] = at;
        const uint8_t *next = size > at ? memchr(bytes + at, '\n', (size_t)(size - at)) : NULL;
        at = (next ? next - bytes : size) + 1;
        if (!next) {
            starts[i + 1] = at;
            return i + 1;
        }
    }
    return num_texts;
}

/* An upper bound of the n-grams of the texts first..last, for the arrays of fl_grams. */
EXPORT int64_t fl_most_grams(const uint8_t *bytes, const int64_t *starts, int64_t first,
                             int64_t last, const Shape *shape) {
    int64_t orders = shape->max_chars - shape->min_chars + 1 + shape->max_words;
    int64_t chars = 2 * (last - first);
    for (int64_t i = starts[first]; i < starts[last] - 1; i++) chars += (bytes[i] & 0xC0) != 0x80;
    return chars * orders;
}

/* The distinct n-grams of the texts first..last: `buckets`, their damped counts `values`, and
 * how many each text has, `sizes[last - first]`. Returns how many there are in all. */
EXPORT int64_t fl_grams(const uint8_t *bytes, const int64_t *starts, int64_t first, int64_t last,
                        const Shape *shape, int32_t *buckets, float *values, int64_t *sizes) {
    Scratch s = {0};
    int64_t at = 0;
    for (int64_t i = first; i < last; i++) {
        if (read_grams(bytes + starts[i], starts[i + 1] - 1 - starts[i], shape, &s)) {
            scratch_free(&s);
            return NO_MEMORY;
        }
        for (int64_t j = 0; j < s.num_grams; j++, at++) {
            buckets[at] = (int32_t)s.grams[j].bucket;
            values[at] = damped(s.grams[j].count);
        }
        sizes[i - first] = s.num_grams;
    }
    scratch_free(&s);
    return at;
}

/* Adds one to counts[bucket] for each of `buckets`. */
EXPORT void fl_count(const int32_t *buckets, int64_t num, int32_t *counts) {
    for (int64_t i = 0; i < num; i++) counts[buckets[i]]++;
}

/* Turns rows of buckets into rows of features, in place: `feature[bucket]` is a column, or -1
 * for what is left out. `sizes` becomes what is left of each row; returns the sum of that. */
EXPORT int64_t fl_keep(int32_t *columns, float *values, int64_t *sizes, int64_t num_rows,
                       const int32_t *feature) {
    int64_t from = 0, to = 0;
    for (int64_t i = 0; i < num_rows; i++) {
        int64_t start = to;
        for (int64_t end = from + sizes[i]; from < end; from++) {
            int32_t column = feature[columns[from]];
            if (column < 0) continue;
            columns[to] = column;
            values[to++] = values[from];
        }
        sizes[i] = to - start;
    }
    return to;
}

typedef struct {
    const int64_t *starts; /* compressed sparse rows; empty, or of length 1 once weighed */
    const int32_t *columns;
    const float *values;
} Rows;

/* `weighed`: values * scale[column], each row then scaled to length 1. */
EXPORT void fl_weigh(const int64_t *starts, const int32_t *columns, const float *values,
                     int64_t num_rows, const float *scale, float *weighed) {
    for (int64_t i = 0; i < num_rows; i++) {
        double square = 0.0;
        for (int64_t j = starts[i]; j < starts[i + 1]; j++) {
            weighed[j] = values[j] * scale[columns[j]];
            square += (double)weighed[j] * weighed[j];
        }
        float by = square > 0.0 ? (float)(1.0 / sqrt(square)) : 0.0f;
        for (int64_t j = starts[i]; j < starts[i + 1]; j++) weighed[j] *= by;
    }
}

/* Adds one to counts[column] for every n-gram of the rows rows[k]. */
EXPORT void fl_count_rows(const int64_t *starts, const int32_t *columns, const int32_t *rows,
                          int64_t num, int32_t *counts) {
    for (int64_t k = 0; k < num; k++)
        for (int64_t j = starts[rows[k]]; j < starts[rows[k] + 1]; j++) counts[columns[j]]++;
}

/* ---- Training --------------------------------------------------------------------------- */

/* Four running sums, because one would wait for each addition to finish before the next. */
static double dot(const Rows *x, int64_t row, const float *w) {
    int64_t j = x->starts[row], end = x->starts[row + 1];
    float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
    for (; j + 3 < end; j += 4) {
        a += x->values[j] * w[x->columns[j]];
        b += x->values[j + 1] * w[x->columns[j + 1]];
        c += x->values[j + 2] * w[x->columns[j + 2]];
        d += x->values[j + 3] * w[x->columns[j + 3]];
    }
    for (; j < end; j++) a += x->values[j] * w[x->columns[j]];
    return (double)((a + b) + (c + d));
}

static void add_row(const Rows *x, int64_t row, float scale, float *w) {
    for (int64_t j = x->starts[row]; j < x->starts[row + 1]; j++)
        w[x->columns[j]] += scale * x->values[j];
}

/* splitmix64 (Steele, Lea, Flood 2014): the next of a sequence that `state` alone decides. */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static void shuffle(int32_t *items, int64_t num, uint64_t *state) {
    for (int64_t i = num - 1; i > 0; i--) {
        int64_t j = (int64_t)((next_random(state) >> 32) * (uint64_t)(i + 1) >> 32);
        int32_t item = items[i];
        items[i] = items[j];
        items[j] = item;
    }
}

/* Puts 0..num-1 into `order`, shuffled. */
EXPORT void fl_shuffled(int32_t *order, int64_t num, uint64_t seed) {
    for (int64_t i = 0; i < num; i++) order[i] = (int32_t)i;
    shuffle(order, num, &seed);
}

/* One visit to one dual variable (Hsieh et al. 2008, algorithm 3, squared hinge): returns its
 * projected gradient, or NAN when the variable is to rest until the next full pass. */
static double visit(const Rows *x, int64_t i, double sign, double diagonal, double limit,
                    double *alpha, float *w, float *bias) {
    double gradient = sign * (dot(x, i, w) + *bias) - 1.0 + diagonal * alpha[i];
    double projected = gradient;
    if (alpha[i] == 0.0) {
        if (gradient > limit) return NAN;
        if (gradient > 0.0) projected = 0.0;
    }
    if (fabs(projected) > 1e-12) {
        double square = (x->starts[i + 1] > x->starts[i]) + 1.0; /* the row's, and the bias's */
        double old = alpha[i];
        double moved = old - gradient / (square + diagonal);
        alpha[i] = moved > 0.0 ? moved : 0.0;
        float step = (float)((alpha[i] - old) * sign);
        add_row(x, i, step, w);
        *bias += step;
    }
    return projected;
}

/* Minimises |w|^2 / 2 + sum of cost_i * max(0, 1 - sign_i (w x_i + bias))^2 over the rows
 * `order[num]` (which is shuffled), `diagonal[i]` being 1 / (2 cost_i). `alpha` and `w` (whose
 * last item, at `num_features`, is the bias) are where it starts and where it ends; they must
 * agree. Stops when no projected gradient is further than `tolerance` from another, or after
 * `max_epochs`; returns the epochs taken.
 *
 * Source: Hsieh, Chang, Lin, Keerthi, Sundararajan, "A dual coordinate descent method for
 * large-scale linear SVM", ICML 2008, with its shrinking. */
EXPORT int64_t fl_solve(const int64_t *starts, const int32_t *columns, const float *values,
                        int32_t *order, int64_t num, const int8_t *sign, const double *diagonal,
                        double *alpha, float *w, int64_t num_features, double tolerance,
                        int64_t max_epochs, uint64_t seed) {
    Rows x = {starts, columns, values};
    int64_t active = num, epoch = 0;
    double limit = INFINITY;
    while (epoch++ < max_epochs) {
        double most = -INFINITY, least = INFINITY;
        shuffle(order, active, &seed);
        for (int64_t k = 0; k < active; k++) {
            int32_t i = order[k];
            double got = visit(&x, i, sign[i], diagonal[i], limit, alpha, w, w + num_features);
            if (got != got) {
                order[k--] = order[--active];
                order[active] = i;
                continue;
            }
            if (got > most) most = got;
            if (got < least) least = got;
        }
        if (most - least <= tolerance || active == 0) {
            if (active == num) break;
            active = num; /* what was left out has to agree, too */
            limit = INFINITY;
        } else {
            limit = most > 0.0 ? most : INFINITY;
        }
    }
    return epoch < max_epochs ? epoch : max_epochs;
}

/* margins[k] = w · x + bias for the rows rows[k]. */
EXPORT void fl_margins(const int64_t *starts, const int32_t *columns, const float *values,
                       const int32_t *rows, int64_t num, const float *w, int64_t num_features,
                       double *margins) {
    Rows x = {starts, columns, values};
    for (int64_t k = 0; k < num; k++) margins[k] = dot(&x, rows[k], w) + w[num_features];
}

/* ---- Prediction ------------------------------------------------------------------------- */

typedef struct {
    Shape shape;
    int32_t num_classes;    /* columns of the answer, from 2 */
    int32_t num_margins;    /* weight vectors: num_classes, or 1 for two classes */
    const uint64_t *member; /* bit b: some feature has bucket b */
    const int32_t *rank;    /* set bits before each word of `member` */
    const float *table;     /* per feature: scale, then scale * weight per margin */
    const float *bias;      /* [num_margins] */
    const float *slope;     /* [1] */
    const float *shift;     /* [num_classes] */
} Model;

static int count_bits(uint64_t x) {
    x -= x >> 1 & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
    return (int)(((x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * 0x0101010101010101u >> 56);
}

/* Fills `member` [words] (zeroed) and `rank` [words] for ascending `buckets`: 12 bytes per 64
 * buckets, so the index of 4 million buckets stays in a second-level cache. */
EXPORT void fl_index(const int32_t *buckets, int64_t num, uint64_t *member, int32_t *rank,
                     int64_t words) {
    for (int64_t i = 0; i < num; i++) member[buckets[i] >> 6] |= (uint64_t)1 << (buckets[i] & 63);
    int32_t before = 0;
    for (int64_t i = 0; i < words; i++) {
        rank[i] = before;
        before += count_bits(member[i]);
    }
}

/* The feature of a bucket, or -1. */
static int64_t feature_of(const Model *m, uint32_t bucket) {
    uint64_t word = m->member[bucket >> 6], bit = (uint64_t)1 << (bucket & 63);
    return word & bit ? m->rank[bucket >> 6] + count_bits(word & (bit - 1)) : -1;
}

/* Probabilities `row`: softmax(slope * margin + shift); of two classes only the second has a
 * margin, and the first has 0. In double, so that no finite weights can overflow. */
static void calibrate(const Model *m, const double *margin, double *z, float *row) {
    double most = -INFINITY, sum = 0.0;
    for (int32_t c = 0; c < m->num_classes; c++) {
        double own = m->num_margins > 1 ? margin[c] : c ? margin[0] : 0.0;
        z[c] = (double)m->slope[0] * own + m->shift[c];
        if (z[c] > most) most = z[c];
    }
    for (int32_t c = 0; c < m->num_classes; c++) sum += z[c] = exp(z[c] - most);
    for (int32_t c = 0; c < m->num_classes; c++) row[c] = (float)(z[c] / sum);
}

static void answer(const Model *m, const Scratch *s, double *margin, float *row) {
    double square = 0.0;
    for (int32_t k = 0; k < m->num_margins; k++) margin[k] = 0.0;
    for (int64_t j = 0; j < s->num_grams; j++) {
        int64_t feature = feature_of(m, s->grams[j].bucket);
        if (feature < 0) continue;
        const float *entry = m->table + feature * (m->num_margins + 1);
        double count = damped(s->grams[j].count), value = count * entry[0];
        square += value * value;
        for (int32_t k = 0; k < m->num_margins; k++) margin[k] += count * entry[k + 1];
    }
    if (!(square > 0.0)) {
        for (int32_t c = 0; c < m->num_classes; c++) row[c] = NAN;
        return;
    }
    double scale = 1.0 / sqrt(square);
    for (int32_t k = 0; k < m->num_margins; k++) margin[k] = margin[k] * scale + m->bias[k];
    calibrate(m, margin, margin + m->num_margins, row);
}

/* Probabilities `out` [last - first, num_classes] of the texts first..last; a text of which
 * the model knows no n-gram gets a row of NaN. */
EXPORT int64_t fl_predict(const Model *model, const uint8_t *bytes, const int64_t *starts,
                          int64_t first, int64_t last, float *out) {
    Scratch s = {0};
    double *margin = malloc(((size_t)model->num_margins + (size_t)model->num_classes) * sizeof *margin);
    int64_t result = margin ? DONE : NO_MEMORY;
    for (int64_t i = first; i < last && result == DONE; i++) {
        result = read_grams(bytes + starts[i], starts[i + 1] - 1 - starts[i], &model->shape, &s);
        if (result == DONE) answer(model, &s, margin, out + (i - first) * model->num_classes);
    }
    free(margin);
    scratch_free(&s);
    return result;
}
