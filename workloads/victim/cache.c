/*
# /// bench
# title = "a chase of pointers through the last-level cache"
# area = "victim"
# [args]
# before = 3.0
# during = 3.0
# after = 3.0
# alone = 0.0
# settle = 0.5
# window = 1.0
# load = 0.5
# cpu = -1
# area = 0
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

A victim that lives in the cache: one item follows 4096 pointers, each in a line of its own, in a random cycle over
`area` bytes; 0 is as much as the last-level cache holds, as the CPU tells it, and at most 64 MiB. Where the CPU does
not tell, it is 8 MiB. No step can begin before the one before it has arrived.
*/
#include "_openloop.h"
#include "../_shared/_chase.h"

#define STEPS 4096
#define MOST (64l << 20)

static void *volatile place;

static void item(void)
{
    place = follow(place, STEPS);
}

int main(int argc, char **argv)
{
    char *area;
    read_arguments(argc, argv);
    long size = args.area > 0 ? (long)args.area : sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (size <= 0)
        size = 8l << 20;
    if (size > MOST)
        size = MOST;
    if (posix_memalign((void **)&area, 4096, (size_t)size))
        refuse("no memory for", "the area");
    weave(area, (size_t)size / LINE);
    place = area;
    return serve();
}
