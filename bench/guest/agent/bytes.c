#include "bytes.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT (256 * 1024) /* an empty queue gives more than this back */

_Noreturn void die(const char *what) {
    static const char head[] = "isobench agent: ";
    if (write(2, head, sizeof head - 1) < 0 || write(2, what, strlen(what)) < 0 || write(2, "\n", 1) < 0)
        _exit(1);
    _exit(1);
}

void *must(size_t size) {
    void *found = calloc(1, size);
    if (!found)
        die("out of memory");
    return found;
}

uint8_t *bytes_space(struct bytes *b, size_t count) {
    if (b->room - b->at - b->len >= count)
        return b->data + b->at + b->len;
    if (b->at && b->room - b->len >= count) {
        memmove(b->data, b->data + b->at, b->len);
    } else {
        size_t room = b->len + count + (b->len + count) / 2;
        uint8_t *data = must(room);
        if (b->len)
            memcpy(data, b->data + b->at, b->len);
        free(b->data);
        b->data = data;
        b->room = room;
    }
    b->at = 0;
    return b->data + b->len;
}

void bytes_grew(struct bytes *b, size_t count) { b->len += count; }

void bytes_add(struct bytes *b, const void *data, size_t count) {
    if (!count)
        return;
    memcpy(bytes_space(b, count), data, count);
    b->len += count;
}

void bytes_text(struct bytes *b, const char *text) { bytes_add(b, text, strlen(text)); }

void bytes_drop(struct bytes *b, size_t count) {
    b->at += count;
    b->len -= count;
    if (b->len)
        return;
    b->at = 0;
    if (b->room > KEPT)
        bytes_free(b);
}

void bytes_free(struct bytes *b) {
    free(b->data);
    memset(b, 0, sizeof *b);
}
