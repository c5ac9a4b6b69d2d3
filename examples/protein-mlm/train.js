// Trains in Node on the wasm backend: node train.js [steps]
import { readFileSync } from "node:fs";
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { version_wasm as wasm } from "@tensorflow/tfjs-backend-wasm";
import { readFasta, unigramEntropy } from "./masking.js";
import { createModel, train, validate } from "./training.js";

tf.enableProdMode();
await tf.setBackend("wasm");
repairBackend();

const read = (name) => readFasta(readFileSync(new URL(`data/${name}.fasta`, import.meta.url), "utf8"));
const [sequences, held] = [read("train"), read("validation")];
const steps = Number(process.argv[2] ?? 300);
const model = createModel();
console.log(`wasm backend ${wasm}`);
console.log(`entropy of single residues ${unigramEntropy(held).toFixed(2)} nats`);
const begun = performance.now();
for await (const { step, loss } of train(model, sequences, steps)) {
  if (step % 20 === 0 || step === steps) console.log(`step ${String(step).padStart(4)}  loss ${loss.toFixed(2)}`);
}
const perStep = (performance.now() - begun) / steps;
console.log(`held-out loss ${(await validate(model, held)).toFixed(2)}, ${perStep.toFixed(0)} ms per step`);
