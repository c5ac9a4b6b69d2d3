/**
 * Runs ONNX's own tests of single operators, those of the onnx wheel, on TensorFlow.js: how many are right, refused by
 * name, wrong.
 *
 *   npm run build && npm run node-tests -w @favor/conformance -- --page docs/measurements/onnx-node-tests.md
 *
 * --backends cpu,wasm  the backends of tfjs; default: both
 * --only PATTERN       tests whose names match
 * --page FILE          writes the page, from the top of the repository
 * --tests FILE         the tests as JSON Lines, instead of those of the wheel
 * --environments DIR   where the virtual environment is, or is made; default: .venv of the repository
 *
 * Prints every test that is wrong. Exit code 1 if there is one.
 */
import { createReadStream, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { version_wasm as wasmVersion } from "@tensorflow/tfjs-backend-wasm";
import { defaultEnvironments, pythonWith, scriptsOf } from "../python-environment.ts";
import { outcomeOf, type NodeTest, type Outcome } from "./outcome.ts";
import { pageOf } from "./page.ts";

const { values } = parseArgs({
  options: {
    backends: { type: "string", default: "cpu,wasm" },
    only: { type: "string", default: "" },
    page: { type: "string" },
    tests: { type: "string" },
    environments: { type: "string", default: defaultEnvironments },
  },
});

const onnxVersion = "1.23.2";
tf.enableProdMode();
const only = new RegExp(values.only);
const tests: NodeTest[] = [];
for await (const line of createInterface(testLines())) {
  const given = JSON.parse(line) as NodeTest;
  if (only.test(given.name)) tests.push(given);
}

const outcomes = new Map<string, ReadonlyMap<string, Outcome>>();
for (const backend of values.backends.split(",")) {
  if (!(await tf.setBackend(backend))) throw new Error(`backend ${backend} did not start`);
  repairBackend();
  const found = new Map<string, Outcome>();
  for (const given of tests) {
    const outcome = await outcomeOf(given);
    found.set(given.name, outcome);
    if (outcome.result === "wrong") console.log(`${backend} ${given.name}: ${outcome.found}`);
  }
  outcomes.set(backend, found);
  const results = [...found.values()].map(({ result }) => result);
  const count = (wanted: Outcome["result"]): number => results.filter((result) => result === wanted).length;
  console.log(
    `${backend}: ${results.length} tests, ${count("right")} right, ${count("refused")} refused by name, ` +
      `${count("wrong")} wrong, ${count("no numbers")} of values that are no numbers`,
  );
  if (count("wrong") > 0) process.exitCode = 1;
}
if (values.page !== undefined) writeFileSync(values.page, pageOf(outcomes, { onnx: onnxVersion, tfjs: wasmVersion }));

function testLines(): NodeJS.ReadableStream {
  if (values.tests !== undefined) return createReadStream(values.tests);
  const scripts = scriptsOf("node-tests");
  const python = pythonWith(join(scripts, "requirements.txt"), values.environments, `onnx-${onnxVersion}`);
  return spawn(python, [join(scripts, "write_tests.py")], { stdio: ["ignore", "pipe", "inherit"] }).stdout;
}
