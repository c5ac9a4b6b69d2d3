import type { ModelProto } from "@favor/onnx";
import type { ConvertedSite } from "./report.ts";

/** Key of the model's metadata under which a conversion leaves its record. */
const key = "favor";

/** The record that a converted model carries. */
export interface ConversionRecord {
  readonly version: 1;
  /** The kinds of feature maps that were written ("landmark, calibrated"), or "exact". */
  readonly features: string;
  readonly count: number;
  readonly projection: string;
  readonly seed: number;
  /** Site numbers by outcome. */
  readonly converted: readonly number[];
  readonly band: readonly number[];
  readonly kept: readonly number[];
}

/** Writes the record; the feature maps themselves are in the graph's initializers. */
export function recordConversion(
  model: ModelProto,
  settings: Pick<ConversionRecord, "features" | "count" | "projection" | "seed">,
  sites: readonly ConvertedSite[],
): void {
  const { count, projection, seed } = settings;
  const kinds = new Set(sites.flatMap(({ featureMaps = [] }) => featureMaps.map(({ kind }) => kind)));
  const features = kinds.size === 0 ? settings.features : [...kinds].join(", ");
  const where = (isWanted: (site: ConvertedSite) => boolean): number[] =>
    sites.filter(isWanted).map(({ site }) => site);
  const record: ConversionRecord = {
    version: 1,
    features,
    count,
    projection,
    seed,
    converted: where(({ state }) => state === "linear" || state === "exact by block"),
    band: where(({ state }) => state === "band"),
    kept: where(({ because }) => because === "kept"),
  };
  model.metadataProps.push({ key, value: JSON.stringify(record) });
}

/** The record of an earlier conversion, if the model carries one. */
export function conversionOf(model: ModelProto): Partial<ConversionRecord> | undefined {
  const value = model.metadataProps.find((entry) => entry.key === key)?.value;
  if (value === undefined) return undefined;
  try {
    const record: unknown = JSON.parse(value);
    return typeof record === "object" && record !== null ? record : undefined;
  } catch {
    // Another tool's entry under the same key.
    return undefined;
  }
}
