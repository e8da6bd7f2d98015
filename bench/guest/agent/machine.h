/* The machine the agent runs in: what it is, how urgent the agent is in it, and its end. */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdbool.h>

#include "bytes.h"

/* What HELLO says of the guest, JSON; with `lost`, where it is not empty, how the stream broke. */
void machine_facts(struct bytes *out, const char *lost);
/* Whether this machine is a guest of ours, by the kernel's command line. */
bool machine_is_guest(void);
/* Put this process before ordinary ones, so that a busy workload delays no output, and keep it from being
 * killed for want of memory. Nothing where this user may not. */
void machine_be_urgent(void);
/* Whether children of this process have to undo that. */
extern bool machine_niced, machine_scored;

/* Power it off, systemd's way where it rules; `why` is set where it cannot be, with errno's number returned. */
int machine_power_off(const char **why);
/* At once, where systemd does not rule; nothing otherwise. */
void machine_power_off_now(void);

/* As PID 1: take the exit of every ended process that somebody left to us, from now on. */
void machine_reap(void);

#endif
