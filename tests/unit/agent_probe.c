/* Parts of the agent, asked one at a time: a request is a letter, a length of 4 bytes and that many bytes; the
 * answer is a length and that many bytes. A letter that begins a framer anew has an empty answer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "group.h"
#include "json.h"
#include "loop.h"
#include "port.h"
#include "wire.h"

static struct framer framer;
static char mount[4096];

static void put32(struct bytes *out, uint32_t value) {
    uint8_t text[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    bytes_add(out, text, 4);
}

static void frames(struct bytes *out, const uint8_t *data, size_t len) {
    struct frame frame;
    bytes_add(&framer.in, data, len);
    while (framer_next(&framer, &frame)) {
        put32(out, frame.channel);
        bytes_add(out, &frame.kind, 1);
        put32(out, (uint32_t)frame.len);
        bytes_add(out, frame.payload, frame.len);
    }
}

static void value(struct bytes *out, const struct document *d, const struct json *node) {
    static const char *const words[] = {"null", "false", "true"};
    bool object = node->type == JSON_OBJECT;
    switch (node->type) {
    case JSON_STRING: json_put(out, node->text, node->len); return;
    case JSON_NUMBER: bytes_add(out, node->text, node->len); return;
    case JSON_ARRAY:
    case JSON_OBJECT: break;
    default: bytes_text(out, words[node->type]); return;
    }
    bytes_text(out, object ? "{" : "[");
    for (const struct json *m = json_first(d, node); m; m = json_next(d, m)) {
        if (object) {
            json_put(out, m->key, m->key_len);
            bytes_text(out, ":");
        }
        value(out, d, m);
        if (m->next)
            bytes_text(out, ",");
    }
    bytes_text(out, object ? "}" : "]");
}

static void document(struct bytes *out, const uint8_t *data, size_t len) {
    struct document d;
    if (json_read(&d, data, len))
        value(out, &d, d.nodes);
    json_free(&d);
}

static void group(struct bytes *out, const char *name) {
    char path[GROUP_PATH];
    if (!*name)
        group_prepare();
    else
        bytes_text(out, group_create(path, name, strlen(name)) ? path : "error");
}

static void device(struct bytes *out, char *path) {
    char found[256], *ports = strchr(path, ' ');
    *ports++ = 0;
    port_device(found, sizeof found, path, ports);
    bytes_text(out, found);
}

static struct watch watches[2];

static void ready(void *owner, uint32_t events) {
    (void)events;
    bytes_text(owner, "called ");
    for (int n = 0; n < 2; n++)
        loop_want(&watches[n], 0);
}

/* Two descriptors are ready at once, and who hears of one first stops watching both. */
static void turn(struct bytes *out) {
    int ends[2][2];
    loop_open();
    for (int n = 0; n < 2; n++) {
        if (pipe(ends[n]) != 0 || write(ends[n][1], ".", 1) != 1)
            exit(3);
        loop_watch(&watches[n], ends[n][0], ready, out);
        loop_want(&watches[n], EPOLLIN);
    }
    loop_once();
}

static void answer(char what, uint8_t *data, uint32_t len) {
    struct bytes out = {0}, head = {0};
    switch (what) {
    case 'f': frames(&out, data, len); break;
    case 'n': bytes_free(&framer.in); framer = (struct framer){0}; break;
    case 'e': wire_put(&out, get32(data), data[4], data + 5, len - 5); break;
    case 'j': document(&out, data, len); break;
    case 'm': snprintf(mount, sizeof mount, "%s", (char *)data); group_mount = mount; break;
    case 'g': group(&out, (char *)data); break;
    case 'd': device(&out, (char *)data); break;
    case 'l': turn(&out); break;
    default: exit(2);
    }
    put32(&head, (uint32_t)out.len);
    fwrite(head.data, 1, 4, stdout);
    if (out.len)
        fwrite(bytes_front(&out), 1, out.len, stdout);
    fflush(stdout);
    bytes_free(&out);
    bytes_free(&head);
}

int main(void) {
    uint8_t head[5];
    while (fread(head, 1, 5, stdin) == 5) {
        uint32_t len = get32(head + 1);
        uint8_t *data = must((size_t)len + 1);
        if (fread(data, 1, len, stdin) != len)
            return 1;
        answer((char)head[0], data, len);
        free(data);
    }
    return 0;
}
