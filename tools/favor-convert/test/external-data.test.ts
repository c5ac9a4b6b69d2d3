import { cp, readFile, readdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";

import { hashFile, openModel, writeModel } from "@favor/onnx/node";
import { describe, expect, test } from "vitest";

import { convert } from "../src/commands/convert.ts";
import { copyCompanions } from "@favor/checkpoints/node";
import type { ConfigurationChanges } from "@favor/checkpoints/node";
import { OutputFolder } from "@favor/checkpoints/node";
import { openSource } from "@favor/checkpoints/node";
import { tiny } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";

/** The tiny checkpoint with its weights in `onnx/model.onnx_data`, as `onnx.save_model` and Optimum write them. */
async function withExternalData(): Promise<string> {
  const folder = join(await temporaryFolder(), "checkpoint");
  await cp(tiny, folder, { recursive: true });
  const opened = await openModel(join(tiny, "onnx", "model.onnx"));
  await writeModel(opened.model, join(folder, "onnx", "model.onnx"), { externalData: { threshold: 1024 } });
  opened.close();
  return folder;
}

/** What becomes of a `config.json`. */
async function configurationAfter(text: string, changes: ConfigurationChanges): Promise<string> {
  const folder = await withConfiguration(text);
  const source = await openSource(folder);
  const output = await OutputFolder.begin(join(await temporaryFolder(), "out"), { force: false, sources: [folder] });
  await copyCompanions(source, output, changes);
  await output.commit();
  return readFile(join(output.path, "config.json"), "utf8");
}

async function withConfiguration(text: string): Promise<string> {
  const folder = join(await temporaryFolder(), "checkpoint");
  await cp(tiny, folder, { recursive: true });
  await writeFile(join(folder, "config.json"), text);
  return folder;
}

test("external data: they lie where transformers.js looks for them, and config.json says so, and nothing else", async () => {
  const source = await withExternalData();
  const parent = await temporaryFolder();
  const written: string[] = [];
  for (const name of ["first", "second"]) {
    const { folder } = await convert({ source, output: join(parent, name), count: 16 });
    expect((await readdir(join(folder, "onnx"))).toSorted()).toEqual(["model.onnx", "model.onnx_data"]);
    written.push(await readFile(join(folder, "config.json"), "utf8"));
  }
  const [config] = written;
  expect(written).toEqual([config, config]);
  const before = JSON.parse(await readFile(join(source, "config.json"), "utf8")) as object;
  expect(JSON.parse(config!)).toEqual({ ...before, "transformers.js_config": { use_external_data_format: true } });
});

test("favor.json lists every other file that was written, external data included, with its size and sha256", async () => {
  const output = join(await temporaryFolder(), "out");
  const { folder, favor } = await convert({ source: await withExternalData(), output, count: 16 });
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const expected = await Promise.all(
    paths.toSorted().map(async (path) => {
      const { length: bytes } = await readFile(path);
      return { file: relative(folder, path).replaceAll("\\", "/"), sha256: await hashFile(path), bytes };
    }),
  );
  expect(favor.files).toEqual(expected.filter(({ file }) => file !== "favor.json"));
  expect(favor.files!.map(({ file }) => file)).toContain("onnx/model.onnx_data");
});

test("all in one file: config.json is the source's to the byte", async () => {
  const { folder } = await convert({ source: tiny, output: join(await temporaryFolder(), "out"), count: 16 });
  expect(await readdir(join(folder, "onnx"))).toEqual(["model.onnx"]);
  expect(await readFile(join(folder, "config.json"))).toEqual(await readFile(join(tiny, "config.json")));
});

/** A configuration with that said. */
function told(setting: string): string {
  return `{\n  "layer_norm_eps": 1e-12,\n  "factor": 1.0,\n  "transformers.js_config": {"dtype":"fp32", "use_external_data_format": ${setting}}\n}\n`;
}

describe("what transformers.js is told of external data", () => {
  test.each(["true", "1", '{"model.onnx":true}', '{"model":1}', '{"model.onnx":1,"model":2}'])(
    "one file, said as %s, is left as it is, and taken back where there is none",
    async (setting) => {
      expect(await configurationAfter(told(setting), { externalData: true })).toBe(told(setting));
      expect(await configurationAfter(told(setting), { externalData: false })).toBe(told("false"));
    },
  );

  test.each(["false", "null", "0", '{"model_fp16.onnx":2}', '{"model.onnx":0,"model":1}'])(
    "none, said as %s, is left as it is, and made one where there is one",
    async (setting) => {
      expect(await configurationAfter(told(setting), { externalData: false })).toBe(told(setting));
      expect(await configurationAfter(told(setting), { externalData: true })).toBe(told("true"));
    },
  );

  test.each(["2", '{"model.onnx":3}'])("several, said as %s, become what there is", async (setting) => {
    expect(await configurationAfter(told(setting), { externalData: true })).toBe(told("true"));
    expect(await configurationAfter(told(setting), { externalData: false })).toBe(told("false"));
  });

  test("a section that is no object is replaced; numbers keep their form", async () => {
    const text = '{\n  "transformers.js_config": null,\n  "factor": 1.0\n}\n';
    expect(await configurationAfter(text, { externalData: true })).toBe(
      '{\n  "transformers.js_config": {\n    "use_external_data_format": true\n  },\n  "factor": 1.0\n}\n',
    );
    expect(await configurationAfter(text, { externalData: false })).toBe(text);
  });

  test("beside a longer position table", async () => {
    const text = '{\n  "max_position_embeddings": 512,\n  "factor": 1.0\n}\n';
    expect(await configurationAfter(text, { externalData: true, maxLength: 700 })).toBe(
      '{\n  "max_position_embeddings": 700,\n  "factor": 1.0,\n  "transformers.js_config": {\n' +
        '    "use_external_data_format": true\n  }\n}\n',
    );
  });
});
