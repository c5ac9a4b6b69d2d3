import { cp, readFile, writeFile } from "node:fs/promises";
import { copyFileSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { silent } from "@favor/checkpoints";
import type { Progress } from "@favor/checkpoints";
import { beforeAll, describe, expect, test } from "vitest";

import { tune } from "../src/index.ts";
import type { TuneRequest } from "../src/index.ts";
import { calibration, tiny } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { convertedOnce, shallowOnce } from "./converted.ts";

const { converted, original } = shallowOnce({ count: 8 });
/** A conversion of a checkpoint that is already a graph. */
const convertedGraph = convertedOnce({ count: 8 });

/** Converted folder and teacher, both to be spoiled, and what is asked for: distillation, then MLM that uses the teacher. */
async function request(): Promise<TuneRequest & { readonly teacher: string }> {
  const teacher = join(await temporaryFolder(), "teacher");
  await cp(original(), teacher, { recursive: true });
  const small = { maxLength: 16, batch: 2, steps: 2, evalCount: 4, evalEvery: 1, backend: "wasm" } as const;
  return { ...small, source: await converted(), teacher, data: calibration, kl: 0.5 };
}

const modelOf = (folder: string): string => join(folder, "onnx", "model.onnx");
const weightsOf = (folder: string): string => join(folder, "model.safetensors");

/** Does something when a line of progress begins with a text. */
function at(text: string, action: () => void): Progress {
  return { ...silent, note: (line) => void (line.startsWith(text) && action()) };
}

const spoil = (path: string): void => {
  writeFileSync(path, "another model");
};
/** Leaves length and contents as they are, so that only the time shows the change. */
const touch = (path: string): void => {
  utimesSync(path, new Date(0), new Date(0));
};
const remove = (path: string): void => {
  rmSync(path);
};

/** The bytes of the model that an undisturbed run makes. */
let whole: Buffer;
beforeAll(async () => {
  const { folder } = await tune(await request());
  whole = await readFile(modelOf(folder));
});

describe("a file that is removed or replaced while the run reads from it is read on as it was", () => {
  test.each([
    ["the converted model", modelOf],
    ["the teacher's weights", weightsOf],
  ])("%s", async (name, fileOf) => {
    const wanted = await request();
    const path = fileOf(name.startsWith("the teacher") ? wanted.teacher : wanted.source);
    const { folder } = await tune(
      wanted,
      at("distill 1:", () => {
        writeFileSync(`${path}.other`, "another model");
        renameSync(`${path}.other`, path);
      }),
    );
    expect((await readFile(modelOf(folder))).equals(whole)).toBe(true);
  });
});

describe("a file that is written over is named, and the run goes on when it is back", () => {
  test.each([
    ["the converted model", ({ source }: TuneRequest) => modelOf(source), spoil],
    ["the converted model, written at another time", ({ source }: TuneRequest) => modelOf(source), touch],
    ["the tokenizer", ({ source }: TuneRequest) => join(source, "tokenizer.json"), remove],
    ["the configuration", ({ source }: TuneRequest) => join(source, "config.json"), spoil],
  ])("%s", async (_, pathOf, change) => {
    const wanted = await request();
    const path = pathOf(wanted);
    copyFileSync(path, `${path}.kept`);
    await expect(
      tune(
        wanted,
        at("distill 1:", () => change(path)),
      ),
    ).rejects.toMatchObject({
      code: "source-changed",
      message: expect.stringMatching(/was changed during the run\..*restore the original state.*--resume/) as string,
    });
    renameSync(`${path}.kept`, path);
    const { folder } = await tune({ ...wanted, resume: true });
    expect((await readFile(modelOf(folder))).equals(whole)).toBe(true);
  });
});

/** The same from a teacher that is a graph already, and where that lies. */
async function fromGraph(): Promise<{ readonly wanted: TuneRequest; readonly path: string }> {
  const teacher = join(await temporaryFolder(), "teacher");
  await cp(tiny, teacher, { recursive: true });
  return { wanted: { ...(await request()), source: await convertedGraph(), teacher }, path: modelOf(teacher) };
}

describe("a teacher in ONNX, which MLM reads after distillation is done with it", () => {
  test("replaced: the graph that was checked teaches", async () => {
    const { wanted, path } = await fromGraph();
    const replace = at("distill 1:", () => {
      writeFileSync(`${path}.other`, "another model");
      renameSync(`${path}.other`, path);
    });
    const { favor } = await tune(wanted, replace);
    expect(favor.tuning!.stages.map(({ name, steps }) => [name, steps])).toEqual([
      ["distill", 2],
      ["mlm", 2],
    ]);
  });

  test("written over: it is named", async () => {
    const { wanted, path } = await fromGraph();
    const writeOver = at("distill 1:", () => writeFileSync(path, "another model"));
    await expect(tune(wanted, writeOver)).rejects.toMatchObject({ code: "source-changed", details: { path } });
  });
});

test("a run is not resumed with another tokenizer", async () => {
  const wanted = await request();
  const stop = at("distill 1:", () => process.emit("SIGINT", "SIGINT"));
  await expect(tune(wanted, stop)).rejects.toMatchObject({ code: "stopped" });
  const path = join(wanted.source, "tokenizer.json");
  const kept = await readFile(path, "utf8");
  await writeFile(path, `${kept}\n`);
  await expect(tune({ ...wanted, resume: true })).rejects.toMatchObject({
    code: "resume-mismatch",
    details: { changed: ["companions"] },
  });
  await writeFile(path, kept);
  await tune({ ...wanted, resume: true });
});
