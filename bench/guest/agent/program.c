#define _GNU_SOURCE
#include "program.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "group.h"
#include "machine.h"

/* execvpe(3); the error is the first that tells more than that a directory lacks the program. */
static void execute(const struct program *p) {
    static char file[GROUP_PATH];
    int telling = 0;
    if (strchr(p->argv[0], '/')) {
        execve(p->argv[0], p->argv, p->envp);
        return;
    }
    for (const char *at = p->path;; at++) {
        const char *end = strchrnul(at, ':');
        size_t len = (size_t)(end - at), name = strlen(p->argv[0]);
        if (len + name + 2 <= sizeof file) {
            memcpy(file, at, len);
            file[len] = '/';
            memcpy(file + len + 1, p->argv[0], name + 1);
            execve(file, p->argv, p->envp);
            if (errno != ENOENT && errno != ENOTDIR && !telling)
                telling = errno;
        }
        if (!*end)
            break;
        at = end;
    }
    errno = telling ? telling : ENOENT;
}

static _Noreturn void fail(struct program *p, char *step, const char *subject) {
    p->failed = errno;
    p->step = step;
    p->subject = (char *)subject;
    _exit(127);
}

/* In the child, which borrows the agent's memory: the group first, so that all it uses is counted there. */
static _Noreturn void become(struct program *p) {
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigaction(SIGPIPE, &usual, NULL); /* the one signal the agent ignores */
    if (p->cgroup && !write_file(p->cgroup, "0"))
        fail(p, "join the cgroup", NULL);
    setsid();
    for (int fd = 0; fd < 3; fd++)
        if (dup2(p->fds[fd], fd) < 0)
            fail(p, "take its descriptors", NULL);
    if (machine_niced)
        setpriority(PRIO_PROCESS, 0, 0);
    if (machine_scored) /* that of the agent is of one never to be killed */
        write_file("/proc/self/oom_score_adj", "0");
    if (p->cwd && chdir(p->cwd) != 0)
        fail(p, "change to", p->cwd);
    /* System calls alone: the C library would tell other threads, of which there are none. */
    if (p->as_user && (syscall(SYS_setgroups, 0, NULL) != 0 || syscall(SYS_setgid, p->uid) != 0 ||
                       syscall(SYS_setuid, p->uid) != 0))
        fail(p, "become the user", NULL);
    execute(p);
    fail(p, "start", p->argv[0]);
}

pid_t program_start(struct program *p, bool apart) {
    p->failed = 0;
    pid_t pid = apart ? fork() : vfork();
    if (pid == 0)
        become(p);
    return pid;
}
