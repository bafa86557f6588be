import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { meshJsonSchema } from "../../../src/discovery/mesh-schema.ts";

interface Schema {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly description?: string;
  readonly additionalProperties?: unknown;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly anyOf?: readonly Schema[];
}

const schema = meshJsonSchema() as Schema;

/** Every schema in it, with its path. */
function* all(it: Schema, path = ""): Generator<[string, Schema]> {
  yield [path, it];
  for (const [key, value] of Object.entries(it.properties ?? {})) yield* all(value, `${path}.${key}`);
  if (it.items !== undefined) yield* all(it.items, `${path}[]`);
  for (const value of it.anyOf ?? []) yield* all(value, path);
}

describe("the JSON Schema of mesh.yaml", () => {
  test("in schema/ is the validator's; npm run schema writes it", () => {
    const published = readFileSync(new URL("../../../schema/mesh.schema.json", import.meta.url), "utf8");
    assert.deepEqual(JSON.parse(published), JSON.parse(JSON.stringify(schema)));
  });

  test("says of every value what it is, and of every mapping that no other key is known", () => {
    for (const [path, it] of all(schema)) {
      assert.ok(it.type !== undefined || it.enum !== undefined || it.anyOf !== undefined, `${path} says nothing`);
      if (it.properties !== undefined) assert.equal(it.additionalProperties, false, path);
    }
  });

  test("knows what is required, what has a default and what words there are", () => {
    const { properties, required } = schema;
    assert.deepEqual(required, ["node"]);
    assert.deepEqual(properties?.node?.required, ["name", "cgroups"]);
    assert.equal(properties?.node?.properties?.drainTimeoutSeconds?.default, 30);
    const service = properties?.services?.items?.properties;
    assert.deepEqual(service?.ports?.items?.properties?.protocol?.enum, ["http", "http2", "grpc", "tls", "opaque"]);
    assert.deepEqual(service?.prefer?.enum, ["none", "zone", "node"]);
  });
});
