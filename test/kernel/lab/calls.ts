// Calls of named functions in a child process over Node's IPC: the child serves a table, the parent gets promises.
// The child ends when its parent does, so a killed test leaves no process, and no namespace that only it holds.

import type { ChildProcess } from "node:child_process";
import { once } from "node:events";

interface Request {
  id: number;
  name: string;
  argument: unknown;
}
type Reply = { id: number; result: unknown } | { id: number; error: string };

export type Functions = Record<string, (argument: never) => unknown>;
type Result<F> = F extends (argument: never) => infer R ? Awaited<R> : never;
type Argument<F> = F extends (argument: infer A) => unknown ? A : never;

/** In the child. */
export function serveCalls(functions: Functions): void {
  process.on("message", async ({ id, name, argument }: Request) => {
    try {
      const call = functions[name] as ((argument: unknown) => unknown) | undefined;
      if (call === undefined) throw new Error(`no function ${name}`);
      process.send?.({ id, result: await call(argument) });
    } catch (error) {
      process.send?.({ id, error: error instanceof Error ? error.message : String(error) });
    }
  });
  process.on("disconnect", () => process.exit(0));
  process.send?.({ id: 0, result: undefined });
}

/** In the parent. `F` is the type of the child's table. */
export class Caller<F extends Functions> {
  readonly #child: ChildProcess;
  readonly #pending: Map<number, { resolve(result: unknown): void; reject(error: Error): void }>;
  #nextId: number;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#pending = new Map();
    this.#nextId = 1;
    child.on("message", (reply: Reply) => {
      const pending = this.#pending.get(reply.id);
      this.#pending.delete(reply.id);
      if ("error" in reply) pending?.reject(new Error(reply.error));
      else pending?.resolve(reply.result);
    });
    child.on("exit", () => {
      for (const { reject } of this.#pending.values()) reject(new Error("the process ended"));
      this.#pending.clear();
    });
  }

  /** Waits until the child serves. */
  static async of<F extends Functions>(child: ChildProcess): Promise<Caller<F>> {
    const ended = once(child, "exit").then(([code]) => {
      throw new Error(`the process ended with ${code} before it was ready`);
    });
    await Promise.race([once(child, "message"), ended]);
    return new Caller<F>(child);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  call<N extends keyof F & string>(name: N, argument?: Argument<F[N]>): Promise<Result<F[N]>> {
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#pending.set(id, { resolve, reject });
    this.#child.send({ id, name, argument });
    return promise as Promise<Result<F[N]>>;
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill(signal);
    await exited;
  }
}
