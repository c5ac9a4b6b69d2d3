import type { InferenceSession } from "onnxruntime-node";

import type { FedInput, InputAxis, InputMeaning, InputType } from "./feeding.ts";
import type { InputUse } from "./lookups.ts";

/** What is known of a model besides its graph. */
export interface ModelFacts {
  /** Ids that the tokenizer gives, or rows of the token embedding according to `config.json`. */
  readonly vocabulary?: number | undefined;
  /** Rows of the position table according to `config.json`. */
  readonly positions?: number | undefined;
  /** Kinds of tokens according to `config.json`. */
  readonly tokenTypes?: number | undefined;
}

/** An input with its use and everything it might be, the likeliest first. */
export interface InputCandidates {
  readonly name: string;
  readonly type: InputType;
  readonly shape: readonly (number | string)[];
  readonly choices: readonly { readonly axes: readonly InputAxis[]; readonly meaning: InputMeaning }[];
}

/** Inputs that nothing can be proved of, with the reason. */
export interface UnknownInputs {
  readonly names: readonly string[];
  readonly reason: string;
}

/** A table of so few rows holds kinds of tokens. */
const fewRows = 16;

const types: readonly string[] = ["int64", "int32", "uint8", "int8", "float32", "bool"] satisfies InputType[];

/** The kinds of names that exporters give. They never decide what the graph does not allow. */
const saysTypes = /token_?type|segment/i;
const saysPositions = /position/i;
const saysIds = /ids?\b|tokens?\b|^input|ids?:|ids_/i;

/** A number that hides a key when it is added to logits. */
const additive = -1e4;

const mask = (keeps: number, hides: number): InputMeaning => ({ kind: "mask", keeps, hides });

/**
 * What each input may be: token ids, kinds of tokens and positions by the tables that the graph looks up; masks by their
 * type and shape. `proveFeeding` tries the choices on the model.
 *
 * @param uses from `inputUses`
 */
export function inputCandidates(
  metadata: readonly InferenceSession.ValueMetadata[],
  uses: ReadonlyMap<string, InputUse>,
  facts: ModelFacts,
): readonly InputCandidates[] | UnknownInputs {
  const strange = metadata.filter(
    (input) => !input.isTensor || !types.includes(input.type) || input.shape.length === 0,
  );
  if (strange.length > 0) {
    return { names: strange.map(described), reason: "they are neither numbers for each token nor for each sequence" };
  }
  const ids = tokenIds(metadata, uses, facts);
  if (typeof ids !== "string") return ids;
  const all = metadata.map((input) => {
    if (!input.isTensor) throw new TypeError(input.name);
    const { name, shape } = input;
    return {
      name,
      type: input.type as InputType,
      shape,
      choices: choicesOf(input, name === ids, uses.get(name), facts),
    };
  });
  const hopeless = all.filter(({ choices }) => choices.length === 0);
  if (hopeless.length === 0) return all;
  const names = hopeless.map(({ name }) => described(metadata.find((input) => input.name === name)!));
  return { names, reason: "neither their shape nor the graph says what they mean for token ids" };
}

/** The input that token ids are fed by, or why there is none or more than one. */
function tokenIds(
  metadata: readonly InferenceSession.ValueMetadata[],
  uses: ReadonlyMap<string, InputUse>,
  { vocabulary = 0 }: ModelFacts,
): string | UnknownInputs {
  const integers = metadata.filter((input) => isInteger(input) && input.isTensor && input.shape.length === 2);
  const rowsOf = ({ name }: { readonly name: string }): number | undefined => uses.get(name)?.rows;
  const lookedUp = integers.filter((input) => rowsOf(input) !== undefined);
  // Where the graph hides its tables, as in functions, the name remains; the proof shows whether it is right.
  const possible = lookedUp.length > 0 ? lookedUp : integers.filter(({ name }) => roleByName(name) === "ids");
  const large = possible.filter((input) => (rowsOf(input) ?? Infinity) >= Math.max(vocabulary, 2));
  const [only, ...others] = large.length > 0 ? large : possible;
  if (only === undefined) {
    return {
      names: metadata.map(described),
      reason: "none of them holds token ids: no integers [batch, length] that an embedding is looked up with",
    };
  }
  if (others.length === 0) return only.name;
  const candidates = [only, ...others];
  const named = candidates.filter(({ name }) => roleByName(name) === "ids");
  if (named.length === 1) return named[0]!.name;
  const largest = Math.max(...candidates.map((input) => rowsOf(input) ?? 0));
  const first = candidates.filter((input) => rowsOf(input) === largest);
  if (
    named.length === 0 &&
    first.length === 1 &&
    candidates.every((one) => one === first[0] || rowsOf(one)! <= fewRows)
  ) {
    return first[0]!.name;
  }
  return {
    names: candidates.map(described),
    reason: "each of them may hold the token ids: the graph looks all of them up",
  };
}

type NamedRole = "types" | "positions" | "ids";

function roleByName(name: string): NamedRole | undefined {
  if (/mask/i.test(name)) return undefined;
  if (saysTypes.test(name)) return "types";
  if (saysPositions.test(name)) return "positions";
  return saysIds.test(name) ? "ids" : undefined;
}

function isInteger(input: InferenceSession.ValueMetadata): boolean {
  return input.isTensor && (input.type === "int64" || input.type === "int32");
}

function choicesOf(
  input: InferenceSession.ValueMetadata,
  isIds: boolean,
  use: InputUse | undefined,
  facts: ModelFacts,
): InputCandidates["choices"] {
  if (!input.isTensor) return [];
  const { shape, type, name } = input;
  const layouts = layoutsOf(shape);
  const laid = (meanings: readonly InputMeaning[]): InputCandidates["choices"] =>
    layouts.flatMap((axes) => meanings.map((meaning) => ({ axes, meaning })));
  if (isIds) return shape.length === 2 ? laid([{ kind: "ids" }]) : [];
  if (use?.isRead === false) return laid([{ kind: "unused" }]).slice(0, 1);
  if (shape.length === 1) return isInteger(input) ? [{ axes: ["batch"], meaning: { kind: "lengths" } }] : [];
  if (layouts.length === 0) return [];
  const masks = type === "float32" ? [mask(1, 0), mask(0, 1), mask(0, additive)] : [mask(1, 0), mask(0, 1)];
  if (!isInteger(input) || shape.length !== 2) return laid(masks);
  const role = roleByName(name);
  const rows = use?.rows;
  const isTypes = role === "types" || (rows !== undefined && (rows <= fewRows || rows === facts.tokenTypes));
  const isPositions = role === "positions" || (rows !== undefined && rows > fewRows && rows === facts.positions);
  const named: InputMeaning[] = [
    ...(isTypes && role !== "positions" ? [{ kind: "types" } as const] : []),
    ...(isPositions && role !== "types" ? [{ kind: "positions" } as const] : []),
  ];
  // Rows of a table beyond 0 and 1 are no mask.
  const mayMask = rows === undefined || rows <= fewRows;
  const bySign = mayMask ? [...masks, mask(0, additive)].slice(0, rows === undefined ? 3 : 2) : [];
  return role === "types" || role === "positions" ? laid([...named, ...bySign]) : laid([...bySign, ...named]);
}

/** The ways in which the axes of an input may be read, the usual one first. */
function layoutsOf(shape: readonly (number | string)[]): (readonly InputAxis[])[] {
  const possible: (readonly InputAxis[])[] =
    shape.length === 2
      ? [
          ["batch", "length"],
          ["length", "batch"],
        ]
      : shape.length === 3
        ? [
            ["batch", "one", "length"],
            ["batch", "query", "length"],
          ]
        : shape.length === 4
          ? [
              ["batch", "one", "one", "length"],
              ["batch", "one", "query", "length"],
            ]
          : [];
  return possible.filter((axes) => axes.every((axis, at) => axis !== "one" || !(Number(shape[at]) > 1)));
}

function described(input: InferenceSession.ValueMetadata): string {
  if (!input.isTensor) return `"${input.name}" (no tensor)`;
  const dims = input.shape.map((dim) => (typeof dim === "number" && dim <= 0 ? "?" : dim));
  return `"${input.name}" (${input.type} [${dims.join(", ")}])`;
}

/** The input as it is fed by one of its choices. */
export function fedBy({ name, type, choices }: InputCandidates, choice: number): FedInput {
  return { name, type, ...choices[choice]! };
}
