// What the system said of a failure, for people.

/** `permission denied`, out of `EACCES: permission denied, open '/etc/shadow'`. */
export function systemWords(error: unknown): string {
  const message = (error instanceof Error ? error.message : String(error)).split("\n", 1)[0]!;
  const [, words] = /^E[A-Z0-9]+: (.*?), [a-z]+(?: '.*)?$/.exec(message) ?? [];
  return words ?? message;
}
