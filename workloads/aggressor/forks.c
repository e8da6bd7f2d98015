/*
# /// bench
# title = "a fork bomb"
# area = "aggressor"
# args    = {before=3.0, during=3.0, after=3.0, alone=0.0, settle=0.5, window=1.0, cpu=-1}
# [metrics]
# "aggressor.on" = { unit = "1" }
# "aggressor.off" = { unit = "1" }
# "aggressor.rate" = { unit = "1/s", better = "higher" }
# "aggressor.processes" = { unit = "1" }
# "placement.pinned" = { unit = "1" }
# ///

A fork bomb on a schedule: every process of it forks again and again, and so do its children, until the kernel
refuses; then each tries anew every millisecond. All of them lead their life in one process group, end with the
phase by a flag in shared memory, and are killed with their group after it. In a machine, where no group of the
host's bounds it, RLIMIT_NPROC does.
*/
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST 4096 /* processes */
#define PATIENCE 5 /* s that the end of a bomb may take */

static double before = 3, during = 3, after = 3, alone = 0, settle = 0.5, window = 1, cpu = -1;
static struct shared { volatile int stop; volatile long forks, most; } *shared;
static volatile pid_t group;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void until(double moment)
{
    double left;
    while ((left = moment - now()) > 0) {
        struct timespec t = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
        nanosleep(&t, NULL);
    }
}

static void say(const char *text)
{
    size_t length = strlen(text);
    if (write(1, text, length) != (ssize_t)length)
        _exit(1);
}

static void observe(const char *metric, double value, const char *unit, const char *labels)
{
    char line[256];
    snprintf(line, sizeof line, "{\"metric\": \"%s\", \"value\": %.9g, \"unit\": \"%s\", \"labels\": {%s}}\n", metric,
             value, unit, labels);
    say(line);
}

static void refuse(const char *what, const char *word)
{
    fprintf(stderr, "%s %s\n", what, word);
    exit(2);
}

static void parse(int argc, char **argv)
{
    const struct { const char *name; double *value; } known[] = {
        {"before", &before}, {"during", &during}, {"after", &after}, {"alone", &alone},
        {"settle", &settle}, {"window", &window}, {"cpu", &cpu},
    };
    for (int i = 1; i < argc; i++) {
        size_t k, count = sizeof known / sizeof *known;
        for (k = 0; k < count; k++) {
            size_t length = strlen(known[k].name);
            char *end;
            if (strncmp(argv[i], "--", 2) || strncmp(argv[i] + 2, known[k].name, length) || argv[i][2 + length] != '=')
                continue;
            *known[k].value = strtod(argv[i] + 3 + length, &end);
            if (*end)
                refuse("no number in argument", argv[i]);
            break;
        }
        if (k == count)
            refuse("unknown argument", argv[i]);
    }
    if (window <= 0)
        refuse("window must be above 0", "");
}

static void pin(void)
{
    char labels[32];
    cpu_set_t set;
    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((int)cpu, &set);
    snprintf(labels, sizeof labels, "\"cpu\": \"%d\"", (int)cpu);
    observe("placement.pinned", sched_setaffinity(0, sizeof set, &set) == 0, "1", labels);
}

static void first_to_go(void)
{
    FILE *file = fopen("/proc/self/oom_score_adj", "w");
    if (!file || fputs("1000", file) < 0 || fclose(file))
        fputs("oom_score_adj stays as it is\n", stderr);
}

static void bounded(void)
{
    struct rlimit most = {MOST, MOST};
    if (setrlimit(RLIMIT_NPROC, &most))
        fputs("RLIMIT_NPROC stays as it is\n", stderr);
}

/* A process of the bomb. What it made ends by the flag, or with the group. */
static void explode(void)
{
    while (!shared->stop) {
        pid_t pid = fork();
        if (pid < 0)
            usleep(1000);
        else if (pid > 0)
            __sync_fetch_and_add(&shared->forks, 1);
        else if (prctl(PR_SET_PDEATHSIG, SIGKILL))
            break;
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
    pid_t first;
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
        prctl(PR_SET_PDEATHSIG, SIGKILL);
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
        /* Again and again, for one that was just being forked; as PID 1 of its sandbox it has all to bury. */
        double late = now() + PATIENCE; /* where PID 1 is another that buries nobody, the dead stay */
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
    const char *gate = getenv("BENCH_GATE");
    double origin;
    parse(argc, argv);
    signal(SIGTERM, end);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        refuse("no shared memory:", strerror(errno));
    pin();
    first_to_go();
    bounded();
    say("{\"event\": \"ready\"}\n");
    while (gate && access(gate, F_OK))
        usleep(1000);
    say("{\"event\": \"start\"}\n");
    origin = now();
    until(origin + before);
    phase("during", during, origin + before);
    until(origin + before + during + after);
    phase("alone", alone, origin + before + during + after);
    say("{\"event\": \"end\"}\n");
    return 0;
}
