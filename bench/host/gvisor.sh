#!/bin/sh
# gVisor takes a network namespace for the host's where /proc/sys/net/core/rmem_default is there, and then
# refuses to have a network (runsc 20221219: "cannot run with network enabled in root network namespace").
# Newer kernels show that file in every namespace. In a mount namespace of its own gVisor sees none.
# Arguments: the path of runsc and its arguments.
exec unshare --mount sh -c 'mount -t tmpfs none /proc/sys/net && exec "$@"' sh "$@"
