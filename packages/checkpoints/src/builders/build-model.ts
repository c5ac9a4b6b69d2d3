import { ArgumentError } from "@favor/core";
import Long from "long";
import { CheckpointError } from "../formats/errors.ts";
import type { StateDict } from "../formats/state-dict.ts";
import type { GraphProto, ModelProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import type { Architecture, TokenInputs } from "./architecture.ts";
import { Configuration } from "./configuration.ts";
import { GraphWriter } from "./graph-writer.ts";
import type { Building } from "./modules.ts";
import { architectureOf } from "./registry.ts";
import { taskOf, checkpointTasks, type CheckpointTask } from "./task.ts";
import { listed, Weights } from "./weights.ts";

/** The IR version that onnx 1.12 wrote with opset 17; every runtime with that opset reads it. */
const irVersion = 8;
const opset = 17;

export interface BuildOptions {
  /** The head of the graph. Default: that of the checkpoint's architecture, or what its weights allow. */
  readonly task?: CheckpointTask;
  /** Ignore weights that the architecture does not know, instead of refusing them. Default false. */
  readonly ignoreUnexpected?: boolean;
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
export function buildModel(config: unknown, weights: StateDict, options: BuildOptions = {}): ModelProto {
  const { task, ignoreUnexpected = false } = options;
  if (task !== undefined && !checkpointTasks.includes(task))
    throw new ArgumentError("task", `one of ${checkpointTasks.join(", ")}`, task);
  const configuration = new Configuration(config);
  const architecture = architectureOf(configuration);
  const { backbone, heads } = placesOf(architecture, weights);
  requireVocabulary(configuration, architecture, backbone);
  const building: Building = { graph: new GraphWriter(), config: configuration, backbone, heads };
  const chosen = task ?? taskOf(configuration, heads.has(architecture.maskedLanguageWeight));
  const graph = buildGraph(architecture, building, chosen);
  backbone.requireAll();
  if (!ignoreUnexpected) refuseUnexpected(architecture, building);
  return createMessage("ModelProto", {
    irVersion: Long.fromNumber(irVersion),
    opsetImport: [createMessage("OperatorSetIdProto", { version: Long.fromNumber(opset) })],
    producerName: "favor",
    graph,
  });
}

/** The default head that {@link buildModel} gives a checkpoint. Throws like it. */
export function checkpointTask(config: unknown, weights: StateDict): CheckpointTask {
  const configuration = new Configuration(config);
  const architecture = architectureOf(configuration);
  return taskOf(configuration, placesOf(architecture, weights).heads.has(architecture.maskedLanguageWeight));
}

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
      const vocabulary = config.size("vocab_size", building.backbone.dims(`${architecture.embedding}.weight`)![0]!);
      return graph.finish(architecture.fillMask(building, hidden), "logits", ["sequence_length", vocabulary]);
    }
    case "text-classification":
      return graph.finish(architecture.classifySequence(building, hidden, inputs), "logits", [config.labels()]);
    case "token-classification": {
      const logits = architecture.classifyTokens(building, hidden);
      return graph.finish(logits, "logits", ["sequence_length", config.labels()]);
    }
  }
}

/**
 * Finds the backbone of a checkpoint: under the architecture's prefix, without a prefix, or under one that a training
 * framework has added ("model.bert.", "module."). Heads have the same outer prefix.
 */
function placesOf(architecture: Architecture, weights: StateDict): { backbone: Weights; heads: Weights } {
  const wanted = `${architecture.embedding}.weight`;
  const own = `${architecture.prefix}.`;
  const prefixes = [...weights.keys()]
    .filter((name) => name === wanted || name.endsWith(`.${wanted}`))
    .map((name) => name.slice(0, -wanted.length));
  const prefix = [own, ""].find((usual) => prefixes.includes(usual)) ?? prefixes[0];
  if (prefix === undefined) {
    throw new CheckpointError(
      "missing-weights",
      `The checkpoint has no token embedding (${own}${wanted}). It has ${weights.size} tensors: ` +
        `${listed([...weights.keys()])}. It may have another architecture than config.json says.`,
      { missing: [own + wanted] },
    );
  }
  const outer = prefix.endsWith(`.${own}`) ? prefix.slice(0, -own.length) : "";
  const all = new Weights(weights);
  return { backbone: all.within(prefix.slice(0, -1)), heads: all.within(outer.slice(0, -1)) };
}

function requireVocabulary(config: Configuration, { embedding }: Architecture, backbone: Weights): void {
  const rows = backbone.dims(`${embedding}.weight`)?.[0];
  const vocabulary = config.size("vocab_size", rows ?? 1);
  if (rows === vocabulary) return;
  const name = `${backbone.prefix}${embedding}.weight`;
  throw new CheckpointError(
    "vocabulary-mismatch",
    `config.json has a vocab_size of ${vocabulary}, but ${JSON.stringify(name)} has ${rows} rows. Configuration and ` +
      "weights are of different models, or the vocabulary was extended: fetch both again, or correct vocab_size.",
    { weight: name, rows, vocabulary },
  );
}

/** Heads of other tasks, by their names in transformers and AntiBERTy. */
const otherHeads =
  /^(cls|lm_head|predictions|sop_classifier|generator_predictions|generator_lm_head|discriminator_predictions|classifier|pre_classifier|vocab_transform|vocab_layer_norm|vocab_projector|qa_outputs|head|decoder)\./;

/** Refuses unused weights, because they may change what the model computes: adapters, other positions. */
function refuseUnexpected({ dispensable }: Architecture, { backbone, heads }: Building): void {
  const unexpected: string[] = [];
  for (const name of backbone.unused()) {
    const inner = name.slice(backbone.prefix.length);
    const isHead = backbone.prefix === "" && otherHeads.test(inner);
    if (!isHead && !dispensable.test(inner)) unexpected.push(name);
  }
  for (const name of heads.unused()) {
    if (name.startsWith(backbone.prefix) || otherHeads.test(name.slice(heads.prefix.length))) continue;
    unexpected.push(name);
  }
  if (unexpected.length === 0) return;
  throw new CheckpointError(
    "unexpected-weights",
    `The checkpoint has ${unexpected.length} weights that its architecture does not know: ${listed(unexpected)}. The ` +
      "graph might not compute the same as the model. If you know that they are not needed, set `ignoreUnexpected`.",
    { unexpected },
  );
}
