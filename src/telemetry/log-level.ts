// The levels of the log. Apart from the log itself: what only names them must not load it.

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];
