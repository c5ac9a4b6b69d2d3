// The page: reads the sequences, trains, and plots the loss as it falls.
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import plain from "@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm.wasm?url";
import simd from "@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm-simd.wasm?url";
import threaded from "@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm-threaded-simd.wasm?url";
import uPlot from "uplot";
import plotStyle from "uplot/dist/uPlot.min.css?url";
import trainingData from "./data/train.fasta?raw";
import validationData from "./data/validation.fasta?raw";
import { readFasta, unigramEntropy } from "./masking.js";
import { createModel, train, validate } from "./training.js";

setWasmPaths({
  "tfjs-backend-wasm.wasm": plain,
  "tfjs-backend-wasm-simd.wasm": simd,
  "tfjs-backend-wasm-threaded-simd.wasm": threaded,
});

document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: plotStyle }));

const steps = 300;
const [sequences, held] = [readFasta(trainingData), readFasta(validationData)];
const entropy = unigramEntropy(held);
const [start, backend, status] = ["start", "backend", "status"].map((id) => document.getElementById(id));

const box = document.getElementById("plot");
const plot = new uPlot(
  {
    width: Math.min(720, box.clientWidth),
    height: 360,
    scales: { x: { time: false, range: [0, steps] }, y: { range: [0, 5] } },
    axes: [{ label: "step" }, { label: "nats per hidden residue" }],
    series: [
      { label: "step" },
      { label: "loss", stroke: "#1f6feb", width: 2 },
      { label: "single residues", stroke: "#888", dash: [6, 6] },
    ],
  },
  [[], [], []],
  box,
);

start.addEventListener("click", async () => {
  start.disabled = true;
  tf.enableProdMode();
  await tf.setBackend(backend.value);
  repairBackend();
  const model = createModel();
  const [xs, losses] = [[0], [null]];
  for await (const { step, loss } of train(model, sequences, steps)) {
    xs.push(step);
    losses.push(loss);
    status.textContent = `step ${step} of ${steps}, loss ${loss.toFixed(2)}`;
    plot.setData([xs, losses, xs.map(() => entropy)]);
    // lets the page paint
    await tf.nextFrame();
  }
  status.textContent = `held-out loss ${(await validate(model, held)).toFixed(2)}`;
  model.dispose();
  start.disabled = false;
});
