/*
The twin of _path.py: the way to a neighbour as this end's connected socket sees it.
*/
#include "../_shared/_program.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef IP_MTU
#define IP_MTU 14
#endif

/* The name of the interface with that address into `name`; 0 where there is none. */
static inline int interface(struct in_addr address, char *name)
{
    struct ifaddrs *all, *one;
    int found = 0;
    if (getifaddrs(&all))
        return 0;
    for (one = all; one && !found; one = one->ifa_next) {
        const struct sockaddr_in *its = (const struct sockaddr_in *)one->ifa_addr;
        if (its && its->sin_family == AF_INET && its->sin_addr.s_addr == address.s_addr) {
            snprintf(name, IFNAMSIZ, "%s", one->ifa_name);
            found = 1;
        }
    }
    freeifaddrs(all);
    return found;
}

/* Append on or off for each offload that the interface tells. */
static inline void offloads(int fd, const char *name, char *labels, size_t room)
{
    static const struct { const char *name; unsigned command; } known[] = {
        {"rx-checksum", ETHTOOL_GRXCSUM}, {"tx-checksum", ETHTOOL_GTXCSUM}, {"tso", ETHTOOL_GTSO},
        {"gso", ETHTOOL_GGSO}, {"gro", ETHTOOL_GGRO},
    };
    for (size_t i = 0; i < COUNT(known); i++) {
        struct ethtool_value value = {.cmd = known[i].command};
        struct ifreq request;
        size_t length = strlen(labels);
        memset(&request, 0, sizeof request);
        snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
        request.ifr_data = (void *)&value;
        if (ioctl(fd, SIOCETHTOOL, &request) == 0)
            snprintf(labels + length, room - length, ", \"%s\": \"%s\"", known[i].name, value.data ? "on" : "off");
    }
}

/* Observe `net.mtu` of the way that a connected socket has, with the interface and its offloads as labels. */
static inline void report_path(int fd)
{
    struct sockaddr_in own = {0};
    socklen_t length = sizeof own;
    int mtu = 0;
    socklen_t size = sizeof mtu;
    char name[IFNAMSIZ] = "unknown", labels[400];
    if (getsockname(fd, (struct sockaddr *)&own, &length) || own.sin_family != AF_INET) {
        absent("net.mtu", "bytes", "", "a unix socket has no such thing");
        return;
    }
    if (getsockopt(fd, IPPROTO_IP, IP_MTU, &mtu, &size)) {
        absent("net.mtu", "bytes", "", "this kernel does not tell the MTU of a connection");
        return;
    }
    int known = interface(own.sin_addr, name);
    snprintf(labels, sizeof labels, "\"interface\": \"%s\"", name);
    if (known)
        offloads(fd, name, labels, sizeof labels);
    observe("net.mtu", mtu, "bytes", labels);
}
