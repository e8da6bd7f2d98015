/*
# /// bench
# title = "waking up at a moment that was asked for"
# area = "process"
# args = { seconds = 2.0, warm = 0.3, cpu = -1, interval = 0.001 }
# [metrics]
# "process.wakeup.mean" = { unit = "s", better = "lower" }
# "process.wakeup.p50" = { unit = "s", better = "lower" }
# "process.wakeup.p99" = { unit = "s", better = "lower" }
# "process.wakeup.max" = { unit = "s", better = "lower" }
# "placement.pinned" = { unit = "1" }
# ///

How late a process of ordinary priority runs that sleeps until a moment, every `interval` seconds. It is what cyclictest
measures with the policy "other"; that tool, however, refuses to run without the right to real-time priorities, which
a container does not usually have.
*/
#include "../_shared/_program.h"
#include "../_shared/_spread.h"

static double interval = 0.001;
static struct histogram late;
static double sum;

/* Sleep until the next moment. The moments before it that have passed already are not waited for. */
static void wake(double *meant)
{
    struct timespec t;
    double past;
    do
        *meant += interval;
    while (*meant <= now());
    t.tv_sec = (time_t)*meant;
    t.tv_nsec = (long)((*meant - (double)t.tv_sec) * 1e9);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
    past = now() - *meant;
    enter(&late, past);
    sum += past;
}

static void wake_for(double seconds)
{
    double meant = now(), end = meant + seconds;
    do
        wake(&meant);
    while (meant < end);
}

int main(int argc, char **argv)
{
    const struct argument known[] = {USUAL_ARGUMENTS, {"interval", &interval, NULL}};
    begin(argc, argv, known, COUNT(known));
    if (interval <= 0)
        refuse("interval must be above 0", "");
    wake_for(usual.warm);
    await_gate();
    memset(&late, 0, sizeof late);
    sum = 0;
    say("{\"event\": \"start\"}\n");
    wake_for(usual.seconds);
    say("{\"event\": \"end\"}\n");
    observe("process.wakeup.mean", sum / (double)late.count, "s", "");
    observe("process.wakeup.p50", reached(&late, 0.5), "s", "");
    observe("process.wakeup.p99", reached(&late, 0.99), "s", "");
    observe("process.wakeup.max", late.most, "s", "");
    return 0;
}
