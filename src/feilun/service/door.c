/* Refuses what is refused anyway while the line is full, without the interpreter. C99, Linux.
 *
 * A connection is in the hands of `fl_door_run` from `fl_door_watch` until it is handed back
 * (`fl_door_left`) or taken back (`fl_door_release`); nobody else reads it meanwhile. A request is
 * looked at before it is read: one that is not refused here is left in the socket as it came.
 */
#define _GNU_SOURCE
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

#ifdef __linux__
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { POSTS = 1024, DESCRIPTORS = 65536, LARGEST = 65536, EVENTS = 256, DIGITS = 8 };
enum { RANDOM_BYTES = 10, STOCK = 256, ID = 2 + 12 + 2 * RANDOM_BYTES };
static const int64_t PROBE_NANOSECONDS = 10000000;

/* One head that is known, before and behind the number of its content's length, and the answer
 * before and behind the id of the request. */
typedef struct {
    char *first, *last, *before, *behind;
    int64_t num_first, num_last, num_before, num_behind;
    int64_t refused, nanoseconds;
} Post;

typedef struct {
    int poll, bell, end;   /* never change */
    int64_t until, places; /* atomic */
    pthread_mutex_t mutex; /* of the next four */
    Post posts[POSTS];
    uint16_t watched[DESCRIPTORS]; /* 1 + the post, 0: not watched */
    int32_t left[DESCRIPTORS];     /* handed back, and not yet asked for */
    int64_t num_left;
    int64_t num_posts; /* Python's thread alone */
    int64_t probe;     /* this and the rest: the thread of `fl_door_run` alone */
    int64_t num_random;
    uint8_t random[RANDOM_BYTES * STOCK];
    char given[LARGEST], answer[LARGEST];
} Door;

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static char *copied(const char *bytes, int64_t num) {
    char *copy = malloc((size_t)num + 1);
    if (copy != NULL) memcpy(copy, bytes, (size_t)num);
    return copy;
}

/* ---- A request -------------------------------------------------------------------------- */

/* How long the one request is that all of `given` should be; -1: it is none of this post's. */
static int64_t whole(const Post *post, const char *given, int64_t num) {
    if (num < post->num_first || memcmp(given, post->first, (size_t)post->num_first)) return -1;
    int64_t at = post->num_first, length = 0, from = at;
    for (; at < num && at - from < DIGITS && given[at] >= '0' && given[at] <= '9'; at++)
        length = 10 * length + (given[at] - '0');
    if (at == from || num - at < post->num_last) return -1;
    if (memcmp(given + at, post->last, (size_t)post->num_last)) return -1;
    return at + post->num_last + length;
}

/* As `new_id` of feilun.store.clock makes them. */
static int write_id(Door *door, char *out) {
    static const char HEX[] = "0123456789abcdef";
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    uint64_t milliseconds = (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
    *out++ = 'r';
    *out++ = '_';
    for (int shift = 44; shift >= 0; shift -= 4) *out++ = HEX[milliseconds >> shift & 15];
    if (door->num_random == 0) {
        if (getrandom(door->random, sizeof door->random, 0) != sizeof door->random) return 0;
        door->num_random = STOCK;
    }
    const uint8_t *random = door->random + RANDOM_BYTES * --door->num_random;
    for (int i = 0; i < RANDOM_BYTES; i++) {
        *out++ = HEX[random[i] >> 4];
        *out++ = HEX[random[i] & 15];
    }
    return 1;
}

/* Whether the line was full a moment ago, and it is nobody's turn to look whether it still is. */
static int is_full(Door *door, int64_t moment) {
    if (moment >= __atomic_load_n(&door->until, __ATOMIC_RELAXED)) return 0;
    if (__atomic_load_n(&door->places, __ATOMIC_RELAXED) > 0) {
        __atomic_sub_fetch(&door->places, 1, __ATOMIC_RELAXED);
        return 0;
    }
    if (moment < door->probe) return 1;
    door->probe = moment + PROBE_NANOSECONDS;
    return 0;
}

/* Whether what came was one request, and has been refused. */
static int refused(Door *door, int connection, uint32_t events) {
    if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) return 0;
    int64_t began = now();
    if (!is_full(door, began)) return 0;
    Post *post = &door->posts[door->watched[connection] - 1];
    int64_t num = recv(connection, door->given, LARGEST, MSG_PEEK | MSG_DONTWAIT);
    if (num <= 0 || whole(post, door->given, num) != num) return 0;
    char *out = door->answer;
    memcpy(out, post->before, (size_t)post->num_before);
    if (!write_id(door, out += post->num_before)) return 0;
    memcpy(out += ID, post->behind, (size_t)post->num_behind);
    int64_t size = out + post->num_behind - door->answer;
    int64_t sent = send(connection, door->answer, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent != size) {
        /* It does not take its answers; half of one must not be followed by another. */
        if (sent > 0) shutdown(connection, SHUT_RDWR);
        return 0;
    }
    recv(connection, NULL, (size_t)num, MSG_TRUNC | MSG_DONTWAIT); /* TCP: throws it away */
    post->refused++;
    post->nanoseconds += now() - began;
    return 1;
}

static void forget(Door *door, int connection) {
    door->watched[connection] = 0;
    epoll_ctl(door->poll, EPOLL_CTL_DEL, connection, NULL);
}

/* ---- What Python calls ------------------------------------------------------------------ */

/* No longer before `fl_door_run` has returned. */
EXPORT void fl_door_free(Door *door) {
    if (door->poll >= 0) close(door->poll);
    if (door->bell >= 0) close(door->bell);
    if (door->end >= 0) close(door->end);
    for (int64_t i = 0; i < door->num_posts; i++) {
        Post *post = &door->posts[i];
        free(post->first), free(post->last), free(post->before), free(post->behind);
    }
    pthread_mutex_destroy(&door->mutex);
    free(door);
}

/* NULL where there is no memory, or no descriptor left. */
EXPORT Door *fl_door_open(void) {
    Door *door = calloc(1, sizeof(Door));
    if (door == NULL) return NULL;
    pthread_mutex_init(&door->mutex, NULL);
    door->poll = epoll_create1(EPOLL_CLOEXEC);
    door->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    door->end = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = door->end};
    if (door->poll < 0 || door->bell < 0 || door->end < 0 ||
        epoll_ctl(door->poll, EPOLL_CTL_ADD, door->end, &event)) {
        fl_door_free(door);
        return NULL;
    }
    return door;
}

/* Readable when a connection was handed back. */
EXPORT int64_t fl_door_bell(const Door *door) { return door->bell; }

/* The number of a new post; -1: there are too many, or its answer is too long. */
EXPORT int64_t fl_door_post(Door *door, const char *first, int64_t num_first, const char *last,
                            int64_t num_last, const char *before, int64_t num_before,
                            const char *behind, int64_t num_behind) {
    if (door->num_posts == POSTS || num_before + ID + num_behind > LARGEST) return -1;
    Post post = {copied(first, num_first), copied(last, num_last), copied(before, num_before),
                 copied(behind, num_behind), num_first, num_last, num_before, num_behind, 0, 0};
    if (!post.first || !post.last || !post.before || !post.behind) {
        free(post.first), free(post.last), free(post.before), free(post.behind);
        return -1;
    }
    pthread_mutex_lock(&door->mutex);
    door->posts[door->num_posts] = post;
    pthread_mutex_unlock(&door->mutex);
    return door->num_posts++;
}

/* Whether the connection is watched now, for requests with the post's head. */
EXPORT int64_t fl_door_watch(Door *door, int64_t connection, int64_t post) {
    if (connection < 0 || connection >= DESCRIPTORS) return 0;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = (int)connection};
    pthread_mutex_lock(&door->mutex);
    door->watched[connection] = (uint16_t)(post + 1);
    int failed = epoll_ctl(door->poll, EPOLL_CTL_ADD, (int)connection, &event);
    if (failed) door->watched[connection] = 0;
    pthread_mutex_unlock(&door->mutex);
    return !failed;
}

/* Takes a connection back, before it is read or closed by somebody else. */
EXPORT void fl_door_release(Door *door, int64_t connection) {
    pthread_mutex_lock(&door->mutex);
    if (door->watched[connection]) forget(door, (int)connection);
    /* Its number may be another connection's by the time somebody looks what was handed back. */
    for (int64_t i = 0; i < door->num_left; i++)
        if (door->left[i] == connection) {
            door->num_left--;
            door->left[i] = door->left[door->num_left];
            break;
        }
    pthread_mutex_unlock(&door->mutex);
}

/* Connections that were handed back since the last call, at most `most`; their number. */
EXPORT int64_t fl_door_left(Door *door, int32_t *out, int64_t most) {
    uint64_t rung;
    pthread_mutex_lock(&door->mutex);
    int64_t num = door->num_left < most ? door->num_left : most;
    door->num_left -= num;
    memcpy(out, door->left + door->num_left, (size_t)num * sizeof *out);
    if (door->num_left == 0) (void)!read(door->bell, &rung, sizeof rung);
    pthread_mutex_unlock(&door->mutex);
    return num;
}

/* How many requests of the post were refused since the last call; how long that took. */
EXPORT int64_t fl_door_refused(Door *door, int64_t number, int64_t *nanoseconds) {
    Post *post = &door->posts[number];
    pthread_mutex_lock(&door->mutex);
    int64_t refused = post->refused;
    *nanoseconds = post->nanoseconds;
    post->refused = post->nanoseconds = 0;
    pthread_mutex_unlock(&door->mutex);
    return refused;
}

/* The line is full: refuse for so long, but for those that `fl_door_places` lets in. */
EXPORT void fl_door_full(Door *door, int64_t nanoseconds) {
    __atomic_store_n(&door->places, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&door->until, now() + nanoseconds, __ATOMIC_RELAXED);
}

/* There is room for so many. */
EXPORT void fl_door_places(Door *door, int64_t places) {
    __atomic_store_n(&door->places, places, __ATOMIC_RELAXED);
}

EXPORT void fl_door_end(Door *door) {
    uint64_t one = 1;
    (void)!write(door->end, &one, sizeof one);
}

/* Refuses until `fl_door_end`. */
EXPORT void fl_door_run(Door *door) {
    struct epoll_event events[EVENTS];
    const uint64_t one = 1;
    for (;;) {
        int num = epoll_wait(door->poll, events, EVENTS, -1), rings = 0;
        if (num < 0 && errno != EINTR) return;
        for (int i = 0; i < num; i++) {
            int connection = events[i].data.fd;
            if (connection == door->end) return;
            pthread_mutex_lock(&door->mutex);
            if (door->watched[connection] && door->num_left < DESCRIPTORS &&
                !refused(door, connection, events[i].events)) {
                forget(door, connection);
                door->left[door->num_left++] = connection;
                rings = 1;
            }
            pthread_mutex_unlock(&door->mutex);
        }
        if (rings) (void)!write(door->bell, &one, sizeof one);
    }
}
#endif
