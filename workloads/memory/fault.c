/*
# /// bench
# title = "touching new pages"
# area = "memory"
# args = { seconds = 2.0, warm = 0.3, cpu = -1, size = 16777216 }
# [metrics]
# "memory.fault.rate" = { unit = "1/s", better = "higher" }
# "memory.fault.time" = { unit = "s", better = "lower" }
# "memory.fault.floor" = { unit = "s", better = "lower" }
# "memory.fault.counted" = { unit = "1" }
# "placement.pinned" = { unit = "1" }
# ///

One operation is the first write to a page of 4 KiB: a page fault that the kernel answers with a zeroed page. Pages are
given back after each pass over `size` bytes, which is not timed. `memory.fault.counted` is how many faults the
kernel counted for each operation: near 1, or the pages were not new, or not small.
*/
#include "../_shared/_batches.h"
#include "../_shared/_pages.h"

#include <sys/resource.h>

static double size = 16 << 20;
static volatile char *area;
static long page, room; /* bytes of one page; pages of the area */
static double touched;

static double batch(long count)
{
    double spent = 0;
    while (count > 0) {
        long some = count < room ? count : room;
        double begun = now();
        for (long i = 0; i < some; i++)
            area[i * page] = 1;
        spent += now() - begun;
        if (madvise((void *)area, (size_t)(some * page), MADV_DONTNEED))
            failed("pages cannot be given back:");
        count -= some;
        touched += (double)some;
    }
    return spent;
}

static double faults(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)used.ru_minflt;
}

int main(int argc, char **argv)
{
    const struct argument known[] = {USUAL_ARGUMENTS, {"size", &size, NULL}};
    struct timing found;
    double before;
    begin(argc, argv, known, COUNT(known));
    page = sysconf(_SC_PAGESIZE);
    room = (long)size / page;
    if (room < 1)
        refuse("size must be a page at least", "");
    area = aligned((size_t)size, huge_page());
    madvise((void *)area, (size_t)size, MADV_NOHUGEPAGE);
    before = faults();
    found = timed();
    report("memory.fault", &found);
    if (faults() > before)
        observe("memory.fault.counted", (faults() - before) / touched, "1", "");
    else
        absent("memory.fault.counted", "1", "", "this kernel counts no page faults");
    return 0;
}
