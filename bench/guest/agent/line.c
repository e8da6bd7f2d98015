#include "line.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define READ (128 * 1024)

static void pull(struct line *l) {
    struct frame frame;
    if (l->pulling)
        return;
    l->pulling = true;
    while (l->open && !l->paused && framer_next(&l->framer, &frame))
        l->on_frame(&frame);
    l->pulling = false;
}

static void readable(void *owner, uint32_t events) {
    struct line *l = owner;
    (void)events;
    ssize_t count = read(l->in.fd, bytes_space(&l->framer.in, READ), READ);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count <= 0) {
        line_end(l);
        return;
    }
    bytes_grew(&l->framer.in, (size_t)count);
    pull(l);
}

static void flush(void *owner) {
    struct line *l = owner;
    while (l->open && l->queue.len) {
        ssize_t count = write(l->out.fd, bytes_front(&l->queue), l->queue.len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            break;
        if (count < 0) {
            line_end(l);
            return;
        }
        bytes_drop(&l->queue, (size_t)count);
    }
    if (!l->open)
        return;
    loop_want(&l->out, l->queue.len ? EPOLLOUT : 0);
    if (line_room(l))
        l->on_room();
}

static void writable(void *owner, uint32_t events) {
    (void)events;
    flush(owner);
}

void line_open(struct line *l, int in, int out) {
    l->framer = (struct framer){0};
    l->queue = (struct bytes){0};
    l->flush = (struct timer){0};
    l->open = true;
    l->paused = l->pulling = false;
    for (int n = 0; n < 2; n++) {
        int fd = n ? in : out;
        if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
            die("a stream that cannot be made non-blocking");
    }
    loop_watch(&l->in, in, readable, l);
    loop_watch(&l->out, out, writable, l);
    loop_want(&l->in, EPOLLIN);
}

void line_flush(struct line *l) { flush(l); }

static void soon(struct line *l) {
    if (!l->out.events)
        loop_flush(&l->flush, flush, l);
}

void line_send(struct line *l, uint32_t channel, uint8_t kind, const void *payload, size_t len) {
    if (!l->open)
        return;
    wire_put(&l->queue, channel, kind, payload, len);
    soon(l);
}

void line_text(struct line *l, uint32_t channel, uint8_t kind, const char *text) {
    line_send(l, channel, kind, text, strlen(text));
}

void line_hello(struct line *l, const char *token, const struct bytes *facts) {
    if (!l->open)
        return;
    wire_hello(&l->queue, token, facts);
    soon(l);
}

bool line_room(const struct line *l) { return l->queue.len < BACKLOG; }

void line_drop(struct line *l) {
    bytes_drop(&l->queue, l->queue.len);
    if (l->open)
        loop_want(&l->out, 0);
}

void line_pause(struct line *l, bool paused) {
    if (l->paused == paused || !l->open)
        return;
    l->paused = paused;
    loop_want(&l->in, paused ? 0 : EPOLLIN);
    if (!paused)
        pull(l);
}

void line_end(struct line *l) {
    if (!l->open)
        return;
    l->open = false;
    loop_want(&l->in, 0);
    loop_want(&l->out, 0);
    loop_cancel(&l->flush);
    line_drop(l);
    l->on_end();
}

void line_free(struct line *l) {
    bytes_free(&l->framer.in);
    bytes_free(&l->queue);
}
