import { DataType } from "@favor/onnx";
import type { Tensor } from "onnxruntime-node";
import type { Choices } from "../fuzz/random.ts";
import type { Trial } from "./feeds.ts";
import { numbersOfTensor, tensorOfNumbers, type Feeds } from "./runtime.ts";

/** Outputs that other tokens must not change: of real positions by padding, of earlier by later ones, of items by others. */
export interface Property {
  readonly name: "padding" | "causality" | "batch";
  readonly feeds: Feeds;
  /** Whether the output at a position is to stay as it is. */
  readonly stays: (row: number, position: number) => boolean;
}

/** The positions of a trial: [batch, length] of its mask, or of its tokens. */
function positionsOf({ feeds, mask }: Trial): readonly number[] | undefined {
  const dims = mask?.dims ?? Object.values(feeds).find((tensor) => isContent(tensor))?.dims;
  return dims !== undefined && dims.length >= 2 ? dims.slice(0, 2) : undefined;
}

const isContent = ({ dims, type, data }: Tensor): boolean =>
  (type === "float32" && dims.length === 3) ||
  (dims.length === 2 && type !== "float32" && type !== "bool" && new Set(data as Iterable<unknown>).size > 2);

/** What may be asked of a trial. */
export function propertiesOf(trial: Trial, choices: Choices): Property[] {
  const [rows, length] = positionsOf(trial) ?? [];
  if (rows === undefined || length === undefined || length < 3) return [];
  const kept = (row: number, position: number): boolean => trial.mask?.values[row * length + position] !== 0;
  const bound = 1 + choices.below(length - 1);
  const property = (name: Property["name"], stays: Property["stays"]): Property => ({
    name,
    stays,
    feeds: otherTokens(trial.feeds, [rows, length], (row, position) => stays(row, position), choices),
  });
  return [
    ...(trial.mask?.values.includes(0) ? [property("padding", kept)] : []),
    property("causality", (_, position) => position < bound),
    ...(rows > 1 ? [property("batch", (row) => row === 0)] : []),
  ];
}

/** The same inputs with tokens exchanged for others of the same inputs wherever `stays` does not hold. */
function otherTokens(
  feeds: Feeds,
  [rows, length]: readonly [number, number],
  stays: Property["stays"],
  choices: Choices,
): Feeds {
  const changed = Object.entries(feeds).map(([name, tensor]): [string, Tensor] => {
    if (!isContent(tensor) || tensor.dims[0] !== rows || tensor.dims[1] !== length) return [name, tensor];
    const values = numbersOfTensor(tensor);
    const width = values.length / (rows * length);
    const made = values.map((value, i) => {
      const at = Math.floor(i / width);
      return stays(Math.floor(at / length), at % length) ? value : choices.of(values)!;
    });
    const types = { float32: DataType.FLOAT, int32: DataType.INT32, int64: DataType.INT64 };
    return [name, tensorOfNumbers(types[tensor.type as keyof typeof types], tensor.dims, made)];
  });
  return Object.fromEntries(changed);
}

/** Largest difference of two runs at the positions that are to stay, relative to the largest there. */
export function changeAt(
  property: Property,
  trial: Trial,
  before: Readonly<Record<string, Tensor>>,
  after: Readonly<Record<string, Tensor>>,
): number {
  const [rows, length] = positionsOf(trial)! as [number, number];
  let [worst, largest] = [0, 1e-6];
  for (const [name, { dims, data, type }] of Object.entries(before)) {
    if (type !== "float32" || dims[0] !== rows || dims[1] !== length) continue;
    const [a, b] = [data as Float32Array, after[name]!.data as Float32Array];
    const width = a.length / (rows * length);
    for (let i = 0; i < a.length; i++) {
      const at = Math.floor(i / width);
      const [row, position] = [Math.floor(at / length), at % length];
      const isReal = trial.mask?.values[at] !== 0;
      if (!isReal || !property.stays(row, position) || Number.isNaN(a[i]!)) continue;
      const apart = Math.abs(a[i]! - b[i]!);
      worst = Number.isNaN(apart) ? Infinity : Math.max(worst, apart);
      largest = Math.max(largest, Math.abs(a[i]!));
    }
  }
  return worst / largest;
}
