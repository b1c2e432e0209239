/* Rows of n-grams, linear machines over them, and their answers. Plain C99, no globals.
 *
 * Python calls these through ctypes, which releases the GIL; every function works only on what
 * it is given, so any number of threads may call any of them. Those that allocate return
 * NO_MEMORY when they cannot; nothing else can fail, because native.py and predict.py check
 * every size first.
 *
 * Texts (see grams.h) come joined by line breaks, so one string and one call carry a batch.
 */
#include "grams.h"

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* ---- Texts to rows ---------------------------------------------------------------------- */

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

/* Minimises |w|^2 / 2 + sum of cost_i * (w x_i + bias - target_i)^2 over the rows `order[num]`
 * (which is shuffled), `diagonal[i]` being 1 / (2 cost_i); `alpha` and `w` as in fl_solve. Stops
 * when no gradient of an epoch is above `tolerance`; returns the epochs taken.
 *
 * Source: Ho, Lin, "Large-scale linear support vector regression", JMLR 2012, algorithm 4 for the
 * squared loss, with epsilon 0, where the dual has no bounds: every step is exact. */
EXPORT int64_t fl_ridge(const int64_t *starts, const int32_t *columns, const float *values,
                        int32_t *order, int64_t num, const double *target, const double *diagonal,
                        double *alpha, float *w, int64_t num_features, double tolerance,
                        int64_t max_epochs, uint64_t seed) {
    Rows x = {starts, columns, values};
    int64_t epoch = 0;
    while (epoch < max_epochs) {
        double most = 0.0;
        epoch++;
        shuffle(order, num, &seed);
        for (int64_t k = 0; k < num; k++) {
            int32_t i = order[k];
            double square = (starts[i + 1] > starts[i]) + 1.0;
            double gradient = dot(&x, i, w) + w[num_features] - target[i] + diagonal[i] * alpha[i];
            double step = -gradient / (square + diagonal[i]);
            if (fabs(gradient) > most) most = fabs(gradient);
            alpha[i] += step;
            add_row(&x, i, (float)step, w);
            w[num_features] += (float)step;
        }
        if (most <= tolerance) break;
    }
    return epoch;
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
    int32_t num_classes;    /* columns of the answer */
    int32_t num_margins;    /* weight vectors: num_classes, or 1 for two exclusive classes */
    int32_t kind;           /* what a margin becomes */
    const uint64_t *member; /* bit b: some feature has bucket b */
    const int32_t *rank;    /* set bits before each word of `member` */
    const float *table;     /* per feature: scale, then scale * weight per margin */
    const float *bias;      /* [num_margins] */
    const float *slope;     /* [1]; INDEPENDENT: [num_classes] */
    const float *shift;     /* [num_classes] */
} Model;

enum { EXCLUSIVE = 0, INDEPENDENT = 1, VALUE = 2 };

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

/* Each class by itself: 1 / (1 + exp(-z)), or z itself for a value; z = slope * margin + shift. */
static void each(const Model *m, const double *margin, float *row) {
    for (int32_t c = 0; c < m->num_classes; c++) {
        double slope = m->slope[m->kind == INDEPENDENT ? c : 0];
        double z = slope * margin[c] + m->shift[c];
        row[c] = (float)(m->kind == VALUE ? z : 1.0 / (1.0 + exp(-z)));
    }
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
    if (m->kind == EXCLUSIVE) calibrate(m, margin, margin + m->num_margins, row);
    else each(m, margin, row);
}

/* Probabilities (or values) `out` [last - first, num_classes] of the texts first..last; a text of which
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

/* features[i] of buckets[i], by the index that fl_index made; -1 for one that has none. */
EXPORT void fl_lookup(const uint64_t *member, const int32_t *rank, const int32_t *buckets,
                      int64_t num, int32_t *features) {
    Model m = {.member = member, .rank = rank};
    for (int64_t i = 0; i < num; i++) features[i] = (int32_t)feature_of(&m, (uint32_t)buckets[i]);
}

/* Adds the n-grams, each by its weight, to `width` (a power of two, to 2^15) places. Returns
 * whether the model knows any of them. */
static int project(const Model *m, const Scratch *s, float rare, int64_t width, double *place) {
    int known = 0;
    for (int64_t j = 0; j < s->num_grams; j++) {
        int64_t feature = feature_of(m, s->grams[j].bucket);
        known |= feature >= 0;
        double weight = feature < 0 ? rare : m->table[feature * (m->num_margins + 1)];
        weight *= damped(s->grams[j].count);
        uint64_t state = s->grams[j].bucket, bits = next_random(&state);
        /* Four places of sixteen bits each: a sign, and where. */
        for (int k = 0; k < 4; k++, bits >>= 16)
            place[bits & (uint64_t)(width - 1)] += bits & 0x8000u ? weight : -weight;
    }
    return known;
}

/* Vectors of length 1, `out` [last - first, width], whose products are those of the texts' tf-idf
 * vectors up to chance (1 / sqrt(width)); an n-gram that is no feature weighs `rare`. A text of
 * which the model knows no n-gram gets a row of NaN.
 *
 * Source: Kane, Nelson, "Sparser Johnson-Lindenstrauss transforms", JACM 2014. */
EXPORT int64_t fl_embed(const Model *model, const uint8_t *bytes, const int64_t *starts,
                        int64_t first, int64_t last, float rare, int64_t width, float *out) {
    Scratch s = {0};
    double *place = malloc((size_t)width * sizeof *place);
    int64_t result = place ? DONE : NO_MEMORY;
    for (int64_t i = first; i < last && result == DONE; i++, out += width) {
        result = read_grams(bytes + starts[i], starts[i + 1] - 1 - starts[i], &model->shape, &s);
        if (result != DONE) break;
        double square = 0.0;
        memset(place, 0, (size_t)width * sizeof *place);
        int known = project(model, &s, rare, width, place);
        for (int64_t j = 0; j < width; j++) square += place[j] * place[j];
        double by = known && square > 0.0 ? 1.0 / sqrt(square) : NAN;
        for (int64_t j = 0; j < width; j++) out[j] = (float)(place[j] * by);
    }
    free(place);
    scratch_free(&s);
    return result;
}
