/*
What every workload in C begins with: arguments, the clock, lines of output, the gate, and its CPU.
All of it is inline, so that a program that needs only a part compiles without a warning.
*/
#ifndef ISOBENCH_PROGRAM_H
#define ISOBENCH_PROGRAM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define COUNT(array) (sizeof (array) / sizeof *(array))

/* A number or a text, by the name it has on the command line. */
struct argument { const char *name; double *number; const char **text; };

/* A file that goes when a signal ends the program. */
static const char *volatile litter;

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline void rest(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    if (seconds > 0)
        nanosleep(&t, NULL);
}

static inline void say(const char *text)
{
    size_t length = strlen(text);
    if (write(1, text, length) != (ssize_t)length)
        _exit(1);
}

static inline void remove_litter(void)
{
    if (litter)
        unlink(litter);
}

/* In a child: end with the parent, also where that ended before this one came to run for the first time. */
static inline void end_with(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent)
        _exit(0);
}

static inline void refuse(const char *what, const char *word)
{
    fprintf(stderr, "%s %s\n", what, word);
    remove_litter();
    exit(2);
}

/* The end of a program that the kernel refused something, with the kernel's reason. */
static inline void failed(const char *what)
{
    refuse(what, strerror(errno));
}

static inline void stop(int number)
{
    (void)number;
    remove_litter();
    _exit(143);
}

static inline void parse(int argc, char **argv, const struct argument *known, size_t count)
{
    for (int i = 1; i < argc; i++) {
        size_t k, length = 0;
        char *end;
        for (k = 0; k < count; k++) {
            length = strlen(known[k].name);
            if (!strncmp(argv[i], "--", 2) && !strncmp(argv[i] + 2, known[k].name, length) && argv[i][2 + length] == '=')
                break;
        }
        if (k == count)
            refuse("unknown argument", argv[i]);
        if (known[k].text) {
            *known[k].text = argv[i] + 3 + length;
            continue;
        }
        *known[k].number = strtod(argv[i] + 3 + length, &end);
        if (*end || end == argv[i] + 3 + length)
            refuse("no number in argument", argv[i]);
    }
}

/* One observation; `labels` is what stands between the braces, or empty. */
static inline void observe(const char *metric, double value, const char *unit, const char *labels)
{
    char line[1024];
    snprintf(line, sizeof line, "{\"metric\": \"%s\", \"value\": %.9g, \"unit\": \"%s\", \"labels\": {%s}}\n", metric,
             value, unit, labels);
    say(line);
}

/* A number that could not be had, and why. */
static inline void absent(const char *metric, const char *unit, const char *labels, const char *reason)
{
    char line[1024];
    snprintf(line, sizeof line,
             "{\"metric\": \"%s\", \"value\": null, \"unit\": \"%s\", \"labels\": {%s}, \"reason\": \"%s\"}\n", metric,
             unit, labels, reason);
    say(line);
}

/* `text` without what JSON would want escaped. */
static inline const char *plain(char *text)
{
    for (char *at = text; *at; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ' || (unsigned char)*at > '~')
            *at = '?';
    return text;
}

static inline void await_gate(void)
{
    const char *gate = getenv("BENCH_GATE");
    say("{\"event\": \"ready\"}\n");
    while (gate && access(gate, F_OK))
        rest(0.001);
}

/* Run a process (0: this one) on one CPU alone, and say whether it is so; `more` are further labels. */
static inline int pin_process(pid_t pid, int cpu, const char *more)
{
    char labels[96];
    cpu_set_t set;
    int done;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    done = sched_setaffinity(pid, sizeof set, &set) == 0;
    snprintf(labels, sizeof labels, "\"cpu\": \"%d\"%s", cpu, more);
    observe("placement.pinned", done, "1", labels);
    return done;
}

/* Run on one CPU alone where one is asked for: not below 0. */
static inline void pin(double cpu)
{
    if (cpu >= 0)
        pin_process(0, (int)cpu, "");
}

/* The first CPU that this process may run on and that is not `but`; -1 where there is none. */
static inline int allowed_cpu(int but)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set))
        return -1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (cpu != but && CPU_ISSET(cpu, &set))
            return cpu;
    return -1;
}

/* Arguments that a program has which works for a fixed time. */
static struct { double seconds, warm, cpu; } usual = {2, 0.3, -1};
#define USUAL_ARGUMENTS {"seconds", &usual.seconds, NULL}, {"warm", &usual.warm, NULL}, {"cpu", &usual.cpu, NULL}

/* Read the arguments that the program knows, obey signals, and go to the CPU that was asked for. */
static inline void begin(int argc, char **argv, const struct argument *known, size_t count)
{
    parse(argc, argv, known, count);
    signal(SIGTERM, stop);
    pin(usual.cpu);
}

#endif
