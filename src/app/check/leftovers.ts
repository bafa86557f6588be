// What Culverts that do not run any more have left on this machine: pins, and links whose target is gone.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { closeFd } from "../../kernel/bpf-map.ts";
import { instancesIn, isRunning } from "../../kernel/instances.ts";
import { native } from "../../runtime/native.ts";
import type { Finding } from "../../telemetry/reports.ts";
import { ok, warning } from "./finding.ts";

/** `directory`: beside each other, where nodes pin what they have. */
export function leftoverFindings(directory: string): Finding[] {
  const dead = instancesIn(directory).filter((instance) => !isRunning(instance));
  if (dead.length === 0) return [ok("pins", `no dead Culvert has left anything in ${directory}`)];
  return dead.map((instance) => {
    const { links, defunct } = countLinks(instance);
    const gone = defunct > 0 ? `, ${defunct} of them to what is gone` : "";
    return warning(
      "pins",
      `${instance}: a Culvert that does not run has left ${links} links in force${gone}`,
      "start it again, or remove them with culvert uninstall",
    );
  });
}

function countLinks(instance: string): { links: number; defunct: number } {
  const counted = { links: 0, defunct: 0 };
  for (const layout of readdirSync(instance)) {
    const links = join(instance, layout, "links");
    for (const name of readdirSync(links)) {
      const { fd } = native.bpf("getPinned", { path: join(links, name) });
      if (fd === undefined) continue;
      counted.links++;
      if (native.bpf("linkInfo", { link: fd }).target === 0n) counted.defunct++;
      closeFd(fd);
    }
  }
  return counted;
}
