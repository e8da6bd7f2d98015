/* JSON documents as small as a frame: a reader into a tree, and a writer of its texts. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>

#include "bytes.h"

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
    enum json_type type;
    const char *text; /* of a string its bytes, of a number as it is written; a zero byte ends both */
    size_t len;
    const char *key; /* of a member of an object */
    size_t key_len;
    uint32_t count;       /* of members */
    uint32_t first, next; /* index of the first member, of the next sibling; 0 is none */
};

struct document {
    struct json *nodes; /* the first is the document itself */
    uint32_t used, room;
    char *texts;
};

/* False where it is no JSON, or nests deeper than JSON_DEPTH. Strings come out as bytes: a lone surrogate
 * U+DC80 … U+DCFF stands for a byte that is no UTF-8, as Python writes them (PEP 383). */
#define JSON_DEPTH 64
bool json_read(struct document *d, const uint8_t *data, size_t len);
void json_free(struct document *d);

/* The last member of that name, as in Python; NULL where there is none, where it is null, or it is no object. */
const struct json *json_get(const struct document *d, const struct json *object, const char *name);
const struct json *json_first(const struct document *d, const struct json *container);
const struct json *json_next(const struct document *d, const struct json *member);
/* Whether it is a whole number that fits, and which. */
bool json_whole(const struct json *number, long long *value);

/* `text` with quotes, ASCII only; bytes that are no UTF-8 as lone surrogates. */
void json_put(struct bytes *out, const char *text, size_t len);

#endif
