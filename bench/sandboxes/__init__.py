"""What runtimes share: sandboxes of native processes and of containers."""
