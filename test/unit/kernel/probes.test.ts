import assert from "node:assert/strict";
import { test } from "node:test";
import { missingMessage, type Probe, probeKernel, requireFeatures } from "../../../src/kernel/probes.ts";
import { native } from "../../../src/runtime/native.ts";

const lookup: Probe = { name: "sk_lookup", supported: false, needs: "requires >= v5.9", instead: undefined };
const cookie: Probe = {
  name: "SO_NETNS_COOKIE",
  supported: false,
  needs: "requires >= v5.14",
  instead: "a program's word",
};

/** The probes, where the kernel refuses every program, map and link with `errno`. */
function probeRefusingKernel(errno: string): readonly Probe[] {
  const { bpf } = native;
  native.bpf = (() => ({ fd: undefined, errno })) as typeof bpf;
  try {
    return probeKernel();
  } finally {
    native.bpf = bpf;
  }
}

test("what is missing is said with the release that has it, and with what is used instead", () => {
  assert.equal(missingMessage(lookup), "sk_lookup not supported (requires >= v5.9)");
  assert.equal(missingMessage(cookie), "SO_NETNS_COOKIE not supported (requires >= v5.14); instead: a program's word");
});

test("only what nothing can replace keeps Culvert from starting, and all of it is named at once", () => {
  requireFeatures([cookie, { ...lookup, supported: true }]);
  assert.throws(
    () => requireFeatures([lookup, cookie, { ...lookup, name: "SOCKMAP", needs: "requires >= v4.14" }]),
    /cannot capture: sk_lookup not supported \(requires >= v5\.9\), SOCKMAP not supported \(requires >= v4\.14\); run/,
  );
});

test("on a kernel that refuses every program and map, nothing made of them is supported", () => {
  const outsideBpf = ["SO_NETNS_COOKIE", "tcp_fwmark_accept"];
  const supported = probeRefusingKernel("EINVAL").filter((probe) => probe.supported);
  assert.deepEqual(
    supported.map(({ name }) => name).filter((name) => !outsideBpf.includes(name)),
    [],
  );
});

test("what this process may not try, or has no room for, is an error and no answer", () => {
  assert.throws(() => probeRefusingKernel("EPERM"), /probe the kernel for sk_lookup: .* not permitted; needs CAP_BPF/);
  assert.throws(() => probeRefusingKernel("ENOMEM"), /probe the kernel for sk_lookup: ENOMEM/);
});
