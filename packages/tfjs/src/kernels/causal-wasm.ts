import type * as tf from "@tensorflow/tfjs-core";
import { causalCall, fillGates } from "./causal-inputs.ts";
import { moduleOn } from "./wasm-module.ts";
import type { WasmBackend } from "./wasm-backend.ts";

/** Causal linear attention by the module of assembly/, which works in the memory of the backend: nothing is copied. */
export const causalOnWasm: tf.KernelFunc = ({ inputs, backend, attrs }) => {
  const storage = backend as WasmBackend;
  const call = causalCall(inputs, attrs);
  const { groups, length, features, width, reverse } = call;
  const y = storage.makeOutput([groups, length, width], "float32");
  const gates = storage.makeOutput([length], "float32");
  const state = storage.makeOutput([features, Math.ceil(width / 4) * 4], "float32");
  // only after the last allocation, which may have moved the memory's buffer
  const memory = storage.wasm.asm?.memory ?? storage.wasm.wasmMemory!;
  const at = ({ dataId }: tf.TensorInfo): number => storage.dataIdMap.get(dataId).memoryOffset;
  const array = (address: number): Float32Array => new Float32Array(memory.buffer, address, length);
  const attend = moduleOn(memory).causalLinearAttention;
  for (let group = 0; group < groups; group++) {
    const row = group * length * 4;
    fillGates(array(at(gates)), array(at(call.reference) + row), reverse);
    const [featureRow, valueRow] = [row * features, row * width];
    const [q, k] = [at(call.q) + featureRow, at(call.k) + featureRow];
    attend(at(y) + valueRow, q, k, at(call.v) + valueRow, at(gates), at(state), length, features, width, reverse);
  }
  for (const { dataId } of [gates, state]) storage.disposeData(dataId);
  return y;
};
