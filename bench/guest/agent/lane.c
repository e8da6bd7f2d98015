#include "lane.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CHUNK (64 * 1024)

void lane_send(struct lane *lane, uint8_t kind, const void *payload, size_t len) {
    if (kind == DATA || kind == ERR)
        lane->credit -= (int64_t)len;
    if (!lane->muted)
        line_send(lane->line, lane->channel, kind, payload, len);
}

void lane_text(struct lane *lane, uint8_t kind, const char *text) {
    lane_send(lane, kind, text, strlen(text));
}

void lane_ate(struct lane *lane, size_t count) {
    lane->eaten += (uint32_t)count;
    if (lane->eaten < WINDOW / 4)
        return;
    uint8_t text[4] = {(uint8_t)(lane->eaten >> 24), (uint8_t)(lane->eaten >> 16),
                       (uint8_t)(lane->eaten >> 8), (uint8_t)lane->eaten};
    lane_send(lane, CREDIT, text, sizeof text);
    lane->eaten = 0;
}

static void make_nonblocking(int fd) {
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        die("a descriptor that cannot be made non-blocking");
}

/* --- out of a descriptor --------------------------------------------------------------------- */

static void source_ready(void *owner, uint32_t events) {
    static uint8_t buffer[CHUNK];
    struct source *s = owner;
    struct lane *lane = s->lane;
    (void)events;
    if (lane->credit <= 0 || !line_room(lane->line)) {
        loop_want(&s->watch, 0);
        return;
    }
    ssize_t count = read(s->watch.fd, buffer, lane->credit < CHUNK ? (size_t)lane->credit : CHUNK);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count > 0) {
        lane_send(lane, s->kind, buffer, (size_t)count);
        return;
    }
    source_close(s); /* a socket whose other end broke off has no more to say either */
    lane_send(lane, END_OF_FILE, &s->kind, 1);
    if (s->done)
        s->done(s->owner);
}

void source_open(struct source *s, struct lane *lane, int fd, uint8_t kind) {
    *s = (struct source){.lane = lane, .kind = kind, .open = true};
    make_nonblocking(fd);
    loop_watch(&s->watch, fd, source_ready, s);
    loop_want(&s->watch, EPOLLIN);
}

void source_resume(struct source *s) {
    if (s->open && s->lane->credit > 0 && line_room(s->lane->line))
        loop_want(&s->watch, EPOLLIN);
}

void source_close(struct source *s) {
    if (!s->open)
        return;
    s->open = false;
    loop_want(&s->watch, 0);
    close(s->watch.fd);
}

/* --- into a descriptor ----------------------------------------------------------------------- */

static void sink_write(struct sink *s) {
    while (s->queue.len) {
        ssize_t count = write(s->watch.fd, bytes_front(&s->queue), s->queue.len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            break;
        if (count < 0) {
            lane_ate(s->lane, s->queue.len);
            sink_close(s);
            return;
        }
        bytes_drop(&s->queue, (size_t)count);
        lane_ate(s->lane, (size_t)count);
    }
    loop_want(&s->watch, s->queue.len ? EPOLLOUT : 0);
    if (s->ending && !s->queue.len)
        sink_close(s);
}

static void sink_ready(void *owner, uint32_t events) {
    (void)events;
    sink_write(owner);
}

void sink_open(struct sink *s, struct lane *lane, int fd) {
    *s = (struct sink){.lane = lane, .open = true};
    make_nonblocking(fd);
    loop_watch(&s->watch, fd, sink_ready, s);
}

void sink_feed(struct sink *s, const void *data, size_t len) {
    if (!s->open || s->ending || s->queue.len + len > WINDOW + MAX_PAYLOAD) { /* beyond what it may send */
        lane_ate(s->lane, len);
        return;
    }
    bytes_add(&s->queue, data, len);
    if (s->queue.len == len)
        sink_write(s);
}

void sink_finish(struct sink *s) {
    s->ending = true;
    if (s->open && !s->queue.len)
        sink_close(s);
}

void sink_close(struct sink *s) {
    if (!s->open)
        return;
    s->open = false;
    bytes_free(&s->queue);
    loop_want(&s->watch, 0);
    close(s->watch.fd);
    if (s->done)
        s->done(s->owner);
}
