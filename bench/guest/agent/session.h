/* A session with one host after the other: what the frames of its channels are for. */
#ifndef SESSION_H
#define SESSION_H

#include "json.h"
#include "lane.h"

struct operation;

struct behaviour {
    void (*frame)(struct operation *op, const struct frame *frame); /* other than OPEN, CREDIT and CLOSE */
    /* The host gave up: end what runs, then `operation_closed`. Again, and muted, where it has gone altogether. */
    void (*close)(struct operation *op);
    void (*resume)(struct operation *op); /* credit or room may be back */
    void (*end)(struct operation *op);    /* free what it holds, but not itself */
};

/* One open channel: something that runs, takes frames, and reports once. The first member of each kind. */
struct operation {
    struct lane lane;
    const struct behaviour *does;
    struct operation *next;
    bool closing;
};

/* Serve over these descriptors until the other end is gone, and end all that it had started. */
void session_serve(int in, int out);
/* The stream to the host. */
extern struct line session_line;
extern struct operation *session_operations;

void *operation_new(uint32_t channel, const struct behaviour *does, size_t size);
struct operation *session_find(uint32_t channel);
/* Report the result, JSON; the channel is over at this end. */
void operation_finish(struct operation *op, const char *result);
/* The same for an error: `what`, and where `number` is not 0, errno and its text. */
void operation_fail(struct operation *op, const char *what, int number);
/* Nothing is left of it; or, with `error`, what could not be removed. */
void operation_closed(struct operation *op, const char *error);
/* Whether frames of the host are wanted now has changed. */
void session_listen(void);

/* {"error": what: text of number, "errno": number} into `out`; without the errno where it is 0. */
void error_result(struct bytes *out, const char *what, int number);

/* What each operation does with its OPEN; it finishes or fails where that cannot be. */
void execute_open(uint32_t channel, const struct document *asked);
void connect_open(uint32_t channel, const struct document *asked);
void relay_open(uint32_t channel, const struct document *asked, const struct frame *open);

/* A program that runs on that channel: its PID, and its group, "" for none; false where there is none. */
bool execute_find(uint32_t channel, int *pid, const char **cgroup);
bool execute_runs(int pid);
bool execute_any(void);

#endif
