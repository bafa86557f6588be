// The process holds every key of its node: nobody looks into it, by a debugger, a core dump or another process.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { nginx } from "./harness/applications.ts";
import { Mesh } from "./harness/mesh.ts";
import { projectRoot } from "./harness/tools.ts";

test("SIGUSR1 and NODE_OPTIONS open no inspector, there are no core dumps, and traffic goes on", async () => {
  await using mesh = await Mesh.start();
  const node = mesh.node("a");
  const client = node.pod("client");
  const web = mesh.service("web", { port: 80, endpoints: [node.pod("web").serve(nginx())] });
  const culvert = await node.culvert({ env: { NODE_OPTIONS: "--inspect=127.0.0.1:9229" } });
  process.kill(culvert.pid, "SIGUSR1");
  await client.run("curl", "-sS", `http://${web.ipv4}/`);
  await culvert.connections(1);
  assert.doesNotMatch(readFileSync(`/proc/${culvert.pid}/net/tcp`, "utf8"), /0100007F:240D 00000000:0000 0A/);
  assert.match(readFileSync(`/proc/${culvert.pid}/limits`, "utf8"), /^Max core file size +0 +0 /m);
});

// Root may look into anything by CAP_SYS_PTRACE; without it, what decides is whether the process can be dumped.
const withoutPtrace = ["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace", "--"];

async function canLookInto(pid: number): Promise<boolean> {
  const looking = spawn("setpriv", [...withoutPtrace, "sh", "-c", `exec 3</proc/${pid}/mem && echo opened`], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [output, errors] = await Promise.all([text(looking.stdout), text(looking.stderr)]);
  assert.ok(output === "opened\n" || errors.includes("Permission denied"), errors);
  return output === "opened\n";
}

test("a process of the same user cannot look into one that has hardened itself", async () => {
  const program = `
    import { native } from "${projectRoot}/src/runtime/native.ts";
    console.log("started");
    process.stdin.once("data", () => { native.hardenProcess(); console.log("hardened"); });
  `;
  const node = spawn("setpriv", [...withoutPtrace, process.execPath, "--input-type=module-typescript", "-e", program], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  try {
    await once(node.stdout, "data");
    assert.equal(await canLookInto(node.pid!), true, "or the test would show nothing");
    node.stdin.write("now\n");
    await once(node.stdout, "data");
    assert.equal(await canLookInto(node.pid!), false);
  } finally {
    node.kill("SIGKILL");
  }
});
