/* Operations that are Python: a child carries them out, and the frames of their channels pass through here. */
#ifndef RELAY_H
#define RELAY_H

#include <stdbool.h>
#include <stdint.h>

struct behaviour;
extern const struct behaviour relay_behaviour;

/* The interpreter, and the directories, with ":" between them, in which it finds what it imports. */
extern const char *relay_python, *relay_modules;

/* The program on that channel ended: what watches it reads once more. */
void relay_last(uint32_t channel);
/* The host takes bytes again. */
void relay_room(void);
/* Whether so much waits for the child that no more should come. */
bool relay_full(void);
bool relay_runs(int pid);

#endif
