// Metrics of what comes and goes on the node: pods, unknown namespaces, the kubelet's cgroup.

import { Histogram, type Registry } from "prom-client";
import { addMetric } from "./metrics.ts";

export interface PresenceSources {
  readonly podsWaiting: () => number;
  readonly podsGone: () => number;
  readonly unknownNamespaces: () => number;
  /** undefined: no cgroup was named. */
  readonly probeExemption: { readonly isAttached: boolean; readonly attachments: number } | undefined;
}

export function addPresenceMetrics(registry: Registry, sources: PresenceSources): void {
  addMetric(
    registry,
    "gauge",
    "culvert_pods_waiting",
    "Pods of the mesh file that are not there yet, or no more",
    [],
    () => [[{}, sources.podsWaiting()]],
  );
  addMetric(
    registry,
    "counter",
    "culvert_pods_gone_total",
    "Pods withdrawn because their namespace was gone",
    [],
    () => [[{}, sources.podsGone()]],
  );
  addMetric(
    registry,
    "gauge",
    "culvert_unknown_namespaces",
    "Network namespaces of processes in the pods' cgroup of which nothing is known",
    [],
    () => [[{}, sources.unknownNamespaces()]],
  );
  const { probeExemption } = sources;
  if (probeExemption === undefined) return;
  addMetric(
    registry,
    "gauge",
    "culvert_probe_exemption_attached",
    "Whether the kubelet's cgroup is there and its probes are told by it",
    [],
    () => [[{}, probeExemption.isAttached ? 1 : 0]],
  );
  addMetric(
    registry,
    "counter",
    "culvert_probe_exemption_attachments_total",
    "How often the kubelet's cgroup was attached to",
    [],
    () => [[{}, probeExemption.attachments]],
  );
}

/** Of pods that dialled what the mesh wants before they were enrolled. */
export interface EnrolmentGaps {
  observe(seconds: number): void;
}

/** Counted where it happens, since it is seldom. */
export function addEnrolmentGaps(registry: Registry): EnrolmentGaps {
  return new Histogram({
    name: "culvert_enrolment_gap_seconds",
    help: "From the first connect of a process of a pod to the pod's enrolment, of pods that connected before it",
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60],
    registers: [registry],
  });
}
