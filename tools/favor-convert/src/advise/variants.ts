import type { SiteReport } from "@favor/rewriter";

import type { ConvertRequest } from "../commands/request.ts";

/** The options of a conversion that advice compares. */
type VariantRequest = Pick<
  ConvertRequest,
  "features" | "target" | "keep" | "window" | "chosenBlocks" | "count" | "budget"
>;

/** One way to convert a model. */
export interface Variant {
  readonly name: string;
  readonly request: VariantRequest;
  /** Whether it computes what the original does, up to rounding. */
  readonly isLossless: boolean;
}

/** The row of the table that the others are compared with. */
export const asItIs = "softmax, as it is";

/** The conversion without options. */
export const byCalibration = "chosen by calibration";

/** Fixed features and exact keys: of FAVOR alone, and of the near field, with chosen blocks and without. */
const estimates: readonly { readonly name: string; readonly request: VariantRequest }[] = [
  ...[32, 64, 128].map((count) => ({ name: `FAVOR, M = ${count}`, request: { window: 0, count } })),
  { name: "near field, M = 32", request: { window: 64, count: 32 } },
  { name: "near field, 8 chosen blocks, M = 32", request: { window: 64, chosenBlocks: 8, count: 32 } },
];

/**
 * The conversions to compare, by what the attention of a model allows.
 *
 * @param isCalibrated - whether there are data; without them, features are random and only their time is known.
 */
export function variantsFor(
  sites: readonly Pick<SiteReport, "layer" | "possible">[],
  isCalibrated: boolean,
): Variant[] {
  const can = (what: SiteReport["possible"][number]) => sites.filter(({ possible }) => possible.includes(what));
  const [bands, linear] = [can("band"), can("linear")];
  const others = sites.filter((site) => !bands.includes(site)).map(({ layer }) => layer);
  return [
    ...(can("exact by block").length > 0 || bands.length > 0 ? exact : []),
    ...(bands.length > 0 && others.length > 0
      ? [{ name: "windows as bands, the rest softmax", request: { keep: others }, isLossless: true }]
      : []),
    ...(linear.length > 0
      ? [
          ...estimates.map(({ name, request }) => ({
            name,
            request: { ...request, ...(isCalibrated ? {} : ({ features: "positive" } as const)) },
            isLossless: false,
          })),
          ...(isCalibrated ? [{ name: byCalibration, request: {}, isLossless: false }] : []),
        ]
      : []),
  ];
}

const exact: readonly Variant[] = [
  { name: "exact by block", request: { features: "exact" }, isLossless: true },
  { name: "exact, fused", request: { features: "exact", target: "onnxruntime" }, isLossless: true },
];

/**
 * The arguments of favor-convert that make a variant.
 *
 * @param given - paths and lengths, as they were given.
 */
export function commandOf(
  { request, isLossless }: Pick<Variant, "request" | "isLossless">,
  given: { readonly source: string; readonly data: string | undefined; readonly maxLength: number | undefined },
): string {
  const { features, target, keep = [], window, chosenBlocks, count, budget } = request;
  const data = isLossless || given.data === undefined ? undefined : given.data;
  const options: readonly (readonly [string, string | number | undefined])[] = [
    ["--features", features],
    ["--target", target],
    ["--keep", keep.length === 0 ? undefined : [...new Set(keep)].join(",")],
    ["--window", window],
    ["--chosen-blocks", chosenBlocks],
    ["--count", count],
    ["--calibrate", data],
    ["--evaluate", budget === undefined ? undefined : data],
    ["--budget", budget],
    ["--max-length", given.maxLength],
  ];
  const words = options.flatMap(([name, value]) => (value === undefined ? [] : [name, quoted(String(value))]));
  return ["favor-convert", quoted(given.source), "-o", "<folder>", ...words].join(" ");
}

/** A word of a command for a shell. */
function quoted(word: string): string {
  return /^[\w./:@,+-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}
