// The configuration in force, in full: what was read of mesh.yaml, with defaults filled in and addresses as text. It goes into
// bug reports: nothing secret may stand in a NodeConfig; keys are named by path.

import { type Cidr, formatAddress, formatCidr, type IpAddress } from "../../mesh/address.ts";
import type { NodeView } from "./node-view.ts";

export function configReport(view: NodeView): unknown {
  const { version, workloads, services } = view.snapshot();
  const report = {
    file: view.configPath,
    version,
    node: view.config(),
    workloads,
    services,
    pods: view.localPods(),
  };
  return withTexts(report);
}

/** A copy in which addresses and networks are text. */
function withTexts(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(withTexts);
  if ("family" in value && "words" in value) return formatAddress(value as IpAddress);
  if ("address" in value && "prefixLength" in value) return formatCidr(value as Cidr);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, withTexts(each)]));
}
