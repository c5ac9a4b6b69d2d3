import { expect, test } from "vitest";

import { modelCard } from "../../src/pages/model-card.ts";
import { html } from "../../src/pages/page.ts";
import { reportPage } from "../../src/pages/report.ts";
import type { FavorFile } from "../../src/record/favor-file.ts";

const hostile = "model\u202Egnp\u200B\u001B[31m\n\n# Verified <script>";

const file: FavorFile = {
  format: 3,
  versions: { [hostile]: hostile },
  source: { name: hostile, model: hostile, sha256: "0".repeat(64), bytes: 1 },
  model: { file: "onnx/model.onnx", sha256: "0".repeat(64), bytes: 1 },
  options: { features: "positive", count: 8, seed: 0, target: "standard", keep: [] },
  sites: [],
  notes: [hostile],
  warnings: [{ code: "calibration-small", message: hostile }],
};

const unseen = /[^\P{Cc}\n]|\p{Cf}/u;

test("names in the report and the model card are shown, and neither hidden, turned around nor headings", () => {
  for (const text of [reportPage(file), modelCard(file), html`<p>${hostile}</p>`.text]) {
    expect(text).not.toMatch(unseen);
    expect(text).toContain(String.raw`model`);
    expect(text).toMatch(/u\\?\{202e\\?\}gnp/);
    expect(text).not.toMatch(/^# Verified/m);
    expect(text).not.toMatch(/(?<!\\)<script/);
  }
});
