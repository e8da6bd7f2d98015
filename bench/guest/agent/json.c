#include "json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct json *json_first(const struct document *d, const struct json *container) {
    return container->first ? &d->nodes[container->first] : NULL;
}

const struct json *json_next(const struct document *d, const struct json *member) {
    return member->next ? &d->nodes[member->next] : NULL;
}

const struct json *json_get(const struct document *d, const struct json *object, const char *name) {
    const struct json *found = NULL;
    if (!object || object->type != JSON_OBJECT)
        return NULL;
    for (const struct json *m = json_first(d, object); m; m = json_next(d, m))
        if (m->key_len == strlen(name) && memcmp(m->key, name, m->key_len) == 0)
            found = m;
    return found && found->type != JSON_NULL ? found : NULL;
}

bool json_whole(const struct json *number, long long *value) {
    char *end;
    if (!number || number->type != JSON_NUMBER)
        return false;
    errno = 0;
    *value = strtoll(number->text, &end, 10);
    return errno == 0 && *end == 0;
}

/* How many bytes the UTF-8 character there has, and its number; 0 where there is none (RFC 3629). */
static size_t character(const uint8_t *at, size_t len, uint32_t *code) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = at[0] < 0x80 ? 1 : at[0] >> 5 == 6 ? 2 : at[0] >> 4 == 14 ? 3 : at[0] >> 3 == 30 ? 4 : 0;
    if (size == 0 || size > len)
        return 0;
    *code = size == 1 ? at[0] : at[0] & (0x7Fu >> size);
    for (size_t byte = 1; byte < size; byte++) {
        if (at[byte] >> 6 != 2)
            return 0;
        *code = *code << 6 | (at[byte] & 0x3Fu);
    }
    if (*code < least[size] || *code > 0x10FFFF || (*code >= 0xD800 && *code <= 0xDFFF))
        return 0;
    return size;
}

static void put_unit(struct bytes *out, uint32_t unit) {
    char text[8];
    snprintf(text, sizeof text, "\\u%04x", unit & 0xFFFF);
    bytes_text(out, text);
}

void json_put(struct bytes *out, const char *text, size_t len) {
    const uint8_t *at = (const uint8_t *)text;
    bytes_text(out, "\"");
    while (len) {
        uint32_t code;
        size_t size = character(at, len, &code);
        if (!size) {
            put_unit(out, 0xDC00 + at[0]);
            size = 1;
        } else if (code >= 0x10000) {
            put_unit(out, 0xD800 + ((code - 0x10000) >> 10));
            put_unit(out, 0xDC00 + (code & 0x3FF));
        } else if (code < 0x20 || code >= 0x7F) {
            put_unit(out, code);
        } else {
            if (code == '"' || code == '\\')
                bytes_text(out, "\\");
            bytes_add(out, at, 1);
        }
        at += size;
        len -= size;
    }
    bytes_text(out, "\"");
}
