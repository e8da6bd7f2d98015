/*
The open loop that every victim in C works in, and what it says of it: the twin of _openloop.py, which explains it.
A program that includes this defines `static void item(void)` and calls `read_arguments(argc, argv)` and `serve()`.
*/
#include "../_shared/_program.h"
#include "../_shared/_spread.h"

#define CALIBRATION 0.3 /* s */
#define FEWEST 5
#define EPSILON 1e-6

static void item(void);

static const char *const part_names[] = {"before", "during", "after"};
static struct { double part[3], alone, settle, window, load, cpu, area; } args = {{3, 3, 3}, 0, 0.5, 1, 0.5, -1, 0};

struct window { int part, settling; double begin, end; };

static struct list seen, latencies[3];
static size_t counts[3];
static struct window *windows;
static size_t window_count, at, next_item;
static double begins[3], ends[3], whole, interval;

static void read_arguments(int argc, char **argv)
{
    const struct argument known[] = {
        {"before", &args.part[0], NULL}, {"during", &args.part[1], NULL}, {"after", &args.part[2], NULL},
        {"alone", &args.alone, NULL}, {"settle", &args.settle, NULL}, {"window", &args.window, NULL},
        {"load", &args.load, NULL}, {"cpu", &args.cpu, NULL}, {"area", &args.area, NULL},
    };
    parse(argc, argv, known, COUNT(known));
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

/* A quantile of the latencies in a list that is sorted. */
static void observe_latency(const char *metric, const struct list *of, double q, const char *labels)
{
    if (of->count)
        observe(metric, quantile(of, q), "s", labels);
    else
        absent(metric, "s", labels, "there was no item");
}

static void end_window(void)
{
    char labels[160];
    const struct window *w = &windows[at];
    snprintf(labels, sizeof labels,
             "\"window\": \"%zu\", \"phase\": \"%s\", \"settling\": \"%d\"", at, part_names[w->part], w->settling);
    sort(&seen);
    observe("victim.rate", (double)seen.count / (w->end - w->begin), "1/s", labels);
    observe_latency("victim.p50", &seen, 0.5, labels);
    observe_latency("victim.p99", &seen, 0.99, labels);
    observe_latency("victim.max", &seen, 1.0, labels);
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
    snprintf(labels, sizeof labels, "\"phase\": \"%s\"", part_names[part]);
    sort(all);
    observe_latency("victim.latency.p50", all, 0.5, labels);
    observe_latency("victim.latency.p99", all, 0.99, labels);
    observe("victim.done", (double)counts[part], "1", labels);
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

/* Measure the cost of an item, wait for the gate, and do items at `load` of the rate that allows. */
static int serve(void)
{
    signal(SIGTERM, stop);
    divide();
    pin(args.cpu);
    interval = cost() / args.load;
    observe("victim.target", 1 / interval, "1/s", "");
    await_gate();
    say("{\"event\": \"start\"}\n");
    loop();
    say("{\"event\": \"end\"}\n");
    return 0;
}
