// Preloaded (`node --import`) by scripts/test-native.sh: src/runtime/native.ts gets the addon that was built with ASan.

import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const addon = process.env.CULVERT_ASAN_ADDON;
if (addon === undefined) throw new Error("CULVERT_ASAN_ADDON is not set; run scripts/test-native.sh");
const path = require.resolve("node-gyp-build");
require(path);
require.cache[path]!.exports = () => require(addon);
