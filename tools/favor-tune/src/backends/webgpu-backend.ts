import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

import * as tf from "@tensorflow/tfjs";

import type { BackendAttempt } from "./backend.ts";

/** What we use of a WebGPU adapter and device; the types of a browser are not there in Node. */
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
 * WebGPU in Node by Dawn (the npm package `webgpu`): any vendor's adapter. Errors of the device are collected, for it
 * throws none.
 *
 * @param onlyReal - refuse an adapter that computes on the processor.
 */
export async function openWebGpu(onlyReal: boolean): Promise<BackendAttempt> {
  let webgpu: WebGpuPackage;
  try {
    webgpu = (await import("webgpu" as string)) as WebGpuPackage;
  } catch (error) {
    return { missing: `The package webgpu does not load here (${firstLine(error)}).` };
  }
  const noAdapter = "There is no WebGPU adapter: no GPU, or no Vulkan, Metal or D3D12 driver.";
  if (onlyReal && !findsAdapter()) return { missing: noAdapter };
  let adapter: Adapter | null;
  try {
    // Before tfjs' backend is loaded: it looks for both.
    const gpu = webgpu.create([]);
    // Node has a navigator from version 21 on.
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
    return { missing: `The only WebGPU adapter (${name}) is software, slower than wasm.` };
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
 * Whether Dawn finds an adapter, asked in a process of its own: where it finds none it writes the driver's complaints to
 * stderr itself, which tell a person without a GPU nothing.
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

/** The backend's device, which its declared type does not show. */
function deviceOf(backend: object): Device {
  return (backend as { readonly device: Device }).device;
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0]!;
}
