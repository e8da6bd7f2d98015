/* place FD PARENT SCORE NETNS ROOT CWD FILE... -- PROGRAM ARG...
 *
 * Takes a place and becomes the program: enters the network namespace NETNS, writes SCORE into its oom_score_adj and "0"
 * into every FILE (cgroup.procs), changes its root to ROOT and its directory to CWD, then execve. SCORE, NETNS and ROOT may be "". It ends with
 * its parent, whose PID is PARENT, and keeps no descriptor above FD. What fails goes to FD as "STEP: CAUSE"; FD closes
 * when the program runs. Small and static, so that a start through it costs one execve more than a bare one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

extern char **environ;

static int report;

static int failed(const char *step, const char *what)
{
    char text[4096];
    int length = snprintf(text, sizeof text, "%s%s%s: %s", step, *what ? " " : "", what, strerror(errno));
    if (write(report, text, length < (int)sizeof text ? length : (int)sizeof text - 1) < 0)
        return 126;
    return 127;
}

static int put(const char *file, const char *text)
{
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t written = write(fd, text, strlen(text));
    int number = errno;
    close(fd);
    errno = number;
    return written < 0 ? -1 : 0;
}

static int enter(const char *netns)
{
    int fd = open(netns, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : setns(fd, CLONE_NEWNET);
}

int main(int argc, char **argv)
{
    if (argc < 9)
        return 2;
    const char *score = argv[3], *netns = argv[4], *root = argv[5], *cwd = argv[6];
    report = atoi(argv[1]);
    fcntl(report, F_SETFD, FD_CLOEXEC);
    close_range(report + 1, ~0U, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != atoi(argv[2]))
        return 127;
    if (*netns && enter(netns) < 0)
        return failed("enter", netns);
    if (*score && put("/proc/self/oom_score_adj", score) < 0)
        return failed("write", "oom_score_adj");
    int next = 7;
    for (; next < argc && strcmp(argv[next], "--") != 0; next++)
        if (put(argv[next], "0") < 0)
            return failed("join", argv[next]);
    if (next + 1 >= argc)
        return 2;
    if (*root && chroot(root) < 0)
        return failed("chroot to", root);
    if (chdir(cwd) < 0)
        return failed("change to", cwd);
    execvpe(argv[next + 1], argv + next + 1, environ);
    return failed("execve", "");
}
