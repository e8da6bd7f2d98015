/* moment NAME FILE
 *
 * Appends a line "NAME NANOSECONDS" to FILE: the host's monotonic clock as this program begins. It is run as a hook of
 * an OCI runtime, which sends the container's state to its input; that is read to its end, so that nobody writes into a
 * closed pipe.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec now;
    char line[128];
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (argc != 3)
        return 2;
    int length = snprintf(line, sizeof line, "%s %lld%09ld\n", argv[1], (long long)now.tv_sec, now.tv_nsec);
    if (length >= (int)sizeof line)
        return 2;
    int fd = open(argv[2], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, line, length) != length)
        return 1;
    char state[4096];
    while (read(0, state, sizeof state) > 0)
        ;
    return 0;
}
