// The other process of save.test.ts: node load.js BUNDLE MODEL.json TFJS WASM; prints the outputs as hexadecimal.
import { readFileSync } from "node:fs";

const [bundle, saved, tfjs, wasm, backend] = process.argv.slice(2);
const { default: tf } = await import(tfjs);
await import(wasm);
await import(bundle);
tf.enableProdMode();
await tf.setBackend(backend);
const { modelTopology, weightSpecs, weightData, input } = JSON.parse(readFileSync(saved, "utf8"));
const weights = Uint8Array.from(Buffer.from(weightData, "base64")).buffer;
const model = await tf.loadLayersModel(tf.io.fromMemory({ modelTopology, weightSpecs, weightData: weights }));
const output = model.predict(tf.tensor2d(input)).dataSync();
process.stdout.write(Buffer.from(output.buffer, output.byteOffset, output.byteLength).toString("hex"));
