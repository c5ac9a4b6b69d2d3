import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import * as tf from "@tensorflow/tfjs";

import type { BackendAttempt } from "./backend.ts";

/** The parts of a WebGPU adapter and device that we use. Node lacks the browser's types. */
interface Adapter {
  readonly info?: { readonly vendor?: string; readonly architecture?: string; readonly description?: string };
  readonly isFallbackAdapter?: boolean;
}
interface Device {
  addEventListener(type: "uncapturederror", listener: (event: { readonly error: Error }) => void): void;
  readonly lost: Promise<{ readonly reason: string; readonly message: string }>;
}
interface WebGpuPackage {
  create(options: readonly string[]): { requestAdapter(options: object): Promise<Adapter | null> };
  readonly globals: Readonly<Record<string, unknown>>;
}

const software = /swiftshader|llvmpipe|lavapipe|software|basic render/i;

/**
 * Opens WebGPU in Node through Dawn (the npm package `webgpu`), on any vendor's adapter. Errors of the device are
 * collected, because it never throws.
 *
 * @param onlyReal - refuse software adapters.
 */
export async function openWebGpu(onlyReal: boolean): Promise<BackendAttempt> {
  let webgpu: WebGpuPackage;
  try {
    webgpu = (await import("webgpu" as string)) as WebGpuPackage;
  } catch (error) {
    return {
      missing: `The package webgpu does not load (${firstLine(error)}). To train on a GPU, install webgpu and @tensorflow/tfjs-backend-webgpu.`,
    };
  }
  const noAdapter = "There is no WebGPU adapter: no GPU, or no Vulkan, Metal or D3D12 driver.";
  if (onlyReal && !findsAdapter()) return { missing: noAdapter };
  let adapter: Adapter | null;
  try {
    // Before loading tfjs's backend, which looks for both.
    const gpu = webgpu.create([]);
    // Node has a navigator since version 21.
    if (!("navigator" in globalThis)) Object.defineProperty(globalThis, "navigator", { value: {}, configurable: true });
    const { navigator } = globalThis as { readonly navigator?: object };
    Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });
    Object.assign(globalThis, webgpu.globals);
    adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  } catch (error) {
    return { missing: `WebGPU does not start (${firstLine(error)}).` };
  }
  if (adapter === null) return { missing: noAdapter };
  const { vendor = "", architecture = "", description = "" } = adapter.info ?? {};
  const name = [vendor, architecture, description].filter((part) => part !== "").join(" ");
  if (onlyReal && (adapter.isFallbackAdapter === true || software.test(name))) {
    return { missing: `The only WebGPU adapter (${name}) is a software adapter, which is slower than wasm.` };
  }
  try {
    await import("@tensorflow/tfjs-backend-webgpu");
    if (!(await tf.setBackend("webgpu"))) return { missing: `tfjs does not start on the WebGPU adapter ${name}.` };
    await tf.ready();
  } catch (error) {
    return { missing: `tfjs does not start on the WebGPU adapter ${name} (${firstLine(error)}).` };
  }
  const faults: Error[] = [];
  const device = deviceOf(tf.backend());
  device.addEventListener("uncapturederror", ({ error }) => faults.push(error));
  void device.lost.then(({ reason, message }) => faults.push(new Error(`device lost (${reason}): ${message}`)));
  return { name: "webgpu", description: `webgpu (${name})`, fault: () => faults.shift() };
}

/**
 * Whether Dawn finds an adapter. This runs in a separate process: if there is none, Dawn prints the driver's complaints to
 * stderr, which would only confuse users without a GPU.
 */
function findsAdapter(): boolean {
  const program = `
    const { create } = await import("webgpu");
    process.exit((await create([]).requestAdapter({ powerPreference: "high-performance" })) === null ? 1 : 0);`;
  const { status } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
    cwd: fileURLToPath(new URL(".", import.meta.url)),
    stdio: "ignore",
    timeout: 30_000,
  });
  return status === 0;
}

/** The backend's device, which its type does not declare. */
function deviceOf(backend: object): Device {
  return (backend as { readonly device: Device }).device;
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0]!;
}
