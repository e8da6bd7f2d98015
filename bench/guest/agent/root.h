/* From the initramfs of the micro boot into the machine's own root. */
#ifndef ROOT_H
#define ROOT_H

/* Return once that child has mounted the machine's disks below /root, with that furnished and made the root.
 * Where that fails, the reason is on the console and the program ends, and with it the machine. */
void root_enter(int pid);

#endif
