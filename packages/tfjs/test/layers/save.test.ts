import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as tf from "@tensorflow/tfjs";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, expect, it } from "vitest";
import { FavorAttention, PerformerEncoderLayer, performerMaskedLM, redrawProjections } from "../../src/index.ts";
import type { PerformerMaskedLM } from "../../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import { everyMap } from "../ops/samples.ts";

const folder = mkdtempSync(join(tmpdir(), "favor-tfjs-"));
const bundle = join(folder, "favor-tfjs.mjs");
const modules = createRequire(import.meta.url);
const urlOf = (name: string): string => pathToFileURL(modules.resolve(name)).href;

beforeAll(async () => {
  const build = await rolldown({
    input: fileURLToPath(new URL("../../src/index.ts", import.meta.url)),
    external: /^@tensorflow\//,
    resolve: { conditionNames: ["@favor/source", "import"] },
    platform: "neutral",
  });
  await build.write({
    file: bundle,
    paths: Object.fromEntries(["@tensorflow/tfjs", "@tensorflow/tfjs-core"].map((name) => [name, urlOf(name)])),
  });
  await build.close();
});

afterAll(() => rmSync(folder, { recursive: true }));

const input = [
  [3, 5, 1, 0, 0, 0],
  [1, 2, 3, 4, 5, 6],
];

/** The outputs of a model as this process has them, and as another that loads it has them; hexadecimal. */
async function outputs(model: tf.LayersModel, backend: string): Promise<{ here: string; there: string }> {
  const expected = (model.predict(tf.tensor2d(input)) as tf.Tensor).dataSync();
  const saved = join(folder, "model.json");
  await model.save(
    tf.io.withSaveHandler(async (artifacts) => {
      const weightData = Buffer.from(artifacts.weightData as ArrayBuffer).toString("base64");
      writeFileSync(saved, JSON.stringify({ ...artifacts, weightData, input }));
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: "JSON" } };
    }),
  );
  const script = fileURLToPath(new URL("load.js", import.meta.url));
  const there = execFileSync(
    process.execPath,
    [
      script,
      pathToFileURL(bundle).href,
      saved,
      urlOf("@tensorflow/tfjs"),
      urlOf("@tensorflow/tfjs-backend-wasm"),
      backend,
    ],
    { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] },
  );
  return { here: Buffer.from(expected.buffer, expected.byteOffset, expected.byteLength).toString("hex"), there };
}

onEveryBackend("save and load in another process gives equal bits", (backend) => {
  it.each(["positive", "calibrated", "landmark", "trigonometric phase"])("of layers: %s", async (kind) => {
    const attention = everyMap(4, 16)[kind]!;
    const model = tf.sequential();
    model.add(tf.layers.embedding({ inputDim: 11, outputDim: 8, maskZero: true, inputLength: 6 }));
    model.add(new PerformerEncoderLayer({ modelDim: 8, numHeads: 2, feedForwardDim: 16, attention, normFirst: false }));
    model.add(new PerformerEncoderLayer({ modelDim: 8, numHeads: 2, feedForwardDim: 16 }));
    model.add(new FavorAttention({ attention: everyMap(8, 16)[kind]!, scale: 0.5 }));
    redrawProjections(model);
    const { here, there } = await outputs(model, backend);
    expect(there).toBe(here);
  });

  it("of layers with exact keys", async () => {
    const exactKeys = { window: 2, chosenBlocks: 1 };
    const attention = everyMap(4, 16)["landmark"]!;
    const model = tf.sequential();
    model.add(tf.layers.embedding({ inputDim: 11, outputDim: 8, maskZero: true, inputLength: 6 }));
    const sizes = { modelDim: 8, numHeads: 2, feedForwardDim: 16 };
    model.add(new PerformerEncoderLayer({ ...sizes, attention, exactKeys, useCausalMask: true }));
    model.add(new FavorAttention({ attention: everyMap(8, 16)["positive"]!, exactKeys }));
    const { here, there } = await outputs(model, backend);
    expect(there).toBe(here);
  });

  it("of a whole masked language model, redrawn, with the projection of each layer and head", async () => {
    const attention = everyMap(4, 16)["positive"]!;
    const sizes = { vocabularySize: 11, maxLength: 9, numLayers: 3, modelDim: 8, numHeads: 2, feedForwardDim: 16 };
    const model = performerMaskedLM({ ...sizes, attention, useCausalMask: true });
    redrawProjections(model);
    const { here, there } = await outputs(model, backend);
    expect(there).toBe(here);
  });
});

const names = (of: tf.LayersModel): string[] => of.trainableWeights.map(({ originalName }) => originalName);

it("modelFromJSON keeps frozen parts of a layer frozen, with the same weights", async () => {
  const sizes = { vocabularySize: 11, maxLength: 9, numLayers: 2, modelDim: 8, numHeads: 2, feedForwardDim: 16 };
  const model = performerMaskedLM({ ...sizes, attention: everyMap(4, 16)["positive"]! });
  const [layer] = model.layers as [PerformerMaskedLM];
  layer.encoder.layers[1]!.parts[0]!.trainable = false;
  layer.encoder.layers[0]!.trainable = false;
  const topology: unknown = JSON.parse(JSON.stringify(model.toJSON(null, false)));
  const again = await tf.models.modelFromJSON(topology as tf.io.ModelJSON);
  expect(names(model).length).toBeLessThan(model.weights.length - 10);
  expect(names(again)).toEqual(names(model));
  expect(again.weights.map(({ shape }) => shape)).toEqual(model.weights.map(({ shape }) => shape));
});
