import { join } from "node:path";

import { z } from "zod";

import { InputError } from "../errors.ts";
import { readJson } from "./config.ts";
import { readModulePaths } from "./modules-file.ts";
import type { SentenceModule } from "./modules-file.ts";

/** How the vectors of a text's tokens become one vector; several are laid end to end, in this order. */
export const poolingModes = ["cls", "max", "mean", "mean-sqrt-length", "weighted-mean", "last"] as const;

/**
 * `cls`: the first token's vector. `last`: the last token's. `max`: the largest number of each column. `mean`: the mean
 * over the tokens. `mean-sqrt-length`: their sum by the square root of their number. `weighted-mean`: the mean with the
 * weights 1, 2, 3, ... by position.
 */
export type PoolingMode = (typeof poolingModes)[number];

/** How a checkpoint makes one vector of a text. */
export interface Pooling {
  /** At least one, in the order of {@link poolingModes}. */
  readonly modes: readonly PoolingMode[];
  /** How two embeddings are compared. */
  readonly similarity: "cosine" | "dot";
  /** Modules that come after the pooling and that change directions: `2_Dense`. Only the graph itself can apply them. */
  readonly after: readonly string[];
  /** What the checkpoint says, if something else was chosen. */
  readonly configured?: string;
}

/** The keys of `1_Pooling/config.json` that are true or false, and the words of its `pooling_mode`. */
const byName: Readonly<Record<string, PoolingMode>> = {
  cls_token: "cls",
  cls: "cls",
  max_tokens: "max",
  max: "max",
  mean_tokens: "mean",
  mean: "mean",
  mean_sqrt_len_tokens: "mean-sqrt-length",
  weightedmean_tokens: "weighted-mean",
  weightedmean: "weighted-mean",
  lasttoken: "last",
};

const limit = 1024 * 1024;
const poolingSchema = z.record(z.string(), z.unknown());
const settingsSchema = z.looseObject({ similarity_fn_name: z.string().nullish() });

/** Modules that change no direction, and the pooling itself. */
const harmless: ReadonlySet<string> = new Set(["Transformer", "Pooling", "Normalize", "Dropout"]);

/**
 * Reads how a checkpoint of sentence-transformers pools, from the module `Pooling` of `modules.json`, or else from
 * `1_Pooling/config.json`.
 *
 * @param chosen - the way to pool whatever the checkpoint says; default: the checkpoint's.
 * @returns `undefined` for a checkpoint that says nothing, if nothing is chosen.
 * @throws {InputError} `config-malformed` for files that are not as expected, a way of pooling that is not known, or a
 * similarity that is neither `cosine` nor `dot`; `file-too-large`, `file-unreadable`.
 */
export async function readPooling(folder: string, chosen?: PoolingMode): Promise<Pooling | undefined> {
  const { modules } = await readModulePaths(folder, () => true);
  const at = modules.findIndex(({ kind }) => kind === "Pooling");
  const isNamed = at >= 0 || modules.length === 0;
  const path = join(folder, modules[at]?.path ?? "1_Pooling", "config.json");
  const settings = isNamed ? await readJson(path, poolingSchema, limit) : undefined;
  if (settings === undefined && chosen === undefined) return undefined;
  const names = settings === undefined ? [] : namesOf(settings);
  const configured = names.map((name) => modeOf(name) ?? name).join(", ");
  const modes = chosen === undefined ? knownModes(names, path) : [chosen];
  const normalises = modules.some(({ kind }) => kind === "Normalize");
  return {
    modes,
    // Of vectors of length 1, the dot product is the cosine.
    similarity: normalises ? "cosine" : await similarityOf(folder),
    after: modules.slice(at + 1).flatMap((module) => (harmless.has(module.kind) ? [] : [nameOf(module)])),
    ...(chosen !== undefined && settings !== undefined && configured !== chosen && { configured }),
  };
}

function nameOf({ path, kind }: SentenceModule): string {
  return path === "" ? kind : path;
}

function modeOf(name: string): PoolingMode | undefined {
  return Object.hasOwn(byName, name) ? byName[name] : undefined;
}

/** The ways of pooling that are switched on, as the file names them. */
function namesOf(settings: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(settings).flatMap(([key, value]) => {
    if (key === "pooling_mode") return [value].flat().map(String);
    const isOn = key.startsWith("pooling_mode_") && value !== false;
    return isOn ? [value === true ? key.slice("pooling_mode_".length) : `${key}: ${String(value)}`] : [];
  });
}

function knownModes(names: readonly string[], path: string): PoolingMode[] {
  const unknown = names.find((name) => modeOf(name) === undefined);
  if (unknown === undefined && names.length > 0) {
    return poolingModes.filter((mode) => names.some((name) => modeOf(name) === mode));
  }
  const what =
    unknown === undefined ? "names no way of pooling" : `pools by ${JSON.stringify(unknown)}, which is unknown`;
  throw new InputError(`${path} ${what}. Say how to pool with --pooling, or convert without --evaluate.`, {
    code: "config-malformed",
    details: { path, names },
  });
}

async function similarityOf(folder: string): Promise<Pooling["similarity"]> {
  const path = join(folder, "config_sentence_transformers.json");
  const { similarity_fn_name: name } = (await readJson(path, settingsSchema, limit)) ?? {};
  if (name === undefined || name === null || name === "cosine") return "cosine";
  if (name === "dot" || name === "dot_product") return "dot";
  throw new InputError(
    `${path} compares embeddings by ${JSON.stringify(name)}, but only "cosine" and "dot" are measured. Convert without ` +
      `--evaluate, or change the file if one of them is right, too.`,
    { code: "config-malformed", details: { path, found: name } },
  );
}
