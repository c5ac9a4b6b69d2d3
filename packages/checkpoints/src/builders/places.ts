import { CheckpointError } from "../formats/errors.ts";
import type { CheckpointTensor, StateDict } from "../formats/state-dict.ts";
import type { Architecture } from "./architecture.ts";
import type { Configuration } from "./configuration.ts";
import { listed, Weights } from "./weights.ts";

/** Where a checkpoint keeps its backbone and its heads. */
export interface Places {
  readonly all: Weights;
  readonly backbone: Weights;
  readonly heads: Weights;
}

/** What torch.compile, FSDP and activation checkpointing put into the middle of names. */
const wrappers = /(?<=\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\./g;

/**
 * Finds the backbone of a checkpoint: under the architecture's prefix, without a prefix, or under one that a training
 * framework or another module has added ("model.bert.", "module.", "_orig_mod.", "bert.bert."). The heads are next to it,
 * or further out.
 *
 * @throws CheckpointError "missing-weights" without a backbone, "unexpected-weights" with more than one
 */
export function placesOf(architecture: Architecture, config: Configuration, found: StateDict): Places {
  const weights = unwrapped(found);
  const prefix = backbonePrefix(architecture, weights);
  const whole = new Weights(weights);
  const outer = headsPrefix(architecture, whole, prefix);
  const all = new Weights(withEmbedding(architecture, config, weights, prefix, outer));
  return { all, backbone: all.within(prefix.slice(0, -1)), heads: all.within(outer.slice(0, -1)) };
}

function unwrapped(weights: StateDict): StateDict {
  const renamed = new Map<string, CheckpointTensor>();
  for (const [name, tensor] of weights) {
    const plain = name.replaceAll(wrappers, "");
    if (renamed.has(plain)) {
      throw new CheckpointError(
        "unexpected-weights",
        `The checkpoint has ${JSON.stringify(plain)} twice, once of them as ${JSON.stringify(name)}. Save the state dict ` +
          "of the model that was not wrapped.",
        { weight: plain },
      );
    }
    renamed.set(plain, tensor);
  }
  return renamed;
}

function backbonePrefix(architecture: Architecture, weights: StateDict): string {
  const own = `${architecture.prefix}.`;
  const wanted = [`${architecture.embedding}.weight`, architecture.firstMatrix];
  const prefixes = new Set<string>();
  for (const name of weights.keys()) {
    const end = wanted.find((each) => name === each || name.endsWith(`.${each}`));
    if (end !== undefined) prefixes.add(name.slice(0, -end.length));
  }
  const [prefix, ...others] = prefixes;
  if (prefix === undefined) {
    throw new CheckpointError(
      "missing-weights",
      `The checkpoint has no token embedding (${own}${wanted[0]}). It has ${weights.size} tensors: ` +
        `${listed([...weights.keys()])}. It may have another architecture than config.json says.`,
      { missing: [own + wanted[0]!] },
    );
  }
  if (others.length === 0) return prefix;
  const names = [...prefixes].map((each) => (each === "" ? "without a prefix" : JSON.stringify(each)));
  throw new CheckpointError(
    "unexpected-weights",
    `The checkpoint holds ${prefixes.size} encoders (${names.join(", ")}), and nothing says which of them is meant. Save ` +
      "the one to convert by itself: load the checkpoint in PyTorch, and call `save_pretrained` of that encoder.",
    { encoders: [...prefixes] },
  );
}

/** The outer prefix of the heads: that of the module with the backbone, or, if it has none, of the next module outwards. */
function headsPrefix(architecture: Architecture, all: Weights, prefix: string): string {
  const own = `${architecture.prefix}.`;
  const nearest = prefix === own || prefix.endsWith(`.${own}`) ? prefix.slice(0, -own.length) : prefix;
  const backbone = all.within(prefix.slice(0, -1));
  const candidates = [nearest];
  for (let at = nearest; at !== "";) {
    at = at.slice(0, at.lastIndexOf(".", at.length - 2) + 1);
    candidates.push(at);
  }
  return (
    candidates.find((each) => headsIn(architecture, backbone, all.within(each.slice(0, -1))).length > 0) ?? nearest
  );
}

/** The heads of which `heads` has weights. */
export function headsIn(
  architecture: Architecture,
  backbone: Weights,
  heads: Weights,
): ReturnType<Architecture["heads"]> {
  const names = heads.names();
  return architecture.heads(backbone, heads).filter(({ weights }) => names.some((name) => weights.test(name)));
}

/**
 * safetensors' `save_model` keeps one name of a shared tensor, the first in alphabetical order: that may be the decoder's.
 * Without an embedding, a tied decoder is the embedding.
 */
function withEmbedding(
  architecture: Architecture,
  config: Configuration,
  weights: StateDict,
  prefix: string,
  outer: string,
): StateDict {
  const embedding = `${prefix}${architecture.embedding}.weight`;
  const decoder = weights.get(outer + architecture.decoder);
  if (weights.has(embedding) || decoder === undefined || !config.flag("tie_word_embeddings", true)) return weights;
  const named = new Map(weights);
  named.delete(outer + architecture.decoder);
  named.set(embedding, decoder);
  return named;
}
