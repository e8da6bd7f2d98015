/* The agent of a guest: `agent [--after PID] [--python PATH] [--modules DIRS] --port PATH` or `--stdio`.
 *
 * It speaks the protocol of bench/guest/wire.py over a port or its standard streams, starts programs, and hands
 * what is Python on to a child. It is the first program of the micro boot. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "group.h"
#include "loop.h"
#include "machine.h"
#include "port.h"
#include "relay.h"
#include "root.h"
#include "session.h"

static const char usage[] =
    "usage: agent [--after PID] [--python PATH] [--modules DIRS] [--cgroups MOUNT] --port PATH | --stdio\n";

/* Descriptors 0, 1 and 2 and no others; every signal as usual, but that a reader who has gone is an error. */
static void settle(void) {
    int fd;
    sigset_t none;
    while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd < 3)
        ;
    if (fd >= 0)
        close(fd);
    if (close_range(3, ~0u, 0) != 0) /* before Linux 5.9 */
        for (fd = 3; fd < (int)sysconf(_SC_OPEN_MAX) && fd < 65536; fd++)
            close(fd);
    for (int number = 1; number <= SIGRTMAX; number++)
        signal(number, SIG_DFL); /* where there is no such signal, or none to set, it fails as it should */
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void refuse(void) {
    fputs(usage, stderr);
    exit(2);
}

static _Noreturn void serve_stdio(void) {
    int out = fcntl(1, F_DUPFD_CLOEXEC, 3), in = fcntl(0, F_DUPFD_CLOEXEC, 3);
    /* So that nothing printed by mistake gets between the frames. */
    if (out < 0 || in < 0 || dup2(2, 1) < 0)
        die("no descriptor is left");
    session_serve(in, out);
    exit(0);
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        {"after", required_argument, NULL, 'a'},   {"python", required_argument, NULL, 'y'},
        {"modules", required_argument, NULL, 'm'}, {"cgroups", required_argument, NULL, 'c'},
        {"port", required_argument, NULL, 'p'},    {"stdio", no_argument, NULL, 's'},
        {NULL, 0, NULL, 0},
    };
    const char *port = NULL;
    bool stdio = false;
    int mounting = 0;
    for (int found; (found = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (found) {
        case 'a': mounting = atoi(optarg); break;
        case 'y': relay_python = optarg; break;
        case 'm': relay_modules = optarg; break;
        case 'c': group_mount = optarg; break;
        case 'p': port = optarg; break;
        case 's': stdio = true; break;
        default: refuse();
        }
    }
    if (optind != argc || stdio == (port != NULL) || mounting < 0)
        refuse();
    settle();
    loop_open();
    if (mounting)
        root_enter(mounting);
    if (machine_is_guest() && geteuid() == 0)
        machine_be_urgent();
    if (getpid() == 1)
        machine_reap();
    if (port)
        port_serve(port);
    serve_stdio();
}
