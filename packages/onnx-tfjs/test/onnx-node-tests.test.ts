import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { DataType, decodeModel } from "@favor/onnx";
import { decodeTensor, type Tensor } from "@favor/onnx/evaluate";
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, test } from "vitest";
import { OnnxModel } from "../src/index.ts";
import { backends } from "@favor/test-support/backends";

/** A backend test of ONNX, see packages/onnx/test/evaluate/fixtures/make-node-tests.py. */
interface NodeTest {
  readonly name: string;
  readonly rtol: number;
  readonly atol: number;
  readonly model: string;
  readonly values: string;
}

const file = new URL("../../test-support/fixtures/node-tests.jsonl.gz", import.meta.url);
const nodeTests = gunzipSync(readFileSync(file))
  .toString()
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line) as NodeTest);

const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"));

/** tfjs computes in float32: what is computed in these types differs by their rounding. */
const coarse: ReadonlyMap<number, number> = new Map([
  [DataType.FLOAT16, 2 ** -8],
  [DataType.BFLOAT16, 2 ** -5],
]);

/** What is wrong with an output, in words. */
function fault(found: tf.Tensor, expected: Tensor, { rtol, atol }: NodeTest): string[] {
  const { dims, data, dataType } = expected;
  if (found.shape.join() !== dims.join()) return [`shape [${found.shape.join()}], not [${dims.join()}]`];
  const relative = Math.max(rtol, 1e-4, coarse.get(dataType) ?? 0);
  const values = found.dataSync();
  const wrong = [...data].findIndex((value, i) => {
    if (values[i] === value || (Number.isNaN(value) && Number.isNaN(values[i]))) return false;
    return !(Math.abs(values[i]! - value) <= Math.max(atol, 1e-5) + relative * Math.abs(value));
  });
  return wrong < 0 ? [] : [`element ${wrong} is ${values[wrong]}, not ${data[wrong]}`];
}

/** Forms of operators that do not run, and say so. */
const unsupported = /^test_(scatternd|scatter_elements_with_reduction)_(max|min|mul)/;

async function faults(given: NodeTest): Promise<string[]> {
  const values = new Map(decodeModel(bytes(given.values)).graph.initializer.map((tensor) => [tensor.name, tensor]));
  const model = await OnnxModel.load(decodeModel(bytes(given.model)));
  const feeds = Object.fromEntries(model.inputs.map(({ name }) => [name, decodeTensor(values.get(`in.${name}`)!)]));
  const results = model.run(feeds);
  const found = model.outputs.flatMap(({ name }) =>
    fault(results[name]!, decodeTensor(values.get(`out.${name}`)!), given),
  );
  tf.dispose(results);
  model.dispose();
  return found;
}

describe.each(backends)("ONNX's own tests of single operators on %s", (backend) => {
  beforeAll(async () => {
    await tf.setBackend(backend);
    repairBackend();
  });

  const run = nodeTests.filter(({ name }) => !unsupported.test(name));
  test.each(run)("$name", async (given) => {
    expect(await faults(given)).toEqual([]);
  });

  test.each(nodeTests.filter(({ name }) => unsupported.test(name)))("$name is refused", async (given) => {
    await expect(faults(given)).rejects.toMatchObject({ code: "unsupported-operator" });
  });
});
