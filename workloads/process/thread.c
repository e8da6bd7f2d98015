/*
# /// bench
# title = "making a thread and waiting for its end"
# area = "process"
# args = { seconds = 2.0, warm = 0.3, cpu = -1 }
# [metrics]
# "process.thread.rate" = { unit = "1/s", better = "higher" }
# "process.thread.time" = { unit = "s", better = "lower" }
# "process.thread.floor" = { unit = "s", better = "lower" }
# "placement.pinned" = { unit = "1" }
# ///

One operation is a thread that ends at once: its creation, its first and last moment, and the wait for it. The stacks
are those of the C library, which keeps and reuses them.
*/
#include "../_shared/_batches.h"

#include <pthread.h>

static void *nothing(void *given)
{
    return given;
}

static double batch(long count)
{
    double begun = now();
    for (long i = 0; i < count; i++) {
        pthread_t thread;
        int refusal = pthread_create(&thread, NULL, nothing, NULL);
        if (!refusal)
            refusal = pthread_join(thread, NULL);
        if (refusal)
            refuse("no thread:", strerror(refusal));
    }
    return now() - begun;
}

int main(int argc, char **argv)
{
    const struct argument known[] = {USUAL_ARGUMENTS};
    struct timing found;
    begin(argc, argv, known, COUNT(known));
    found = timed();
    report("process.thread", &found);
    return 0;
}
