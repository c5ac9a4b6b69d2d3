import { outputDifference } from "@favor/test-support/layer";
import { describe, expect, test } from "vitest";
import { convertAttention, inspectAttention } from "../../../src/model-attention.ts";
import { disguisedModel } from "../disguises/layers.ts";
import { forms, lookalikes } from "./forms.ts";

describe("ALiBi is proved, with its slopes", () => {
  test.each(forms)("$name", async (form) => {
    const [site] = inspectAttention(disguisedModel(form)).sites;
    expect(site!.reasons).toEqual([]);
    expect(site).toMatchObject({ verdict: "convert", mask: form.mask });
    const exact = convertAttention(disguisedModel(form), { features: "exact", rows: "proof" }).model;
    expect(await outputDifference(disguisedModel(form), exact, true)).toBeLessThan(1e-5);
  });
});

test.each(lookalikes)("is refused: $name", (lookalike) => {
  const sites = inspectAttention(disguisedModel(lookalike)).sites;
  expect(sites.map(({ verdict }) => verdict)).toEqual(["refuse"]);
});
