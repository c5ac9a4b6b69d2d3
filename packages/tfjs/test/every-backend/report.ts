import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { checks, takeLargestError } from "./checks.ts";
import type { Check } from "./checks.ts";
import { faults, isWrong } from "./faults.ts";
import { halfPrecisionChecks } from "./half-precision.ts";

/** What a backend did; plain JSON. */
export interface Report {
  readonly backend: string;
  /** What wasm's memory is made of: "ArrayBuffer", or "SharedArrayBuffer" with threads. */
  readonly memory?: string | undefined;
  /** Names of faults that tfjs had by itself, and of those that are left after the repair. */
  readonly faultsBefore: readonly string[];
  readonly faultsAfter: readonly string[];
  /** By name of a check: "passed", or why not. */
  readonly results: Readonly<Record<string, string>>;
  /** By name of a check: the largest relative error of what it compared. */
  readonly errors: Readonly<Record<string, number>>;
  /** webgpu's errors, which never throw, of everything but the faults before the repair. */
  readonly deviceErrors: readonly string[];
}

interface WasmModule {
  readonly HEAPU8: { readonly buffer: object };
}

interface WebGpuDevice {
  addEventListener(type: "uncapturederror", listener: (event: { error: { message: string } }) => void): void;
  readonly queue: { onSubmittedWorkDone(): Promise<void> };
}

/** Runs everything on a backend that is registered. Rejects if it does not start. */
export async function runEverything(backend: string): Promise<Report> {
  tf.enableProdMode();
  if (!(await tf.setBackend(backend))) throw new Error(`backend ${backend} did not start`);
  await tf.ready();
  const device: WebGpuDevice | undefined = Reflect.get(tf.backend(), "device");
  const deviceErrors: string[] = [];
  device?.addEventListener("uncapturederror", ({ error }) => void deviceErrors.push(error.message));
  const present = async (): Promise<string[]> => {
    const wrong: string[] = [];
    for (const fault of faults) {
      if (fault.backends.includes(backend) && (await isWrong(fault))) wrong.push(fault.name);
    }
    await device?.queue.onSubmittedWorkDone();
    return wrong;
  };
  const faultsBefore = await present();
  deviceErrors.length = 0;
  repairBackend(backend);
  const faultsAfter = await present();
  const { results, errors } = await outcomesOf(checks);
  await device?.queue.onSubmittedWorkDone();
  const wasm: WasmModule | undefined = Reflect.get(tf.backend(), "wasm");
  return {
    backend,
    memory: wasm?.HEAPU8.buffer.constructor.name,
    faultsBefore,
    faultsAfter,
    results,
    errors,
    deviceErrors,
  };
}

/** Runs what must hold on WebGL with half-precision textures; in a page where nothing has used WebGL before. */
export async function runHalfPrecision(): Promise<Report> {
  tf.enableProdMode();
  tf.env().set("WEBGL_FORCE_F16_TEXTURES", true);
  if (!(await tf.setBackend("webgl"))) throw new Error("webgl did not start");
  await tf.ready();
  const { results, errors } = await outcomesOf(halfPrecisionChecks);
  return { backend: "webgl", faultsBefore: [], faultsAfter: [], results, errors, deviceErrors: [] };
}

async function outcomesOf(run: readonly Check[]): Promise<Pick<Report, "results" | "errors">> {
  const results: Record<string, string> = {};
  const errors: Record<string, number> = {};
  for (const check of run) {
    takeLargestError();
    tf.engine().startScope();
    results[check.name] = await check.run().then(
      () => "passed",
      (error: unknown) => String(error),
    );
    tf.engine().endScope();
    errors[check.name] = takeLargestError();
  }
  return { results, errors };
}
