/*
# /// bench
# title = "a triad of three arrays"
# area = "memory"
# args = { seconds = 2.0, warm = 0.3, cpu = -1, size = 67108864 }
# [metrics]
# "memory.triad.rate" = { unit = "bytes/s", better = "higher" }
# "memory.triad.best" = { unit = "bytes/s", better = "higher" }
# "placement.pinned" = { unit = "1" }
# ///

The memory bandwidth that one CPU gets: a = b + s c over three arrays of doubles of `size` bytes each. The bytes are
counted as in STREAM, the three arrays once: what a cache reads of a line before it is written over is not. `best` is
the fastest pass, which is what STREAM prints, `rate` is over all. The arrays should be several times the
last-level cache.
*/
#include "../_shared/_batches.h"

/* Two doubles, which every CPU of the architecture adds at once: no flag of the compiler decides about it. */
typedef double pair __attribute__((vector_size(16)));

static double size = 64 << 20;
static pair *a, *b, *c;
static size_t pairs;

static double batch(long count)
{
    double begun = now();
    for (long pass = 0; pass < count; pass++) {
        const pair scale = {3 + (double)pass, 3 + (double)pass};
        for (size_t i = 0; i < pairs; i += 4) {
            a[i] = b[i] + scale * c[i];
            a[i + 1] = b[i + 1] + scale * c[i + 1];
            a[i + 2] = b[i + 2] + scale * c[i + 2];
            a[i + 3] = b[i + 3] + scale * c[i + 3];
        }
        __asm__ volatile("" : : "r"(a) : "memory"); /* somebody may look at the result of each pass */
    }
    return now() - begun;
}

static pair *filled(double value)
{
    pair *array;
    if (posix_memalign((void **)&array, 4096, pairs * sizeof *array))
        refuse("no memory for", "an array");
    for (size_t i = 0; i < pairs; i++)
        array[i] = (pair){value, value};
    return array;
}

int main(int argc, char **argv)
{
    const struct argument known[] = {USUAL_ARGUMENTS, {"size", &size, NULL}};
    struct timing found;
    double bytes;
    begin(argc, argv, known, COUNT(known));
    pairs = (size_t)size / (4 * sizeof *a) * 4;
    if (!pairs)
        refuse("size must be 64 bytes at least", "");
    a = filled(1);
    b = filled(2);
    c = filled(0.5);
    found = timed();
    bytes = 3 * (double)(pairs * sizeof *a);
    observe("memory.triad.rate", bytes * found.operations / found.seconds, "bytes/s", "");
    observe("memory.triad.best", bytes / quantile(&found.each, 0), "bytes/s", "");
    return 0;
}
