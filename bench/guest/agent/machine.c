#define _GNU_SOURCE
#include "machine.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "group.h"
#include "json.h"
#include "loop.h"
#include "program.h"
#include "relay.h"
#include "session.h"
#include "wire.h"

#define NICE (-10)
#define REAP 0.5 /* seconds between looks for orphans */

bool machine_niced, machine_scored;

/* How this guest was booted, into `boot`; false where it is no guest of ours. */
static bool booted(char *boot, size_t room) {
    static const char key[] = "isobench.boot=";
    char line[4096], *rest = NULL;
    if (read_file("/proc/cmdline", line, sizeof line) < 0)
        return false;
    for (char *word = strtok_r(line, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest))
        if (strncmp(word, key, sizeof key - 1) == 0) {
            snprintf(boot, room, "%s", word + sizeof key - 1);
            return true;
        }
    return false;
}

bool machine_is_guest(void) {
    char boot[32];
    return booted(boot, sizeof boot);
}

static void member(struct bytes *out, const char *name, const char *text) {
    bytes_text(out, ",\"");
    bytes_text(out, name);
    bytes_text(out, "\":");
    if (text)
        json_put(out, text, strlen(text));
    else
        bytes_text(out, "null");
}

void machine_facts(struct bytes *out, const char *lost) {
    char text[GROUP_PATH + 40], boot[32];
    struct utsname kernel;
    snprintf(text, sizeof text, "{\"version\":%d,\"pid\":%d", PROTOCOL, (int)getpid());
    bytes_text(out, text);
    uname(&kernel);
    member(out, "kernel", kernel.release);
    if (read_file("/proc/sys/kernel/random/boot_id", text, 64) < 0)
        text[0] = 0;
    text[strcspn(text, "\n")] = 0;
    member(out, "boot_id", text);
    member(out, "boot", booted(boot, sizeof boot) ? boot : NULL);
    if (*lost)
        member(out, "lost", lost);
    snprintf(text, sizeof text, "%s/cgroup.controllers", group_mount);
    bytes_text(out, access(text, F_OK) == 0 ? ",\"cgroup\":true}" : ",\"cgroup\":false}");
}

void machine_be_urgent(void) {
    struct sched_param first = {.sched_priority = 1};
    if (setpriority(PRIO_PROCESS, 0, NICE) == 0) {
        machine_niced = true; /* children of a real-time process that resets on fork are ordinary by themselves */
        if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &first) == 0)
            machine_niced = false;
    }
    machine_scored = write_file("/proc/self/oom_score_adj", "-1000");
}

/* --- the end --------------------------------------------------------------------------------- */

static bool systemd_rules(void) {
    struct stat found;
    return stat("/run/systemd/system", &found) == 0;
}

int machine_power_off(const char **why) {
    static char *command[] = {"systemctl", "--no-block", "poweroff", NULL};
    if (!machine_is_guest()) {
        *why = "this is no guest of this program: isobench.boot is not in /proc/cmdline";
        return EPERM;
    }
    sync();
    if (!systemd_rules())
        return 0;
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        execvp(command[0], command);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0 || status) {
        *why = "systemctl poweroff failed";
        return pid < 0 ? errno : 0;
    }
    return 0;
}

void machine_power_off_now(void) {
    if (!systemd_rules())
        reboot(RB_POWER_OFF);
}

/* --- the first program ----------------------------------------------------------------------- */

static struct timer reaping;

static void reap(void *owner) {
    siginfo_t found;
    while (found.si_pid = 0, waitid(P_ALL, 0, &found, WEXITED | WNOHANG | WNOWAIT) == 0 && found.si_pid) {
        if (execute_runs(found.si_pid) || relay_runs(found.si_pid))
            break; /* it is left to those that started it */
        waitpid(found.si_pid, NULL, WNOHANG);
    }
    loop_later(&reaping, REAP, reap, owner);
}

void machine_reap(void) { reap(NULL); }
