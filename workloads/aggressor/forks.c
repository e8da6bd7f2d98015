/*
# /// bench
# title = "a fork bomb"
# area = "aggressor"
# args    = {before=3.0, during=3.0, after=3.0, alone=0.0, settle=0.5, window=1.0, cpu=-1, most=4096}
# [metrics]
# "aggressor.on" = { unit = "1" }
# "aggressor.off" = { unit = "1" }
# "aggressor.rate" = { unit = "1/s", better = "higher" }
# "aggressor.processes" = { unit = "1" }
# "placement.pinned" = { unit = "1" }
# ///

A fork bomb on a schedule: every process of it forks again and again, and so do its children, until the kernel
refuses, or there are `most`; then each tries anew every millisecond. All of them lead their life in one process
group, end with the phase by a flag in shared memory, and are killed with their group after it. The first program is
their subreaper: it buries them, as a slow PID 1 would leave thousands of dead behind.
*/
#include "../_shared/_program.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define PATIENCE 5 /* s that the end of a bomb may take */

static double before = 3, during = 3, after = 3, alone = 0, settle = 0.5, window = 1, cpu = -1, most = 4096;
static struct shared { volatile int stop; volatile long forks; } *shared;
static volatile pid_t group;

static void until(double moment)
{
    double left;
    while ((left = moment - now()) > 0)
        rest(left);
}

static void read_arguments(int argc, char **argv)
{
    const struct argument known[] = {
        {"before", &before, NULL}, {"during", &during, NULL}, {"after", &after, NULL}, {"alone", &alone, NULL},
        {"settle", &settle, NULL}, {"window", &window, NULL}, {"cpu", &cpu, NULL}, {"most", &most, NULL},
    };
    parse(argc, argv, known, COUNT(known));
    if (window <= 0)
        refuse("window must be above 0", "");
}

static void first_to_go(void)
{
    FILE *file = fopen("/proc/self/oom_score_adj", "w");
    if (!file || fputs("1000", file) < 0 || fclose(file))
        fputs("oom_score_adj stays as it is\n", stderr);
}

static void bounded(void)
{
    struct rlimit limit = {(rlim_t)most, (rlim_t)most};
    if (setrlimit(RLIMIT_NPROC, &limit)) /* which does not hold root; the count in `explode` does */
        fputs("RLIMIT_NPROC stays as it is\n", stderr);
}

/* A process of the bomb. What it made ends by the flag, or with the group. */
static void explode(void)
{
    while (!shared->stop) {
        pid_t parent = getpid();
        pid_t pid = __sync_fetch_and_add(&shared->forks, 1) < (long)most ? fork() : -1;
        if (pid < 0) {
            __sync_fetch_and_sub(&shared->forks, 1);
            usleep(1000);
        } else if (pid == 0)
            end_with(parent);
    }
    _exit(0);
}

static void end(int number)
{
    (void)number;
    if (group)
        kill(-group, SIGKILL);
    _exit(143);
}

static void phase(const char *name, double seconds, double begun)
{
    char labels[96];
    long last = 0, count = seconds / window + 0.5 < 1 ? 1 : (long)(seconds / window + 0.5);
    pid_t first, parent = getpid();
    if (seconds <= 0)
        return;
    shared->stop = 0;
    shared->forks = 0;
    snprintf(labels, sizeof labels, "\"phase\": \"%s\"", name);
    observe("aggressor.on", 1, "1", labels);
    while ((first = fork()) < 0 && now() < begun + seconds) /* so full is the sandbox already */
        usleep(1000);
    if (first == 0) {
        signal(SIGCHLD, SIG_IGN); /* nobody waits for the dead */
        signal(SIGTERM, SIG_DFL);
        end_with(parent);
        setpgid(0, 0);
        explode();
    }
    if (first > 0) {
        setpgid(first, first);
        group = first;
    }
    for (long i = 0; i < count; i++) {
        long forks;
        until(begun + seconds * (double)(i + 1) / (double)count);
        forks = shared->forks;
        snprintf(labels, sizeof labels, "\"phase\": \"%s\", \"window\": \"%ld\", \"work\": \"forks\"", name, i);
        observe("aggressor.rate", (double)(forks - last) * (double)count / seconds, "1/s", labels);
        last = forks;
    }
    shared->stop = 1;
    if (first > 0) {
        /* Again and again, for one that was just being forked; they are all its own to bury. */
        double late = now() + PATIENCE; /* a kernel without subreapers may leave the dead to others */
        while (kill(-first, SIGKILL) == 0 && now() < late) {
            while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
            usleep(1000);
        }
        group = 0;
    }
    snprintf(labels, sizeof labels, "\"phase\": \"%s\"", name);
    observe("aggressor.off", 1, "1", labels);
    observe("aggressor.processes", (double)last, "1", labels);
}

int main(int argc, char **argv)
{
    double origin;
    read_arguments(argc, argv);
    signal(SIGTERM, end);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        failed("no shared memory:");
    pin(cpu);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1))
        fputs("the dead are left to PID 1\n", stderr);
    first_to_go();
    bounded();
    await_gate();
    say("{\"event\": \"start\"}\n");
    origin = now();
    until(origin + before);
    phase("during", during, origin + before);
    until(origin + before + during + after);
    phase("alone", alone, origin + before + during + after);
    say("{\"event\": \"end\"}\n");
    return 0;
}
