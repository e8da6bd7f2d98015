#define _GNU_SOURCE
#include "wire.h"

#include <stdio.h>
#include <string.h>

#define HELLO_HEAD (MAGIC_SIZE + TOKEN_SIZE + 4)
#define HALF (MAGIC_SIZE / 2)

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

uint32_t get32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put32(uint8_t *at, uint32_t value) {
    for (int byte = 0; byte < 4; byte++)
        at[byte] = (uint8_t)(value >> (24 - 8 * byte));
}

static const uint8_t *magic_in(const uint8_t *data, size_t len) {
    return len < MAGIC_SIZE ? NULL : memmem(data, len, MAGIC, MAGIC_SIZE);
}

/* --- out ----------------------------------------------------------------------------------- */

static void put_header(uint8_t *at, uint32_t channel, uint8_t kind, size_t len) {
    put32(at, channel);
    at[4] = kind;
    put32(at + 5, (uint32_t)len);
}

void wire_put(struct bytes *out, uint32_t channel, uint8_t kind, const void *payload, size_t len) {
    const uint8_t *from = payload;
    do {
        size_t piece = least(len, MAX_PAYLOAD);
        /* A piece that ends in the middle of MAGIC is followed by a header, which begins with a zero. */
        const uint8_t *found = len ? magic_in(from, least(len, MAX_PAYLOAD)) : NULL;
        if (found)
            piece = (size_t)(found - from) + HALF;
        uint8_t *at = bytes_space(out, HEADER_SIZE + piece);
        put_header(at, channel, kind, piece);
        if (piece)
            memcpy(at + HEADER_SIZE, from, piece);
        if (magic_in(at, HEADER_SIZE + least(piece, MAGIC_SIZE))) { /* the length itself is its first bytes */
            piece = HALF;
            put_header(at, channel, kind, piece);
        }
        bytes_grew(out, HEADER_SIZE + piece);
        from += piece;
        len -= piece;
    } while (len);
}

void wire_hello(struct bytes *out, const char *token, const struct bytes *facts) {
    uint8_t length[4];
    put32(length, (uint32_t)facts->len);
    bytes_add(out, MAGIC, MAGIC_SIZE);
    bytes_add(out, token, TOKEN_SIZE);
    bytes_add(out, length, sizeof length);
    bytes_add(out, bytes_front(facts), facts->len);
}

/* --- in ------------------------------------------------------------------------------------ */

static void skip(struct framer *f, size_t count) {
    bytes_drop(&f->in, count);
    f->searched = f->searched > count ? f->searched - count : 0;
}

/* Where the first MAGIC begins; the length of all there is where there is none. */
static size_t magic_at(struct framer *f) {
    const uint8_t *all = bytes_front(&f->in);
    const uint8_t *found = magic_in(all + f->searched, f->in.len - f->searched);
    if (found)
        f->searched = (size_t)(found - all);
    else if (f->in.len >= MAGIC_SIZE)
        f->searched = f->in.len - MAGIC_SIZE + 1;
    return found ? f->searched : f->in.len;
}

/* A whole frame that lies before `end`, or the GARBAGE that stands in its place. */
static bool take_frame(struct framer *f, size_t end, struct frame *out) {
    const uint8_t *at = bytes_front(&f->in);
    if (end < HEADER_SIZE || memcmp(at, MAGIC, least(MAGIC_SIZE, f->in.len)) == 0)
        return false; /* too little, or a HELLO whose MAGIC is not whole yet */
    *out = (struct frame){get32(at), at[4], at + HEADER_SIZE, get32(at + 5)};
    if (out->channel > MAX_CHANNEL || out->kind < OPEN || out->kind > STARTED || out->len > MAX_PAYLOAD) {
        int length = snprintf(f->why, sizeof f->why, "no frame begins with");
        for (int byte = 0; byte < HEADER_SIZE; byte++)
            length += snprintf(f->why + length, sizeof f->why - (size_t)length, " %02x", at[byte]);
        *out = (struct frame){0, GARBAGE, (const uint8_t *)f->why, (size_t)length};
        f->synced = false;
        return true;
    }
    if (HEADER_SIZE + out->len > end)
        return false;
    f->taken = HEADER_SIZE + out->len;
    return true;
}

static bool ascii(const uint8_t *data, size_t len) {
    for (size_t at = 0; at < len; at++)
        if (data[at] & 0x80)
            return false;
    return true;
}

/* The HELLO at the front; or what is there in its place is skipped, and `more` says to look again. */
static bool take_hello(struct framer *f, struct frame *out, bool *more) {
    const uint8_t *at = bytes_front(&f->in), *again;
    *more = true;
    if (f->in.len < HELLO_HEAD) {
        again = magic_in(at + 1, f->in.len - 1);
        if (again)
            skip(f, (size_t)(again - at));
        *more = again != NULL;
        return false;
    }
    size_t length = get32(at + MAGIC_SIZE + TOKEN_SIZE), stop = HELLO_HEAD + length;
    again = magic_in(at + 1, least(f->in.len, stop + MAGIC_SIZE - 1) - 1);
    if (again || length > MAX_PAYLOAD) { /* it was cut off by another, or is none */
        skip(f, again ? (size_t)(again - at) : 1);
        return false;
    }
    if (f->in.len < stop) {
        *more = false;
        return false;
    }
    if (!ascii(at + MAGIC_SIZE, TOKEN_SIZE) || !ascii(at + HELLO_HEAD, length)) { /* cut off, and others follow */
        skip(f, 1);
        return false;
    }
    *out = (struct frame){0, HELLO, at + MAGIC_SIZE, TOKEN_SIZE};
    f->taken = stop;
    f->synced = true;
    return true;
}

bool framer_next(struct framer *f, struct frame *out) {
    skip(f, f->taken);
    f->taken = 0;
    while (f->in.len) {
        size_t magic = magic_at(f);
        if (f->synced) {
            if (take_frame(f, magic, out))
                return true;
            if (magic == f->in.len)
                return false;
        }
        if (magic == f->in.len) {
            skip(f, f->searched);
            return false;
        }
        skip(f, magic);
        f->synced = false;
        bool more;
        if (take_hello(f, out, &more))
            return true;
        if (!more)
            return false;
    }
    return false;
}
