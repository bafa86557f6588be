// What a workload keeps out of the mesh, as a configuration says it, turned into the rules that the BPF programs check.

import type { Cidr } from "../mesh/address.ts";
import { layout, type OptOutRule } from "./layout.ts";

export interface OptOut {
  /** Outbound: of the destination; inbound: of the client. Undefined: every address. */
  readonly address: Cidr | undefined;
  /** Outbound: of the destination; inbound: of the pod. Both ends included; empty: every port. */
  readonly ports: readonly { readonly from: number; readonly to: number }[];
}

/** One rule per port range. Throws when there are more than a pod's slots. */
export function optOutRules(pod: string, outbound: readonly OptOut[], inbound: readonly OptOut[]): OptOutRule[] {
  const rules = [...rulesOf("outbound", outbound), ...rulesOf("inbound", inbound)];
  if (rules.length > layout.MAX_OPT_OUTS) {
    throw new Error(
      `enroll pod ${pod}: ${rules.length} opt-out rules, and at most ${layout.MAX_OPT_OUTS} fit; each port range counts as one`,
    );
  }
  return rules;
}

function rulesOf(direction: OptOutRule["direction"], optOuts: readonly OptOut[]): OptOutRule[] {
  const everyPort = [{ from: 0, to: 65535 }];
  return optOuts.flatMap(({ address, ports }) =>
    (ports.length > 0 ? ports : everyPort).map((range) => ({ direction, address, ports: range })),
  );
}
