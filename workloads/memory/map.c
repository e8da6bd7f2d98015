/*
# /// bench
# title = "mapping memory and unmapping it"
# area = "memory"
# args = { seconds = 2.0, warm = 0.3, cpu = -1, size = 65536, touch = false }
# [metrics]
# "memory.map.rate" = { unit = "1/s", better = "higher" }
# "memory.map.time" = { unit = "s", better = "lower" }
# "memory.map.floor" = { unit = "s", better = "lower" }
# "placement.pinned" = { unit = "1" }
# ///

One operation is mmap(2) of `size` anonymous bytes and munmap(2) of them. With `touch` the first byte is written in
between, so that there is a page, and a page table, to take down again.
*/
#include "../_shared/_batches.h"

#include <sys/mman.h>

static double size = 65536, touch = 0;

static double batch(long count)
{
    double begun = now();
    for (long i = 0; i < count; i++) {
        volatile char *at = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED)
            failed("cannot map:");
        if (touch)
            *at = 1;
        if (munmap((void *)at, (size_t)size))
            failed("cannot unmap:");
    }
    return now() - begun;
}

int main(int argc, char **argv)
{
    const struct argument known[] = {USUAL_ARGUMENTS, {"size", &size, NULL}, {"touch", &touch, NULL}};
    struct timing found;
    begin(argc, argv, known, COUNT(known));
    if (size < 1)
        refuse("size must be above 0", "");
    found = timed();
    report("memory.map", &found);
    return 0;
}
