import { describe, expect, it } from "vitest";
import { favorAttention } from "../../src/attention/bidirectional.ts";
import { favorCausalAttention, startFavor } from "../../src/attention/causal-favor.ts";
import { createFeatureMap } from "../../src/features/create.ts";
import { relativeError, Sampler } from "./samples.ts";

const projection = { kind: "orthogonal", count: 32, dim: 6, seed: 3 } as const;

describe.each([
  createFeatureMap({ version: 1, kind: "positive", projection }),
  createFeatureMap({ version: 1, kind: "trigonometric", variant: "pair", projection }),
])("causal FAVOR, $description.kind features", (featureMap) => {
  const sampler = new Sampler(21);
  const rows = 40;
  const query = sampler.normals(rows * 6, 0.5);
  const key = sampler.normals(rows * 6, 0.5);
  const value = sampler.normals(rows * 4, 1).map((x) => x + 3);
  const keyMask = Array.from({ length: rows }, (_, i) => (i % 5 === 3 ? 0 : 1));
  const options = { featureMap, valueDim: 4 };
  const full = favorCausalAttention(query, key, value, { ...options, keyMask });

  it("gives each row what bidirectional FAVOR gives it over the keys up to it", () => {
    for (let i = 0; i < rows; i++) {
      const prefix = favorAttention(
        query.subarray(i * 6, (i + 1) * 6),
        key.subarray(0, (i + 1) * 6),
        value.subarray(0, (i + 1) * 4),
        { ...options, keyMask: keyMask.slice(0, i + 1) },
      );
      expect(relativeError(full.subarray(i * 4, (i + 1) * 4), prefix)).toBeLessThan(1e-9);
    }
  });

  it("streams: a prefix, then token by token, equals one pass to 1e-5", () => {
    const state = startFavor(featureMap, 4);
    for (const [from, to] of [[0, 17], ...Array.from({ length: rows - 17 }, (_, i) => [17 + i, 18 + i])] as [
      number,
      number,
    ][]) {
      const out = favorCausalAttention(
        query.subarray(from * 6, to * 6),
        key.subarray(from * 6, to * 6),
        value.subarray(from * 4, to * 4),
        { ...options, state, keyMask: keyMask.slice(from, to) },
      );
      expect(relativeError(out, full.subarray(from * 4, to * 4))).toBeLessThan(1e-5);
    }
  });

  it("names arrays that do not fit", () => {
    expect(() => favorCausalAttention(query, key.subarray(6), value, options)).toThrow("key:");
    expect(() => favorCausalAttention(query, key, value, { ...options, state: startFavor(featureMap, 5) })).toThrow(
      "options.state:",
    );
  });
});
