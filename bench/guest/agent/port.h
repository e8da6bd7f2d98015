/* A port of the machine, which one host after the other may be at the other end of. */
#ifndef PORT_H
#define PORT_H

#include <stddef.h>

/* Serve whoever connects to the other end of this port, one after the other, for ever. */
_Noreturn void port_serve(const char *path);
/* That path; or, as long as nobody has made the link, the device of the virtio port it is named after. */
void port_device(char *device, size_t room, const char *path, const char *ports);

#endif
