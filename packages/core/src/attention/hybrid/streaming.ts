import { requireLength, requireObject } from "../../checks.ts";
import { addToSums } from "../causal.ts";
import { rescale, startCausal } from "../causal-state.ts";
import type { CausalState } from "../causal-state.ts";
import { requireFeatureMap } from "../../features/feature-map.ts";
import type { FeatureMap } from "../../features/feature-map.ts";
import { choosers, resolveExactKeys } from "./exact-keys.ts";
import type { ExactKeysOptions } from "./exact-keys.ts";
import { largestBlocks } from "./selector.ts";
import { requireOptions } from "../../options.ts";
import type { OptionNames } from "../../options.ts";

/** Options of {@link startHybrid}; those that concern queries and keys of one sequence are not there. */
export interface HybridStreamOptions extends Omit<ExactKeysOptions, "near" | "queryMask"> {
  readonly featureMap: FeatureMap;
  /** The width of a value; default the feature map's `dim`. */
  readonly valueDim?: number;
}

const streamNames: OptionNames<HybridStreamOptions> = {
  featureMap: true,
  valueDim: true,
  window: true,
  chosenBlocks: true,
  selector: true,
};

/** One token of one head. */
export interface HybridToken {
  /** `[dim]`, times d^(-1/4). */
  readonly query: Float64Array;
  readonly key: Float64Array;
  /** `[valueDim]`. */
  readonly value: Float64Array;
  /** Multiplies the weight of this key; 0 hides the token from itself and from all later ones. Default 1. */
  readonly keep?: number;
}

const tokenNames: OptionNames<HybridToken> = { query: true, key: true, value: true, keep: true };

interface KeyRow {
  readonly key: Float64Array;
  readonly value: Float64Array;
  readonly logMask: number;
}

/**
 * What {@link stepHybrid} remembers of one head's past. Without chosen blocks its size does not depend on the length: the
 * first key, at most two blocks of keys, and the sums over all keys before those, which a key joins for good when its
 * block leaves the near field. With chosen blocks it keeps every key and value, and the sums of every block.
 */
export class HybridState {
  readonly options: HybridStreamOptions;
  /** Tokens seen. */
  position = 0;
  #first: KeyRow | undefined;
  /** The keys of the current block and the one before it; the first key is hidden here. */
  #near: KeyRow[] = [];
  /** The queries of the same rows. */
  #queries: { readonly query: Float64Array; readonly keep: number }[] = [];
  /** All keys up to the current block, kept only if blocks are chosen. */
  readonly #past: KeyRow[] = [];
  /** The sums of each block that has left the near field; one running state if no block is chosen. */
  readonly #blocks: CausalState[] = [];
  /** The sums over the blocks that are neither near nor chosen. */
  #far: CausalState;
  #chosen: Int32Array = new Int32Array(0);

  constructor(options: HybridStreamOptions) {
    this.options = options;
    this.#far = this.#emptySums();
  }

  /** See {@link stepHybrid}. */
  step({ query, key, value, keep = 1 }: HybridToken): Float64Array {
    const { featureMap, window, valueDim = featureMap.dim } = this.options;
    if (window > 0 && this.position % window === 0) this.#startBlock();
    const row = { key: key.slice(), value: value.slice(), logMask: Math.log(keep) };
    const isFirst = window > 0 && this.#first === undefined && keep > 0;
    if (isFirst) this.#first = row;
    const kept = isFirst ? { ...row, logMask: -Infinity } : row;
    if (window === 0) this.#absorb([kept], this.#far);
    else {
      this.#near.push(kept);
      this.#queries.push({ query: query.slice(), keep });
      if (this.options.chosenBlocks) this.#past.push(kept);
    }
    this.position++;
    return this.#attend(query, valueDim);
  }

  #emptySums(): CausalState {
    const { featureMap, valueDim = featureMap.dim } = this.options;
    return startCausal({ keyHeads: 1, count: featureMap.count, valueDim });
  }

  /** At the boundary of a block: what leaves the near field joins the sums, and blocks are chosen. */
  #startBlock(): void {
    const { window, chosenBlocks = 0 } = this.options;
    const block = this.position / window;
    if (block < 2) return;
    const leaving = this.#near.slice(0, window);
    this.#near = this.#near.slice(window);
    this.#queries = this.#queries.slice(-window);
    if (chosenBlocks === 0) {
      this.#absorb(leaving, this.#far);
      return;
    }
    const sums = this.#emptySums();
    this.#absorb(leaving, sums);
    this.#blocks.push(sums);
    this.#chosen = this.#choose(block);
    this.#far = this.#emptySums();
    for (const [index, each] of this.#blocks.entries()) if (!this.#chosen.includes(index)) merge(this.#far, each);
  }

  #choose(block: number): Int32Array {
    const { featureMap, window } = this.options;
    const { dim } = featureMap;
    const exact = resolveExactKeys(this.options, { queries: this.position, keys: this.position }, undefined, true);
    if (!choosers(exact, block, this.position)) return new Int32Array(0);
    const scoresOf = exact.selector.prepare({
      dim,
      width: window,
      key: Float64Array.from(this.#past.flatMap(({ key }) => Array.from(key))),
      logMask: Float64Array.from(this.#past, ({ logMask }) => logMask),
    });
    const scores = scoresOf({
      query: Float64Array.from(this.#queries.flatMap(({ query }) => Array.from(query))),
      queryMask: this.#queries.map(({ keep }) => keep),
      keyBlocks: block,
    });
    return largestBlocks(scores, exact.chosenBlocks, (each) => each >= block - 1);
  }

  #absorb(rows: readonly KeyRow[], state: CausalState): void {
    const visible = rows.filter(({ logMask }) => logMask > -Infinity);
    if (visible.length === 0) return;
    const { featureMap, valueDim = featureMap.dim } = this.options;
    const key = Float64Array.from(visible.flatMap((row) => Array.from(row.key)));
    const value = Float64Array.from(visible.flatMap((row) => Array.from(row.value)));
    const { features, logScale } = featureMap.keyStabilized(key, { scope: "row" });
    const weights = logScale.map((scale, j) => scale + visible[j]!.logMask);
    const from = state.logScale[0]!;
    const to = weights.reduce((a, b) => Math.max(a, b), from);
    addToSums(
      { key: features, value, weights, count: featureMap.count, valueDim },
      0,
      visible.length,
      from,
      to,
      state.sums,
    );
    state.logScale[0] = to;
  }

  #attend(query: Float64Array, valueDim: number): Float64Array {
    const { featureMap, window } = this.options;
    const chosen = [...this.#chosen].flatMap((block) => this.#past.slice(block * window, (block + 1) * window));
    const exact = [...(this.#first ? [this.#first] : []), ...this.#near, ...chosen];
    const logits = exact.map(({ key, logMask }) =>
      logMask === -Infinity ? logMask : logMask + query.reduce((sum, x, l) => sum + x * key[l]!, 0),
    );
    const { features, logScale } = featureMap.queryStabilized(query);
    const width = valueDim + 1;
    const far = new Float64Array(width);
    for (let m = 0; m < featureMap.count; m++) {
      for (let c = 0; c < width; c++) far[c]! += features[m]! * this.#far.sums[m * width + c]!;
    }
    const farLog = logScale[0]! + this.#far.logScale[0]!;
    const farMass = far[valueDim]! > 0 ? farLog + Math.log(far[valueDim]!) : -Infinity;
    const largest = logits.reduce((a, b) => Math.max(a, b), farMass);
    const out = new Float64Array(valueDim);
    if (largest === -Infinity) return out;
    const farScale = farMass === -Infinity ? 0 : Math.exp(farLog - largest);
    let normaliser = farScale * far[valueDim]!;
    if (farScale > 0) for (let c = 0; c < valueDim; c++) out[c] = farScale * far[c]!;
    for (const [j, { value }] of exact.entries()) {
      const weight = Math.exp(logits[j]! - largest);
      if (weight === 0) continue;
      normaliser += weight;
      for (let c = 0; c < valueDim; c++) out[c]! += weight * value[c]!;
    }
    return out.map((sum) => sum / normaliser);
  }
}

/** Adds the sums of one state to another's. */
function merge(into: CausalState, from: CausalState): void {
  const scale = Math.max(into.logScale[0]!, from.logScale[0]!);
  const [own, added] = [rescale(into.logScale[0]!, scale), rescale(from.logScale[0]!, scale)];
  for (let i = 0; i < into.sums.length; i++) into.sums[i] = own * into.sums[i]! + added * from.sums[i]!;
  into.logScale[0] = scale;
}

/**
 * The state of one head before its first token, for {@link stepHybrid}.
 *
 * @throws ArgumentError if the options are not those of causal attention with a feature map.
 */
export function startHybrid(options: HybridStreamOptions): HybridState {
  requireOptions("options", options, streamNames, "{ featureMap, window: 32 }");
  requireFeatureMap("options.featureMap", options.featureMap);
  resolveExactKeys(options, { queries: 0, keys: 0 }, undefined, true);
  return new HybridState(options);
}

/**
 * Causal hybrid attention of the next token to itself and all tokens before it: what `hybridAttention` gives the same
 * row in one pass. Choices fall at multiples of `window` tokens from the first.
 *
 * @param state From {@link startHybrid}, or as an earlier call left it; updated in place.
 * @returns `[valueDim]`; 0 if no key has been seen.
 * @throws ArgumentError if the token does not fit the state.
 */
export function stepHybrid(state: HybridState, token: HybridToken): Float64Array {
  requireObject("state", state, "what startHybrid gives");
  requireOptions("token", token, tokenNames, "{ query, key, value }");
  const { featureMap, valueDim = featureMap.dim } = state.options;
  requireLength("token.query", token.query, featureMap.dim);
  requireLength("token.key", token.key, featureMap.dim);
  requireLength("token.value", token.value, valueDim);
  return state.step(token);
}
