#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "group.h"
#include "machine.h"
#include "relay.h"

struct line session_line;
struct operation *session_operations;

static char token[TOKEN_SIZE];
static bool known;  /* whether `token` is of a host that is served */
static bool ending; /* what the host of before had started is being ended; frames that follow belong after it */
static char lost[200];
static struct timer later;

/* --- operations ------------------------------------------------------------------------------ */

void *operation_new(uint32_t channel, const struct behaviour *does, size_t size) {
    struct operation *op = must(size);
    op->lane = (struct lane){.line = &session_line, .channel = channel, .credit = WINDOW};
    op->does = does;
    op->next = session_operations;
    session_operations = op;
    return op;
}

struct operation *session_find(uint32_t channel) {
    struct operation *op = session_operations;
    while (op && op->lane.channel != channel)
        op = op->next;
    return op;
}

static void prepare(void *owner) {
    (void)owner;
    if (!execute_any()) /* which this would disturb */
        group_prepare();
}

static void answer_greeting(void);

static void forget(struct operation *op) {
    struct operation **place = &session_operations;
    while (*place != op)
        place = &(*place)->next;
    *place = op->next;
    op->does->end(op);
    free(op);
    if (ending && !session_operations)
        answer_greeting();
}

void operation_finish(struct operation *op, const char *result) {
    lane_text(&op->lane, RESULT, result);
    forget(op);
}

void error_result(struct bytes *out, const char *what, int number) {
    char text[4000], end[40] = "}";
    if (number) {
        snprintf(text, sizeof text, "%.3800s: %s", what, strerror(number));
        snprintf(end, sizeof end, ",\"errno\":%d}", number);
    } else {
        snprintf(text, sizeof text, "%.3900s", what);
    }
    bytes_text(out, "{\"error\":");
    json_put(out, text, strlen(text));
    bytes_text(out, end);
}

void operation_fail(struct operation *op, const char *what, int number) {
    struct bytes said = {0};
    error_result(&said, what, number);
    lane_send(&op->lane, RESULT, bytes_front(&said), said.len);
    bytes_free(&said);
    forget(op);
}

void operation_closed(struct operation *op, const char *error) {
    struct bytes said = {0};
    if (error)
        error_result(&said, error, 0);
    else
        bytes_text(&said, "{}");
    lane_send(&op->lane, CLOSE, bytes_front(&said), said.len);
    bytes_free(&said);
    forget(op);
}

/* --- the session ----------------------------------------------------------------------------- */

void session_listen(void) { line_pause(&session_line, ending || relay_full()); }

static void greet(const char *with) {
    struct bytes facts = {0};
    machine_facts(&facts, lost);
    line_hello(&session_line, with, &facts);
    bytes_free(&facts);
    lost[0] = 0;
}

/* The guest is clean again: say so to whoever is there now. */
static void answer_greeting(void) {
    ending = false;
    if (!session_line.open)
        return;
    greet(known ? token : ANNOUNCEMENT);
    session_listen();
}

static void end_session(void) {
    struct operation *op, *next;
    line_drop(&session_line);
    ending = true;
    session_listen();
    if (!session_operations) {
        answer_greeting();
        return;
    }
    for (op = session_operations; op; op = op->next)
        op->lane.muted = true;
    /* Closing one may end it at once, but no other; one that took its time, being closed, takes it no longer. */
    for (op = session_operations; op; op = next) {
        next = op->next;
        op->closing = true;
        op->does->close(op);
    }
}

static void refuse(uint32_t channel, const char *why) {
    struct bytes said = {0};
    error_result(&said, why, 0);
    line_send(&session_line, channel, RESULT, bytes_front(&said), said.len);
    bytes_free(&said);
}

static void power_off(uint32_t channel) {
    struct bytes said = {0};
    const char *why = NULL;
    int number = machine_power_off(&why);
    if (why) {
        error_result(&said, why, number);
        line_send(&session_line, channel, RESULT, bytes_front(&said), said.len);
        bytes_free(&said);
        return;
    }
    line_text(&session_line, channel, RESULT, "{}");
    line_flush(&session_line);
    machine_power_off_now();
}

static void open_channel(const struct frame *frame) {
    struct document asked;
    const struct json *name = NULL;
    if (session_find(frame->channel)) {
        refuse(frame->channel, "that channel is open already");
        return;
    }
    if (json_read(&asked, frame->payload, frame->len))
        name = json_get(&asked, asked.nodes, "op");
    if (!name || name->type != JSON_STRING)
        refuse(frame->channel, "an OPEN that is no JSON object with an operation");
    else if (strcmp(name->text, "exec") == 0)
        execute_open(frame->channel, &asked);
    else if (strcmp(name->text, "ping") == 0)
        line_text(&session_line, frame->channel, RESULT, "{}");
    else if (strcmp(name->text, "connect") == 0)
        connect_open(frame->channel, &asked);
    else if (strcmp(name->text, "poweroff") == 0)
        power_off(frame->channel);
    else
        relay_open(frame->channel, &asked, frame);
    json_free(&asked);
}

static void channel_frame(struct operation *op, const struct frame *frame) {
    if (frame->kind == CREDIT && op->does != &relay_behaviour) {
        if (frame->len == 4 && op->lane.credit < WINDOW)
            op->lane.credit += get32(frame->payload);
        op->does->resume(op);
    } else if (frame->kind == CLOSE) {
        if (!op->closing) {
            op->closing = true;
            op->does->close(op);
        }
    } else {
        op->does->frame(op, frame);
    }
}

static void on_frame(const struct frame *frame) {
    struct operation *op;
    if (frame->kind == HELLO) {
        if (memcmp(frame->payload, ANNOUNCEMENT, TOKEN_SIZE) == 0)
            return;
        bool same = known && memcmp(frame->payload, token, TOKEN_SIZE) == 0;
        memcpy(token, frame->payload, TOKEN_SIZE);
        known = true;
        if (same)
            greet(token);
        else
            end_session(); /* a token not seen yet ends the session before */
    } else if (frame->kind == GARBAGE) {
        snprintf(lost, sizeof lost, "%.*s", (int)frame->len, (const char *)frame->payload);
        known = false;
        end_session();
    } else if (frame->kind == OPEN) {
        open_channel(frame);
    } else if ((op = session_find(frame->channel)) != NULL) {
        channel_frame(op, frame);
    } else if (frame->kind == CLOSE) { /* the operation ended by itself meanwhile */
        line_text(&session_line, frame->channel, CLOSE, "{}");
    }
}

static void on_end(void) {
    known = false;
    lost[0] = 0;
    end_session();
}

static void on_room(void) {
    for (struct operation *op = session_operations, *next; op; op = next) {
        next = op->next;
        op->does->resume(op);
    }
    relay_room();
}

void session_serve(int in, int out) {
    session_line.on_frame = on_frame;
    session_line.on_end = on_end;
    session_line.on_room = on_room;
    known = false;
    line_open(&session_line, in, out);
    greet(ANNOUNCEMENT);
    loop_later(&later, 0, prepare, NULL);
    while (session_line.open || session_operations)
        loop_once();
    loop_cancel(&later);
    line_free(&session_line);
}
