import { existsSync } from "node:fs";
import { join, posix } from "node:path";
import { buildModel } from "../builders/build-model.ts";
import type { CheckpointTask } from "../builders/task.ts";
import { messageOf } from "../errors.ts";
import { CheckpointError } from "../formats/errors.ts";
import { parseJson } from "../formats/json.ts";
import { readPyTorch } from "../formats/pytorch.ts";
import { readSafetensors } from "../formats/safetensors.ts";
import { readShards } from "../formats/shards.ts";
import type { StateDict } from "../formats/state-dict.ts";
import { readRange } from "@favor/onnx";
import type { ModelProto } from "@favor/onnx";
import { InputFile, openModel } from "@favor/onnx/node";
import { chooseFile, describeNoFile } from "./choose-file.ts";
import type { FileRequest } from "./choose-file.ts";
import { configName } from "./config.ts";
import { listFolder } from "./list-folder.ts";
import { otherFolder, pathsBelow } from "./other-folders.ts";

const jsonLimit = 1 << 26;

/** Which file to open (default: as {@link chooseFile} decides), and what to build from weights. */
export interface OpenCheckpointOptions extends FileRequest {
  /** The head of the built graph. Default: as {@link buildModel} decides. */
  readonly task?: CheckpointTask;
  /** Passed on to {@link buildModel}. */
  readonly ignoreUnexpected?: boolean;
}

/** A checkpoint's graph, its weights still in their files. */
export interface OpenedCheckpoint {
  readonly model: ModelProto;
  /** The chosen file, relative to the folder. */
  readonly source: string;
  /** What was chosen and why, for people. */
  readonly choice: string;
  /** What the graph was built for; undefined for an ONNX export. */
  readonly task: CheckpointTask | undefined;
  /** What was assumed or left out when the graph was built, for people. */
  readonly notes: readonly string[];
  /** Closes the files. Weights that have not been read by then are lost. */
  close(): void;
}

/**
 * Opens a checkpoint folder as found on the Hub: an ONNX export, with its external data, or weights (safetensors or
 * PyTorch's format, whole or in shards), from which it builds the graph with the help of `config.json`. See
 * {@link chooseFile} for which of them it takes. Close the checkpoint when done.
 *
 * @throws CheckpointError "checkpoint-not-found", which lists what the folder does hold; and what `openModel`,
 *   `readSafetensors`, `readPyTorch`, `readShards` and `buildModel` throw
 */
export async function openCheckpoint(folder: string, options: OpenCheckpointOptions = {}): Promise<OpenedCheckpoint> {
  const paths = listFolder(folder, options.file);
  const choice = chooseFile(paths, options);
  if (!("file" in choice)) {
    const other = choice.problem === "missing" ? otherFolder(folder, pathsBelow(folder), false) : undefined;
    throw new CheckpointError(
      "checkpoint-not-found",
      `${describeNoFile(JSON.stringify(folder), choice)}. ${other ?? "Choose a model with the option `file`."}`,
      { folder, found: choice.found },
    );
  }
  const { file: source, why } = choice;
  if (source.endsWith(".onnx")) {
    const { model, close } = await openModel(join(folder, source));
    return { model, source, choice: `${source}, ${why}`, task: undefined, notes: [], close };
  }
  requireConfig(folder, source);
  const opened: InputFile[] = [];
  const open = (name: string): InputFile => {
    const file = new InputFile(join(folder, name));
    opened.push(file);
    return file;
  };
  const close = (): void => {
    for (const file of opened) file.close();
  };
  try {
    const weights = readWeights(source, open);
    const config = readJson(configName(folder, source), open);
    const { model, task, notes: found } = buildModel(config, weights, options);
    const notes = paths.includes("adapter_config.json") ? [...found, adapterNote] : found;
    return { model, source, choice: `${source}, ${why}; the graph was built for ${task}`, task, notes, close };
  } catch (error) {
    close();
    throw error;
  }
}

const adapterNote =
  "The folder also holds a PEFT adapter (adapter_config.json), which is not applied: the graph is built from the weights " +
  "alone. To convert the adapted model, merge the adapter with PEFT first.";

function readWeights(source: string, open: (name: string) => InputFile): StateDict {
  if (source.endsWith(".safetensors")) return readSafetensors(open(source), source);
  if (/\.(bin|pt|pth)$/.test(source)) return readPyTorch(open(source), source);
  if (!source.endsWith(".index.json")) {
    throw new CheckpointError(
      "unsupported-format",
      `${source} cannot be read as a model: its name must end in .onnx, .safetensors, .bin, .pt, .pth or .index.json.`,
      { file: source },
    );
  }
  const shard = (name: string): InputFile => {
    try {
      return open(posix.join(posix.dirname(source), name));
    } catch (cause) {
      throw new CheckpointError(
        "missing-weights",
        `${source} names ${name}, which cannot be read (${messageOf(cause)}). Fetch that file: the checkpoint is incomplete.`,
        { file: name },
        cause,
      );
    }
  };
  return readShards(readJson(source, open), shard, (range, name) =>
    name.endsWith(".safetensors") ? readSafetensors(range, name) : readPyTorch(range, name),
  );
}

/** Weights alone do not say what they are of. */
function requireConfig(folder: string, source: string): void {
  const name = configName(folder, source);
  if (existsSync(join(folder, name))) return;
  throw new CheckpointError(
    "bad-config",
    `${JSON.stringify(folder)} has ${source}, but no config.json, which says what model the weights are of. Copy that of ` +
      "the checkpoint into the folder.",
    { folder },
  );
}

function readJson(name: string, open: (name: string) => InputFile): unknown {
  const file = open(name);
  if (file.length > jsonLimit) {
    throw new CheckpointError("limit-exceeded", `${name} has ${file.length} bytes, more than ${jsonLimit}.`);
  }
  return parseJson(readRange(file), name);
}
