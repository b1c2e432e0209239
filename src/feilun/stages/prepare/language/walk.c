/* What an automaton finds in each text, weighed for each language. C99.
 *
 * Called through ctypes, which releases the GIL; checks nothing: ngrams.py has checked. Texts
 * are concatenated: row i has the bytes starts[i] to starts[i + 1].
 */
#include <stdint.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

/* From state s, byte b leads to moves[row[s] + b]; a state finds feature[s], or -1. A feature
 * that a text has n times counts logs[n] times its weights. `counts` has a zero for each feature,
 * and zeros again at the end; `found` has room for a feature per byte of the longest text;
 * `scores` (num x languages) starts as zeros. A text in which nothing is found scores zero, any
 * other one `priors` and what it found. */
EXPORT void fl_walk(const uint8_t *content, const int64_t *starts, int64_t num,
                    const uint32_t *moves, const uint32_t *row, const int32_t *feature,
                    const float *weights, const float *priors, int64_t languages,
                    const float *logs, int32_t *counts, int32_t *found, float *scores) {
    for (int64_t text = 0; text < num; text++) {
        float *restrict score = scores + text * languages;
        int64_t many = 0;
        uint32_t state = 0;
        for (int64_t at = starts[text]; at < starts[text + 1]; at++) {
            state = moves[row[state] + content[at]];
            int32_t here = feature[state];
            if (here >= 0 && !counts[here]++) found[many++] = here;
        }
        if (!many) continue;
        for (int64_t k = 0; k < languages; k++) score[k] = priors[k];
        for (int64_t i = 0; i < many; i++) {
            const float *restrict weight = weights + found[i] * languages;
            const float times = logs[counts[found[i]]];
            for (int64_t k = 0; k < languages; k++) score[k] += times * weight[k];
            counts[found[i]] = 0;
        }
    }
}
