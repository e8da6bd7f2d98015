/* A queue of bytes: added at its end, taken from its front. */
#ifndef BYTES_H
#define BYTES_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
    uint8_t *data;
    size_t at, len, room; /* the content is data[at … at + len) */
};

/* `count` writable bytes behind the content; `bytes_grew` makes those of them that were written part of it. */
uint8_t *bytes_space(struct bytes *b, size_t count);
void bytes_grew(struct bytes *b, size_t count);
void bytes_add(struct bytes *b, const void *data, size_t count);
void bytes_text(struct bytes *b, const char *text);
/* Take that many from the front. */
void bytes_drop(struct bytes *b, size_t count);
void bytes_free(struct bytes *b);

static inline const uint8_t *bytes_front(const struct bytes *b) { return b->data + b->at; }

/* Memory, zeroed. The agent ends where there is none: it can promise nothing any more. */
void *must(size_t size);
_Noreturn void die(const char *what);

#endif
