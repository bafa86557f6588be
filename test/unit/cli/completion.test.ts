import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { complete } from "../../../src/cli/completion.ts";
import { createProgram } from "../../../src/cli/program.ts";

const names = {
  workloads: ["default/web-1", "shop/web-1"],
  services: ["default/web", "shop/api"],
  destinations: ["default/web:80", "shop/api:8080"],
};
const answer = (...words: string[]) => complete(createProgram("1.2.3"), words, names);

describe("completion", () => {
  for (const [words, expected] of [
    [["st"], ["status"]],
    [
      ["config", ""],
      ["validate", "help"],
    ],
    [["config", "validate", ""], "files"],
    [["check", "-c", ""], "files"],
    [["check", "--config", "mesh.yaml", "--o"], ["--output"]],
    [
      ["check", "--output", ""],
      ["table", "json"],
    ],
    [["connections", "--direction", "in"], ["inbound"]],
    [
      ["connections", "--pod", ""],
      ["web-1", "shop/web-1"],
    ],
    [["connections", "--service", "s"], ["shop/api"]],
    [
      ["services", ""],
      ["web", "shop/api"],
    ],
    [["why", "w"], ["web-1"]],
    [
      ["why", "web-1", ""],
      ["web:80", "shop/api:8080"],
    ],
    [["why", "-o", "json", "web-1", "web"], ["web:80"]],
    [["why", "web-1", "web:80", ""], []],
    [
      ["log-level", ""],
      ["debug", "info", "warn", "error"],
    ],
    [["status", ""], []],
  ] as const) {
    test(`of "culvert ${words.join(" ")}"`, () => assert.deepEqual(answer(...words), expected));
  }

  test("in bash offers what the command answers, and files where a file is wanted", () => {
    const directory = mkdtempSync(join(tmpdir(), "culvert-completion-"));
    try {
      symlinkSync(join(import.meta.dirname, "../../../bin/culvert"), join(directory, "culvert"));
      writeFileSync(
        join(directory, "ask"),
        `source <(culvert complete bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _culvert; printf '%s\\n' "\${COMPREPLY[@]}"`,
      );
      const bash = (...words: string[]) =>
        execFileSync("bash", [join(directory, "ask"), "culvert", ...words], {
          encoding: "utf8",
          env: { ...process.env, PATH: `${directory}:${process.env.PATH}`, CULVERT_SOCKET: "/nowhere" },
        }).trim();
      assert.equal(bash("connections", "--direction", ""), "outbound\ninbound");
      assert.equal(bash("s"), "status\nservices\nsysdump");
      assert.equal(bash("check", "--config", ""), "");
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test("in zsh offers what the command answers, and files where a file is wanted, sourced or found in fpath", () => {
    const directory = mkdtempSync(join(tmpdir(), "culvert-completion-"));
    try {
      symlinkSync(join(import.meta.dirname, "../../../bin/culvert"), join(directory, "culvert"));
      // The widget's own: what it adds is printed, as no line is edited here.
      writeFileSync(
        join(directory, "ask"),
        `autoload -Uz compinit; compinit -u -D -d ${directory}/dump
        how=$1; shift; words=("$@"); CURRENT=$#
        if [[ $how == sourced ]]; then source <(culvert complete zsh)
        else culvert complete zsh > ${directory}/_culvert; fpath=(${directory} $fpath); compinit -u -D; fi
        compadd() { [[ $1 == -- ]] && shift; print -l -- "$@" }
        _files() { print files }
        $_comps[culvert]`,
      );
      const zsh = (how: string, ...words: string[]) =>
        execFileSync("zsh", ["-f", join(directory, "ask"), how, "culvert", ...words], {
          encoding: "utf8",
          env: { ...process.env, PATH: `${directory}:${process.env.PATH}`, CULVERT_SOCKET: "/nowhere" },
        }).trim();
      for (const how of ["sourced", "in fpath"]) {
        assert.equal(zsh(how, "connections", "--direction", ""), "outbound\ninbound", how);
        assert.equal(zsh(how, "s"), "status\nservices\nsysdump", how);
        assert.equal(zsh(how, "check", "--config", ""), "files", how);
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
