// What a matcher says of the bytes it was fed so far. Small integers: they are compared once per chunk.

export const undecided = 0;
export const matches = 1;
export const mismatches = 2;
export type Progress = typeof undecided | typeof matches | typeof mismatches;
