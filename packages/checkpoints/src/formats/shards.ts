import type { ByteRange } from "@favor/onnx";
import { equalTensors } from "./equal-tensors.ts";
import { CheckpointError } from "./errors.ts";
import { jsonObject } from "./json.ts";
import type { CheckpointTensor, StateDict } from "./state-dict.ts";

/** More files than any realistic checkpoint has. */
const mostShards = 10_000;
/** A plain file name: no folder, and nothing that any system treats specially. */
const plainName = /^[A-Za-z0-9_][A-Za-z0-9._-]*\.(safetensors|bin)$/;
const deviceName = /^(con|prn|aux|nul|com[0-9]|lpt[0-9])\./i;

/**
 * Reads the tensors of a checkpoint in several files. `index` is the parsed `model.safetensors.index.json` (or
 * `pytorch_model.bin.index.json`); each file that it names is opened once, and read with `read`.
 *
 * Names must be plain names of files next to the index. A tensor is taken from the file that the index names for it, or,
 * if that does not have it, from the only file that does: indices are wrong about buffers and tied weights. A tensor that
 * no file has is left out, because a model may do without it; the error for a weight that is missing comes from who needs it.
 *
 * @throws CheckpointError "malformed", "limit-exceeded"; and what `open` and `read` throw
 */
export function readShards(
  index: unknown,
  open: (file: string) => ByteRange,
  read: (range: ByteRange, file: string) => StateDict,
): StateDict {
  const places = jsonObject(jsonObject(index)?.["weight_map"]);
  if (places === undefined) {
    throw new CheckpointError("malformed", "The index has no `weight_map`. Fetch the checkpoint again.");
  }
  const names = [...new Set(Object.values(places))];
  if (names.length > mostShards) {
    throw new CheckpointError("limit-exceeded", `The index names ${names.length} files, more than ${mostShards}.`);
  }
  const found = new Map<string, Placed[]>();
  for (const file of names.map(checkedName)) {
    for (const [tensor, value] of read(open(file), file)) {
      const earlier = found.get(tensor);
      if (earlier === undefined) found.set(tensor, [{ file, value }]);
      else earlier.push({ file, value });
    }
  }
  return new Map(
    Array.from(found, ([tensor, values]) => [
      tensor,
      chosen(tensor, values, Object.hasOwn(places, tensor) ? places[tensor] : undefined),
    ]),
  );
}

/** A tensor, and the file that has it. */
interface Placed {
  readonly file: string;
  readonly value: CheckpointTensor;
}

/** The tensor of the file that the index names, or of the only other one. */
function chosen(tensor: string, found: readonly Placed[], file: unknown): CheckpointTensor {
  const named = found.find((each) => each.file === file);
  const [first, ...others] = found as readonly [Placed, ...Placed[]];
  if (named !== undefined) return named.value;
  if (others.every(({ value }) => equalTensors(value, first.value))) return first.value;
  const files = found.map((each) => each.file);
  throw new CheckpointError(
    "malformed",
    `${files.join(" and ")} both have the tensor ${JSON.stringify(tensor)}, with different values, and the index names ` +
      "neither of them for it. Fetch or save the checkpoint again.",
    { tensor, files },
  );
}

function checkedName(name: unknown): string {
  if (typeof name === "string" && name.length <= 255 && plainName.test(name) && !deviceName.test(name)) return name;
  throw new CheckpointError(
    "malformed",
    `The index names the file ${JSON.stringify(name)}; Favor reads only names like "model-00001-of-00002.safetensors", ` +
      "in the folder of the index. This checkpoint was not written by a common tool: do not trust it.",
    { file: name },
  );
}
