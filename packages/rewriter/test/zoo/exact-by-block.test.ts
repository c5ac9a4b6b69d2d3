import type { Tensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { convertAttention, findAttention } from "../../src/model-attention.ts";
import { DataType, type GraphProto, type ModelProto } from "@favor/onnx";
import { bodies, Graph, probe, probePair, ShapeConflict, type Probe } from "@favor/onnx/graph";
import { writeModel } from "@favor/onnx/node";
import { feedOf, openSession, type Feeds } from "@favor/test-support/onnxruntime";
import { folderOfEachTest } from "@favor/test-support/temporary-folder";
import { coreZoo, sharedZoo, type ZooFolder } from "@favor/test-support/zoo/folder";
import type { ZooEntry } from "@favor/test-support/zoo/manifest";
import { withModel } from "@favor/test-support/zoo/model";
import { readProcessorSample } from "@favor/test-support/zoo/processor-sample";
import { validDifference } from "@favor/test-support/zoo/sample";

/** Attention that linear attention may not replace, and that is exact by block all the same. */
const negatives: ReadonlySet<string> = new Set([
  "attop23-softcap",
  "bart-optimum-decoder_merged",
  "deberta_v2-optimum",
  "deberta_v2-ts-eager-op14-dyn",
  "gemma2-ts-eager-op14-dyn",
  "gpt2-optimum-past",
  "mpnet-ts-eager-op14-dyn",
  "neg_mask3d-dy-op18-dyn",
  "neg_qkbias-ts-op17-dyn",
  "neg_segment-ts-op17-dyn",
  "neg_talking-ts-op17-dyn",
  "neg_topk-ts-op17-dyn",
  "neg_window-dy-op18-dyn",
  "swin-ts-eager-op14-dyn",
  "t5_encoder-ts-eager-op14-dyn",
]);
/** ALiBi, which the manifest says linear attention must refuse: keys fade with their distance. */
const fading: ReadonlySet<string> = new Set(["bloom-dy-eager-op18-dyn", "xtrans_alibi-ts-op17-fix"]);
/** Attention that is neither: its probabilities are outputs, or something between the products mixes queries. */
const neither: ReadonlyMap<string, RegExp> = new Map([
  ["bert_outatt-ts-eager-op14-dyn", /is needed elsewhere/],
  ["xlnet-ts-eager-op14-dyn", /^Reshape ".*" does not compute the row of each query by itself/],
]);
/** onnxruntime has no kernels for it. */
const notRunnable = new Set(["bert-ts113-eager-op16-bf16"]);

const block = 16;
const lengths = [1, 2, 15, 16, 17];
/** As near to 55 as the position tables of the zoo allow. */
const longest = [55, 50, 40, 30, 20];

/** What stands for a free dimension: its terms' sizes. */
const freeSize = (name: string, own: number): number =>
  name.split("+").reduce((sum, part) => sum + (part.includes("past") ? 3 : own), 0);

/** Inputs of a size of their own, padded at the end in every row but the first. */
function feedsAt({ inputs }: ZooEntry, batch: number, length: number, isPadded: boolean): Feeds {
  return Object.fromEntries(
    inputs.map(({ name, elem_type, shape }) => {
      const dims = shape!.map((dim, axis) =>
        typeof dim === "number" ? dim : freeSize(dim ?? "", axis === 0 ? batch : length),
      );
      const last = dims.at(-1) ?? 1;
      const count = dims.reduce((product, dim) => product * dim, 1);
      const rows = count / (dims[0] ?? 1);
      const valueAt = (i: number): number => {
        const [row, key] = [Math.floor(i / rows), i % last];
        if (/position_ids/.test(name)) return i % last;
        if (/mask/.test(name)) return isPadded && row > 0 && key >= Math.max(1, Math.floor(0.7 * last)) ? 0 : 1;
        if (elem_type === DataType.FLOAT) return Math.sin(i * 1.7);
        return /type|segment|n_layers|use_cache/.test(name) ? 1 : 3 + ((i * 7 + row * 5) % 20);
      };
      const values = Array.from({ length: count }, (_, i) => valueAt(i));
      return [name, feedOf(elem_type, values, dims)];
    }),
  );
}

/** Attention within windows: queries of padding that see no key that counts may see others than in the original. */
const windows = new Set(["modernbert-ts-eager-op14-dyn", "neg_window-dy-op18-dyn"]);

/** The largest difference where the first outputs are finite. */
function difference(before: Feeds, after: Feeds, mask?: Tensor): number {
  let worst = 0;
  for (const [name, { data, dims, type }] of Object.entries(before)) {
    if (type !== "float32") continue;
    const other = after[name]!;
    if (other.dims.join() !== dims.join()) return Infinity;
    const [one, two] = [data as Float32Array, other.data as Float32Array];
    const width = mask === undefined ? 0 : data.length / mask.data.length;
    const counts = (i: number): boolean => mask === undefined || Number(mask.data[Math.floor(i / width)]) !== 0;
    for (let i = 0; i < one.length; i++) {
      const found = Math.abs(one[i]! - two[i]!);
      if (counts(i) && Number.isFinite(one[i]!) && !(found <= worst)) worst = found;
    }
  }
  return worst;
}

/** Branches of If that are not taken at a probe. */
function idle(model: ModelProto, { info, bodies: inner }: Probe): GraphProto[] {
  const graphs = [{ proto: model.graph, known: info }, ...[...inner].map(([proto, known]) => ({ proto, known }))];
  return graphs.flatMap(({ proto, known }) =>
    proto.node.flatMap(({ opType, input, attribute }) => {
      const condition = opType === "If" ? known.get(input[0]!)?.value?.data[0] : undefined;
      const other = condition === 0 ? "then_branch" : "else_branch";
      return condition === undefined ? [] : attribute.flatMap(({ name, g }) => (name === other && g ? [g] : []));
    }),
  );
}

/** Values that grow with the square of the length, in the graph and in the bodies of its nodes. */
function quadratic(model: ModelProto): string[] {
  const graph = Graph.of(model);
  const pair = probePair(graph);
  if ("conflict" in pair) throw new Error(pair.conflict.message);
  const { first } = pair;
  try {
    const second = probe(graph, { ...first.sizes, length: 2 * first.sizes.length });
    const skipped = new Set(idle(model, first));
    const run = [...first.bodies].filter(([proto]) => !skipped.has(proto));
    const graphs = [
      { proto: model.graph, infos: [first.info, second.info] },
      ...run.map(([proto, info]) => ({ proto, infos: [info, second.bodies.get(proto)] })),
    ];
    return graphs.flatMap(({ proto, infos }) =>
      proto.node.flatMap((node) =>
        node.output.filter((name) => {
          const [one, two] = infos.map((info) => info?.get(name)?.dims.reduce((size, dim) => size * dim, 1));
          return bodies(node).length === 0 && one !== undefined && two !== undefined && two / one > 2.6;
        }),
      ),
    );
  } catch (error) {
    // The lengths are fixed.
    if (error instanceof ShapeConflict) return [];
    throw error;
  }
}

function describeZoo(folder: ZooFolder, all: readonly ZooEntry[]): void {
  const inFolder = folderOfEachTest();
  const entries = all.filter((entry) => entry.attention_count > 0);

  test.each(entries)("$name: what is possible", async (entry) => {
    const { sites } = await withModel(folder, entry, (model) => findAttention(model));
    const byBlock = sites.filter(({ possible }) => possible.includes("exact by block")).length;
    const reason = neither.get(entry.name);
    expect(byBlock).toBe(reason === undefined ? sites.length : 0);
    const unexpected = sites.filter(({ notByBlock = "" }) => !(reason ?? /^$/).test(notByBlock));
    expect(unexpected).toEqual([]);
    const isNegative = negatives.has(entry.name) || reason !== undefined;
    expect(entry.verdict.startsWith("refuse")).toBe(isNegative || fading.has(entry.name));
    // Not linear.
    expect(isNegative && sites.some(({ possible }) => possible.includes("linear"))).toBe(false);
  });

  const exact = entries.filter(({ name }) => !neither.has(name) && !notRunnable.has(name));
  test.each(exact)("$name: by blocks of 16, no number for each query and key, and the same outputs", async (entry) => {
    const file = inFolder(`${entry.name}.onnx`);
    const left = await withModel(folder, entry, async (model) => {
      const { model: made } = convertAttention(model, { features: "exact", block });
      await writeModel(made, file, { externalData: "inline" });
      return quadratic(convertAttention(model, { features: "exact", block: 3 }).model);
    });
    expect(left).toEqual([]);
    const session = await openSession(file);
    for (const sample of entry.samples.slice(0, entry.core ? 2 : 1)) {
      const { feeds, expected, mask } = await readProcessorSample(folder, entry, sample);
      const outputs = await session.run(feeds);
      for (const [name, value] of expected) {
        expect(validDifference(outputs[name]!, value, mask)).toBeLessThanOrEqual(entry.tol);
      }
    }
    const original = await openSession(folder.path(entry.model));
    /** False where the original does not run. */
    const found: Record<string, number> = {};
    const compare = async (batch: number, length: number, isPadded: boolean): Promise<boolean> => {
      const feeds = feedsAt(entry, batch, length, isPadded);
      const counted = windows.has(entry.name) ? feeds["attention_mask"] : undefined;
      const before = await original.run(feeds).catch(() => undefined);
      if (before !== undefined) found[`${batch} x ${length}`] = difference(before, await session.run(feeds), counted);
      return before !== undefined;
    };
    const isDynamic = entry.axes === "dynamic";
    for (const length of isDynamic ? lengths : []) {
      await compare(1, length, false);
      await compare(3, length, true);
    }
    for (const length of isDynamic ? longest : []) {
      if ((await compare(1, length, false)) && (await compare(3, length, true))) break;
    }
    expect(Object.entries(found).filter(([, error]) => !(error <= entry.tol))).toEqual([]);
  });
}

describe("exact by block: the core of the zoo", () => {
  describeZoo(coreZoo, coreZoo.entries);
});

const others = sharedZoo.entries.filter(({ core }) => !core);
describe.skipIf(others.length === 0)("exact by block: the rest of the zoo (skipped if ../shared/zoo is absent)", () => {
  describeZoo(sharedZoo, others);
});
