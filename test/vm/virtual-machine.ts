// One boot of a kernel in an emulator (no KVM: CI machines have none), from the root image, as far as the guest's last
// report. The guest ends with this process; its console is kept in a file, for whoever wants to know why.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Kernel } from "./kernel-package.ts";
import type { Extent, Report } from "./report.ts";
import { guestRoot } from "./root-image.ts";

const emulator = "qemu-system-x86_64";

/** Why no guest can run here, or undefined. */
export function cannotEmulate(): string | undefined {
  if (process.arch !== "x64") return "needs an x86-64 machine: the kernels and the pinned Node are for that";
  if (!["/usr/bin", "/usr/local/bin", "/bin"].some((directory) => existsSync(`${directory}/${emulator}`))) {
    return `${emulator} is not installed (package qemu-system-x86)`;
  }
  return undefined;
}

export interface Boot {
  readonly kernel: Kernel;
  readonly image: string;
  readonly consolePath: string;
  readonly extent: Extent;
  readonly timeoutMs: number;
  readonly onReport?: (report: Report) => void;
}

/** Answers what the guest reported until it ended, or the time was over. Throws when it reported nothing. */
export async function boot({ kernel, image, consolePath, extent, timeoutMs, onReport }: Boot): Promise<Report[]> {
  // no_timer_check: on a busy machine the emulated timer is late, and the kernel panics ("IO-APIC + timer doesn't work").
  const commandLine = [
    "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check",
    `root=/dev/nvme0n1 rw init=${guestRoot}/test/vm/guest/init culvert.extent=${extent}`,
  ].join(" ");
  // The disk is an NVMe because Debian builds that driver in, and virtio's not: no initramfs is needed.
  const machine = ["-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "1024", "-nodefaults", "-no-reboot"];
  const disk = [
    "-drive",
    `if=none,id=root,format=raw,snapshot=on,file=${image}`,
    "-device",
    "nvme,drive=root,serial=1",
  ];
  const lines = [
    "-display",
    "none",
    "-serial",
    `file:${consolePath}`,
    "-chardev",
    "stdio,id=report",
    "-serial",
    "chardev:report",
  ];
  const start = ["-kernel", kernel.image, "-append", commandLine];
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", emulator, ...machine, ...disk, ...lines, ...start], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const reports: Report[] = [];
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk;
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (!line.startsWith("{")) return;
    const report = JSON.parse(line) as Report;
    reports.push(report);
    onReport?.(report);
  });
  await ended(child, timeoutMs);
  if (reports.length === 0) throw new Error(`boot ${kernel.release}: no report; ${errors}${lastWords(consolePath)}`);
  return reports;
}

async function ended(child: ChildProcess, timeoutMs: number): Promise<void> {
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  await once(child, "close");
  clearTimeout(timer);
}

/** The end of a guest's console. */
export function lastWords(consolePath: string): string {
  if (!existsSync(consolePath)) return "nothing on its console";
  return `its console ends:\n${readFileSync(consolePath, "utf8").split("\n").slice(-15).join("\n")}`;
}
