/* The wire between host and guest, as bench/guest/wire.py describes it. */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>

#include "bytes.h"

#define PROTOCOL 1
#define MAGIC "\xff\xfe\xfdISOBENCH\xfe"
#define MAGIC_SIZE 12
#define TOKEN_SIZE 32
#define ANNOUNCEMENT "00000000000000000000000000000000"
#define WINDOW (256 * 1024)
#define MAX_PAYLOAD (64 * 1024)
#define MAX_CHANNEL 0xFFFFFF
#define HEADER_SIZE 9

enum kind { HELLO, OPEN, DATA, ERR, END_OF_FILE, RESULT, SIGNAL, CREDIT, CLOSE, STARTED, GARBAGE = 255 };

struct frame {
    uint32_t channel;
    uint8_t kind;
    const uint8_t *payload; /* of a HELLO its token; of a GARBAGE why; good until the framer is used again */
    size_t len;
};

/* Bytes in, in any portions; frames out, each as soon as it is whole. */
struct framer {
    struct bytes in;
    size_t searched; /* no MAGIC begins before this */
    size_t taken;    /* of the frame handed out last, which the next call drops */
    bool synced;
    char why[80];
};

/* The next whole frame; false where more bytes are needed for one. */
bool framer_next(struct framer *f, struct frame *out);

uint32_t get32(const uint8_t *at);

/* The payload as one frame; as several where DATA or ERR is long or holds MAGIC. */
void wire_put(struct bytes *out, uint32_t channel, uint8_t kind, const void *payload, size_t len);
void wire_hello(struct bytes *out, const char *token, const struct bytes *facts);

#endif
