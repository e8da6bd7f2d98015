/* exec: {argv, env, cwd, name, uid?} → STARTED {pid, cgroup}, DATA, ERR, RESULT {code, signal, oom, rusage}. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "group.h"
#include "program.h"
#include "relay.h"
#include "session.h"

#define DRAIN 10.0 /* seconds to wait for killed processes to leave before the group counts as stuck */
#define STEP 0.005

struct execute {
    struct operation op;
    char cgroup[GROUP_PATH]; /* "" for none */
    pid_t pid;
    bool running;
    struct watch pidfd;
    struct source out, err;
    struct timer leaving;
    double deadline;
};

static const struct behaviour behaviour;

static struct execute *of(struct operation *op) {
    return op && op->does == &behaviour ? (struct execute *)op : NULL;
}

bool execute_find(uint32_t channel, int *pid, const char **cgroup) {
    struct execute *e = of(session_find(channel));
    if (!e || !e->pid)
        return false;
    *pid = e->pid;
    *cgroup = e->cgroup;
    return true;
}

bool execute_runs(int pid) {
    for (struct operation *op = session_operations; op; op = op->next)
        if (of(op) && of(op)->running && of(op)->pid == pid)
            return true;
    return false;
}

bool execute_any(void) {
    struct operation *op = session_operations;
    while (op && !of(op))
        op = op->next;
    return op != NULL;
}

/* --- its end --------------------------------------------------------------------------------- */

static void leave(void *owner) {
    struct execute *e = owner;
    char error[GROUP_PATH + 80];
    if (!e->running && (!*e->cgroup || group_remove(e->cgroup))) {
        operation_closed(&e->op, NULL);
    } else if (loop_now() > e->deadline) {
        snprintf(error, sizeof error, "processes in %s outlived SIGKILL for %g s",
                 *e->cgroup ? e->cgroup : "the guest", DRAIN);
        operation_closed(&e->op, error);
    } else {
        loop_later(&e->leaving, STEP, leave, e);
    }
}

static void put_group(struct bytes *said, const struct execute *e) {
    bytes_text(said, ",\"cgroup\":");
    if (*e->cgroup)
        json_put(said, e->cgroup, strlen(e->cgroup));
    else
        bytes_text(said, "null");
    bytes_text(said, "}");
}

static void say(struct execute *e, uint8_t kind, const char *text) {
    struct bytes said = {0};
    bytes_text(&said, text);
    put_group(&said, e);
    lane_send(&e->op.lane, kind, bytes_front(&said), said.len);
    bytes_free(&said);
}

static double seconds(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

static void report(struct execute *e, int status, const struct rusage *usage) {
    char text[256], code[16] = "null", signal[16] = "null";
    bool oom = false;
    if (WIFEXITED(status))
        snprintf(code, sizeof code, "%d", WEXITSTATUS(status));
    if (WIFSIGNALED(status)) {
        snprintf(signal, sizeof signal, "%d", WTERMSIG(status));
        oom = WTERMSIG(status) == SIGKILL && *e->cgroup && group_oom_kills(e->cgroup) > 0;
    }
    snprintf(text, sizeof text,
             "{\"code\":%s,\"signal\":%s,\"oom\":%s,\"rusage\":{\"user\":%.6f,\"system\":%.6f,\"maxrss\":%lld}",
             code, signal, oom ? "true" : "false", seconds(usage->ru_utime), seconds(usage->ru_stime),
             (long long)usage->ru_maxrss * 1024);
    say(e, RESULT, text);
}

static void ended(void *owner, uint32_t events) {
    struct execute *e = owner;
    struct rusage usage;
    int status;
    (void)events;
    if (wait4(e->pid, &status, WNOHANG, &usage) <= 0)
        return;
    e->running = false;
    loop_want(&e->pidfd, 0);
    close(e->pidfd.fd);
    relay_last(e->op.lane.channel);
    report(e, status, &usage);
    if (e->op.closing)
        leave(e);
}

static void kill_all(struct execute *e) {
    if (*e->cgroup)
        group_kill(e->cgroup);
    if (e->running)
        kill(-e->pid, SIGKILL);
}

static void on_close(struct operation *op) {
    struct execute *e = of(op);
    source_close(&e->out);
    source_close(&e->err);
    kill_all(e);
    e->deadline = loop_now() + DRAIN;
    leave(e);
}

/* SIGNAL "kill", or SIGNAL with a number for the program's process group. */
static void on_frame(struct operation *op, const struct frame *frame) {
    struct execute *e = of(op);
    char text[8] = "", *end;
    if (frame->kind != SIGNAL || frame->len >= sizeof text)
        return;
    memcpy(text, frame->payload, frame->len);
    long number = strtol(text, &end, 10);
    if (strcmp(text, "kill") == 0)
        kill_all(e);
    else if (e->running && !*end && number > 0)
        kill(-e->pid, (int)number);
}

static void on_resume(struct operation *op) {
    source_resume(&of(op)->out);
    source_resume(&of(op)->err);
}

static void on_end(struct operation *op) {
    struct execute *e = of(op);
    loop_cancel(&e->leaving);
    source_close(&e->out);
    source_close(&e->err);
    if (e->running) { /* it outlives SIGKILL */
        loop_want(&e->pidfd, 0);
        close(e->pidfd.fd);
    }
}

static const struct behaviour behaviour = {on_frame, on_close, on_resume, on_end};

/* --- its start ------------------------------------------------------------------------------- */

/* Pipes for its output, and the child; the ends of the agent in `ours`. False with errno where it cannot be. */
static bool start(struct execute *e, struct program *p, int ours[2]) {
    static int null = -1;
    int out[2], err[2];
    if (null < 0 && (null = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
        return false;
    if (pipe2(out, O_CLOEXEC) != 0)
        return false;
    if (pipe2(err, O_CLOEXEC) != 0) {
        close(out[0]);
        close(out[1]);
        return false;
    }
    p->fds[0] = null;
    p->fds[1] = out[1];
    p->fds[2] = err[1];
    e->pid = program_start(p, false);
    int why = errno;
    close(out[1]);
    close(err[1]);
    ours[0] = out[0];
    ours[1] = err[0];
    if (e->pid > 0 && !p->failed)
        return true;
    close(out[0]);
    close(err[0]);
    if (e->pid > 0) {
        waitpid(e->pid, NULL, 0);
        e->pid = 0;
    }
    errno = why;
    return false;
}

static void launch(struct execute *e, struct program *p, const struct json *name) {
    char joins[GROUP_PATH + 16], text[GROUP_PATH + 32];
    int ours[2];
    if (!group_create(e->cgroup, name ? name->text : "workload", name ? name->len : 8)) {
        operation_fail(&e->op, e->cgroup, errno);
        return;
    }
    snprintf(joins, sizeof joins, "%s/cgroup.procs", e->cgroup);
    p->cgroup = *e->cgroup ? joins : NULL;
    if (start(e, p, ours)) {
        e->running = true;
        source_open(&e->out, &e->op.lane, ours[0], DATA);
        source_open(&e->err, &e->op.lane, ours[1], ERR);
        loop_watch(&e->pidfd, pidfd_open(e->pid, 0), ended, e);
        loop_want(&e->pidfd, EPOLLIN);
        snprintf(text, sizeof text, "{\"pid\":%d", (int)e->pid);
        say(e, STARTED, text);
    } else if (p->failed) {
        struct bytes said = {0};
        if (p->subject)
            snprintf(text, sizeof text, "%s %.4000s", p->step, p->subject);
        error_result(&said, p->subject ? text : p->step, p->failed);
        said.len--; /* its brace: the group comes before that */
        put_group(&said, e);
        lane_send(&e->op.lane, RESULT, bytes_front(&said), said.len);
        bytes_free(&said);
    } else {
        int why = errno;
        if (*e->cgroup)
            group_remove(e->cgroup);
        operation_fail(&e->op, "a child process", why);
    }
}

void execute_open(uint32_t channel, const struct document *asked) {
    struct program p = {0};
    struct execute *e = operation_new(channel, &behaviour, sizeof *e);
    const struct json *name = json_get(asked, asked->nodes, "name");
    const char *why = program_read(&p, asked);
    if (why)
        operation_fail(&e->op, why, 0);
    else
        launch(e, &p, name && name->type == JSON_STRING ? name : NULL);
    program_free(&p);
}
