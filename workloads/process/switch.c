/*
# /// bench
# title = "a byte through a pipe to another process and back"
# area = "process"
# args = { seconds = 2.0, warm = 0.3, cpu = -1, partner = "same" }
# [metrics]
# "process.switch.rate" = { unit = "1/s", better = "higher" }
# "process.switch.time" = { unit = "s", better = "lower" }
# "process.switch.floor" = { unit = "s", better = "lower" }
# "placement.pinned" = { unit = "1" }
# ///

One operation is a round trip: two writes, two reads, and on one CPU two context switches. `partner` is where the other
process runs: on the "same" CPU as this one, on an "other", or where the scheduler likes, "free". Those are different
numbers, several times apart: where a placement cannot be had, there is none.
*/
#include "../_shared/_batches.h"

static const char *partner = "same";
static int there[2], back[2];

static void echo(pid_t parent)
{
    char byte;
    end_with(parent);
    close(there[1]);
    close(back[0]);
    while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
        ;
    _exit(0);
}

static double batch(long count)
{
    char byte = '.';
    double begun = now();
    for (long i = 0; i < count; i++)
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            refuse("the partner is gone", "");
    return now() - begun;
}

/* Put both where they belong; the reason where that is not possible, or NULL. */
static const char *place(pid_t other)
{
    int own = usual.cpu >= 0 ? (int)usual.cpu : allowed_cpu(-1), its = own;
    if (!strcmp(partner, "free"))
        return NULL;
    if (!strcmp(partner, "other"))
        its = allowed_cpu(own);
    else if (strcmp(partner, "same"))
        refuse("partner is same, other or free, not", partner);
    if (its < 0)
        return "there is but one CPU to run on";
    if (!pin_process(other, its, ", \"side\": \"partner\"") || !pin_process(0, own, ", \"side\": \"own\""))
        return "the processes cannot be put on their CPUs";
    return NULL;
}

int main(int argc, char **argv)
{
    const struct argument known[] = {USUAL_ARGUMENTS, {"partner", NULL, &partner}};
    const char *reason;
    struct timing found;
    pid_t other, parent = getpid();
    parse(argc, argv, known, COUNT(known));
    signal(SIGTERM, stop);
    if (pipe(there) || pipe(back) || (other = fork()) < 0)
        failed("no partner:");
    if (other == 0)
        echo(parent);
    close(there[0]);
    close(back[1]);
    reason = place(other);
    if (reason) {
        report_absent("process.switch", reason);
        return 0;
    }
    if (!strcmp(partner, "free"))
        pin(usual.cpu);
    found = timed();
    report("process.switch", &found);
    return 0;
}
