import type { ModelProto } from "@favor/onnx";
import type { FoundAttention } from "./attention/find.ts";
import { convertFound, requireUnconverted, type Conversion } from "./convert.ts";
import { forwardMemory, siteMemory, type ForwardMemory, type SiteMemory } from "./forward-memory.ts";
import { forkAttention } from "./fork.ts";
import { normaliseModel, type NormalisedModel } from "./normalise/normalise.ts";
import { checkOptions, type ConvertOptions, type FindOptions } from "./options.ts";
import { reportSite, type SiteReport } from "./report.ts";
import { longestInput } from "./positions/longest-input.ts";
import { requireModel } from "./require-model.ts";
import { findSites } from "./sites.ts";
import { tapMoments, tapSamples, type MomentTap, type SampleTap, type TappedModel } from "./tap.ts";

/**
 * Finds every softmax attention of a model and proves which of them may be replaced. This is the slow part: do it once,
 * then report, calibrate and convert from the result as often as you like. The given model is not changed.
 *
 * @throws ArgumentError for anything but a decoded model
 * @throws GraphError for a graph whose wiring is broken: "duplicate-value", "undefined-value", "cyclic-graph",
 *   "recursive-function", "expansion-too-large"
 * @throws GraphError "graph-too-large" for more than 524,288 nodes, or wiring that takes more than 33 million steps to
 *   follow; no model of a hundred layers comes near
 */
export function findAttention(model: ModelProto, options: FindOptions = {}): ModelAttention {
  requireModel(model);
  const normalised = normaliseModel(model);
  return new ModelAttention(normalised, findSites(normalised.graph, options.maskOperations));
}

/** The attention of one model, found and proved. Everything it makes is a copy; weights are shared, not duplicated. */
export class ModelAttention {
  /** Every attention in the order of data flow, each with its verdict. */
  readonly sites: readonly SiteReport[];
  /** Remarks on the graph as a whole: what could not be followed, what is linear already. */
  readonly notes: readonly string[];
  /** The model's own outputs, by name. */
  readonly outputs: readonly string[];
  readonly #normalised: NormalisedModel;
  readonly #found: FoundAttention;
  /** Weights that were read and found finite. */
  readonly #checked = new Set<string>();

  /**
   * The memory of one forward pass, computed: as the model is, and with its attention exact by block or linear. Empty if
   * the model takes inputs of one length alone. Lengths in tokens; default 512, 2,048 and 8,192.
   */
  memory(lengths: readonly number[] = [512, 2048, 8192]): ForwardMemory[] {
    return forwardMemory(this.#normalised.graph, this.#found, lengths);
  }

  /**
   * What each attention of {@link sites} holds at most, computed in the same way, as it is and in each form that is possible.
   * Empty for a site that is one operator, or lies in a body of If, Loop or Scan.
   */
  siteMemory(lengths: readonly number[] = [512, 2048, 8192]): SiteMemory[][] {
    return siteMemory(this.#normalised.graph, this.#found, lengths);
  }

  /** @internal use {@link findAttention} */
  constructor(normalised: NormalisedModel, found: FoundAttention) {
    this.#normalised = normalised;
    this.#found = found;
    this.sites = found.sites.map(reportSite);
    this.outputs = normalised.model.graph.output.map(({ name }) => name);
    this.notes = [...normalised.notes, ...found.notes];
  }

  /** How long an input may be, in tokens, by the graph's position tables; see {@link longestInput}. */
  get longestInput(): number | "unlimited" | "unknown" {
    return longestInput(this.#normalised.graph);
  }

  /**
   * Replaces attention by linear attention wherever that is proved right, in a copy of the model. Inputs, outputs and
   * their axes stay; dead nodes and weights go.
   *
   * @throws GraphError as {@link convertAttention}
   * @throws ArgumentError for options that cannot be right
   */
  convert(options: Omit<ConvertOptions, keyof FindOptions> = {}): Conversion {
    const settings = checkOptions(options);
    requireUnconverted(this.#normalised.model);
    return convertFound(forkAttention(this.#normalised, this.#found), settings, this.#checked);
  }

  /**
   * A copy of the model whose additional outputs are the sums that calibration needs. Run it on one unpadded sequence
   * at a time (the sums include padding) and add the outputs up in float64.
   */
  tapMoments(): TappedModel<MomentTap> {
    return tapMoments(forkAttention(this.#normalised, this.#found));
  }

  /** A copy of the model whose additional outputs are every site's queries and keys. */
  tapSamples(): TappedModel<SampleTap> {
    return tapSamples(forkAttention(this.#normalised, this.#found));
  }

  /**
   * A copy of the model with the outputs of both, so that calibration runs it once.
   *
   * @param byBlock for long inputs: attention is computed exactly, but in memory that grows with the length alone, and
   *   position tables grow to `maxLength` if that is given. Uses an operator of onnxruntime's where it can.
   * @throws GraphError "positions-cannot-grow"
   */
  tapCalibration(
    byBlock?: Pick<ConvertOptions, "maxLength" | "growth">,
  ): TappedModel<SampleTap> & { readonly sums: readonly MomentTap[] } {
    const fork = forkAttention(this.#normalised, this.#found);
    const samples = tapSamples(fork);
    const both = { ...samples, sums: tapMoments(fork).taps };
    if (byBlock === undefined || both.taps.length === 0) return both;
    // Taps are outputs by now: what they read stays.
    const settings = checkOptions({ ...byBlock, features: "exact", target: "onnxruntime" });
    return { ...both, model: convertFound(fork, settings, this.#checked).model };
  }
}

/** The sites and notes of {@link findAttention}. */
export function inspectAttention(
  model: ModelProto,
  options: FindOptions = {},
): { sites: readonly SiteReport[]; notes: readonly string[] } {
  const { sites, notes } = findAttention(model, options);
  return { sites, notes };
}

/**
 * Finds a model's softmax attention and replaces it by linear attention wherever that is proved right. To convert the
 * same model several times, or to calibrate it first, use {@link findAttention}. The given model is not changed.
 *
 * @throws GraphError "already-converted" or "nothing-convertible", with every site's reasons in `details.sites`;
 *   "non-finite-weights" if a weight that projects a converted attention's queries, keys or values has NaN or infinity
 * @throws GraphError "cannot-raise-opset" below opset 9; for the target "onnx27", where the model's operators cannot be
 *   those of opset 27
 * @throws GraphError "cannot-be-stateful" if `stateful` is asked for and anything but attention stands against it
 * @throws ArgumentError for options that cannot be right, and for anything but a decoded model
 */
export function convertAttention(model: ModelProto, options: ConvertOptions = {}): Conversion {
  requireModel(model);
  checkOptions(options);
  requireUnconverted(model);
  return findAttention(model, options).convert(options);
}
