/* An event loop for one thread: descriptors through epoll(7), and timers. */
#ifndef LOOP_H
#define LOOP_H

#include <stdbool.h>
#include <stdint.h>

/* What a descriptor is watched for. `ready` may end any watch, this one as well. */
struct watch {
    int fd;
    uint32_t events; /* EPOLLIN, EPOLLOUT; EPOLLHUP to hear of that alone; 0: not at all */
    void (*ready)(void *owner, uint32_t events);
    void *owner;
};

struct timer {
    double due;
    void (*call)(void *owner);
    void *owner;
    struct timer *next;
    bool set;
};

void loop_open(void);
void loop_watch(struct watch *w, int fd, void (*ready)(void *, uint32_t), void *owner);
void loop_want(struct watch *w, uint32_t events);
void loop_later(struct timer *t, double seconds, void (*call)(void *), void *owner);
void loop_cancel(struct timer *t);
/* What is called when all that was ready has been dealt with, before the loop waits. */
void loop_flush(struct timer *t, void (*call)(void *), void *owner);
void loop_once(void);
double loop_now(void);

#endif
