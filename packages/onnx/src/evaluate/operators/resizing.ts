import { shown, type OperatorCall, type OperatorTable } from "../call.ts";
import { elementCount, type Tensor } from "../tensor.ts";

/** The place in the input that an output index of one axis reads: between `low` and `high`, `part` of the way. */
interface Place {
  readonly low: number;
  readonly high: number;
  readonly part: number;
}

/** An output index in coordinates of the input, by the operator's attribute coordinate_transformation_mode. */
const coordinates: Readonly<Record<string, (x: number, scale: number, from: number, to: number) => number>> = {
  half_pixel: (x, scale) => (x + 0.5) / scale - 0.5,
  pytorch_half_pixel: (x, scale, _, to) => (to > 1 ? (x + 0.5) / scale - 0.5 : 0),
  align_corners: (x, _, from, to) => (to > 1 ? (x * (from - 1)) / (to - 1) : 0),
  asymmetric: (x, scale) => x / scale,
};

const nearest: Readonly<Record<string, (x: number) => number>> = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5),
  round_prefer_ceil: (x) => Math.floor(x + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

/** Resize of opset 11 and up, nearest and linear, each axis by itself. */
const resize = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const mode = call.string("mode", "nearest");
  const coordinate = coordinates[call.string("coordinate_transformation_mode", "half_pixel")];
  const rounded = nearest[call.string("nearest_mode", "round_prefer_floor")];
  const isKnown = (mode === "nearest" || mode === "linear") && coordinate !== undefined && rounded !== undefined;
  const aspect = call.string("keep_aspect_ratio_policy", "stretch");
  if (call.opset < 11 || !isKnown || call.int("antialias", 0) !== 0 || aspect !== "stretch") {
    throw call.unsupported("the evaluator knows Resize of opset 11 and up, nearest and linear without antialiasing");
  }
  const axes = (call.ints("axes") ?? source.dims.map((_, axis) => axis)).map((a) => call.axis(a, source.dims.length));
  const sizes = call.optional(3) === null ? [] : call.integers(3)!;
  const scales = call.optional(2)?.data ?? [];
  const given = sizes.length > 0 ? sizes : scales;
  if (given.length !== axes.length) call.fail(`${given.length} sizes or scales do not go with ${axes.length} axes`);
  let data = source.data;
  const dims = [...source.dims];
  for (const [i, axis] of axes.entries()) {
    const from = dims[axis]!;
    const scale = sizes.length > 0 ? given[i]! / from : given[i]!;
    const to = sizes.length > 0 ? given[i]! : Math.floor(from * scale);
    if (!(from > 0 && to >= 0)) call.fail(`an axis of ${shown(source.dims)} would be resized from ${from} to ${to}`);
    const clamp = (x: number): number => Math.min(Math.max(x, 0), from - 1);
    const placeOf = (x: number): Place => {
      const at = coordinate(x, scale, from, to);
      if (mode === "nearest") return { low: clamp(rounded(at)), high: clamp(rounded(at)), part: 0 };
      const low = Math.floor(clamp(at));
      return { low, high: clamp(low + 1), part: clamp(at) - low };
    };
    if (from === to && scale === 1) continue;
    dims[axis] = to;
    const out = call.data(dims, source.dataType);
    const places = Array.from({ length: to }, (_, x) => placeOf(x));
    const inner = elementCount(dims.slice(axis + 1));
    for (let o = 0; o < out.length; o++) {
      const { low, high, part } = places[Math.floor(o / inner) % to]!;
      const row = Math.floor(o / (inner * to)) * from;
      const [a, b] = [data[(row + low) * inner + (o % inner)]!, data[(row + high) * inner + (o % inner)]!];
      out[o] = part === 0 ? a : a + part * (b - a);
    }
    data = out;
  }
  return [{ dims, dataType: source.dataType, data }];
};

export const resizingOperators: OperatorTable = { Resize: resize };
