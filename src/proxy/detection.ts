// Detection for one worker: watches the first bytes of its streams as they pass, never holding them back; what a stream
// speaks is told to it once. Streams whose bytes do not say wait in a list, in the order of their deadlines, behind one
// timer, so that a connection costs no timer of its own.
//
//   its own bytes ── say ──────────────────────────────> detected, server_first
//        └ the client's do not say yet ── learned ─────> learned, if that is possible still
//                                      └ time-out ─────> learned, else opaque: timeout
// Afterwards it looks on until the server's first bytes, which say whether the destination may be remembered for this.

import type { Reactor } from "../runtime/reactor.ts";
import type { DecidedBy, Flow, ProtocolWord } from "../telemetry/counters.ts";
import { Detector } from "./detect/detector.ts";
import { type Destination, ProtocolMemory } from "./detect/protocol-memory.ts";

export interface ObservedStream {
  /** Undefined when nothing is left to be seen. */
  observation: Observation | undefined;
  /** Called once. */
  onProtocol(protocol: ProtocolWord, by: DecidedBy, serverName: string | undefined): void;
}

export interface DetectionOptions {
  readonly timers: Pick<Reactor, "setTimer">;
  readonly timeoutMs: number;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

export class Detection {
  readonly memory: ProtocolMemory;
  readonly now: () => number;
  readonly #timers: Pick<Reactor, "setTimer">;
  readonly #timeoutMs: number;
  #first: Observation | undefined;
  #last: Observation | undefined;
  #timerIsSet: boolean;

  constructor(options: DetectionOptions) {
    this.memory = new ProtocolMemory();
    this.now = options.now;
    this.#timers = options.timers;
    this.#timeoutMs = options.timeoutMs;
    this.#first = undefined;
    this.#last = undefined;
    this.#timerIsSet = false;
  }

  /** From here on `stream` passes on what it sees. */
  observe(stream: ObservedStream, destination: Destination): void {
    const observation = new Observation(this, stream, destination, this.now() + this.#timeoutMs);
    stream.observation = observation;
    observation.previous = this.#last;
    if (this.#last === undefined) this.#first = observation;
    else this.#last.next = observation;
    this.#last = observation;
    if (!this.#timerIsSet) this.#setTimer(this.#timeoutMs);
  }

  /** It waits no more. */
  leave(observation: Observation): void {
    const { previous, next } = observation;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    observation.previous = undefined;
    observation.next = undefined;
  }

  #setTimer(ms: number): void {
    this.#timerIsSet = true;
    this.#timers.setTimer(Math.max(Math.ceil(ms), 1), () => this.#onTimer());
  }

  #onTimer(): void {
    this.#timerIsSet = false;
    const now = this.now();
    while (this.#first !== undefined && this.#first.deadlineMs <= now) this.#first.onTimeout();
    if (this.#first !== undefined) this.#setTimer(this.#first.deadlineMs - now);
  }
}

/** Of one stream, from its first byte until all is known. */
export class Observation {
  readonly deadlineMs: number;
  /** In the list of those that wait. */
  previous: Observation | undefined;
  next: Observation | undefined;
  readonly #detection: Detection;
  readonly #stream: ObservedStream;
  readonly #destination: Destination;
  readonly #detector: Detector;
  #isDecided: boolean;

  constructor(detection: Detection, stream: ObservedStream, destination: Destination, deadlineMs: number) {
    this.deadlineMs = deadlineMs;
    this.previous = undefined;
    this.next = undefined;
    this.#detection = detection;
    this.#stream = stream;
    this.#destination = destination;
    this.#detector = new Detector();
    this.#isDecided = false;
  }

  /** Bytes on their way. */
  onData(flow: Flow, bytes: Uint8Array, offset: number, length: number): void {
    if (flow === "sent") this.#detector.onClient(bytes, offset, offset + length);
    else this.#detector.onServer(bytes, offset, offset + length);
    this.#advance();
  }

  onClientEnd(): void {
    this.#detector.onClientEnd();
    this.#advance();
  }

  onTimeout(): void {
    if (!this.#decideAsLearned()) this.#decide("opaque", "timeout");
    this.#stream.observation = undefined;
  }

  /** The stream has closed. */
  onClosed(): void {
    if (!this.#isDecided) this.#decide("unknown", "ended");
    this.#stream.observation = undefined;
  }

  #advance(): void {
    const detector = this.#detector;
    if (!this.#isDecided) {
      if (detector.protocol !== undefined) this.#decide(detector.protocol, detector.by);
      else if (detector.clientHasSpoken) this.#decideAsLearned();
    }
    if (!detector.isDone) return;
    this.#stream.observation = undefined;
    const { lesson } = detector;
    if (lesson === undefined) return;
    const { memory, now } = this.#detection;
    if (lesson === "contrary") memory.contradict(this.#destination, now());
    else memory.confirm(this.#destination, lesson, now());
  }

  #decideAsLearned(): boolean {
    const { memory, now } = this.#detection;
    const learned = memory.recall(this.#destination, now());
    if (learned === undefined || !this.#detector.couldBe(learned)) return false;
    this.#decide(learned, "learned");
    return true;
  }

  #decide(protocol: ProtocolWord, by: DecidedBy): void {
    this.#isDecided = true;
    this.#detection.leave(this);
    this.#stream.onProtocol(protocol, by, this.#detector.serverName);
  }
}
