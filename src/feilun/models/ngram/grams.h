/* A text to its hashed n-grams: what training, answering and embedding all begin with.
 *
 * A text is normalised UTF-8 (NFKC, case folded) with no line break in it.
 */
#ifndef FEILUN_GRAMS_H
#define FEILUN_GRAMS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DONE = 0, NO_MEMORY = -1 };

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

#endif
