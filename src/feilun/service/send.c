/* Sends many answers in one call, without the interpreter. C99, Linux. */
#define _GNU_SOURCE
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

#ifdef __linux__
#include <sys/socket.h>

/* `sent`: how much of each the kernel took; 0 of one that fails. */
EXPORT void fl_send_all(const int32_t *sockets, const char *const *contents, const int64_t *lengths,
                        int64_t num, int64_t *sent) {
    for (int64_t i = 0; i < num; i++) {
        int64_t took =
            send(sockets[i], contents[i], (size_t)lengths[i], MSG_DONTWAIT | MSG_NOSIGNAL);
        sent[i] = took < 0 ? 0 : took;
    }
}
#endif
