/*
# /// bench
# title = "copying memory"
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

A victim that needs memory bandwidth: one item copies the next 4 MiB of an area onto another of the same size. `area` is
that of each area in bytes; 0 is 64 MiB, so that a piece has left most caches before its turn comes again.
*/
#include "_openloop.h"

#define PIECE (4ul << 20)
#define USUAL (64ul << 20)

static char *from, *to;
static size_t size, offset;

static void item(void)
{
    memcpy(to + offset, from + offset, size < PIECE ? size : PIECE);
    offset = offset + 2 * PIECE <= size ? offset + PIECE : 0;
}

int main(int argc, char **argv)
{
    read_arguments(argc, argv);
    size = args.area > 0 ? (size_t)args.area : USUAL;
    from = malloc(size);
    to = malloc(size);
    if (!from || !to)
        refuse("no memory for", "the areas");
    memset(from, 1, size);
    memset(to, 2, size);
    return serve();
}
