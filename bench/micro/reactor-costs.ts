// What single steps of the reactor cost, without a socket: handles are reserved and reset, which is a command and an event
// and no system call. One sample of each figure a round; medians over rounds are the benchmark runner's.
//
//   submit     TypeScript → native → TypeScript: one call with one command
//   command    a command: its record written in TypeScript and executed (pause), over 64 handles and over 9,000 at random
//   reserve    a handle for a connection to be made
//   round      native → TypeScript → native: the call with its scope, nothing else
//   event      one more event in a round, with the command that causes it and the handle that it is about
//   turn       out of libuv's loop into a round and back, with a setImmediate
//
// A figure of another part of the native layer (a TLS record, a handshake) has its place in `costs`.

import {
  command,
  commandRecords,
  filledWord,
  maxConnections,
  recordWords,
  statCount,
} from "../../src/runtime/layout.ts";
import { type NativeReactor, native } from "../../src/runtime/native.ts";
import type { SampleBook } from "../figures.ts";

interface Cost {
  readonly name: string;
  readonly unit: string;
  measure(): number | Promise<number>;
}

const subject = "culvert";

export async function measureReactorCosts(rounds: number, scale: number, book: SampleBook): Promise<void> {
  using bare = new BareReactor();
  const few = bare.reserve(64);
  const many = bare.reserve(9_000);
  const commands = Math.ceil(200_000 * scale);
  const small = 1;
  const large = 256;
  const roundTrips = Math.ceil(20_000 * scale);
  const costs: readonly Cost[] = [
    { name: "reactor_submit", unit: "ns", measure: () => bare.submits(few, commands / 4) },
    { name: "reactor_command", unit: "ns", measure: () => bare.commands(few, commands) },
    { name: "reactor_command_of_9000", unit: "ns", measure: () => bare.commands(many, commands) },
    { name: "reactor_reserve", unit: "ns", measure: () => bare.reserves(2_000) },
    { name: "reactor_turn", unit: "ns", measure: () => bare.turns(Math.ceil(roundTrips / 4)) },
  ];
  for (let round = 0; round <= rounds; round++) {
    const samples = new Map<Cost, number>();
    for (const cost of costs) samples.set(cost, await cost.measure());
    const perSmallRound = await bare.rounds(small, roundTrips);
    const perLargeRound = await bare.rounds(large, Math.ceil(roundTrips / 16));
    if (round === 0) continue; // compiles
    for (const [{ name, unit }, sample] of samples) book.add(name, unit, subject, sample);
    const handle = (perLargeRound - perSmallRound) / (large - small);
    book.add("reactor_event", "ns", subject, handle);
    book.add("reactor_round", "ns", subject, perSmallRound - handle * small);
  }
}

type Handles = { readonly indexes: Int32Array; readonly generations: Int32Array };

/** The addon's reactor without src/runtime/reactor.ts around it. */
class BareReactor implements Disposable {
  readonly #native: NativeReactor;
  readonly #words: Int32Array;
  readonly #generations: Int32Array;
  #onTurn: (begin: number, end: number) => number = () => 0;

  constructor() {
    const stats = new Float64Array(statCount);
    this.#native = new native.Reactor({ blocks: 16, worker: 0, poison: false, stats });
    this.#words = new Int32Array(this.#native.commands);
    this.#generations = new Int32Array(this.#native.generations);
    this.#native.start((begin, end) => {
      this.#words[filledWord] = this.#onTurn(begin, end);
    });
  }

  [Symbol.dispose](): void {
    this.#native.close();
  }

  /** In random order. */
  reserve(count: number): Handles {
    const indexes = Int32Array.from({ length: count }, () => this.#native.reserve());
    for (let i = count - 1; i > 0; i--) {
      const k = Math.floor(Math.random() * (i + 1));
      [indexes[i], indexes[k]] = [indexes[k]!, indexes[i]!];
    }
    return { indexes, generations: indexes.map((index) => this.#generations[index]!) };
  }

  submits(handles: Handles, count: number): number {
    const start = process.hrtime.bigint();
    for (let i = 0; i < count; i++) {
      this.#write(0, command.pause, handles, i % handles.indexes.length);
      this.#native.submit(recordWords);
    }
    return nsSince(start) / count;
  }

  commands(handles: Handles, count: number): number {
    const start = process.hrtime.bigint();
    let at = 0;
    for (let i = 0; i < count; i++) {
      this.#write(at++, command.pause, handles, i % handles.indexes.length);
      if (at < commandRecords) continue;
      this.#native.submit(at * recordWords);
      at = 0;
    }
    this.#native.submit(at * recordWords);
    return nsSince(start) / count;
  }

  async reserves(count: number): Promise<number> {
    const indexes = new Int32Array(count);
    const start = process.hrtime.bigint();
    for (let i = 0; i < count; i++) indexes[i] = this.#native.reserve();
    const elapsed = nsSince(start);
    const handles = { indexes, generations: indexes.map((index) => this.#generations[index]!) };
    let left = count;
    const closed = new Promise<void>((resolve) => {
      this.#onTurn = (begin, end) => {
        left -= (end - begin) / recordWords;
        if (left === 0) resolve();
        return 0;
      };
    });
    for (let i = 0; i < count; i++) this.#write(i, command.reset, handles, i);
    this.#native.submit(count * recordWords);
    await closed;
    return elapsed / count;
  }

  /** Nanoseconds for a round in which `handles` handles are heard to have closed, and as many reserved and reset. */
  async rounds(handles: number, count: number): Promise<number> {
    // Handles are free again when a chain of rounds ends.
    const most = Math.floor(maxConnections / 4 / handles);
    let elapsed = 0;
    for (let left = count; left > 0; left -= most) {
      await new Promise(setImmediate); // out of the turn that ended the last one
      elapsed += await this.#chain(handles, Math.min(left, most));
    }
    return elapsed / count;
  }

  #chain(handles: number, count: number): Promise<number> {
    let left = count;
    let start = 0n;
    const ended = new Promise<number>((resolve) => {
      this.#onTurn = () => {
        if (left === count) start = process.hrtime.bigint();
        if (left-- > 0) return this.#resetFresh(handles);
        resolve(nsSince(start));
        return 0;
      };
    });
    this.#native.submit(this.#resetFresh(handles));
    return ended;
  }

  async turns(count: number): Promise<number> {
    let left = count;
    const start = process.hrtime.bigint();
    await new Promise<void>((resolve) => {
      this.#onTurn = () => {
        if (left-- === 0) resolve();
        else setImmediate(() => this.#native.submit(this.#resetFresh(1)));
        return 0;
      };
      this.#native.submit(this.#resetFresh(1));
    });
    return nsSince(start) / count;
  }

  #resetFresh(count: number): number {
    const words = this.#words;
    for (let i = 0; i < count; i++) {
      const index = this.#native.reserve();
      const at = i * recordWords;
      words[at] = command.reset;
      words[at + 1] = index;
      words[at + 2] = this.#generations[index]!;
    }
    return count * recordWords;
  }

  #write(record: number, type: number, handles: Handles, i: number): void {
    const at = record * recordWords;
    this.#words[at] = type;
    this.#words[at + 1] = handles.indexes[i]!;
    this.#words[at + 2] = handles.generations[i]!;
  }
}

function nsSince(start: bigint): number {
  return Number(process.hrtime.bigint() - start);
}
