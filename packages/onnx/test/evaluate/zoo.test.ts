import Long from "long";
import { describe, expect, test } from "vitest";
import { openModel } from "../../src/node/open-model.ts";
import { createMessage } from "../../src/model/schema.ts";
import { evaluateGraph } from "../../src/evaluate/graph.ts";
import { decodeTensor, type Tensor } from "../../src/evaluate/tensor.ts";
import { hasSharedZoo, sharedZoo } from "@favor/test-support/zoo/folder";
import type { ZooEntry } from "@favor/test-support/zoo/manifest";
import { readNpz, type NpyArray } from "@favor/test-support/zoo/npz";
import { difference } from "@favor/test-support/tensor-comparison";

function tensorOfNpy({ dims, dataType, bytes }: NpyArray): Tensor {
  return decodeTensor(
    createMessage("TensorProto", { dims: dims.map((dim) => Long.fromNumber(dim)), dataType, rawData: bytes }),
  );
}

/** Evaluates the model on its first sample; what differs from the expected outputs, in words. */
async function differences(entry: ZooEntry): Promise<string[]> {
  const { model, close } = await openModel(sharedZoo.path(entry.model));
  try {
    const { graph } = model;
    const initializers = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
    const arrays = [...readNpz(sharedZoo.read(entry.samples[0]!))];
    const named = (prefix: string) =>
      new Map(
        arrays.flatMap(([name, array]): [string, Tensor][] =>
          name.startsWith(prefix) ? [[name.slice(prefix.length), tensorOfNpy(array)]] : [],
        ),
      );
    const expected = named("out.");
    const results = evaluateGraph(graph.node, [...expected.keys()], named("in."), {
      opsets: new Map(model.opsetImport.map(({ domain, version }) => [domain, version.toNumber()])),
      initializer: (name) => initializers.get(name),
      functions: model.functions,
    });
    return [...expected].flatMap(([name, value]) => {
      const found = difference(results.get(name)!, value, 0, entry.tol);
      return found === undefined ? [] : [`${name}: ${found}`];
    });
  } finally {
    close();
  }
}

/** Its mask multiplies by the smallest float32 in bfloat16, where that is -Infinity: 0 times it is NaN. */
const faulty = "bert-ts113-eager-op16-bf16";

describe.skipIf(!hasSharedZoo)("every model of the zoo (skipped if ../shared/zoo is absent)", () => {
  test("is listed", () => expect(sharedZoo.entries.length).toBeGreaterThan(100));

  test.each(sharedZoo.entries.filter(({ name }) => name !== faulty))(
    "$name gives its expected outputs",
    async (entry) => {
      expect((await differences(entry)).join("; ")).toBe("");
    },
  );

  test(`${faulty} gives NaN, as its constants say`, async () => {
    const entry = sharedZoo.entries.find(({ name }) => name === faulty)!;
    expect(await differences(entry)).toEqual([expect.stringMatching(/element 0 is NaN/)]);
  });
});
