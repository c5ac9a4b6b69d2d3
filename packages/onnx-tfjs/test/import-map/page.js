// A page without a bundler: what the packages publish, found by an import map.
import { favorAttention } from "@favor/tfjs/operations";
import { decodeModel } from "@favor/onnx";
import { OnnxModel } from "@favor/onnx-tfjs";
import { convertAttention } from "@favor/rewriter";
import * as tf from "@tensorflow/tfjs-core";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";

async function report() {
  setWasmPaths("/wasm/");
  await tf.setBackend("wasm");
  const featureMap = {
    version: 1,
    kind: "positive",
    projection: { kind: "orthogonal", count: 16, dim: 4, seed: 1 },
  };
  const q = tf.ones([1, 2, 5, 4]);
  const attended = await favorAttention(q, q, q, { featureMap, causal: true }).data();
  const bytes = new Uint8Array(await (await fetch("/model.onnx")).arrayBuffer());
  const feeds = {};
  for (const [name, value] of Object.entries({ input_ids: 7, attention_mask: 1, token_type_ids: 0 })) {
    feeds[name] = { dims: [1, 8], data: new Int32Array(8).fill(value) };
  }
  const logits = async (source) => {
    const model = await OnnxModel.load(source);
    return Array.from(await model.run(feeds).logits.data());
  };
  const converted = await convertAttention(decodeModel(bytes), {});
  return {
    attended: Array.from(attended),
    logits: await logits(bytes),
    converted: await logits(converted.model),
  };
}

const body = JSON.stringify(await report().catch((error) => ({ error: String(error) })));
await fetch("/report", { method: "POST", body });
