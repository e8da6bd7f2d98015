#define _GNU_SOURCE
#include "root.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bytes.h"
#include "group.h"

#define NEW "/root"
#define AGENT NEW "/opt/isobench/agent"
#define HOST "isobench"
#define LAST_WORDS 2 /* seconds that words on the console may take to get out: a kernel that panics drops them */

static _Noreturn void give_up(void) {
    sleep(LAST_WORDS);
    exit(1);
}

static _Noreturn void fail(const char *what) {
    const char *why = strerror(errno);
    int console = open("/dev/console", O_WRONLY | O_CLOEXEC | O_NOCTTY);
    dprintf(console < 0 ? 2 : console, "isobench: cannot boot: %s: %s\n", what, why);
    give_up();
}

static void mounted(const char *what, const char *where, unsigned long flags, const char *options) {
    if (mount(what, where, what, flags, options) != 0)
        fail(where);
}

static void moved(const char *from, const char *to) {
    if (mount(from, to, NULL, MS_MOVE, NULL) != 0)
        fail(to);
}

static void made(const char *directory) {
    if (mkdir(directory, 0755) != 0 && errno != EEXIST)
        fail(directory);
}

/* The loopback interface; a guest without one is a guest all the same. */
static void raise_loopback(void) {
    struct ifreq lo = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &lo) == 0) {
        lo.ifr_flags |= IFF_UP;
        ioctl(fd, SIOCSIFFLAGS, &lo);
    }
    if (fd >= 0)
        close(fd);
}

/* What a distribution's own first program would set up. */
static void furnish(void) {
    const unsigned long plain = MS_NOSUID | MS_NODEV;
    if (access(AGENT, X_OK) != 0)
        fail(AGENT);
    mounted("tmpfs", NEW "/run", plain, "mode=0755");
    made(NEW "/run/lock");
    made("/dev/pts");
    made("/dev/shm");
    mounted("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666");
    mounted("tmpfs", "/dev/shm", plain, "mode=1777");
    /* Without this option, which kernels know from 6.0 on, a program's move into its group waits for a grace
     * period of RCU. */
    if (mount("cgroup2", "/sys/fs/cgroup", "cgroup2", plain | MS_NOEXEC, "favordynmods") != 0)
        mounted("cgroup2", "/sys/fs/cgroup", plain | MS_NOEXEC, NULL);
    if (sethostname(HOST, sizeof HOST - 1) != 0)
        fail("its name");
    raise_loopback();
}

void root_enter(int pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            die("there is no child that mounts the disks");
    if (status) /* it has said why */
        give_up();
    furnish();
    moved("/proc", NEW "/proc");
    moved("/sys", NEW "/sys");
    moved("/dev", NEW "/dev");
    if (chdir(NEW) != 0)
        fail(NEW);
    moved(".", "/");
    if (chroot(".") != 0 || chdir("/") != 0)
        fail("the new root");
    group_prepare();
}
