/*
# /// bench
# title = "making a process and waiting for its end"
# area = "process"
# args = { seconds = 2.0, warm = 0.3, cpu = -1, exec = true, program = "" }
# [metrics]
# "process.spawn.rate" = { unit = "1/s", better = "higher" }
# "process.spawn.time" = { unit = "s", better = "lower" }
# "process.spawn.floor" = { unit = "s", better = "lower" }
# "placement.pinned" = { unit = "1" }
# ///

One operation is fork(2), execve(2) of `program`, its end and the wait for it. Without a `program` it is this one, which
is static and ends at once: nothing is loaded that the kernel does not load. Without `exec` the child ends after
the fork.
*/
#include "../_shared/_batches.h"

#include <sys/wait.h>

#define END "--end"

static const char *program = "";
static double exec = 1;

static double batch(long count)
{
    char *const words[] = {(char *)program, END, NULL};
    char *const nothing[] = {NULL};
    double begun = now();
    for (long i = 0; i < count; i++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0) {
            if (exec)
                execve(program, words, nothing);
            _exit(exec ? 127 : 0);
        }
        if (child < 0 || waitpid(child, &status, 0) != child)
            failed("no process:");
        if (status)
            refuse("cannot be run, or failed:", program);
    }
    return now() - begun;
}

int main(int argc, char **argv)
{
    const struct argument known[] = {USUAL_ARGUMENTS, {"exec", &exec, NULL}, {"program", NULL, &program}};
    struct timing found;
    if (argc == 2 && !strcmp(argv[1], END))
        return 0;
    begin(argc, argv, known, COUNT(known));
    if (!*program)
        program = argv[0];
    found = timed();
    report("process.spawn", &found);
    return 0;
}
