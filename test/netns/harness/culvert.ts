// A running `culvert node`, observed as an operator observes it: its log, its admin socket, its process.

import { readdirSync, readlinkSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { Host } from "./host.ts";
import { Journal } from "./journal.ts";
import { Metrics } from "./metrics.ts";
import { type Exit, type Placement, RunningProcess } from "./running-process.ts";
import { projectRoot } from "./tools.ts";

export interface CulvertOptions {
  /** Default 3: with fewer, sharing is hardly tested. */
  readonly workers?: number;
  readonly podCidrs?: readonly string[];
  /** What the mesh file says of other nodes. */
  readonly nodes?: readonly { readonly name: string; readonly addresses: readonly string[] }[];
  /** Names of pods that this process is to leave alone. */
  readonly without?: readonly string[];
  readonly drainTimeoutSeconds?: number;
  readonly connectTimeoutSeconds?: number;
  readonly detectTimeoutSeconds?: number;
  readonly peerTimeoutSeconds?: number;
  /** Whose probes are exempt. */
  readonly kubelet?: Host;
  readonly unknownPods?: "pass" | "deny";
  /** Besides the declared pods, as mesh.yaml has them. */
  readonly workloads?: readonly object[];
  readonly env?: Readonly<Record<string, string>>;
  /** The soft limit of open files with which it is started. */
  readonly softDescriptors?: number;
}

/** A line of the log. */
export interface LogEvent {
  readonly level: string | number;
  readonly msg: string;
  readonly [key: string]: unknown;
}

/** The access-log line of a connection. */
export interface ConnectionEvent extends LogEvent {
  readonly msg: "connection";
  readonly direction: "outbound" | "inbound";
  readonly pod: string;
  readonly source: string;
  readonly destination: string;
  readonly service?: string;
  readonly endpoint?: string;
  readonly transport: string;
  readonly protocol: string;
  readonly protocolBy: string;
  readonly sni?: string;
  readonly seenAs?: string;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly durationMs: number;
  readonly result: string;
}

type Where = (event: ConnectionEvent) => boolean;

export class Culvert {
  readonly log: Journal<LogEvent>;
  /** Of the configuration in force, as far as `reloaded` knows. */
  #version = 1;
  readonly #process: RunningProcess;
  readonly #socket: string;
  #endIsExpected = false;

  constructor(meshFile: string, socket: string, placement: Placement, softDescriptors?: number) {
    const limited = softDescriptors === undefined ? [] : ["prlimit", `--nofile=${softDescriptors}:`];
    const command = [...limited, join(projectRoot, "bin/culvert"), "node", "--config", meshFile];
    this.#process = new RunningProcess("culvert", command, placement);
    this.#socket = socket;
    this.log = new Journal("log of culvert");
    this.#process.stdout.onPush((line) => this.log.push(parseLine(line)));
    this.#process.exited.then(({ code, signal }) => {
      const errors = this.#process.stderr.slice(-12).join("\n  ");
      this.log.end(`culvert ended (${signal ?? `exit code ${code}`})${errors === "" ? "" : `: ${errors}`}`);
      // At once: node:test does not show both errors when the test's body fails too.
      if (this.hasCrashed) console.error(`culvert ended by itself: ${this.lastWords}`);
    });
  }

  ready(): Promise<LogEvent> {
    return this.log.find("ready", (event) => event.msg === "ready");
  }

  /** Resolves when what `change` writes is in force, at once (SIGHUP) or, `notices`, because Culvert sees it by itself. */
  async reloaded(change: () => void, options: { notices?: boolean; patienceMs?: number } = {}): Promise<LogEvent> {
    let found: LogEvent | undefined;
    const isNew = (event: LogEvent | undefined) =>
      event?.msg === "mesh reloaded" && Number(event.version) > this.#version;
    // Of the newest line only: under load there are many.
    const isFound = (events: readonly LogEvent[]) => {
      if (isNew(events.at(-1))) found ??= events.at(-1);
      return found !== undefined;
    };
    const waiting = this.log.until("mesh reloaded", isFound, options.patienceMs);
    change();
    if (options.notices !== true) process.kill(this.pid, "SIGHUP");
    await waiting;
    this.#version = Number(found!.version);
    return found!;
  }

  /**
   * The connections that have ended, as soon as at least `count` of them match, in the order of their ends: workers hand over
   * their lines in their own time.
   */
  async connections(count: number, where: Where = () => true): Promise<ConnectionEvent[]> {
    const matches = (event: LogEvent) => isConnection(event) && where(event);
    const found = (await this.log.atLeast(count, "connection", matches)).filter(isConnection);
    return found.sort((a, b) => Date.parse(String(a.time)) - Date.parse(String(b.time)));
  }

  async connection(where: Where = () => true): Promise<ConnectionEvent> {
    return (await this.connections(1, where))[0]!;
  }

  async metrics(): Promise<Metrics> {
    const { status, body } = await this.get("/metrics");
    if (status !== 200) throw new Error(`GET /metrics: ${status} ${body}`);
    return new Metrics(body);
  }

  /** A request to the admin socket. */
  get(path: string): Promise<{ status: number; body: string }> {
    return new Promise((resolve, reject) => {
      const sent = request({ socketPath: this.#socket, path, agent: false }, (response) => {
        text(response).then((body) => resolve({ status: response.statusCode!, body }), reject);
      });
      sent.on("error", reject);
      sent.end();
    });
  }

  get pid(): number {
    return this.#process.pid;
  }

  get hasExited(): boolean {
    return this.#process.hasExited;
  }

  residentBytes(): number {
    return this.#process.residentBytes();
  }

  /** What its open descriptors are: paths, `socket:[inode]`, … */
  descriptors(): string[] {
    const directory = `/proc/${this.pid}/fd`;
    return readdirSync(directory).flatMap((fd) => {
      try {
        return [readlinkSync(join(directory, fd))];
      } catch {
        return []; // Closed meanwhile.
      }
    });
  }

  /** Resolves when the process has ended, which is then no failure of the test. */
  exited(): Promise<Exit> {
    this.#endIsExpected = true;
    return this.#process.exited;
  }

  signal(signal: NodeJS.Signals): void {
    this.#endIsExpected = true;
    this.#process.kill(signal);
  }

  async kill(): Promise<Exit> {
    this.signal("SIGKILL");
    return this.exited();
  }

  async terminate(): Promise<Exit> {
    this.signal("SIGTERM");
    return this.exited();
  }

  get stderr(): string {
    return this.#process.stderr.join("\n");
  }

  get hasCrashed(): boolean {
    return this.hasExited && !this.#endIsExpected;
  }

  get lastWords(): string {
    return [...this.#process.stdout.items.slice(-5), ...this.#process.stderr.slice(-20)].join("\n  ");
  }
}

function isConnection(event: LogEvent): event is ConnectionEvent {
  return event.msg === "connection";
}

function parseLine(line: string): LogEvent {
  try {
    const event: unknown = JSON.parse(line);
    if (typeof event === "object" && event !== null && "msg" in event) return event as LogEvent;
  } catch {
    // Not JSON: shown as it is when a wait fails.
  }
  return { level: "raw", msg: line };
}
