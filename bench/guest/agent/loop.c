#include "loop.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <time.h>

#include "bytes.h"

#define BATCH 16

static int poll_fd = -1;
static struct epoll_event pending[BATCH];
static int batch;
static struct timer *timers, *flushes;

void loop_open(void) {
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poll_fd < 0)
        die("no epoll");
}

double loop_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void loop_watch(struct watch *w, int fd, void (*ready)(void *, uint32_t), void *owner) {
    *w = (struct watch){fd, 0, ready, owner};
}

void loop_want(struct watch *w, uint32_t events) {
    if (w->events == events)
        return;
    struct epoll_event event = {.events = events, .data = {.ptr = w}};
    int how = !events ? EPOLL_CTL_DEL : w->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(poll_fd, how, w->fd, &event) < 0)
        die("a descriptor that cannot be waited for");
    w->events = events;
    for (int n = 0; n < batch; n++) /* what it was ready for is the next answer's to tell */
        if (pending[n].data.ptr == w)
            pending[n].data.ptr = NULL;
}

static void insert(struct timer **list, struct timer *t) {
    while (*list && (*list)->due <= t->due)
        list = &(*list)->next;
    t->next = *list;
    *list = t;
    t->set = true;
}

static bool take_out(struct timer **list, struct timer *t) {
    while (*list && *list != t)
        list = &(*list)->next;
    if (!*list)
        return false;
    *list = t->next;
    t->set = false;
    return true;
}

void loop_later(struct timer *t, double seconds, void (*call)(void *), void *owner) {
    loop_cancel(t);
    *t = (struct timer){.due = loop_now() + seconds, .call = call, .owner = owner};
    insert(&timers, t);
}

void loop_flush(struct timer *t, void (*call)(void *), void *owner) {
    if (t->set)
        return;
    *t = (struct timer){.call = call, .owner = owner};
    insert(&flushes, t);
}

void loop_cancel(struct timer *t) {
    if (t->set && !take_out(&timers, t))
        take_out(&flushes, t);
}

static void run_timers(void) {
    double now = timers ? loop_now() : 0;
    while (timers && timers->due <= now) {
        struct timer *t = timers;
        take_out(&timers, t);
        t->call(t->owner);
    }
}

static void run_flushes(void) {
    while (flushes) {
        struct timer *t = flushes;
        take_out(&flushes, t);
        t->call(t->owner);
    }
}

void loop_once(void) {
    run_flushes();
    int wait = -1;
    if (timers) {
        double left = (timers->due - loop_now()) * 1e3;
        wait = left <= 0 ? 0 : left > 1e6 ? 1000000 : (int)(left + 0.999);
    }
    batch = epoll_wait(poll_fd, pending, BATCH, wait);
    if (batch < 0 && errno != EINTR)
        die("epoll_wait failed");
    for (int n = 0; n < batch; n++) {
        struct watch *w = pending[n].data.ptr;
        pending[n].data.ptr = NULL;
        if (w)
            w->ready(w->owner, pending[n].events);
    }
    batch = 0;
    run_timers();
}
