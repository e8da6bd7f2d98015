/* The guest's own control group of one workload: MOUNT/isobench/NAME, cgroup v2, without limits. */
#ifndef GROUP_H
#define GROUP_H

#include <stdbool.h>
#include <stddef.h>

#define GROUP_PATH 4096

/* The mount point of cgroup v2; /sys/fs/cgroup unless the command line says otherwise. */
extern const char *group_mount;

/* Ahead of need: the group above all of ours, with every controller on for what is made in it. */
void group_prepare(void);
/* The path of a fresh group, or "" without a pure v2 hierarchy; false, with errno, where it cannot be made. */
bool group_create(char path[GROUP_PATH], const char *name, size_t len);
/* Kill everything inside. */
void group_kill(const char *path);
/* Remove it and the groups made inside; false while something is on its way out. */
bool group_remove(const char *path);
/* How many processes the kernel killed in it for want of memory; 0 where it does not count. */
long group_oom_kills(const char *path);

/* Write `text` to an existing file; false, with errno, where that fails. Safe in a child of vfork(2). */
bool write_file(const char *path, const char *text);
/* The first bytes of a file, ended by a zero; how many, or -1. */
long read_file(const char *path, char *text, size_t room);

#endif
