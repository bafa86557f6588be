// The configuration in force, and how another comes into its place: whole or not at all. A file that cannot be taken changes
// nothing; it is told once, and until a better one comes the configuration counts as stale.
// One reload at a time: whatever asks for one meanwhile is served by one more, of the newest file.

import type { LoadedMesh, MeshFile } from "../discovery/file-source.ts";
import { meshWarnings } from "../discovery/mesh-warnings.ts";
import type { ConfigState } from "../telemetry/config-state.ts";
import type { Logger } from "../telemetry/log.ts";

export interface RunningMeshOptions {
  readonly file: MeshFile;
  /** What is in force already. */
  readonly loaded: LoadedMesh;
  /** Puts `next` in the place of `before`; rejects with `before` still, or again, in force. Resolves with what is worth telling. */
  readonly apply: (next: LoadedMesh, before: LoadedMesh) => Promise<Readonly<Record<string, number>>>;
  readonly log: Logger;
}

export class RunningMesh {
  readonly #options: RunningMeshOptions;
  #current: LoadedMesh;
  #working: Promise<void> | undefined;
  #asked: "watch" | "signal" | undefined;
  #lastError: string;
  #state: ConfigState;

  constructor(options: RunningMeshOptions) {
    this.#options = options;
    this.#current = options.loaded;
    this.#working = undefined;
    this.#asked = undefined;
    this.#lastError = "";
    this.#state = { applied: 0, refused: 0, appliedAtMs: Date.now(), staleSinceMs: undefined, reason: "" };
  }

  get current(): LoadedMesh {
    return this.#current;
  }

  get state(): ConfigState {
    return this.#state;
  }

  /** Who asks by a signal gets an answer in the log even when there is nothing new. */
  reload(asked: "watch" | "signal"): void {
    if (this.#asked !== "signal") this.#asked = asked;
    this.#working ??= this.#work();
  }

  /** Resolves when no reload is under way. */
  async settled(): Promise<void> {
    await this.#working;
  }

  async #work(): Promise<void> {
    for (let asked = this.#asked; asked !== undefined; asked = this.#asked) {
      this.#asked = undefined;
      await this.#reload(asked);
    }
    this.#working = undefined;
  }

  async #reload(asked: "watch" | "signal"): Promise<void> {
    const { file, log } = this.#options;
    const startMs = performance.now();
    try {
      const next = file.load(this.#current);
      if (next === undefined) {
        const wasStale = this.#lastError !== "";
        this.#isGood();
        if (asked === "signal" || wasStale) log.info({ version: this.#current.snapshot.version }, "mesh unchanged");
        return;
      }
      const facts = await this.#apply(next);
      this.#current = next;
      this.#isGood();
      const { version, workloads, services } = next.snapshot;
      const counts = { workloads: workloads.length, services: services.length, ...facts };
      logWarnings(next, log);
      log.info({ version, ...counts, milliseconds: Math.round(performance.now() - startMs) }, "mesh reloaded");
      this.#state = { ...this.#state, applied: this.#state.applied + 1, appliedAtMs: Date.now() };
    } catch (error) {
      this.#isBad(error instanceof Error ? error : new Error(String(error)), asked);
    }
  }

  async #apply(next: LoadedMesh): Promise<Readonly<Record<string, number>>> {
    const { file, apply } = this.#options;
    try {
      return await apply(next, this.#current);
    } catch (error) {
      file.forget();
      throw error;
    }
  }

  #isGood(): void {
    this.#lastError = "";
    this.#state = { ...this.#state, staleSinceMs: undefined, reason: "" };
  }

  #isBad(error: Error, asked: "watch" | "signal"): void {
    const { message } = error;
    const problems = "problems" in error ? { problems: error.problems } : { err: error };
    // A watch may look at the same bad file more than once.
    if (asked === "signal" || message !== this.#lastError) {
      const version = this.#current.snapshot.version;
      this.#options.log.error({ version, ...problems }, `mesh not reloaded, version ${version} stays: ${message}`);
    }
    this.#lastError = message;
    const { staleSinceMs = Date.now(), refused } = this.#state;
    this.#state = { ...this.#state, refused: refused + 1, staleSinceMs, reason: message };
  }
}

export function logWarnings(mesh: LoadedMesh, log: Logger): void {
  const { version } = mesh.snapshot;
  for (const { message, fix } of meshWarnings(mesh)) log.warn({ version }, `${message}; ${fix}`);
}
