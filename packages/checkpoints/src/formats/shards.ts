import type { ByteRange } from "@favor/onnx";
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
 * Names must be plain names of files next to the index. A tensor is taken from the file that the index names for it.
 * Tensors that are not in the index are refused.
 *
 * @throws CheckpointError "malformed", "limit-exceeded", "missing-weights"; and what `open` and `read` throw
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
  const all = new Map<string, CheckpointTensor>();
  for (const name of names.map(checkedName)) {
    for (const [tensor, value] of read(open(name), name)) {
      if (!Object.hasOwn(places, tensor)) {
        throw new CheckpointError(
          "malformed",
          `${name} has the tensor ${JSON.stringify(tensor)}, which is not in the index. Fetch the checkpoint again.`,
          { tensor, file: name },
        );
      }
      if (places[tensor] === name) all.set(tensor, value);
    }
  }
  const missing = Object.keys(places).filter((tensor) => !all.has(tensor));
  if (missing.length === 0) return all;
  throw new CheckpointError(
    "missing-weights",
    `The index says that ${JSON.stringify(missing[0])} is in ${JSON.stringify(places[missing[0]!])}, which does not have ` +
      `it (${missing.length} tensors are missing). Fetch the checkpoint again.`,
    { missing },
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
