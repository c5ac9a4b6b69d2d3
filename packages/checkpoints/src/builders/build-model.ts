import { ArgumentError } from "@favor/core";
import Long from "long";
import { CheckpointError } from "../formats/errors.ts";
import type { StateDict } from "../formats/state-dict.ts";
import type { GraphProto, ModelProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import type { Architecture, TokenInputs } from "./architecture.ts";
import { taskOf } from "./choose-task.ts";
import { Configuration } from "./configuration.ts";
import { refuseForeign } from "./foreign-weights.ts";
import { GraphWriter } from "./graph-writer.ts";
import { labelsOf } from "./heads.ts";
import { leftOver, refuseUnexpected } from "./left-over-weights.ts";
import type { Building } from "./modules.ts";
import { headsIn, placesOf } from "./places.ts";
import { vocabularySize } from "./post-norm-layer.ts";
import { architectureOf } from "./registry.ts";
import { checkpointTasks, type CheckpointTask } from "./task.ts";
import { unreadKeys } from "./unread-keys.ts";
import { listed, type Weights } from "./weights.ts";

/** The IR version that onnx 1.12 wrote with opset 17; every runtime with that opset reads it. */
const irVersion = 8;
const opset = 17;

export interface BuildOptions {
  /** The head of the graph. Default: that of the checkpoint's architecture, or the one that its weights have. */
  readonly task?: CheckpointTask;
  /** Ignore weights that the architecture does not know, instead of refusing them. Default false. */
  readonly ignoreUnexpected?: boolean;
}

/** A graph, and what the user should know about it. */
export interface BuiltModel {
  readonly model: ModelProto;
  /** What the graph was built for. */
  readonly task: CheckpointTask;
  /** What was assumed or left out: heads of other tasks, settings that are not used. */
  readonly notes: readonly string[];
}

/**
 * Builds the ONNX graph (opset 17, float32) of an encoder from its parsed `config.json` and its weights.
 *
 * Inputs `input_ids`, `attention_mask` and, if the architecture has token types, `token_type_ids`: int64
 * [batch_size, sequence_length]. Output by task: "fill-mask" and "token-classification" `logits` [batch_size,
 * sequence_length, vocabulary or labels]; "text-classification" `logits` [batch_size, labels]; "feature-extraction"
 * `last_hidden_state` [batch_size, sequence_length, hidden]. These are the names that transformers.js expects.
 *
 * Weights stay in their file (`TensorProto.source`): matrices of linear layers are transposed, and half precision is
 * converted, when they are read.
 *
 * @throws CheckpointError "unsupported-model", "unsupported-variant", "unsupported-activation", "bad-config",
 *   "missing-weights", "unexpected-weights", "shape-mismatch", "vocabulary-mismatch", "unsupported-type"
 * @throws ArgumentError for a task that does not exist
 */
export function buildModel(config: unknown, weights: StateDict, options: BuildOptions = {}): BuiltModel {
  const { task, ignoreUnexpected = false } = options;
  if (task !== undefined && !checkpointTasks.includes(task))
    throw new ArgumentError("task", `one of ${checkpointTasks.join(", ")}`, task);
  const { architecture, config: configuration } = architectureOf(new Configuration(config));
  const foreign = refuseForeign(configuration, weights);
  const places = placesOf(architecture, configuration, weights);
  const { backbone } = places;
  requireVocabulary(configuration, architecture, backbone);
  const found = headsIn(architecture, backbone, places.heads);
  const chosen = task === undefined ? taskOf(configuration, found) : { task, notes: [] };
  const building: Building = {
    graph: new GraphWriter(),
    config: configuration,
    backbone,
    heads: places.heads,
    notes: [],
  };
  const graph = explained(configuration, () => buildGraph(architecture, building, chosen.task));
  backbone.requireAll();
  const left = leftOver(architecture, places, found, chosen.task);
  // Of a checkpoint with more than an encoder, the features may be asked for.
  const onlyEncoder = task === "feature-extraction";
  if (!ignoreUnexpected) refuseUnexpected(onlyEncoder ? left.unexpected : [...left.unexpected, ...left.outside]);
  const notes = [...foreign, ...chosen.notes, ...building.notes];
  if (task === undefined && left.heads.length > 0) notes.push(leftOut("of other heads", left.heads));
  if (onlyEncoder && left.outside.length > 0) notes.push(leftOut("outside of the encoder", left.outside));
  const heads = configuration.defaulted().find((name) => headCounts.includes(name) && !configuration.has(name));
  if (heads !== undefined) {
    notes.push(`config.json does not give ${heads}, and the weights do not show it: transformers' default was taken.`);
  }
  notes.push(...unreadKeys(configuration, architecture.ignored(configuration)));
  const model = createMessage("ModelProto", {
    irVersion: Long.fromNumber(irVersion),
    opsetImport: [createMessage("OperatorSetIdProto", { version: Long.fromNumber(opset) })],
    producerName: "favor",
    graph,
  });
  return { model, task: chosen.task, notes };
}

/** Names of the number of attention heads. */
const headCounts: readonly string[] = ["num_attention_heads", "n_heads"];

function leftOut(what: string, names: readonly string[]): string {
  return `The checkpoint has weights ${what}, which the graph leaves out: ${listed(names)}.`;
}

/** Runs `build`. If a weight has another shape than expected, says which sizes config.json does not name. */
function explained(config: Configuration, build: () => GraphProto): GraphProto {
  try {
    return build();
  } catch (error) {
    if (!(error instanceof CheckpointError) || error.code !== "shape-mismatch") throw error;
    const sizes = config.defaulted().filter((name) => !config.has(name) && isSize(name));
    const missing = sizes.length === 0 ? "" : ` config.json does not give ${sizes.join(", ")}: defaults were taken.`;
    const why = " Check that config.json and the weights are of the same model.";
    throw new CheckpointError("shape-mismatch", `${error.message}${missing}${why}`, error.details, error);
  }
}

const isSize = (name: string): boolean => /size|dim|heads|layers|embeddings/.test(name);

function buildGraph(architecture: Architecture, building: Building, task: CheckpointTask): GraphProto {
  const { graph, config } = building;
  const inputs: TokenInputs = {
    inputIds: graph.tokenInput("input_ids"),
    attentionMask: graph.tokenInput("attention_mask"),
    tokenTypeIds: architecture.hasTokenTypes ? graph.tokenInput("token_type_ids") : "",
  };
  const hidden = architecture.encode(building, inputs);
  switch (task) {
    case "feature-extraction":
      return graph.finish(hidden, "last_hidden_state", ["sequence_length", architecture.hidden(config)]);
    case "fill-mask": {
      const vocabulary = vocabularySize(config, building.backbone, architecture.embedding);
      return graph.finish(architecture.fillMask(building, hidden), "logits", ["sequence_length", vocabulary]);
    }
    case "text-classification":
      return graph.finish(architecture.classifySequence(building, hidden, inputs), "logits", [
        labelsOf(building, ["classifier.out_proj", "classifier"]),
      ]);
    case "token-classification": {
      const logits = architecture.classifyTokens(building, hidden);
      return graph.finish(logits, "logits", ["sequence_length", labelsOf(building, ["classifier"])]);
    }
  }
}

function requireVocabulary(config: Configuration, { embedding }: Architecture, backbone: Weights): void {
  const rows = backbone.dims(`${embedding}.weight`)?.[0];
  const vocabulary = vocabularySize(config, backbone, embedding);
  if (rows === undefined || rows === vocabulary) return;
  const name = `${backbone.prefix}${embedding}.weight`;
  throw new CheckpointError(
    "vocabulary-mismatch",
    `config.json has a vocab_size of ${vocabulary}, but ${JSON.stringify(name)} has ${rows} rows. If tokens were added to ` +
      `the model, correct vocab_size to ${rows}; otherwise configuration and weights are of different models.`,
    { weight: name, rows, vocabulary },
  );
}
