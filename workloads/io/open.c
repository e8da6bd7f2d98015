/*
# /// bench
# title = "opening a file and closing it"
# area = "io"
# args = { seconds = 2.0, warm = 0.3, cpu = -1, directory = "", file = "" }
# [metrics]
# "io.open.rate" = { unit = "1/s", better = "higher" }
# "io.open.time" = { unit = "s", better = "lower" }
# "io.open.floor" = { unit = "s", better = "lower" }
# "io.place" = { unit = "1" }
# "placement.pinned" = { unit = "1" }
# ///

One operation is open(2) for reading and close(2). It is done to an empty file made for it in `directory`, which is
BENCH_SCRATCH where it is not given, or to a `file` that is there already, such as one of the image's.
*/
#include "../_shared/_batches.h"
#include "_place.h"

#include <fcntl.h>

static const char *directory = "", *file = "";
static char made[PATH_MAX];

static double batch(long count)
{
    double begun = now();
    for (long i = 0; i < count; i++) {
        int fd = open(file, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || close(fd))
            failed("cannot open and close the file:");
    }
    return now() - begun;
}

/* Make the file that is opened; it goes with the program. */
static void make(void)
{
    int fd;
    if (!*directory && getenv("BENCH_SCRATCH"))
        directory = getenv("BENCH_SCRATCH");
    snprintf(made, sizeof made, "%s/bench-open-%d", *directory ? directory : ".", (int)getpid());
    fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        failed("cannot make a file:");
    litter = made;
    close(fd);
    file = made;
}

int main(int argc, char **argv)
{
    const struct argument known[] = {USUAL_ARGUMENTS, {"directory", NULL, &directory}, {"file", NULL, &file}};
    struct timing found;
    begin(argc, argv, known, COUNT(known));
    if (!*file)
        make();
    report_place(file);
    found = timed();
    report("io.open", &found);
    remove_litter();
    return 0;
}
