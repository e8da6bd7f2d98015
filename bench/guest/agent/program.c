#define _GNU_SOURCE
#include "program.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
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

/* --- what was asked for ---------------------------------------------------------------------- */

/* Its texts as execve(2) takes them; NULL where one is none, or has a zero byte inside. */
static char **texts(const struct document *d, const struct json *list, const char **why) {
    char **found = must((list->count + 2) * sizeof *found);
    size_t used = 0;
    for (const struct json *m = json_first(d, list); m && !*why; m = json_next(d, m)) {
        if (m->type != JSON_STRING)
            *why = "argv or env holds what is no text";
        else if (strlen(m->text) != m->len || (m->key && strlen(m->key) != m->key_len))
            *why = "argv or env: embedded null byte";
        else if (!m->key)
            found[used++] = strdup(m->text);
        else if (asprintf(&found[used++], "%s=%s", m->key, m->text) < 0)
            die("out of memory");
    }
    return found;
}

static void free_texts(char **list) {
    for (char **at = list; at && *at; at++)
        free(*at);
    free(list);
}

const char *program_read(struct program *p, const struct document *d) {
    const struct json *argv = json_get(d, d->nodes, "argv"), *env = json_get(d, d->nodes, "env");
    const struct json *cwd = json_get(d, d->nodes, "cwd"), *uid = json_get(d, d->nodes, "uid");
    const struct json *path = env ? json_get(d, env, "PATH") : NULL, none = {0};
    const char *why = NULL;
    long long user = 0;
    if (!argv || argv->type != JSON_ARRAY || (env && env->type != JSON_OBJECT))
        return "argv is no list, or env no object";
    if (!argv->count)
        return "argv is empty";
    if ((cwd && (cwd->type != JSON_STRING || strlen(cwd->text) != cwd->len)) ||
        (uid && (!json_whole(uid, &user) || user < 0 || user > 0xFFFFFFFELL)))
        return "cwd is no path, or uid no number of a user";
    p->argv = texts(d, argv, &why);
    p->envp = texts(d, env ? env : &none, &why);
    p->path = path && path->type == JSON_STRING ? path->text : DEFAULT_PATH;
    if (!path && !why)
        p->envp[env ? env->count : 0] = strdup("PATH=" DEFAULT_PATH);
    p->cwd = cwd && cwd->len ? cwd->text : "/";
    p->as_user = uid != NULL;
    p->uid = (uid_t)user;
    return why;
}

void program_free(struct program *p) {
    free_texts(p->argv);
    free_texts(p->envp);
}
