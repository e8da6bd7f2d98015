/*
A chase of pointers: one random cycle through all cache lines of an area. No step can begin before the one before it
has arrived, and none can be foreseen.
*/
#ifndef ISOBENCH_CHASE_H
#define ISOBENCH_CHASE_H

#include "_program.h"

#define LINE 64

/* Lay the cycle through `count` lines, in an order that is shuffled but always the same. */
static inline void weave(char *area, size_t count)
{
    unsigned long long state = 88172645463325252ull;
    size_t *order = malloc(count * sizeof *order);
    if (!order)
        refuse("no memory for", "the order of the lines");
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = count - 1; i > 0; i--) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        size_t j = state % i, kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    for (size_t i = 0; i < count; i++)
        *(void **)(area + order[i] * LINE) = area + order[(i + 1) % count] * LINE;
    free(order);
}

/* Where `steps` pointers lead from there. */
static inline void *follow(void *place, long steps)
{
    while (steps-- > 0)
        place = *(void **)place;
    return place;
}

#endif
