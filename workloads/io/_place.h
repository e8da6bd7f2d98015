/*
The twin of _place.py: where a directory lies, as seen from inside.
*/
#include "../_shared/_program.h"

#include <limits.h>

/* Undo the octal escapes of a field of mountinfo, in place. */
static inline void unescape(char *text)
{
    char *to = text;
    for (char *from = text; *from; to++) {
        unsigned code;
        if (*from == '\\' && sscanf(from + 1, "%3o", &code) == 1) {
            *to = (char)code;
            from += 4;
        } else
            *to = *from++;
    }
    *to = 0;
}

static inline int holds(const char *point, const char *path)
{
    size_t length = strlen(point);
    if (!strcmp(point, "/"))
        return 1;
    return !strncmp(point, path, length) && (path[length] == '/' || !path[length]);
}

/* Observe `io.place` of a directory: the deepest mount that holds it, and of those on one point the last. */
static inline void report_place(const char *directory)
{
    char line[4096], point[PATH_MAX], type[64], device[256], labels[800] = "", path[PATH_MAX];
    size_t deepest = 0;
    FILE *file = fopen("/proc/self/mountinfo", "r");
    while (file && realpath(directory, path) && fgets(line, sizeof line, file)) {
        const char *back = strstr(line, " - ");
        if (!back || sscanf(line, "%*s %*s %*s %*s %4095s", point) != 1 || sscanf(back, " - %63s %255s", type, device) != 2)
            continue;
        unescape(point);
        unescape(device);
        if (!holds(point, path) || strlen(point) < deepest)
            continue;
        deepest = strlen(point);
        snprintf(labels, sizeof labels, "\"type\": \"%s\", \"device\": \"%s\", \"mount\": \"%.300s\"", plain(type),
                 plain(device), plain(point));
    }
    if (file)
        fclose(file);
    if (*labels)
        observe("io.place", 1, "1", labels);
    else
        absent("io.place", "1", "", "this kernel does not tell its mounts");
}
