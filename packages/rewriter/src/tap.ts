import type { AttentionSite } from "./attention/site.ts";
import { NodeBuilder } from "@favor/onnx/graph";
import { standardScales } from "./emit/scales.ts";
import { readSite, type KeepCache } from "./emit/site-inputs.ts";
import type { Fork } from "./fork.ts";
import { DataType, type ModelProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";

/** The additional outputs of a tapped model for one site. Queries and keys are each multiplied by sqrt(scale). */
export interface MomentTap {
  readonly site: number;
  readonly heads: number;
  readonly dim: number;
  readonly outputs: {
    /** [heads, dim]: sum over batch and positions */
    readonly querySum: string;
    /** [heads, dim, dim]: sum of outer products */
    readonly queryGram: string;
    readonly keySum: string;
    readonly keyGram: string;
    /** [1]: the number of queries (and of keys) in each head's sums. */
    readonly queryCount: string;
    readonly keyCount: string;
  };
}

export interface SampleTap {
  readonly site: number;
  readonly heads: number;
  readonly dim: number;
  /** Whether query i attends only to the keys up to i. */
  readonly causal: boolean;
  /** ALiBi's slope of each head; absent without ALiBi. */
  readonly slopes?: readonly number[];
  /** [batch, heads, positions, dim]; the batch includes what the graph folds into it, such as frames or windows. */
  readonly query: string;
  /** [batch, heads, positions, dim] */
  readonly key: string;
}

/** A model with additional outputs, and which of them belong to which site. */
export interface TappedModel<Tap> {
  readonly model: ModelProto;
  readonly taps: readonly Tap[];
  /** One sentence per site without outputs: it can be converted, but not calibrated. */
  readonly notes: readonly string[];
}

/** Adds the sums that calibration needs as outputs. The fork is used up. */
export function tapMoments(fork: Fork): TappedModel<MomentTap> {
  return tap(
    fork,
    (build, site, query, keyColumns) => {
      const keys = build.transpose(keyColumns, [0, 1, 3, 2]);
      const queryColumns = build.transpose(query, [0, 1, 3, 2]);
      const total = (value: string): string => build.squeeze(build.reduceSum(value, 0), [0]);
      const sum = (columns: string): string => build.squeeze(total(build.reduceSum(columns, 3)), [2]);
      const count = (rows: string): string =>
        build.cast(build.op("Mul", [build.dimension(rows, 0), build.dimension(rows, 2)]), DataType.FLOAT);
      return {
        site: site.index,
        heads: site.heads,
        dim: site.headDim,
        outputs: {
          querySum: sum(queryColumns),
          queryGram: total(build.op("MatMul", [queryColumns, query])),
          keySum: sum(keyColumns),
          keyGram: total(build.op("MatMul", [keyColumns, keys])),
          queryCount: count(query),
          keyCount: count(keys),
        },
      };
    },
    (entry) => Object.values(entry.outputs),
  );
}

/** Adds every site's queries and keys as outputs. The fork is used up. */
export function tapSamples(fork: Fork): TappedModel<SampleTap> {
  return tap(
    fork,
    (build, site, query, keyColumns) => ({
      site: site.index,
      heads: site.heads,
      dim: site.headDim,
      causal: site.causal,
      ...(site.mask.alibi && { slopes: site.mask.alibi.slopes }),
      query,
      key: build.transpose(keyColumns, [0, 1, 3, 2]),
    }),
    (entry) => [entry.query, entry.key],
  );
}

function tap<Entry>(
  { normalised: { graph, model }, found }: Fork,
  emit: (build: NodeBuilder, site: AttentionSite, query: string, keyColumns: string) => Entry,
  outputsOf: (entry: Entry) => string[],
): TappedModel<Entry> {
  const build = new NodeBuilder(graph, "favor_tap");
  const keeps: KeepCache = new Map();
  const taps: Entry[] = [];
  const notes: string[] = [];
  for (const entry of found.sites) {
    // A band is written exactly and has no features to calibrate.
    if (!("site" in entry) || entry.site.mask.band !== undefined) continue;
    const { site, context } = entry;
    if (context.graph !== graph) {
      notes.push(
        `Attention ${site.index}, "${site.name}", is inside a body of If, Loop or Scan. Its queries and keys cannot become outputs of the model, so its features are not calibrated.`,
      );
      continue;
    }
    const scales = standardScales(site);
    const inputs = readSite(build, site, keeps);
    const scaled = (value: string, scale: number): string =>
      build.op("Mul", [spreadHeads(build, value, site), build.scalar(scale)]);
    const made = emit(build, site, scaled(inputs.query, scales.query), scaled(inputs.keyColumns, scales.key));
    taps.push(made);
    for (const name of outputsOf(made)) {
      const type = { tensorType: { elemType: DataType.FLOAT }, denotation: "" };
      model.graph.output.push(createMessage("ValueInfoProto", { name, type }));
    }
  }
  build.commit();
  graph.reindex();
  return { model, taps, notes };
}

/** Repeats keys that all heads share, so that every head has its own statistics. */
function spreadHeads(build: NodeBuilder, value: string, site: AttentionSite): string {
  if (site.keyValueHeads === site.heads || site.keyValueHeads !== 1) return value;
  return build.op("Expand", [value, build.integers([1, site.heads, 1, 1])]);
}
