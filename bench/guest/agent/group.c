#include "group.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOP "isobench"
#define LONGEST_NAME 100
#define MOST_LEVELS 32
#define MOST_ALIKE 10000

const char *group_mount = "/sys/fs/cgroup";

bool write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool done = write(fd, text, strlen(text)) >= 0;
    int why = errno;
    close(fd);
    errno = why;
    return done;
}

long read_file(const char *path, char *text, size_t room) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t len = 0;
    ssize_t count;
    while (len + 1 < room && (count = read(fd, text + len, room - 1 - len)) != 0) {
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            break;
        len += (size_t)count;
    }
    close(fd);
    text[len] = 0;
    return (long)len;
}

static bool joined(char path[GROUP_PATH], const char *directory, const char *name) {
    return snprintf(path, GROUP_PATH, "%s/%s", directory, name) < GROUP_PATH;
}

/* Give children of that group every controller; one that the kernel refuses stays off there.
 * Which are on is for a reader of cgroup.controllers to see: a real-time process, for one, keeps the cpu
 * controller of some kernels from being enabled. */
static void enable(const char *directory) {
    char path[GROUP_PATH], offered[1024], enabled[1024], *rest = NULL;
    if (!joined(path, directory, "cgroup.controllers") || read_file(path, offered, sizeof offered) < 0)
        return;
    /* Spaces on both sides, so that a whole name is looked for. */
    enabled[0] = ' ';
    if (!joined(path, directory, "cgroup.subtree_control") ||
        read_file(path, enabled + 1, sizeof enabled - 2) < 0)
        return;
    for (char *at = enabled; *at; at++)
        if (*at == '\n')
            *at = ' ';
    strcat(enabled, " ");
    for (char *name = strtok_r(offered, " \n", &rest); name; name = strtok_r(NULL, " \n", &rest)) {
        char wanted[1024], word[1026];
        snprintf(word, sizeof word, " %s ", name);
        snprintf(wanted, sizeof wanted, "+%.1000s", name);
        if (!strstr(enabled, word) && !write_file(path, wanted))
            continue;
    }
}

void group_prepare(void) {
    char path[GROUP_PATH];
    if (!joined(path, group_mount, "cgroup.controllers") || access(path, F_OK) != 0)
        return;
    if (!joined(path, group_mount, TOP) || (mkdir(path, 0777) != 0 && errno != EEXIST))
        return;
    enable(group_mount);
    enable(path);
}

bool group_create(char path[GROUP_PATH], const char *name, size_t len) {
    char safe[LONGEST_NAME + 1];
    size_t kept = 0, end;
    bool prepared = false;
    for (size_t at = 0; at < len && kept < LONGEST_NAME; at++) {
        char c = name[at];
        if ((c & 0xC0) == 0x80) /* not the first byte of a character */
            continue;
        bool fine = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || c == '-';
        if (kept || c != '.') /* none that begins with a dot, or ends so */
            safe[kept++] = fine || c == '.' ? c : '_';
    }
    for (end = kept; end && safe[end - 1] == '.'; end--)
        ;
    safe[end] = 0;
    for (int number = 1; number < MOST_ALIKE;) {
        int length = snprintf(path, GROUP_PATH, "%s/" TOP "/%s", group_mount, end ? safe : "workload");
        if (length < GROUP_PATH && number > 1)
            length += snprintf(path + length, GROUP_PATH - (size_t)length, "-%d", number);
        if (length >= GROUP_PATH)
            break;
        if (mkdir(path, 0777) == 0)
            return true;
        if (errno == ENOENT && !prepared) {
            group_prepare();
            prepared = true;
        } else if (errno == ENOENT) { /* no group above it can be made: there is no pure v2 hierarchy */
            path[0] = 0;
            return true;
        } else if (errno != EEXIST) {
            return false;
        } else if (rmdir(path) != 0) { /* one that a program left goes, one in use stays */
            number++;
        }
    }
    errno = EEXIST;
    return false;
}

void group_kill(const char *path) {
    char file[GROUP_PATH];
    if (joined(file, path, "cgroup.kill"))
        write_file(file, "1"); /* a group that is gone holds nothing to kill */
}

static bool remove_below(const char *path, int levels) {
    char inner[GROUP_PATH];
    if (rmdir(path) == 0 || errno == ENOENT)
        return true;
    if (!levels)
        return false;
    DIR *directory = opendir(path);
    if (!directory)
        return errno == ENOENT;
    bool gone = true;
    for (struct dirent *entry; gone && (entry = readdir(directory));)
        if (entry->d_type == DT_DIR && strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            gone = joined(inner, path, entry->d_name) && remove_below(inner, levels - 1);
    closedir(directory);
    return gone && (rmdir(path) == 0 || errno == ENOENT);
}

bool group_remove(const char *path) { return remove_below(path, MOST_LEVELS); }

long group_oom_kills(const char *path) {
    char file[GROUP_PATH], text[1024] = "\n"; /* so that each line has one before it */
    if (!joined(file, path, "memory.events") || read_file(file, text + 1, sizeof text - 1) < 0)
        return 0;
    const char *found = strstr(text, "\noom_kill ");
    return found ? strtol(found + sizeof "\noom_kill " - 1, NULL, 10) : 0;
}
