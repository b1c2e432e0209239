/* Texts for others: an array of large strings of the Arrow C data interface. C99.
 *
 * Called through ctypes, which releases the GIL; checks nothing: columns.py has checked. Texts
 * are concatenated UTF-8: row i has the bytes starts[i] to starts[i + 1], and starts[0] is 0.
 * https://arrow.apache.org/docs/format/CDataInterface.html
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

typedef struct Schema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct Schema **children, *dictionary;
    void (*release)(struct Schema *);
    void *private_data;
} Schema;

typedef struct Array {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct Array **children, *dictionary;
    void (*release)(struct Array *);
    void *private_data;
} Array;

static void release_schema(Schema *schema) {
    schema->release = NULL; /* nothing of it was allocated */
}

static void release_array(Array *array) {
    free((void *)array->buffers); /* the starts and the bytes lie behind */
    array->release = NULL;
}

/* Fills in `schema` and `array` with a copy of the texts, which whoever takes them releases.
 * Returns -1 without memory. */
EXPORT int64_t fl_strings(const uint8_t *content, const int64_t *starts, int64_t num,
                          Schema *schema, Array *array) {
    size_t head = 4 * sizeof(void *), size = (size_t)(num + 1) * sizeof(int64_t);
    uint8_t *held = malloc(head + size + (size_t)starts[num] + 1);
    if (held == NULL) return -1;
    memcpy(held + head, starts, size);
    memcpy(held + head + size, content, (size_t)starts[num]);
    const void **buffers = (const void **)(void *)held;
    buffers[0] = NULL; /* none is null */
    buffers[1] = held + head;
    buffers[2] = held + head + size;
    *schema = (Schema){.format = "U", .name = "", .release = release_schema};
    *array = (Array){.length = num, .n_buffers = 3, .buffers = buffers, .release = release_array};
    return 0;
}
