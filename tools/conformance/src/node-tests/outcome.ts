import { decodeModel, type TensorProto } from "@favor/onnx";
import { decodeTensor, isSupportedType } from "@favor/onnx/evaluate";
import { OnnxModel, UnsupportedOperatorError } from "@favor/onnx-tfjs";
import { difference } from "@favor/test-support/tensor-comparison";
import * as tf from "@tensorflow/tfjs";

/** A test of ONNX, see python/node-tests/write_tests.py. */
export interface NodeTest {
  readonly name: string;
  readonly rtol: number;
  readonly atol: number;
  /** base64 */
  readonly model: string;
  /** base64; null if one of them is no tensor of numbers */
  readonly values: string | null;
}

/** What came of a test; "no numbers" are strings, sequences, optional values and scales of MX formats. `operator` is that of the node that is refused, as `domain:opType`. */
export type Outcome =
  | { readonly result: "right" }
  | { readonly result: "no numbers" }
  | { readonly result: "refused"; readonly operator: string; readonly reason: string }
  | { readonly result: "wrong"; readonly found: string };

const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));

/** Runs a test on the backend in use. All is computed in float32: the tolerances are at least its rounding. */
export async function outcomeOf(given: NodeTest): Promise<Outcome> {
  if (given.values === null) return { result: "no numbers" };
  const { initializer } = decodeModel(bytes(given.values)).graph;
  if (!initializer.every(({ dataType }) => isSupportedType(dataType))) return { result: "no numbers" };
  const values = new Map(initializer.map((tensor) => [tensor.name, tensor]));
  try {
    const found = await differenceOf(given, values);
    return found === undefined ? { result: "right" } : { result: "wrong", found };
  } catch (error) {
    if (!(error instanceof UnsupportedOperatorError)) return { result: "wrong", found: String(error) };
    const { domain, opType, reason } = error.details;
    return { result: "refused", operator: `${String(domain)}:${String(opType)}`, reason: String(reason) };
  }
}

async function differenceOf(given: NodeTest, values: ReadonlyMap<string, TensorProto>): Promise<string | undefined> {
  const model = await OnnxModel.load(bytes(given.model));
  try {
    const feeds = Object.fromEntries(model.inputs.map(({ name }) => [name, decodeTensor(values.get(`in.${name}`)!)]));
    const results = model.run(feeds);
    for (const { name } of model.outputs) {
      const expected = decodeTensor(values.get(`out.${name}`)!);
      const { shape: dims } = results[name]!;
      // tfjs has one type of floats, one of integers and one of booleans.
      const found = { dims, dataType: expected.dataType, data: Float64Array.from(results[name]!.dataSync()) };
      const where = difference(found, expected, Math.max(given.rtol, 1e-4), Math.max(given.atol, 1e-5));
      if (where !== undefined) return `${name}: ${where}`;
    }
    tf.dispose(results);
    return undefined;
  } finally {
    model.dispose();
  }
}
