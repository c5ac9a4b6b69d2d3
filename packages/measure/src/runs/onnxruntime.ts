import { createRequire } from "node:module";

import type * as Runtime from "onnxruntime-node";

// From 1.30 on, onnxruntime sends telemetry unless this is set: names and metadata of models, and an id of the machine
// that it keeps in the home folder. It reads the environment of the process when it starts, so a worker thread, which has
// a copy of its own, must be started by a process that has the variable.
process.env["ORT_DISABLE_TELEMETRY"] = "1";

/** `onnxruntime-node`, with its telemetry switched off. Everything of the family loads it from here. */
// `require` rather than `import`: an import would run before the line above.
export const onnxruntime: typeof Runtime = createRequire(import.meta.url)("onnxruntime-node") as typeof Runtime;
