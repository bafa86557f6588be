// Whether this machine, and this process on it, could run Culvert. Changes nothing; asks no running node.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { findCgroupRoot } from "../../kernel/cgroup.ts";
import type { Probe } from "../../kernel/probes.ts";
import type { Finding } from "../../telemetry/reports.ts";
import { descriptorLimit } from "../introspection/descriptors.ts";
import { clockFinding } from "./clock.ts";
import { fault, ok, warning } from "./finding.ts";

/** linux/capability.h */
const capabilities = { CAP_NET_ADMIN: 12n, CAP_SYS_ADMIN: 21n, CAP_BPF: 39n } as const;
/** Two per connection: below the first a busy node runs out, below the second an idle one with many pods. */
const goodDescriptorLimit = 65_536;
const leastDescriptorLimit = 4096;

export async function machineFindings(): Promise<Finding[]> {
  const privileges = privilegeFinding();
  return [
    privileges,
    cgroupFinding(),
    ...(await programFindings(privileges.state === "ok")),
    descriptorFinding(descriptorLimit("hard")),
    clockFinding(),
  ];
}

function privilegeFinding(): Finding {
  const status = readFileSync("/proc/self/status", "utf8");
  const effective = BigInt(`0x${/^CapEff:\s+([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`);
  const missing = Object.entries(capabilities).flatMap(([name, bit]) => ((effective >> bit) & 1n ? [] : name));
  if (missing.length === 0) return ok("privileges", `this process has ${Object.keys(capabilities).join(", ")}`);
  const fix = "run it as root, or give its service or container these capabilities";
  return fault("privileges", `this process lacks ${missing.join(", ")}`, fix);
}

function cgroupFinding(): Finding {
  try {
    return ok("cgroup", `cgroup v2 is mounted at ${findCgroupRoot()}`);
  } catch {
    return fault(
      "cgroup",
      "no cgroup v2 is mounted",
      "boot with systemd.unified_cgroup_hierarchy=1, or: mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
    );
  }
}

/** What Culvert brings along, and whether this kernel takes it. */
async function programFindings(mayProbe: boolean): Promise<Finding[]> {
  const fix = "run npm run setup, or install Culvert again";
  let bpfObjectsPath: string;
  try {
    ({ bpfObjectsPath } = await import("../../runtime/native.ts"));
  } catch (error) {
    return [fault("installation", `the addon cannot be loaded: ${firstLine(error)}`, fix)];
  }
  if (process.env.NODE_ENV === "test") bpfObjectsPath = process.env.CULVERT_TEST_BPF ?? bpfObjectsPath;
  const objects = existsSync(bpfObjectsPath) ? readdirSync(bpfObjectsPath).filter((it) => it.endsWith(".bpf.o")) : [];
  const installation =
    objects.length > 0
      ? ok("installation", `the addon and ${objects.length} BPF objects are there`)
      : fault("installation", `no BPF objects are in ${bpfObjectsPath}`, fix);
  const bpffs = await bpffsFinding();
  if (!mayProbe) {
    return [
      installation,
      warning("kernel", "what the kernel can do was not tried", "run culvert check as root"),
      bpffs,
    ];
  }
  try {
    const { probeKernel } = await import("../../kernel/probes.ts");
    return [installation, ...kernelFindings(withoutForTest(probeKernel())), bpffs];
  } catch (error) {
    return [installation, fault("kernel", firstLine(error), "mend that and run culvert check again"), bpffs];
  }
}

export function kernelFindings(probes: readonly Probe[]): Finding[] {
  const missing = probes.filter(({ supported }) => !supported);
  const needed = missing.filter(({ instead }) => instead === undefined);
  return [
    ...(needed.length === 0 ? [ok("kernel", `Linux ${release()} can do all that Culvert needs`)] : []),
    ...missing.map(({ name, needs, instead }) => {
      const what = `this kernel has no ${name} (${needs})`;
      if (instead === undefined) return fault("kernel", what, "run a newer kernel, or one that is built with it");
      return warning("kernel", `${what}; instead: ${instead}`, "run a newer kernel for it");
    }),
  ];
}

/** Tests cannot take a feature out of the kernel that they run on. */
function withoutForTest(probes: readonly Probe[]): readonly Probe[] {
  const { NODE_ENV, CULVERT_TEST_WITHOUT } = process.env;
  if (NODE_ENV !== "test" || CULVERT_TEST_WITHOUT === undefined) return probes;
  return probes.map((each) => (each.name === CULVERT_TEST_WITHOUT ? { ...each, supported: false } : each));
}

async function bpffsFinding(): Promise<Finding> {
  const { isOnBpffs } = await import("../../kernel/bpffs.ts");
  const place = "/sys/fs/bpf";
  if (isOnBpffs(place)) return ok("bpffs", `a bpf file system is mounted at ${place}`);
  return warning(
    "bpffs",
    `no bpf file system is mounted at ${place}: culvert node will mount one, which ends with its mount namespace`,
    `mount -t bpf bpf ${place}`,
  );
}

export function descriptorFinding(limit: number): Finding {
  const said = `this process may open ${limit} descriptors`;
  const fix = "raise the hard limit to 1048576: LimitNOFILE= of a service, ulimit -Hn of a shell";
  if (limit < leastDescriptorLimit) return fault("descriptors", `${said}, which a node needs for itself`, fix);
  if (limit < goodDescriptorLimit) return warning("descriptors", `${said}: room for ${limit >> 1} connections`, fix);
  return ok("descriptors", said);
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n", 1)[0]!;
}
