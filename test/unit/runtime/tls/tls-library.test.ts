// The addon runs on Node's own OpenSSL or not at all.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../../", import.meta.url));
const addon = join(root, "native/build/Release/culvert.node");
const directory = mkdtempSync(join(tmpdir(), "culvert-tls-library-"));
after(() => rmSync(directory, { recursive: true }));

/** Builds the check alone, with headers of `include`, into a program that prints the problem. */
function problemOf(libraries: readonly string[], include: string): string {
  const source = join(directory, "main.cc");
  const program = join(directory, "check");
  writeFileSync(
    source,
    `#include "tls/tls_library.h"\n#include <cstdio>\nint main() { printf("%s", culvert::TlsLibraryProblem().c_str()); }\n`,
  );
  const sources = [source, join(root, "native/tls/tls_library.cc")];
  const options = ["-std=c++20", "-I", include, "-I", join(root, "native"), "-Wl,--no-as-needed", ...libraries];
  const built = spawnSync("g++", [...sources, "-o", program, ...options], { encoding: "utf8" });
  assert.equal(built.status, 0, built.stderr);
  return spawnSync(program, { encoding: "utf8" }).stdout;
}

const nodeHeaders = join(root, "node_modules", `node-linux-${process.arch}`, "include/node");

test("a program without OpenSSL is refused in words", () => {
  assert.match(problemOf([], nodeHeaders), /^this program does not export OpenSSL's \w+$/);
});

test("a program with another version of OpenSSL than the headers' is refused in words", () => {
  assert.match(
    problemOf(["-lssl", "-lcrypto"], nodeHeaders),
    /^this program has OpenSSL 3\.0\.\d+, the addon was built for 3\.5\.\d+$/,
  );
});

test("a program with the OpenSSL of the headers is taken", () => {
  assert.equal(problemOf(["-lssl", "-lcrypto"], "/usr/include"), "");
});

test("the addon does not load into a Node with another OpenSSL, and says what to run it with", (t) => {
  const other = "/usr/bin/node";
  if (!existsSync(other)) return t.skip(`${other} is not there`);
  const version = spawnSync(other, ["-p", "process.versions.openssl"], { encoding: "utf8" }).stdout.trim();
  const minor = (text: string) => text.split(".").slice(0, 2).join(".");
  if (minor(version) === minor(process.versions.openssl)) return t.skip(`${other} has the same OpenSSL`);
  const { stderr } = spawnSync(other, ["-e", `require(${JSON.stringify(addon)})`], { encoding: "utf8" });
  assert.match(
    stderr,
    /Error: load the addon: this program (has OpenSSL|does not export).*; run it with the pinned Node/,
  );
});

test("the addon links no OpenSSL, and every function of it that it calls is looked for at the start", () => {
  const needed = spawnSync("readelf", ["-d", addon], { encoding: "utf8" }).stdout;
  assert.match(needed, /libbpf/);
  assert.doesNotMatch(needed, /libssl|libcrypto/);
  const symbols = spawnSync("nm", ["-D", "--undefined-only", addon], { encoding: "utf8" }).stdout;
  const called = [...symbols.matchAll(/ U ((?:ASN1|BIO|CRYPTO|ERR|EVP|OPENSSL|OpenSSL|SSL|TLS|X509|d2i|i2d)_\w+)$/gm)];
  const source = readFileSync(join(root, "native/tls/tls_library.cc"), "utf8");
  const checked = new Set([...source.matchAll(/^ {4}"(\w+)",$/gm)].map((match) => match[1]));
  assert.ok(called.length > 40, `${called.length} functions`);
  assert.deepEqual(
    called.map((match) => match[1]).filter((name) => !checked.has(name)),
    [],
  );
});
