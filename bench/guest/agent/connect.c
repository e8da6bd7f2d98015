/* connect: {unix: path} → DATA both ways, EOF for a closed half, RESULT {} when both are closed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "session.h"

#define PATIENCE 2.0 /* seconds that a listener may be too busy to take a connection */
#define AGAIN 0.01
#define DRAIN 5.0 /* seconds that bytes for a socket may wait after the host has given the connection up */

struct connect {
    struct operation op;
    struct sockaddr_un address;
    int fd; /* -1 once both halves are over */
    bool connected, reading, writing;
    struct watch hangup;
    struct source source;
    struct sink sink;
    struct timer timer;
    double deadline;
};

static void settle(struct connect *c) {
    if (c->reading || c->writing)
        return;
    if (c->op.closing)
        operation_closed(&c->op, NULL);
    else
        operation_finish(&c->op, "{}");
}

static void hung_up(void *owner, uint32_t events) {
    struct connect *c = owner;
    (void)events;
    loop_want(&c->hangup, 0);
    sink_close(&c->sink);
}

/* The peer says no more: it may still listen, or have gone altogether, which shows as a hang-up. */
static void was_read(void *owner) {
    struct connect *c = owner;
    c->reading = false;
    if (c->writing)
        loop_want(&c->hangup, EPOLLHUP);
    settle(c);
}

static void was_written(void *owner) {
    struct connect *c = owner;
    shutdown(c->fd, SHUT_WR); /* where the peer has gone already, that says the same */
    c->writing = false;
    settle(c);
}

static void join(struct connect *c) {
    /* Each half closes its own descriptor, and the third hears of a hang-up. */
    int from = fcntl(c->fd, F_DUPFD_CLOEXEC, 3), to = fcntl(c->fd, F_DUPFD_CLOEXEC, 3);
    if (from < 0 || to < 0) {
        int why = errno;
        if (from >= 0)
            close(from);
        operation_fail(&c->op, c->address.sun_path, why);
        return;
    }
    c->connected = c->reading = c->writing = true;
    loop_watch(&c->hangup, c->fd, hung_up, c);
    lane_text(&c->op.lane, STARTED, "{}");
    sink_open(&c->sink, &c->op.lane, to);
    source_open(&c->source, &c->op.lane, from, DATA);
    c->source.done = was_read;
    c->sink.done = was_written;
    c->source.owner = c->sink.owner = c;
}

static void attempt(void *owner) {
    struct connect *c = owner;
    if (connect(c->fd, (struct sockaddr *)&c->address, sizeof c->address) == 0)
        join(c);
    else if ((errno == EAGAIN || errno == EINTR) && loop_now() < c->deadline)
        loop_later(&c->timer, AGAIN, attempt, c);
    else
        operation_fail(&c->op, c->address.sun_path, errno == EAGAIN ? ETIMEDOUT : errno);
}

static void on_frame(struct operation *op, const struct frame *frame) {
    struct connect *c = (struct connect *)op;
    if (c->connected && frame->kind == DATA)
        sink_feed(&c->sink, frame->payload, frame->len);
    else if (c->connected && frame->kind == END_OF_FILE)
        sink_finish(&c->sink);
}

static void give_up(void *owner) { sink_close(&((struct connect *)owner)->sink); }

/* Read no more; what has arrived still reaches the socket, within DRAIN. */
static void on_close(struct operation *op) {
    struct connect *c = (struct connect *)op;
    if (!c->connected || op->lane.muted) {
        operation_closed(op, NULL);
        return;
    }
    loop_later(&c->timer, DRAIN, give_up, c);
    source_close(&c->source);
    c->reading = false;
    if (c->writing)
        sink_finish(&c->sink);
    else
        settle(c);
}

static void on_resume(struct operation *op) { source_resume(&((struct connect *)op)->source); }

static void on_end(struct operation *op) {
    struct connect *c = (struct connect *)op;
    loop_cancel(&c->timer);
    c->sink.done = NULL;
    source_close(&c->source);
    sink_close(&c->sink);
    if (c->connected)
        loop_want(&c->hangup, 0);
    if (c->fd >= 0)
        close(c->fd);
}

static const struct behaviour behaviour = {on_frame, on_close, on_resume, on_end};

void connect_open(uint32_t channel, const struct document *asked) {
    struct connect *c = operation_new(channel, &behaviour, sizeof *c);
    const struct json *path = json_get(asked, asked->nodes, "unix");
    c->fd = -1;
    c->address.sun_family = AF_UNIX;
    if (!path || path->type != JSON_STRING || !path->len || strlen(path->text) != path->len) {
        operation_fail(&c->op, "'unix' is no path", 0);
    } else if (path->len >= sizeof c->address.sun_path) {
        operation_fail(&c->op, path->text, ENAMETOOLONG);
    } else if ((c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0) {
        operation_fail(&c->op, path->text, errno);
    } else {
        memcpy(c->address.sun_path, path->text, path->len);
        c->deadline = loop_now() + PATIENCE;
        attempt(c);
    }
}
