// npm run schema: writes schema/mesh.schema.json, which the package publishes for editors. A test fails while it is out of date.

import { writeFileSync } from "node:fs";
import { meshJsonSchema } from "../src/discovery/mesh-schema.ts";

writeFileSync(new URL("../schema/mesh.schema.json", import.meta.url), `${JSON.stringify(meshJsonSchema(), null, 2)}\n`);
