#define _GNU_SOURCE
#include "port.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "group.h"
#include "loop.h"
#include "session.h"

#define PORTS "/sys/class/virtio-ports"
#define REOPEN 20000 /* microseconds between looks at a port whose other end is closed */
#define BUSY 10.0    /* seconds that others may keep the port open, and that it may take to appear */

void port_device(char *device, size_t room, const char *path, const char *ports) {
    char file[GROUP_PATH], name[256];
    const char *slash = strrchr(path, '/'), *wanted = slash ? slash + 1 : path;
    snprintf(device, room, "%s", path);
    if (access(path, F_OK) == 0)
        return;
    DIR *directory = opendir(ports);
    if (!directory)
        return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        snprintf(file, sizeof file, "%.3000s/%s/name", ports, entry->d_name);
        if (entry->d_name[0] == '.' || read_file(file, name, sizeof name) < 0)
            continue;
        name[strcspn(name, "\n")] = 0;
        if (strcmp(name, wanted) == 0) {
            snprintf(device, room, "/dev/%s", entry->d_name);
            break;
        }
    }
    closedir(directory);
}

/* The port, which one process at a time may hold: a child just forked may not have let go of it yet. The host
 * adds it by a message, so it may also come after its driver. */
static int opened(const char *path) {
    char device[GROUP_PATH];
    double end = loop_now() + BUSY;
    for (;;) {
        port_device(device, sizeof device, path, PORTS);
        int fd = open(device, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (fd >= 0)
            return fd;
        if ((errno != EBUSY && errno != ENOENT && errno != EINTR) || loop_now() > end)
            die("the port cannot be opened");
        usleep(REOPEN);
    }
}

/* Return when the other end is open: until then poll(2) says POLLHUP. */
static void await_host(int fd) {
    struct pollfd port = {.fd = fd, .events = POLLIN | POLLOUT};
    while (poll(&port, 1, -1) < 0 || port.revents & POLLHUP)
        usleep(REOPEN);
}

/* No echo, no line editing, no translation, eight bits. */
static void make_raw(int fd) {
    struct termios mode;
    if (tcgetattr(fd, &mode) != 0)
        return;
    cfmakeraw(&mode);
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
    tcsetattr(fd, TCSANOW, &mode);
}

_Noreturn void port_serve(const char *path) {
    for (;;) {
        int fd = opened(path);
        if (isatty(fd))
            make_raw(fd);
        await_host(fd);
        int out = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (out < 0)
            die("no descriptor is left");
        session_serve(fd, out);
        close(out);
        close(fd);
        usleep(REOPEN);
    }
}
