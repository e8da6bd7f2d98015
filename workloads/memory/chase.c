/*
# /// bench
# title = "a random chase of pointers"
# area = "memory"
# args = { seconds = 2.0, warm = 0.3, cpu = -1, size = 268435456, pages = "4k" }
# [metrics]
# "memory.chase.rate" = { unit = "1/s", better = "higher" }
# "memory.chase.time" = { unit = "s", better = "lower" }
# "memory.chase.floor" = { unit = "s", better = "lower" }
# "memory.chase.huge" = { unit = "1" }
# "placement.pinned" = { unit = "1" }
# ///

One operation is one load whose address is what the load before it brought, in a random cycle over all lines of `size`
bytes: the latency of the cache, or of the memory, in which that many bytes have room. `pages` is "4k", where a large
area costs a walk of the page table too, or "huge". Where the kernel gives other pages than those there are no times,
but a reason; `memory.chase.huge` is the share of the area that lies in huge pages.
*/
#include "../_shared/_batches.h"
#include "../_shared/_chase.h"
#include "../_shared/_pages.h"

static double size = 256 << 20;
static const char *kind = "4k";
static void *volatile place;

static double batch(long count)
{
    double begun = now();
    place = follow(place, count);
    return now() - begun;
}

int main(int argc, char **argv)
{
    const struct argument known[] = {USUAL_ARGUMENTS, {"size", &size, NULL}, {"pages", NULL, &kind}};
    struct timing found;
    struct area area;
    begin(argc, argv, known, COUNT(known));
    if (size < 2 * LINE)
        refuse("size must be two lines of 64 bytes at least", "");
    area = pages(kind, (size_t)size);
    if (area.huge < 0)
        absent("memory.chase.huge", "1", "", "the kernel does not tell");
    else
        observe("memory.chase.huge", area.huge, "1", "");
    if (area.reason) {
        report_absent("memory.chase", area.reason);
        return 0;
    }
    weave(area.at, (size_t)size / LINE);
    place = area.at;
    place = follow(place, (long)size / LINE); /* every line once, before anything counts */
    found = timed();
    report("memory.chase", &found);
    return 0;
}
