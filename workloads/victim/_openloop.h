/*
The open loop that every victim in C works in, and what it says of it: the twin of _openloop.py, which explains it.
A program that includes this defines `static void item(void)` and calls `serve(argc, argv)`.
*/
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CALIBRATION 0.3 /* s */
#define FEWEST 5
#define EPSILON 1e-6

static void item(void);

static const char *const part_names[] = {"before", "during", "after"};
static struct { double part[3], alone, settle, window, load, cpu, area; } args = {{3, 3, 3}, 0, 0.5, 1, 0.5, -1, 0};

struct list { double *values; size_t count, room; };
struct window { int part, settling; double begin, end; };

static struct list seen, latencies[3];
static size_t counts[3];
static struct window *windows;
static size_t window_count, at, next_item;
static double begins[3], ends[3], whole, interval;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void rest(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    if (seconds > 0)
        nanosleep(&t, NULL);
}

static void say(const char *text)
{
    size_t length = strlen(text);
    if (write(1, text, length) != (ssize_t)length)
        exit(1);
}

static void stop(int number)
{
    (void)number;
    _exit(143);
}

static void refuse(const char *what, const char *word)
{
    fprintf(stderr, "%s %s\n", what, word);
    exit(2);
}

static void add(struct list *list, double value)
{
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 1024;
        list->values = realloc(list->values, list->room * sizeof *list->values);
        if (!list->values)
            refuse("no memory for", "latencies");
    }
    list->values[list->count++] = value;
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double quantile(const struct list *list, double q)
{
    size_t index = (size_t)(q * (double)list->count);
    return list->values[index < list->count ? index : list->count - 1];
}

static void sort(struct list *list)
{
    if (list->count)
        qsort(list->values, list->count, sizeof *list->values, compare);
}

static void parse(int argc, char **argv)
{
    const struct { const char *name; double *value; } known[] = {
        {"before", &args.part[0]}, {"during", &args.part[1]}, {"after", &args.part[2]}, {"alone", &args.alone},
        {"settle", &args.settle}, {"window", &args.window}, {"load", &args.load}, {"cpu", &args.cpu},
        {"area", &args.area},
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
    if (args.load <= 0 || args.load > 1 || args.window <= 0)
        refuse("load must be above 0 and at most 1, window above 0", "");
}

static void divide(void)
{
    for (int part = 0; part < 3; part++) {
        double length = args.part[part];
        size_t count = length > 0 ? (size_t)(length / args.window + 0.5) : 0;
        if (length > 0 && count < 1)
            count = 1;
        begins[part] = whole;
        windows = realloc(windows, (window_count + count + 1) * sizeof *windows);
        if (!windows)
            refuse("no memory for", "windows");
        for (size_t i = 0; i < count; i++) {
            struct window *w = &windows[window_count++];
            w->part = part;
            w->begin = whole + length * (double)i / (double)count;
            w->end = whole + length * (double)(i + 1) / (double)count;
            w->settling = w->begin < whole + args.settle - EPSILON;
        }
        whole += length;
        ends[part] = whole;
    }
}

static int part_of(double moment)
{
    for (int part = 0; part < 3; part++)
        if (begins[part] + args.settle - EPSILON <= moment && moment < ends[part])
            return part;
    return -1;
}

static void observe(const char *metric, int there, double value, const char *unit, const char *labels)
{
    char line[512];
    if (there)
        snprintf(line, sizeof line, "{\"metric\": \"%s\", \"value\": %.9g, \"unit\": \"%s\"%s}\n", metric, value,
                 unit, labels);
    else
        snprintf(line, sizeof line,
                 "{\"metric\": \"%s\", \"value\": null, \"unit\": \"%s\"%s, \"reason\": \"there was no item\"}\n",
                 metric, unit, labels);
    say(line);
}

static void end_window(void)
{
    char labels[160];
    const struct window *w = &windows[at];
    snprintf(labels, sizeof labels,
             ", \"labels\": {\"window\": \"%zu\", \"phase\": \"%s\", \"settling\": \"%d\"}", at,
             part_names[w->part], w->settling);
    sort(&seen);
    observe("victim.rate", 1, (double)seen.count / (w->end - w->begin), "1/s", labels);
    observe("victim.p50", seen.count > 0, seen.count ? quantile(&seen, 0.5) : 0, "s", labels);
    observe("victim.p99", seen.count > 0, seen.count ? quantile(&seen, 0.99) : 0, "s", labels);
    observe("victim.max", seen.count > 0, seen.count ? quantile(&seen, 1.0) : 0, "s", labels);
    seen.count = 0;
}

static void end_part(int part)
{
    char labels[64];
    struct list *all = &latencies[part];
    double first = begins[part] + args.settle - EPSILON;
    size_t index = first > 0 ? (size_t)(first / interval) : 0;
    for (index = index > next_item ? index : next_item; (double)index * interval < ends[part]; index++)
        if ((double)index * interval >= first)
            add(all, ends[part] - (double)index * interval);
    snprintf(labels, sizeof labels, ", \"labels\": {\"phase\": \"%s\"}", part_names[part]);
    sort(all);
    observe("victim.latency.p50", all->count > 0, all->count ? quantile(all, 0.5) : 0, "s", labels);
    observe("victim.latency.p99", all->count > 0, all->count ? quantile(all, 0.99) : 0, "s", labels);
    observe("victim.done", 1, (double)counts[part], "1", labels);
}

static void advance(double moment)
{
    while (at < window_count && windows[at].end <= moment) {
        int part = windows[at].part;
        end_window();
        at++;
        if (at == window_count || windows[at].part != part)
            end_part(part);
    }
}

static void done(double intended, double moment)
{
    int part = part_of(intended);
    if (part >= 0)
        add(&latencies[part], moment - intended);
    next_item++;
    advance(moment);
    add(&seen, moment - intended);
    part = part_of(moment);
    if (part >= 0)
        counts[part]++;
}

static double cost(void)
{
    struct list costs = {0};
    double begun = now(), last = begun, found;
    while (last - begun < CALIBRATION || costs.count < FEWEST) {
        double then;
        item();
        then = now();
        add(&costs, then - last);
        last = then;
    }
    sort(&costs);
    found = quantile(&costs, 0.5);
    free(costs.values);
    return found > 1e-6 ? found : 1e-6;
}

static void await_gate(void)
{
    const char *gate = getenv("BENCH_GATE");
    say("{\"event\": \"ready\"}\n");
    while (gate && access(gate, F_OK))
        rest(0.001);
}

static void loop(void)
{
    double origin = now(), time = 0, intended;
    for (size_t index = 0; (intended = (double)index * interval) < whole && time < whole; index++) {
        while (time < intended) {
            double edge = at < window_count ? windows[at].end : whole;
            rest((intended < edge ? intended : edge) - time);
            time = now() - origin;
            advance(time);
        }
        item();
        time = now() - origin;
        done(intended, time);
    }
    while (time < whole) {
        rest(whole - time);
        time = now() - origin;
    }
    advance(time);
}

/* Run on one CPU alone where one is asked for, and say whether it is so. */
static void pin(void)
{
    char labels[48];
    cpu_set_t set;
    if (args.cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((int)args.cpu, &set);
    snprintf(labels, sizeof labels, ", \"labels\": {\"cpu\": \"%d\"}", (int)args.cpu);
    observe("placement.pinned", 1, sched_setaffinity(0, sizeof set, &set) == 0, "1", labels);
}

/* Measure the cost of an item, wait for the gate, and do items at `load` of the rate that allows. */
static int serve(void)
{
    signal(SIGTERM, stop);
    divide();
    pin();
    interval = cost() / args.load;
    observe("victim.target", 1, 1 / interval, "1/s", "");
    await_gate();
    say("{\"event\": \"start\"}\n");
    loop();
    say("{\"event\": \"end\"}\n");
    return 0;
}
