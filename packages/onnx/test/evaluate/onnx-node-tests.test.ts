import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { decodeModel } from "../../src/model/decode.ts";
import { evaluateGraph } from "../../src/evaluate/graph.ts";
import { decodeTensor } from "../../src/evaluate/tensor.ts";
import { difference } from "@favor/test-support/tensor-comparison";

/** A backend test of ONNX, see fixtures/make-node-tests.py. */
interface NodeTest {
  readonly name: string;
  readonly rtol: number;
  readonly atol: number;
  readonly model: string;
  readonly values: string;
}

const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"));

const lines = gunzipSync(
  readFileSync(
    process.env.NODE_TESTS ?? new URL("../../../test-support/fixtures/node-tests.jsonl.gz", import.meta.url),
  ),
)
  .toString()
  .trimEnd()
  .split("\n");
const nodeTests = lines.map((line) => JSON.parse(line) as NodeTest);

describe("ONNX's own backend tests of single operators", () => {
  test("are there", () => expect(nodeTests.length).toBeGreaterThan(1000));

  test.each(nodeTests)("$name", ({ model, values, rtol, atol }) => {
    const { graph, opsetImport, functions } = decodeModel(bytes(model));
    const tensors = decodeModel(bytes(values)).graph.initializer;
    const feeds = new Map(
      graph.input.map(({ name }) => {
        const tensor = tensors.find((candidate) => candidate.name === `in.${name}`);
        return [name, decodeTensor(tensor!)];
      }),
    );
    const wanted = graph.output.map(({ name }) => name);
    const results = evaluateGraph(graph.node, wanted, feeds, {
      opsets: new Map(opsetImport.map(({ domain, version }) => [domain, version.toNumber()])),
      initializer: (name) => graph.initializer.find((tensor) => tensor.name === name),
      functions,
    });
    for (const name of wanted) {
      const expected = decodeTensor(tensors.find((tensor) => tensor.name === `out.${name}`)!);
      expect(difference(results.get(name)!, expected, rtol, atol)).toBeUndefined();
    }
  });
});
