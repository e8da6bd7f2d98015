/* One channel of the host at this end: what it may still send, and descriptors joined to it. */
#ifndef LANE_H
#define LANE_H

#include "line.h"

struct lane {
    struct line *line;
    uint32_t channel;
    int64_t credit; /* bytes that may still be sent */
    uint32_t eaten; /* bytes passed on for which no credit was given yet */
    bool muted;     /* the session of this channel is over: nothing more may be sent on it */
};

void lane_send(struct lane *lane, uint8_t kind, const void *payload, size_t len);
void lane_text(struct lane *lane, uint8_t kind, const char *text);
/* That many bytes received were passed on: give credit for them. */
void lane_ate(struct lane *lane, size_t count);

/* Copies a descriptor into a channel until its end, then says EOF, as credit and stream allow. */
struct source {
    struct watch watch;
    struct lane *lane;
    uint8_t kind;
    bool open;
    void (*done)(void *owner); /* its end was reached; may be NULL */
    void *owner;
};

void source_open(struct source *s, struct lane *lane, int fd, uint8_t kind);
/* Go on where credit or room may be back. */
void source_resume(struct source *s);
/* Close the descriptor. Idempotent; says nothing. */
void source_close(struct source *s);

/* Copies bytes of a channel into a descriptor. Where nobody reads it any more, the rest is dropped. */
struct sink {
    struct watch watch;
    struct lane *lane;
    struct bytes queue;
    bool open, ending;
    void (*done)(void *owner); /* all is written, or nobody reads */
    void *owner;
};

void sink_open(struct sink *s, struct lane *lane, int fd);
void sink_feed(struct sink *s, const void *data, size_t len);
/* No more will come: close once all is written. */
void sink_finish(struct sink *s);
/* Drop what waits. Idempotent. */
void sink_close(struct sink *s);

#endif
