/*
# /// bench
# title = "the shortest system call, in a loop"
# area = "process"
# args = { seconds = 2.0, warm = 0.3, cpu = -1 }
# [metrics]
# "process.syscall.rate" = { unit = "1/s", better = "higher" }
# "process.syscall.time" = { unit = "s", better = "lower" }
# "process.syscall.floor" = { unit = "s", better = "lower" }
# "placement.pinned" = { unit = "1" }
# ///

One operation is getppid(2): what it costs to enter the kernel and to come back, with as little as can be in between.
*/
#include "../_shared/_batches.h"

#include <sys/syscall.h>

static volatile long sink;

static double batch(long count)
{
    double begun = now();
    for (long i = 0; i < count; i++)
        sink += syscall(SYS_getppid);
    return now() - begun;
}

int main(int argc, char **argv)
{
    const struct argument known[] = {USUAL_ARGUMENTS};
    struct timing found;
    begin(argc, argv, known, COUNT(known));
    found = timed();
    report("process.syscall", &found);
    return 0;
}
