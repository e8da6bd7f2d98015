#define _GNU_SOURCE
#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine.h"
#include "program.h"
#include "session.h"

#define MOST (4 * 1024 * 1024)
#define PATIENCE 10.0 /* seconds that a child may take to close a channel before it is killed */
#define TOKEN "isobench-agent-to-its-own-python"

const char *relay_python = "/usr/bin/python3";
const char *relay_modules = "/opt/isobench:/usr/lib/python3/dist-packages";

struct relay {
    struct operation op;
    uint32_t watched; /* the channel of the program that it watches; 0 is none */
    struct timer patience;
};

static struct line line;
static pid_t child; /* 0: none */

static struct relay *of(struct operation *op) {
    return op && op->does == &relay_behaviour ? (struct relay *)op : NULL;
}

bool relay_runs(int pid) { return child && child == pid; }

bool relay_full(void) { return child && line.queue.len > MOST; }

void relay_room(void) {
    if (child)
        line_pause(&line, false);
}

void relay_last(uint32_t channel) {
    for (struct operation *op = session_operations; op; op = op->next)
        if (of(op) && of(op)->watched == channel)
            line_text(&line, op->lane.channel, SIGNAL, "last");
}

/* --- the child ------------------------------------------------------------------------------- */

static void broken(void) {
    if (child)
        line_end(&line);
}

/* A frame of the child, for the host. */
static void on_frame(const struct frame *frame) {
    struct relay *r = of(session_find(frame->channel));
    if (frame->kind == GARBAGE) {
        broken();
        return;
    }
    if (!r || frame->kind == HELLO)
        return;
    lane_send(&r->op.lane, frame->kind, frame->payload, frame->len);
    if (frame->kind == CLOSE || (frame->kind == RESULT && !r->op.closing)) {
        r->op.lane.muted = true; /* it is said */
        operation_closed(&r->op, NULL);
    }
    if (!line_room(&session_line))
        line_pause(&line, true);
}

/* It is gone, and with it all it was doing. */
static void on_end(void) {
    char why[80];
    int status = 0;
    kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    child = 0;
    close(line.in.fd);
    close(line.out.fd);
    snprintf(why, sizeof why, "the agent's own Python %s %d",
             WIFSIGNALED(status) ? "was ended by signal" : "ended with status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    for (struct operation *op = session_operations, *next; op; op = next) {
        next = op->next;
        if (of(op) && op->closing)
            operation_closed(op, NULL);
        else if (of(op))
            operation_fail(op, why, 0);
    }
    session_listen();
}

static void on_room(void) { session_listen(); }

static int start(void) {
    extern char **environ;
    static char code[] = "import sys; sys.path += sys.argv[1].split(':')\n"
                         "from bench.guest import serve; serve.main()";
    char *argv[] = {(char *)relay_python, "-I", "-S", "-c", code, (char *)relay_modules, NULL};
    struct program p = {.argv = argv, .envp = environ, .path = DEFAULT_PATH};
    int ends[2], out;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return errno;
    if ((out = fcntl(ends[0], F_DUPFD_CLOEXEC, 3)) < 0)
        die("no descriptor is left");
    p.fds[0] = p.fds[1] = ends[1];
    p.fds[2] = 2;
    child = program_start(&p, true);
    int why = errno;
    close(ends[1]);
    if (child < 0) {
        child = 0;
        close(ends[0]);
        close(out);
        return why;
    }
    line_free(&line); /* of the child before */
    line.on_frame = on_frame;
    line.on_end = on_end;
    line.on_room = on_room;
    struct bytes facts = {0};
    bytes_text(&facts, "{}");
    line_open(&line, ends[0], out);
    line_hello(&line, TOKEN, &facts);
    bytes_free(&facts);
    return 0;
}

/* --- channels -------------------------------------------------------------------------------- */

static void pass(struct operation *op, const struct frame *frame) {
    line_send(&line, op->lane.channel, frame->kind, frame->payload, frame->len);
    if (relay_full())
        session_listen();
}

static void give_up(void *owner) {
    (void)owner;
    broken();
}

static void on_close(struct operation *op) {
    struct relay *r = of(op);
    line_send(&line, op->lane.channel, CLOSE, NULL, 0);
    loop_later(&r->patience, PATIENCE, give_up, r);
}

static void on_resume(struct operation *op) { (void)op; }

static void on_op_end(struct operation *op) { loop_cancel(&of(op)->patience); }

const struct behaviour relay_behaviour = {pass, on_close, on_resume, on_op_end};

/* The OPEN as the child gets it: where it names a program, with that program's group and PID. Of members of one
 * name Python takes the last. */
static const char *complete(struct bytes *out, struct relay *r, const struct document *asked,
                            const struct frame *open) {
    const struct json *watched = json_get(asked, asked->nodes, "exec");
    long long channel = 0;
    const char *cgroup;
    char text[40];
    int pid;
    bytes_add(out, open->payload, open->len);
    if (!watched)
        return NULL;
    if (!json_whole(watched, &channel) || channel < 1 || channel > MAX_CHANNEL ||
        !execute_find((uint32_t)channel, &pid, &cgroup))
        return "that channel runs no program";
    r->watched = (uint32_t)channel;
    while (out->data[out->at + out->len - 1] != '}') /* the blanks behind the object */
        out->len--;
    out->len--;
    bytes_text(out, ",\"cgroup\":");
    if (*cgroup)
        json_put(out, cgroup, strlen(cgroup));
    else
        bytes_text(out, "null");
    snprintf(text, sizeof text, ",\"pid\":%d}", pid);
    bytes_text(out, text);
    return out->len > MAX_PAYLOAD ? "there is no room for the program's group in its arguments" : NULL;
}

void relay_open(uint32_t channel, const struct document *asked, const struct frame *open) {
    struct relay *r = operation_new(channel, &relay_behaviour, sizeof *r);
    struct bytes text = {0};
    const char *why = complete(&text, r, asked, open);
    int number = 0;
    if (!why && !child && (number = start()) != 0)
        why = relay_python;
    if (why)
        operation_fail(&r->op, why, number);
    else
        line_send(&line, channel, OPEN, bytes_front(&text), text.len);
    bytes_free(&text);
}
