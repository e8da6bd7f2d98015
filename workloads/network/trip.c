/*
# /// bench
# title = "round trips of a few bytes"
# area = "network"
# [args]
# seconds = 2.0
# warm = 0.3
# cpu = -1
# server_cpu = -1
# transport = "tcp"
# length = 1
# connect = false
# role = "both"
# address = ""
# [metrics]
# "net.trip.rate" = { unit = "1/s", better = "higher" }
# "net.trip.time" = { unit = "s", better = "lower" }
# "net.trip.p99" = { unit = "s", better = "lower" }
# "net.trip.max" = { unit = "s", better = "lower" }
# "net.trip.lost" = { unit = "1", better = "lower" }
# "net.trip.cpu" = { unit = "s", better = "lower" }
# "net.lookup.time" = { unit = "s", better = "lower" }
# "net.mtu" = { unit = "bytes" }
# "placement.pinned" = { unit = "1" }
# ///

One trip is `length` bytes there and back, one after the other, over "tcp", "udp" or a "unix" socket; with `connect` each
has a connection of its own, which the server closes, so that the client's ports do not run out. `net.trip.time` is the
median. `net.trip.cpu` is the CPU time of an end's process for each trip, warm-up included. A datagram that is not
answered within 0.2 s is lost: it counts as that, and as no trip.

As "both", the server is a child of this program, on the loopback or at `address`: ADDRESS:PORT, a path, or @NAME for
a unix socket that is no file, which is also the usual one.
As "server" it serves there until it is told to end; as "client" it goes to the server there, or at BENCH_PEER. Both are
to be given the same arguments; an address that is a path or @NAME is a unix socket's whatever the transport. Where the
address has a name for the host, `net.lookup.time` is what asking for it took, once. The two ends run on `cpu` and `server_cpu`: on one CPU and on two it is not the same measurement.
*/
#include "../_shared/_program.h"
#include "../_shared/_spread.h"
#include "_path.h"
#include "_sockets.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#define LARGEST 65507
#define PATIENCE 200000 /* us that an answer may take */

static double length = 1, connect_each = 0, server_cpu = -1;
static const char *transport = "tcp", *role = "both", *address = "";
static struct place where;
static struct histogram trips;
static unsigned long lost, all;
static char buffer[LARGEST];

/* Read `length` bytes; how many there were at the end of the connection otherwise. */
static size_t take(int fd)
{
    size_t taken = 0;
    while (taken < (size_t)length) {
        ssize_t some = read(fd, buffer + taken, (size_t)length - taken);
        if (some <= 0)
            break;
        taken += (size_t)some;
    }
    return taken;
}

static int give(int fd)
{
    return send(fd, buffer, (size_t)length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* Answer whoever comes, one at a time, for ever. */
static void serve(int fd)
{
    while (where.kind == SOCK_DGRAM) {
        struct place from;
        from.length = sizeof from.at;
        ssize_t some = recvfrom(fd, buffer, sizeof buffer, 0, &from.at.any, &from.length);
        if (some > 0)
            sendto(fd, buffer, (size_t)some, 0, &from.at.any, from.length);
    }
    for (;;) {
        int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (peer < 0)
            failed("cannot accept:");
        without_delay(peer, &where);
        while (take(peer) == (size_t)length && give(peer) && !connect_each)
            ;
        close(peer);
    }
}

static void stream_trip(int fd)
{
    if (connect_each)
        fd = connected(&where);
    if (!give(fd) || take(fd) != (size_t)length)
        refuse("the other end is gone", "");
    if (connect_each) {
        char more;
        if (read(fd, &more, 1) != 0)
            refuse("the other end does not close", "");
        close(fd);
    }
}

/* Whether an answer to just this datagram came. */
static int datagram_trip(int fd)
{
    char number = (char)all;
    buffer[0] = number;
    if (!give(fd))
        return 0;
    do {
        if (recv(fd, buffer, sizeof buffer, 0) < 0)
            return 0;
    } while (buffer[0] != number);
    return 1;
}

static void travel(int fd, double seconds)
{
    double begun = now(), then = begun;
    do {
        double started = then;
        int back = 1;
        all++;
        if (where.kind == SOCK_DGRAM)
            back = datagram_trip(fd);
        else
            stream_trip(fd);
        then = now();
        if (back)
            enter(&trips, then - started);
        else
            lost++;
    } while (then - begun < seconds);
}

static double cpu_time(int who)
{
    struct rusage used;
    getrusage(who, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void report_trips(double seconds)
{
    static const char *const none = "no answer came";
    if (!trips.count) {
        absent("net.trip.rate", "1/s", "", none);
        absent("net.trip.time", "s", "", none);
        absent("net.trip.p99", "s", "", none);
        absent("net.trip.max", "s", "", none);
    } else {
        observe("net.trip.rate", (double)trips.count / seconds, "1/s", "");
        observe("net.trip.time", reached(&trips, 0.5), "s", "");
        observe("net.trip.p99", reached(&trips, 0.99), "s", "");
        observe("net.trip.max", trips.most, "s", "");
    }
    if (where.kind == SOCK_DGRAM)
        observe("net.trip.lost", (double)lost, "1", "");
}

/* Travel from here, and say how it was; `server` is the process of the other end where that is a child, or 0. */
static void go(pid_t server)
{
    struct timeval patience = {0, PATIENCE};
    double own, begun;
    int fd = connected(&where);
    pin(usual.cpu); /* only now, for the server is not to inherit it */
    if (where.kind == SOCK_DGRAM)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    report_path(fd);
    if (lookup >= 0)
        observe("net.lookup.time", lookup, "s", "");
    if (connect_each)
        close(fd); /* the server waits for bytes on it, and takes the next one after its end */
    own = cpu_time(RUSAGE_SELF);
    travel(fd, usual.warm);
    memset(&trips, 0, sizeof trips);
    lost = 0;
    await_gate();
    say("{\"event\": \"start\"}\n");
    begun = now();
    travel(fd, usual.seconds);
    begun = now() - begun;
    say("{\"event\": \"end\"}\n");
    own = cpu_time(RUSAGE_SELF) - own;
    report_trips(begun);
    observe("net.trip.cpu", own / (double)all, "s", "\"side\": \"client\"");
    if (server) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
        observe("net.trip.cpu", cpu_time(RUSAGE_CHILDREN) / (double)all, "s", "\"side\": \"server\"");
    } else
        absent("net.trip.cpu", "s", "\"side\": \"server\"", "the server is not of this program");
}

/* The server as a child, which ends with this program. */
static pid_t child(void)
{
    int fd = waiting(&where);
    pid_t parent = getpid(), server = fork();
    if (server < 0)
        failed("no process for the server:");
    if (server == 0) {
        litter = NULL;
        end_with(parent);
        serve(fd);
    }
    close(fd);
    if (server_cpu >= 0)
        pin_process(server, (int)server_cpu, ", \"side\": \"server\"");
    return server;
}

/* The loopback; for a unix socket a name that is no file, for not every directory can hold one. */
static const char *usual_address(void)
{
    static char name[64];
    snprintf(name, sizeof name, "@bench-trip-%d-%.0f", (int)getpid(), now() * 1e9);
    return strcmp(transport, "unix") ? "127.0.0.1:0" : name;
}

int main(int argc, char **argv)
{
    const struct argument known[] = {
        USUAL_ARGUMENTS, {"server_cpu", &server_cpu, NULL}, {"transport", NULL, &transport}, {"length", &length, NULL},
        {"connect", &connect_each, NULL}, {"role", NULL, &role}, {"address", NULL, &address},
    };
    parse(argc, argv, known, COUNT(known));
    signal(SIGTERM, stop);
    if (length < 1 || length > LARGEST)
        refuse("length is 1 to 65507 bytes", "");
    if (!*address && !strcmp(role, "client") && getenv("BENCH_PEER"))
        address = getenv("BENCH_PEER");
    if (*address == '/' || *address == '@')
        transport = "unix";
    if (!*address && strcmp(role, "both"))
        refuse("an address is to be given to the role", role);
    where = place_of(transport, *address ? address : usual_address());
    if (connect_each && where.kind == SOCK_DGRAM)
        refuse("there are no connections over", transport);
    if (!strcmp(role, "server")) {
        int fd = waiting(&where);
        if (server_cpu >= 0)
            pin_process(0, (int)server_cpu, ", \"side\": \"server\"");
        say("{\"event\": \"listening\"}\n");
        serve(fd);
    } else if (!strcmp(role, "client"))
        go(0);
    else if (!strcmp(role, "both"))
        go(child());
    else
        refuse("role is both, server or client, not", role);
    remove_litter();
    return 0;
}
