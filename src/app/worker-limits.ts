// What a worker's V8 may use.

import type { ResourceLimits } from "node:worker_threads";

/**
 * The young generation, of which a third is in use at a time. What is still needed of that is copied at a stretch, in which a
 * worker does nothing else: of V8's 32 MB a mesh that comes in needs 10 to 20, which takes 10 ms and more
 * (config_worker_stall_all_ms); 1 MB takes 1 to 2.
 */
export const workerLimits: ResourceLimits = { maxYoungGenerationSizeMb: 3 };
