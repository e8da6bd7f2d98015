/*
Operations that are too short to time one by one: they are done in batches of about a millisecond, for a fixed time.
A program that includes this defines `batch`, and calls `begin`, `timed` and `report`.
*/
#ifndef ISOBENCH_BATCHES_H
#define ISOBENCH_BATCHES_H

#include "_program.h"
#include "_spread.h"

#define BATCH 1e-3 /* s, against which two looks at the clock are nothing */
#define MOST_OPERATIONS (1l << 24)
#define TRIES 3 /* of which the fastest says how long a batch is: one alone may have been interrupted */

/* The seconds that `count` operations took. */
static double batch(long count);

/* Seconds an operation, batch by batch, and all of them together. */
struct timing { struct list each; double operations, seconds; };

/* How many operations make a batch. They are a warm-up as well, of `warm` seconds at least. */
static inline long batch_size(void)
{
    double begun = now();
    long count = 1;
    for (;;) {
        double best = batch(count);
        for (int i = 1; i < TRIES; i++) {
            double took = batch(count);
            best = took < best ? took : best;
        }
        if (best >= BATCH || count >= MOST_OPERATIONS)
            break;
        count *= 2;
    }
    while (now() - begun < usual.warm)
        batch(count);
    return count;
}

static inline struct timing timed(void)
{
    struct timing found = {{0}, 0, 0};
    long count = batch_size();
    double begun;
    await_gate();
    say("{\"event\": \"start\"}\n");
    begun = now();
    do {
        double took = batch(count);
        add(&found.each, took / (double)count);
        found.operations += (double)count;
        found.seconds += took;
    } while (now() - begun < usual.seconds);
    say("{\"event\": \"end\"}\n");
    sort(&found.each);
    return found;
}

/* NAME.rate over all, NAME.time of an operation in the median batch, NAME.floor in the fastest. */
static inline void report(const char *name, const struct timing *found)
{
    char metric[96];
    snprintf(metric, sizeof metric, "%s.rate", name);
    observe(metric, found->operations / found->seconds, "1/s", "");
    snprintf(metric, sizeof metric, "%s.time", name);
    observe(metric, quantile(&found->each, 0.5), "s", "");
    snprintf(metric, sizeof metric, "%s.floor", name);
    observe(metric, quantile(&found->each, 0), "s", "");
}

/* The same three where they could not be had. */
static inline void report_absent(const char *name, const char *reason)
{
    static const char *const parts[][2] = {{"rate", "1/s"}, {"time", "s"}, {"floor", "s"}};
    char metric[96];
    for (size_t i = 0; i < COUNT(parts); i++) {
        snprintf(metric, sizeof metric, "%s.%s", name, parts[i][0]);
        absent(metric, parts[i][1], "", reason);
    }
}

#endif
