/*
# /// bench
# title = "fixed pieces of arithmetic"
# area = "victim"
# args    = {before=3.0, during=3.0, after=3.0, alone=0.0, settle=0.5, window=1.0, load=0.5, cpu=-1}
# [metrics]
# "victim.target" = { unit = "1/s" }
# "victim.rate" = { unit = "1/s", better = "higher" }
# "victim.p50" = { unit = "s", better = "lower" }
# "victim.p99" = { unit = "s", better = "lower" }
# "victim.max" = { unit = "s", better = "lower" }
# "victim.latency.p50" = { unit = "s", better = "lower" }
# "victim.latency.p99" = { unit = "s", better = "lower" }
# "victim.done" = { unit = "1", better = "higher" }
# "placement.pinned" = { unit = "1" }
# ///

A victim that computes: one item is a fixed number of dependent multiplications in registers, about half a
millisecond, so that nothing but the CPU is needed.
*/
#include "_openloop.h"

#include <stdint.h>

#define ROUNDS 200000

static volatile uint64_t sink;

static void item(void)
{
    uint64_t x = sink | 1;
    for (int i = 0; i < ROUNDS; i++)
        x = x * 6364136223846793005u + 1442695040888963407u;
    sink = x;
}

int main(int argc, char **argv)
{
    read_arguments(argc, argv);
    return serve();
}
