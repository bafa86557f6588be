// mesh.yaml's shape as JSON Schema, for editors: each kind of value (fields.ts) carries what JSON Schema can say of it, so the
// published schema is that of the validator. What it cannot say (references, uniqueness) only the validator checks.
// @valibot/to-json-schema knows valibot's own schemas only, of which mesh.yaml has hardly any.

import * as v from "valibot";

export type JsonSchema = Readonly<Record<string, unknown>>;

/** The part of a pipe that says what JSON Schema the value has; several in a pipe are joined. */
export function describedAs<T>(schema: JsonSchema) {
  return v.metadata<T, JsonSchema>(schema);
}

export function jsonSchemaOf(schema: v.GenericSchema): JsonSchema {
  if (!isOptional(schema)) return v.getMetadata(schema);
  const { wrapped, default: fallback } = schema;
  return { ...jsonSchemaOf(wrapped), ...(fallback !== undefined && { default: fallback }) };
}

function isOptional(schema: v.GenericSchema): schema is v.OptionalSchema<v.GenericSchema, unknown> {
  return schema.type === "optional";
}
