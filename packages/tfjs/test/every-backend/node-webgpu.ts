// Run in a process of its own: webgpu in Node, on whatever adapter Vulkan offers. Prints one line of JSON.
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);
Object.defineProperty(globalThis, "navigator", { value: { gpu: create([]), userAgent: "" }, configurable: true });
// after navigator.gpu, which the backend looks for as it is loaded
await import("@tensorflow/tfjs-backend-webgpu");
const { runEverything } = await import("./report.ts");
console.log(JSON.stringify(await runEverything("webgpu")));
// the adapter keeps the process alive
process.exit(0);
