import type { InferenceSession } from "onnxruntime-node";

import { openModel } from "@favor/onnx/node";
import { InputError, messageOf } from "@favor/checkpoints";

import { inputCandidates } from "./candidates.ts";
import type { ModelFacts } from "./candidates.ts";
import type { Feeding } from "./feeding.ts";
import { inputUses } from "./lookups.ts";
import type { InputUse } from "./lookups.ts";
import { proveFeeding } from "./prove.ts";
import type { RunOnce } from "./prove.ts";

/** A model in onnxruntime whose inputs are to be understood. */
export interface OpenedSession {
  readonly path: string;
  /** The inputs, except those that carry a state. */
  readonly inputs: readonly InferenceSession.ValueMetadata[];
  readonly facts: ModelFacts;
  readonly padId: number;
  readonly firstPosition: number;
  readonly run: RunOnce;
}

/** Ids that are drawn from when nothing says how many there are. */
const fewIds = 20;
/** Ids that the proof draws from. */
const drawnIds = 12;

/**
 * Finds out how a model is fed with token ids: what each input means, and how its axes lie. The graph says what may hold
 * ids, kinds of tokens and positions; what a mask hides, and which axis is the batch, is tried on the model itself.
 *
 * @throws {InputError} `model-inputs-unknown`, naming the inputs that nothing is proved of; `model-fails-to-run`.
 */
export async function openFeeding(session: OpenedSession): Promise<Feeding> {
  const { path, inputs, facts, padId, firstPosition, run } = session;
  const { uses, isDynamicallyQuantised } = await readGraph(path);
  const candidates = inputCandidates(inputs, uses, facts);
  if ("names" in candidates) throw unknownInputs(path, candidates.names, candidates.reason);
  const ids = candidates.find(({ choices }) => choices[0]?.meaning.kind === "ids")!;
  const { rows, compared = [] } = uses.get(ids.name) ?? {};
  const tokens = ordinaryTokens(Math.min(rows ?? Infinity, facts.vocabulary ?? Infinity), [...compared, padId]);
  const found = await proveFeeding({
    candidates,
    tokens,
    padId,
    firstPosition,
    vocabulary: rows,
    isDynamicallyQuantised,
    run,
  });
  if (!("unproved" in found)) return found;
  switch (found.unproved) {
    case "meaning": {
      const names = candidates.map(({ name, type, shape }) => `"${name}" (${type} [${shape.join(", ")}])`);
      const what =
        "fed in any of the usual ways (masks of 1 or 0 at tokens, additive masks, either order of the axes), the model's " +
        "outputs do not show that sequences are independent of each other and that padding is hidden";
      throw unknownInputs(path, names, what);
    }
    case "no outputs":
      throw new InputError(
        `${path} has no float32 output [batch, length, width] or [batch, width], so nothing shows how it is fed. Convert it ` +
          `without --calibrate and --evaluate, or export it with outputs in float32.`,
        { code: "model-fails-to-run", details: { path } },
      );
    case "not finite":
      throw new InputError(
        `${path} gives NaN or infinity for ordinary tokens, so there is nothing to measure or to calibrate on. Check the ` +
          `model's weights, and whether it runs in float32.`,
        { code: "model-fails-to-run", details: { path, found: "not finite" } },
      );
    case "does not run":
      throw new InputError(
        `${path}: it fails on sequences of a few tokens: ${messageOf(found.failure)}. Check the model with onnxruntime ` +
          `before converting it.`,
        { code: "model-fails-to-run", cause: found.failure, details: { path } },
      );
  }
}

async function readGraph(path: string): Promise<{ uses: Map<string, InputUse>; isDynamicallyQuantised: boolean }> {
  const opened = await openModel(path);
  try {
    const isDynamicallyQuantised = opened.model.graph.node.some(({ opType }) => opType.startsWith("DynamicQuantize"));
    return { uses: inputUses(opened.model), isDynamicallyQuantised };
  } finally {
    opened.close();
  }
}

/** Some ids that no part of the graph treats apart, ascending. */
function ordinaryTokens(vocabulary: number, special: readonly number[]): number[] {
  const count = Number.isFinite(vocabulary) ? vocabulary : fewIds;
  const without = (apart: readonly number[]): number[] => {
    const ordinary: number[] = [];
    const step = Math.max(1, Math.floor(count / (drawnIds + apart.length + 1)));
    for (let id = count - 1; id >= 0 && ordinary.length < drawnIds; id -= step) {
      if (!apart.includes(id)) ordinary.unshift(id);
    }
    return ordinary;
  };
  const ordinary = without(special);
  return ordinary.length >= 3 ? ordinary : without([]);
}

function unknownInputs(path: string, names: readonly string[], reason: string): InputError {
  return new InputError(
    `${path} has inputs that cannot be derived from token ids: ${names.join(", ")}; ${reason}. Measuring and calibrating ` +
      `need a model that takes token ids [batch, length], and besides them only masks, token types and positions of these ` +
      `tokens. Export it with such inputs, or convert without --calibrate and --evaluate.`,
    { code: "model-inputs-unknown", details: { path, names } },
  );
}
