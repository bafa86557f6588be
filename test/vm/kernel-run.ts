// One kernel's run from nothing: the package, the image, the boot. Everything lies under build/vm.

import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../netns/harness/tools.ts";
import type { Kernel } from "./kernel-package.ts";
import type { Extent, Report } from "./report.ts";
import { buildRootImage } from "./root-image.ts";
import { boot } from "./virtual-machine.ts";

export interface RunOptions {
  readonly extent: Extent;
  /** Of each boot. */
  readonly timeoutMs: number;
  readonly onReport?: (kernel: Kernel, report: Report) => void;
}

/** Where a kernel's last console is kept. */
export function consolePath({ series }: Kernel): string {
  return join(projectRoot, "build/vm", `console-${series}.log`);
}

/** The reports of each kernel, one after another. */
export async function runKernels(kernels: readonly Kernel[], options: RunOptions): Promise<Map<Kernel, Report[]>> {
  removeImagesOfTheDead();
  const directory = join(imagesPath, `${process.pid}`);
  mkdirSync(directory, { recursive: true });
  try {
    const image = await buildRootImage(directory, kernels);
    const reports = new Map<Kernel, Report[]>();
    for (const kernel of kernels) {
      const { extent, timeoutMs } = options;
      const onReport = (report: Report) => options.onReport?.(kernel, report);
      const console = consolePath(kernel);
      reports.set(kernel, await boot({ kernel, image, consolePath: console, extent, timeoutMs, onReport }));
    }
    return reports;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const imagesPath = join(projectRoot, "build/vm/images");

function removeImagesOfTheDead(): void {
  for (const pid of existsSync(imagesPath) ? readdirSync(imagesPath) : []) {
    if (!existsSync(`/proc/${pid}`)) rmSync(join(imagesPath, pid), { recursive: true, force: true });
  }
}
