#include "json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    struct document *d;
    const uint8_t *at, *end;
    char *text; /* where the next decoded text goes: never longer than what it is decoded from */
};

static bool value(struct reader *r, uint32_t *node, int depth);

static void blank(struct reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
        r->at++;
}

static bool take(struct reader *r, char wanted) {
    if (r->at == r->end || *r->at != (uint8_t)wanted)
        return false;
    r->at++;
    return true;
}

static bool word(struct reader *r, const char *wanted) {
    size_t len = strlen(wanted);
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, wanted, len) != 0)
        return false;
    r->at += len;
    return true;
}

static uint32_t added(struct document *d) {
    if (d->used == d->room) {
        d->room = d->room ? 2 * d->room : 32;
        d->nodes = realloc(d->nodes, d->room * sizeof *d->nodes);
        if (!d->nodes)
            die("out of memory");
    }
    memset(&d->nodes[d->used], 0, sizeof *d->nodes);
    return d->used++;
}

/* --- strings ------------------------------------------------------------------------------- */

static bool hex4(struct reader *r, uint32_t *code) {
    if (r->end - r->at < 4)
        return false;
    *code = 0;
    for (int digit = 0; digit < 4; digit++) {
        uint8_t c = *r->at++;
        if (c >= '0' && c <= '9')
            *code = *code << 4 | (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            *code = *code << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return false;
    }
    return true;
}

static void put(struct reader *r, uint32_t byte) { *r->text++ = (char)byte; }

static void put_code(struct reader *r, uint32_t code) {
    if (code < 0x80) {
        put(r, code);
    } else if (code < 0x800) {
        put(r, 0xC0 | code >> 6);
        put(r, 0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        put(r, 0xE0 | code >> 12);
        put(r, 0x80 | (code >> 6 & 0x3F));
        put(r, 0x80 | (code & 0x3F));
    } else {
        put(r, 0xF0 | code >> 18);
        put(r, 0x80 | (code >> 12 & 0x3F));
        put(r, 0x80 | (code >> 6 & 0x3F));
        put(r, 0x80 | (code & 0x3F));
    }
}

/* What follows a backslash and "u". */
static bool unicode(struct reader *r) {
    uint32_t code, low;
    if (!hex4(r, &code))
        return false;
    if (code >= 0xD800 && code < 0xDC00) {
        if (!word(r, "\\u") || !hex4(r, &low) || low < 0xDC00 || low > 0xDFFF)
            return false; /* half a character is no text */
        put_code(r, 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00));
    } else if (code >= 0xDC80 && code <= 0xDCFF) {
        put(r, code - 0xDC00);
    } else if (code >= 0xDC00 && code <= 0xDFFF) {
        return false;
    } else {
        put_code(r, code);
    }
    return true;
}

static bool escape(struct reader *r) {
    static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->end)
        return false;
    uint8_t c = *r->at++;
    if (c == 'u')
        return unicode(r);
    const char *found = c ? strchr(names, c) : NULL;
    if (found)
        put(r, (uint8_t)means[found - names]);
    return found != NULL;
}

static bool string(struct reader *r, const char **text, size_t *len) {
    if (!take(r, '"'))
        return false;
    *text = r->text;
    while (r->at < r->end && *r->at != '"') {
        uint8_t c = *r->at++;
        if (c < 0x20 || c > 0x7E) /* the wire's JSON is ASCII */
            return false;
        if (c != '\\')
            put(r, c);
        else if (!escape(r))
            return false;
    }
    *len = (size_t)(r->text - *text);
    put(r, 0); /* in the place of a quote */
    return take(r, '"');
}

/* --- numbers, containers ------------------------------------------------------------------- */

static bool digits(struct reader *r) {
    const uint8_t *from = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        put(r, *r->at++);
    return r->at > from;
}

static bool sign(struct reader *r, const char *which) {
    if (r->at < r->end && *r->at && strchr(which, *r->at)) {
        put(r, *r->at++);
        return true;
    }
    return false;
}

static bool number(struct reader *r, struct json *node) {
    node->text = r->text;
    sign(r, "-");
    bool zero = r->at < r->end && *r->at == '0';
    const uint8_t *from = r->at;
    if (!digits(r) || (zero && r->at - from > 1))
        return false;
    if (sign(r, ".") && !digits(r))
        return false;
    if (sign(r, "eE")) {
        sign(r, "+-");
        if (!digits(r))
            return false;
    }
    node->len = (size_t)(r->text - node->text);
    put(r, 0);
    return true;
}

static bool members(struct reader *r, uint32_t parent, char end, int depth) {
    uint32_t last = 0, child;
    blank(r);
    if (take(r, end))
        return true;
    do {
        const char *key = NULL;
        size_t key_len = 0;
        blank(r);
        if (end == '}') {
            if (!string(r, &key, &key_len))
                return false;
            blank(r);
            if (!take(r, ':'))
                return false;
        }
        if (!value(r, &child, depth + 1))
            return false;
        struct json *nodes = r->d->nodes;
        nodes[child].key = key;
        nodes[child].key_len = key_len;
        *(last ? &nodes[last].next : &nodes[parent].first) = child;
        nodes[parent].count++;
        last = child;
        blank(r);
    } while (take(r, ','));
    return take(r, end);
}

static bool value(struct reader *r, uint32_t *node, int depth) {
    blank(r);
    if (r->at == r->end || depth > JSON_DEPTH)
        return false;
    uint32_t index = *node = added(r->d);
    struct json *found = &r->d->nodes[index]; /* good until the next node */
    switch (*r->at) {
    case '{':
        found->type = JSON_OBJECT;
        r->at++;
        return members(r, index, '}', depth);
    case '[':
        found->type = JSON_ARRAY;
        r->at++;
        return members(r, index, ']', depth);
    case '"':
        found->type = JSON_STRING;
        return string(r, &found->text, &found->len);
    case 'n':
        return word(r, "null");
    case 't':
        found->type = JSON_TRUE;
        return word(r, "true");
    case 'f':
        found->type = JSON_FALSE;
        return word(r, "false");
    default:
        found->type = JSON_NUMBER;
        return number(r, found);
    }
}

bool json_read(struct document *d, const uint8_t *data, size_t len) {
    memset(d, 0, sizeof *d);
    d->texts = must(2 * len + 1); /* each number needs a byte more than it has, for the zero */
    struct reader r = {d, data, data + len, d->texts};
    uint32_t top;
    if (!value(&r, &top, 0))
        return false;
    blank(&r);
    return r.at == r.end;
}

void json_free(struct document *d) {
    free(d->nodes);
    free(d->texts);
    memset(d, 0, sizeof *d);
}
