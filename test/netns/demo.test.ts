// `npm run demo` tells its story to the end and leaves nothing behind.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { projectRoot } from "./harness/tools.ts";

test("the demo runs to its end: no request fails but those cut by kill -9, and every client is answered", async () => {
  // It dies with this process, and with it what it made.
  const words = ["--pdeathsig", "TERM", "--", process.execPath, join(projectRoot, "test/demo/demo.ts")];
  const { stdout } = await promisify(execFile)("setpriv", words, { maxBuffer: 2 ** 24 });
  const told = [
    /PostgreSQL on node b/,
    /hello from sshd/,
    /taken, SMTP code 250/,
    /did you mean zone\?/,
    /the proxy carries it/,
    /endpoint recovered: default\/web-1/,
    /exit code on node a +0/,
    /exit code on node b +0/,
    /are removed\.\s*$/,
  ];
  for (const each of told) assert.match(stdout, each);
  assert.deepEqual(
    [...stdout.matchAll(/^ +failed +(\S+)$/gm)].map(([, count]) => count),
    ["0", "0"],
  );
});
