/* A stream of frames: what came in is handed on, what goes out waits until the stream takes it. */
#ifndef LINE_H
#define LINE_H

#include "loop.h"
#include "wire.h"

#define BACKLOG (512 * 1024) /* bytes waiting beyond which no more is read from sources */

struct line {
    struct watch in, out;
    struct framer framer;
    struct bytes queue;
    struct timer flush;
    bool open, paused, pulling;
    void (*on_frame)(const struct frame *frame);
    void (*on_end)(void);  /* once; the descriptors stay with their owner */
    void (*on_room)(void); /* sources may be read again */
};

void line_open(struct line *l, int in, int out);
/* Send that frame, in the order of the calls, before the loop waits next. */
void line_send(struct line *l, uint32_t channel, uint8_t kind, const void *payload, size_t len);
void line_text(struct line *l, uint32_t channel, uint8_t kind, const char *text);
void line_hello(struct line *l, const char *token, const struct bytes *facts);
bool line_room(const struct line *l);
/* Send now what waits for the end of this turn of the loop. */
void line_flush(struct line *l);
/* Forget what waits: it belonged to a session that is over. */
void line_drop(struct line *l);
/* Whether frames are taken from the stream now. */
void line_pause(struct line *l, bool paused);
/* Stop using the stream. Idempotent. */
void line_end(struct line *l);
void line_free(struct line *l);

#endif
