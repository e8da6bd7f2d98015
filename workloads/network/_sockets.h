/*
Sockets by name: "tcp", "udp" or "unix", at ADDRESS:PORT, at NAME:PORT, at a path, or at @NAME, which is no file.
*/
#include "../_shared/_program.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#define QUEUE 128

struct place { int domain, kind; socklen_t length; union { struct sockaddr any; struct sockaddr_in in; struct sockaddr_un un; } at; };

static inline struct place unix_place(const char *path)
{
    struct place found = {AF_UNIX, SOCK_STREAM, sizeof found.at.un, {.un = {.sun_family = AF_UNIX}}};
    if (strlen(path) >= sizeof found.at.un.sun_path)
        refuse("too long for the name of a socket:", path);
    strcpy(found.at.un.sun_path, path);
    if (*path == '@') { /* the kernel keeps such names by themselves, and takes their length from the address's */
        *found.at.un.sun_path = 0;
        found.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    }
    return found;
}

/* Seconds that the look-up of a name took; below 0 where there was none to look up. */
static double lookup = -1;

/* The address of that host, which a name server is asked for unless it is an address already. */
static inline struct in_addr address_of(const char *host)
{
    struct in_addr address;
    struct addrinfo wanted = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    double begun = now();
    if (inet_pton(AF_INET, host, &address) == 1)
        return address;
    if (getaddrinfo(host, NULL, &wanted, &found))
        refuse("no IPv4 address:", host);
    lookup = now() - begun;
    address = ((const struct sockaddr_in *)(const void *)found->ai_addr)->sin_addr;
    freeaddrinfo(found);
    return address;
}

/* Where that address is; the program ends where it is none. */
static inline struct place place_of(const char *transport, const char *address)
{
    struct place found = {AF_INET, SOCK_STREAM, sizeof found.at.in, {.in = {.sin_family = AF_INET}}};
    const char *colon = strrchr(address, ':');
    char host[256];
    if (!strcmp(transport, "unix"))
        return unix_place(address);
    if (!strcmp(transport, "udp"))
        found.kind = SOCK_DGRAM;
    else if (strcmp(transport, "tcp"))
        refuse("transport is tcp, udp or unix, not", transport);
    if (!colon || colon - address >= (long)sizeof host)
        refuse("an address is ADDRESS:PORT, not", address);
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    found.at.in.sin_addr = address_of(host);
    found.at.in.sin_port = htons((unsigned short)atoi(colon + 1));
    return found;
}

static inline void without_delay(int fd, const struct place *where)
{
    int one = 1;
    if (where->domain == AF_INET && where->kind == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* A socket that waits there; `where` gets the port that the kernel chose. */
static inline int waiting(struct place *where)
{
    int one = 1, fd = socket(where->domain, where->kind | SOCK_CLOEXEC, 0);
    if (fd < 0)
        failed("no socket:");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, &where->at.any, where->length))
        failed("cannot wait at that address:");
    if (where->domain == AF_UNIX)
        litter = *where->at.un.sun_path ? where->at.un.sun_path : NULL;
    else
        getsockname(fd, &where->at.any, &where->length);
    if (where->kind == SOCK_STREAM && listen(fd, QUEUE))
        failed("cannot listen:");
    return fd;
}

static inline int connected(const struct place *where)
{
    int fd = socket(where->domain, where->kind | SOCK_CLOEXEC, 0);
    if (fd < 0)
        failed("no socket:");
    without_delay(fd, where);
    if (connect(fd, &where->at.any, where->length))
        failed("cannot connect:");
    return fd;
}
