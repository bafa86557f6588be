// Captures the connections of pods: loads and attaches the BPF programs, and keeps what they judge by.
//
// Without `pins` all of it ends with this process, in whatever way. With `pins` programs and maps stay in force and the
// next process adopts them; `settle` takes away what it did not enroll again. A strict pod so is never without them.

import { native } from "../runtime/native.ts";
import { makePinsDirectory } from "./bpffs.ts";
import { CapturedPods } from "./captured-pods.ts";
import { lockInstance } from "./instance-lock.ts";
import { type KernelMaps, KernelObjects, type ProgramName } from "./kernel-objects.ts";
import { MeshInterest } from "./mesh-interest.ts";
import { NetnsCookies } from "./netns-cookies.ts";
import { NodeRules } from "./node-rules.ts";
import { ProbeExemption } from "./probe-exemption.ts";

export interface CaptureOptions {
  /** The directory of the compiled *.bpf.o files. */
  objectsPath: string;
  /** Absolute cgroup directories: applications live below the first, this process in the second. */
  podsCgroup: string;
  proxyCgroup: string;
  /** A directory of the bpf file system, of this instance alone; nothing is pinned without. */
  pins?: string;
  /** What namespaces may do that are neither pods' nor known to be outside the mesh; without it they are not told apart. */
  unknownPods?: "pass" | "deny";
  /** The cgroup of whoever probes the pods; need not be there. */
  kubeletCgroup?: string | undefined;
}

export interface CaptureFaults {
  /** Hooks whose cgroup is gone. */
  readonly defunctHooks: readonly string[];
  /** Pods whose namespace is gone. */
  readonly defunctPods: readonly string[];
  /** Pods in which a listener of the proxy is missing. */
  readonly deafPods: readonly string[];
}

/** On the pods' cgroup, in the order of attaching: what captures comes last. */
const podHooks: readonly ProgramName[] = [
  "culvert_sockops",
  "culvert_bind4",
  "culvert_bind6",
  "culvert_getpeername4",
  "culvert_getpeername6",
  "culvert_connect4",
  "culvert_connect6",
];

export class Capture implements Disposable {
  readonly pods: CapturedPods;
  readonly interest: MeshInterest;
  readonly rules: NodeRules;
  readonly cookies: NetnsCookies;
  /** undefined: no cgroup was named. */
  readonly probeExemption: ProbeExemption | undefined;
  readonly #objects: KernelObjects;
  readonly #lock: Disposable;
  #isSettled: boolean;
  #isClosed: boolean;

  private constructor(objects: KernelObjects, lock: Disposable, kubeletCgroup: string | undefined) {
    this.interest = new MeshInterest(objects.maps);
    this.rules = new NodeRules(objects.maps);
    this.cookies = new NetnsCookies(objects.maps.proxy_sockets);
    this.pods = new CapturedPods(objects, this.rules, this.cookies);
    this.probeExemption =
      kubeletCgroup === undefined ? undefined : new ProbeExemption(kubeletCgroup, objects, this.rules);
    this.#objects = objects;
    this.#lock = lock;
    this.#isSettled = false;
    this.#isClosed = false;
  }

  /** Loads and attaches; the hooks pass everything until a pod is armed. Whole or not at all; `settle` completes it. */
  static start(options: CaptureOptions): Capture {
    using undo = new DisposableStack();
    if (options.pins !== undefined) {
      makePinsDirectory(options.pins);
      undo.use(lockInstance([options.pins, options.podsCgroup]));
    }
    const objects = KernelObjects.load(options.objectsPath, options.pins);
    const capture = new Capture(objects, undo.move(), options.kubeletCgroup);
    try {
      capture.#attach(options);
    } catch (error) {
      capture.close();
      throw error;
    }
    return capture;
  }

  #attach({ podsCgroup, proxyCgroup, unknownPods }: CaptureOptions): void {
    native.bpf("mapHeartbeats", { map: this.maps.heartbeats.fd });
    this.#objects.attachCgroup("culvert_sock_create", "proxy", proxyCgroup);
    this.#objects.attachCgroup("culvert_sockops", "proxy", proxyCgroup);
    this.#knowOwnNetns(proxyCgroup);
    // Before the hooks that ask: not one connect of a namespace that nothing is known of gets past them.
    this.rules.setUnknown(unknownPods);
    if (this.probeExemption === undefined) {
      this.rules.passProbesByAddress(true);
      this.#objects.detachCgroup("culvert_probe_exemption", "kubelet");
    }
    this.probeExemption?.check();
    for (const program of podHooks) this.#objects.attachCgroup(program, "pods", podsCgroup);
  }

  #knowOwnNetns(proxyCgroup: string): void {
    const cookie = this.cookies.ownAsSeen();
    // Otherwise the hooks would take this process's listeners for an impostor's, and quietly capture nothing.
    if (cookie === undefined) {
      throw new Error(`start capture: this process is not in its own cgroup ${proxyCgroup}; enter it before the start`);
    }
    this.rules.addPlain(cookie);
    try {
      // The machine's, in which pods of the host network are; it need not be this process's own.
      this.rules.addPlain(this.cookies.at("/proc/1/ns/net"));
    } catch {
      // Not to be seen from this container.
    }
  }

  /** What the hooks judge by, to be read. */
  get maps(): KernelMaps {
    return this.#objects.maps;
  }

  /** Layouts of other versions that a previous process left, and `settle` replaces. */
  get otherLayouts(): readonly string[] {
    return this.#objects.otherLayouts;
  }

  /**
   * To be called when every pod of the configuration was armed or refused: what these maps know is now in force
   * everywhere, and what a previous process left is not. `keepsStrict`: but for its strict pods.
   */
  settle(options: { keepsStrict: boolean }): void {
    this.pods.settle(options);
    this.#isSettled = true;
  }

  /** What is not attached any more, by name, and which pods' listeners are not there. */
  faults(): CaptureFaults {
    return {
      defunctHooks: this.#objects.defunctLinks,
      defunctPods: this.pods.defunct,
      deafPods: this.pods.deaf,
    };
  }

  /**
   * Withdraws every pod and detaches. What is pinned stays in force where a strict pod was enrolled (`staysInForce`), and
   * where a previous process left it and the start did not get as far as `settle`. Idempotent.
   */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.pods.leaveAll();
    using _last = this.pods.sources;
    native.bpf("unmapHeartbeats", {});
    this.#objects.close({ keepsPins: this.staysInForce });
    this.#lock[Symbol.dispose]();
  }

  /** After `close`: strict pods go on being enforced, by what is pinned. */
  get staysInForce(): boolean {
    return this.#objects.isPinned && (this.pods.leavesStrict || (this.#objects.isAdopted && !this.#isSettled));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
