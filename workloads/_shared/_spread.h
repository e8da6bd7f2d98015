/*
Numbers and their quantiles: a list that keeps every one, and a histogram for those that are too many to keep.
*/
#ifndef ISOBENCH_SPREAD_H
#define ISOBENCH_SPREAD_H

#include "_program.h"

struct list { double *values; size_t count, room; };

static inline void add(struct list *list, double value)
{
    if (list->count == list->room) {
        list->room = list->room ? 2 * list->room : 1024;
        list->values = realloc(list->values, list->room * sizeof *list->values);
        if (!list->values)
            refuse("no memory for", "a list of numbers");
    }
    list->values[list->count++] = value;
}

static inline int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static inline void sort(struct list *list)
{
    if (list->count)
        qsort(list->values, list->count, sizeof *list->values, compare);
}

/* Of a list that is sorted and not empty. */
static inline double quantile(const struct list *list, double q)
{
    size_t index = (size_t)(q * (double)list->count);
    return list->values[index < list->count ? index : list->count - 1];
}

/* Times in ns by their leading bits: a slot is 1/64 of its value wide, 1.6 %. */
#define SHARE_BITS 6
#define SLOTS ((64 - SHARE_BITS) << SHARE_BITS)
struct histogram { unsigned long slots[SLOTS], count; double most; };

static inline void enter(struct histogram *into, double seconds)
{
    unsigned long long ns = seconds > 0 ? (unsigned long long)(seconds * 1e9) : 0;
    int shift = ns >> SHARE_BITS ? 63 - __builtin_clzll(ns) - SHARE_BITS : 0;
    size_t slot = ((size_t)shift << SHARE_BITS) + (size_t)(ns >> shift);
    into->slots[slot < SLOTS ? slot : SLOTS - 1]++;
    into->count++;
    if (seconds > into->most)
        into->most = seconds;
}

/* The middle of the slot in which that share of the times is reached, in s; of a histogram that is not empty. */
static inline double reached(const struct histogram *of, double q)
{
    unsigned long left = (unsigned long)(q * (double)of->count);
    for (size_t slot = 0; slot < SLOTS; slot++) {
        if (left >= of->slots[slot]) {
            left -= of->slots[slot];
            continue;
        }
        int shift = slot >> SHARE_BITS ? (int)(slot >> SHARE_BITS) - 1 : 0;
        double low = (double)(slot - ((size_t)shift << SHARE_BITS)) * (double)(1ull << shift);
        return (low + (double)(1ull << shift) / 2) / 1e9;
    }
    return of->most;
}

#endif
