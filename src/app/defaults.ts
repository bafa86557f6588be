// Where things are unless a configuration says otherwise.

/** Nodes pin what they have below it. */
export const defaultPinsDirectory = "/sys/fs/bpf/culvert";
/** Nodes have their admin sockets in it, each named after its node. */
export const socketDirectory = "/run/culvert";
