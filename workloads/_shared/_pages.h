/*
Memory of small or of huge pages, and whether the kernel really gave those.
*/
#ifndef ISOBENCH_PAGES_H
#define ISOBENCH_PAGES_H

#include "_program.h"

#include <sys/mman.h>

#ifndef MAP_HUGETLB
#define MAP_HUGETLB 0x40000
#endif
#define USUAL_HUGE (2ul << 20)
#define ENOUGH 0.99 /* of the area in huge pages */

struct area { char *at; size_t size; double huge; const char *reason; };

static inline size_t huge_page(void)
{
    size_t found = 0;
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "r");
    if (file) {
        if (fscanf(file, "%zu", &found) != 1)
            found = 0;
        fclose(file);
    }
    return found ? found : USUAL_HUGE;
}

/* The share of the area that lies in transparent huge pages, or -1 where the kernel does not tell. */
static inline double huge_share(const char *at, size_t size)
{
    FILE *file = fopen("/proc/self/smaps", "r");
    char line[512];
    unsigned long from, to, kib, ours = 0, told = 0;
    int inside = 0;
    if (!file)
        return -1;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = from < (unsigned long)(at + size) && (unsigned long)at < to;
        else if (inside && sscanf(line, "AnonHugePages: %lu kB", &kib) == 1) {
            ours += kib;
            told = 1;
        }
    }
    fclose(file);
    return told ? (double)ours * 1024 / (double)size : -1;
}

/* An area at a multiple of `step`; the address space around it is left reserved. */
static inline char *aligned(size_t size, size_t step)
{
    char *at = mmap(NULL, size + step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        failed("no memory:");
    return at + (step - (unsigned long)at % step) % step;
}

/* An area of 4 KiB pages, whatever the host's setting for transparent huge pages is. */
static inline struct area small_pages(size_t size)
{
    struct area found = {aligned(size, huge_page()), size, 0, NULL};
    madvise(found.at, size, MADV_NOHUGEPAGE);
    memset(found.at, 1, size);
    found.huge = huge_share(found.at, size);
    if (found.huge > 0)
        found.reason = "the kernel gave huge pages though it was asked not to";
    return found;
}

/* An area of huge pages: those that were set aside where there are enough, else transparent ones. */
static inline struct area huge_pages(size_t size)
{
    size_t step = huge_page(), whole = (size + step - 1) / step * step;
    struct area found = {NULL, whole, 1, NULL};
    char *at = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE,
                    -1, 0);
    if (at != MAP_FAILED) {
        found.at = at;
        return found;
    }
    found.at = aligned(whole, step);
    if (madvise(found.at, whole, MADV_HUGEPAGE)) {
        found.reason = "no huge pages are set aside, and the kernel offers no transparent ones";
        return found;
    }
    memset(found.at, 1, whole);
    found.huge = huge_share(found.at, whole);
    if (found.huge < 0)
        found.reason = "the kernel does not tell whether the pages are huge";
    else if (found.huge < ENOUGH)
        found.reason = "no huge pages are set aside, and the kernel gave too few transparent ones";
    return found;
}

/* `kind` is 4k or huge. The area has been written to. */
static inline struct area pages(const char *kind, size_t size)
{
    if (!strcmp(kind, "huge"))
        return huge_pages(size);
    if (strcmp(kind, "4k"))
        refuse("pages is 4k or huge, not", kind);
    return small_pages(size);
}

#endif
