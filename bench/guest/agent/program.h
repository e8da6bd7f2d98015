/* A program as a child of the agent: started, and turned into what was asked for. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <sys/types.h>

#include "json.h"

struct program {
    char **argv, **envp;
    const char *path;   /* where a name without "/" is looked for */
    const char *cwd;    /* NULL: stay */
    const char *cgroup; /* the file through which a process joins it, or NULL */
    bool as_user;
    uid_t uid;
    int fds[3]; /* its descriptors 0, 1, 2 */
    /* What failed in the child, as "STEP: cause"; 0 where nothing did. */
    volatile int failed;
    char *volatile step;
    char *volatile subject;
};

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Argv, environment, directory and user as an OPEN asks for them; why not, or NULL. It points into the document. */
const char *program_read(struct program *p, const struct document *asked);
void program_free(struct program *p);

/* Its PID, once it runs or has failed to; -1 with errno where there is no child. The agent waits for the execve,
 * so the program's memory need not be made before it; with `apart` it does not, and hears of no failure. */
pid_t program_start(struct program *p, bool apart);

#endif
