import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { modelTypes } from "@favor/checkpoints";
import { tiny } from "@favor/test-support/antibody";
import { runReadmeExample } from "@favor/test-support/readme-example";
import * as onnxruntime from "onnxruntime-node";
import { describe, expect, it } from "vitest";

import { measured } from "../src/measured.ts";
import type { AntibertyFigures, LongCodeFigures, QualityAtLength } from "../src/measured.ts";
import { headlineTable, qualityPage, qualityPicture } from "../src/quality-at-length-page.ts";
import { readmePicture } from "../src/readme-picture.ts";

const address = new URL("../../../README.md", import.meta.url);
const textOf = (path: string): string => readFileSync(new URL(path, address), "utf8");
/** The lines of a document, without what aligns its tables. */
const plain = (text: string): string[] => text.split("\n").map((line) => line.replaceAll(/ +/g, " ").trim());
/** The same without empty lines and the rules of tables. */
const words = (text: string): string[] => plain(text).filter((line) => !/^[|\s-]*$/.test(line));
const linesOf = (path: string): string[] => plain(textOf(path));
/** A figure with its interval, as the tables write it; `scale` is 100 for shares. */
function interval({ value, low, high }: AntibertyFigures["softmax"], digits: number, scale = 1): string {
  const [middle, from, to] = [value, low, high].map((number) => (scale * number).toFixed(digits));
  return `${middle} (${from} to ${to})`;
}

const readme = textOf("README.md").replaceAll(/\s+/g, " ");
const antiberty = measured<AntibertyFigures>("antiberty");
const longCode = measured<LongCodeFigures>("long-code");
const qualityAtLength = measured<QualityAtLength>("quality-at-length");
const converted = "my-checkpoint-linear/onnx/model.onnx";
const model = join(tiny, "onnx/model.onnx");

describe("the root README", () => {
  it("shows the picture and the table that the measurements give: npm run quality-at-length -w @favor/bench", () => {
    expect(textOf("docs/gain.svg")).toBe(readmePicture());
    const rows = linesOf("README.md");
    for (const line of plain(headlineTable(qualityAtLength)).slice(2)) expect(rows).toContain(line);
  });

  it("quotes the measured files", () => {
    const untrained = antiberty.conversions.find(({ attention }) => attention === "landmark 128")!;
    const distilled = antiberty.distilled.find(({ attention }) => attention === "landmark 128")!;
    expect(readme).toContain(`AntiBERTy keeps ${untrained.kept.value} % without training`);
    expect(readme).toContain(`${distilled.kept.value} % after 100 steps`);
    const longest = longCode.quality.at(-1)!;
    expect(longest.length).toBe(4096);
    expect(readme).toContain(`With features alone it keeps ${(100 * longest.kept.value).toFixed(0)} %`);
  });

  it("names every model type that is built from weights", () => {
    for (const type of modelTypes) expect(readme).toContain(`\`${type}\``);
  });

  it("reaches its first command within a screen", () => {
    expect(textOf("README.md").split("\n").indexOf("```sh")).toBeLessThan(40);
  });

  it("runs the result in Node", async () => {
    const { printed, promised } = await runReadmeExample(
      address,
      { "onnxruntime-node": onnxruntime },
      { [converted]: model },
    );
    expect(printed).toBe(promised);
  });

  const hasPython = spawnSync("python3", ["-c", "import onnxruntime, numpy"]).status === 0;
  it.skipIf(!hasPython)("runs the result in Python", () => {
    const [, code] = /```python\n(.*?)```/s.exec(textOf("README.md"))!;
    const [, promised] = /# (.*)/.exec(code!)!;
    const { stdout, stderr } = spawnSync("python3", ["-c", code!.replace(converted, model)], { encoding: "utf8" });
    expect({ printed: stdout.trim(), stderr }).toEqual({ printed: promised, stderr: "" });
  });
});

describe("docs/measurements/antiberty.md", () => {
  const rows = linesOf("docs/measurements/antiberty.md");

  it("shows the conversions of antiberty.json", () => {
    expect(rows).toContain(`| softmax (original) | ${interval(antiberty.softmax, 1)} | 100 | | | |`);
    for (const row of antiberty.conversions) {
      const cost = `${row.seconds.toFixed(1)} | ${row.processorSeconds.toFixed(1)} | ${row.peakMegabytes}`;
      expect(rows).toContain(
        `| ${row.attention} | ${interval(row.accuracy, 1)} | ${interval(row.kept, 1)} | ${cost} |`,
      );
    }
  });

  it("shows what antiberty.json says of distillation", () => {
    for (const row of antiberty.distilled) {
      const cost = `${row.perplexity.toFixed(3)} | ${row.minutes.toFixed(1)} | ${row.peakMegabytes}`;
      const quality = `${interval(row.accuracy, 2)} | ${interval(row.kept, 2)}`;
      expect(rows).toContain(`| ${row.attention} | ${row.stepsOf} | ${quality} | ${cost} |`);
    }
  });
});

describe("docs/measurements/long-code.md", () => {
  const rows = linesOf("docs/measurements/long-code.md");

  it("shows the figures of long-code.json", () => {
    for (const { length, maskedTokens, softmax, linear, kept } of longCode.quality) {
      const shares = [softmax, linear, kept].map((share) => interval(share, 1, 100)).join(" | ");
      expect(rows).toContain(`| ${length} | ${maskedTokens} | ${shares} |`);
    }
    for (const { length, softmaxSeconds, linearSeconds } of longCode.speed) {
      const seconds = `${softmaxSeconds.toFixed(3)} | ${linearSeconds.toFixed(3)}`;
      expect(rows).toContain(`| ${length} | ${seconds} | ${(softmaxSeconds / linearSeconds).toFixed(2)} |`);
    }
  });
});

describe("docs/measurements/quality-at-length.md", () => {
  it("is what quality-at-length.json gives: npm run quality-at-length -w @favor/bench", () => {
    expect(words(textOf("docs/measurements/quality-at-length.md"))).toEqual(words(qualityPage(qualityAtLength)));
    expect(textOf("docs/measurements/quality-at-length.svg")).toBe(qualityPicture(qualityAtLength));
  });
});
