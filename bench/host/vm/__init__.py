"""The host side of virtual machines: the channel to the guest's agent, domains, disks."""
