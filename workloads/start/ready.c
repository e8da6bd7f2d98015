/*
# /// bench
# title = "a server that is started"
# area = "start"
# args = { at = "" }
# ///

What is started to measure a start. Its first act is to say so. With --at=PATH it then listens on that unix socket, or
with --at=PORT on that TCP port, says so, and answers every connection with what it was sent; with --port=PORT it
listens on that TCP port as well. SIGTERM ends it at once, also as PID 1, where a signal without a handler is dropped.
Without --at it ends after its first words.
The host stamps what arrives: the program itself knows no time.
*/
#define _GNU_SOURCE
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void end(int number)
{
    (void)number;
    _exit(0);
}

static int say(const char *text)
{
    size_t length = strlen(text);
    return write(1, text, length) == (ssize_t)length ? 0 : -1;
}

static int refuse(const char *word)
{
    static const char before[] = "unknown argument ";
    if (write(2, before, sizeof before - 1) < 0 || write(2, word, strlen(word)) < 0)
        return 1;
    return 2;
}

static int listener(const char *where)
{
    int fd;
    if (*where == '/') {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        if (strlen(where) >= sizeof name.sun_path)
            return -1;
        memcpy(name.sun_path, where, strlen(where) + 1);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *)&name, sizeof name) < 0)
            return -1;
    } else {
        int one = 1;
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(atoi(where))};
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0)
            return -1;
        if (bind(fd, (struct sockaddr *)&name, sizeof name) < 0)
            return -1;
    }
    return listen(fd, 16) < 0 ? -1 : fd;
}

/* The next connection to either; `second` is -1 where there is but one. */
static int next(int first, int second)
{
    struct pollfd either[] = {{.fd = first, .events = POLLIN}, {.fd = second, .events = POLLIN}};
    if (second < 0)
        return accept(first, NULL, NULL);
    if (poll(either, 2, -1) < 0)
        return -1;
    return accept(either[0].revents ? first : second, NULL, NULL);
}

int main(int argc, char **argv)
{
    char buffer[64];
    const char *at = "", *port = "";
    if (say("{\"event\": \"first\"}\n") < 0)
        return 1;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--at=", 5) == 0)
            at = argv[i] + 5;
        else if (strncmp(argv[i], "--port=", 7) == 0)
            port = argv[i] + 7;
        else
            return refuse(argv[i]);
    }
    if (!*at)
        return 0;
    signal(SIGTERM, end);
    int fd = listener(at), second = *port ? listener(port) : -1;
    if (fd < 0 || (*port && second < 0))
        return 1;
    if (say("{\"event\": \"listening\"}\n") < 0)
        return 1;
    for (;;) {
        int peer = next(fd, second);
        if (peer < 0)
            return 1;
        ssize_t count = read(peer, buffer, sizeof buffer);
        if (count > 0 && write(peer, buffer, count) != count)
            return 1;
        close(peer);
    }
}
