import type { NodeProto } from "@favor/onnx";
import { EvaluationLimitError } from "@favor/onnx/evaluate";
import { graphProbe, probe, ShapeConflict, type GraphProbe } from "@favor/onnx/graph";
import type { AttentionContext } from "../context.ts";

/** Tokens of an input and how many of them stand in a batch. */
export interface InputSize {
  readonly length: number;
  readonly batch: number;
}

/** The longest input that masks are looked at with, where the model takes it. */
const lengths = [4096, 2048, 1024, 512, 400, 300, 256, 200, 128, 100, 64];
/**
 * Further inputs: even and odd, powers of two and their neighbours, multiples of no block. Batches of one, two and three
 * tell what is laid along the batch from what is laid along the heads.
 */
const others: readonly InputSize[] = [
  { length: 1000, batch: 3 },
  { length: 513, batch: 2 },
  { length: 128, batch: 1 },
  { length: 64, batch: 2 },
  { length: 31, batch: 3 },
  { length: 17, batch: 8 },
];

/** Heads of a layer: as many items run where a mask lies over the heads, and one; no other batch does. */
const headCounts = [4, 6, 8, 12, 16, 20, 24, 32];

/** Lengths at which a mask cannot be computed whole. */
const immense = [16_385, 131_073];

/** Beyond this, rows of a window are not looked at whole. */
const largestBeyond = 2 ** 17;

/** Probes of one graph at other sizes than the first two. Layers of one structure are proved once, with one set of them. */
export class OtherSizes {
  readonly #context: AttentionContext;
  /** How far into the graph the probes reach. */
  #last: NodeProto | undefined;
  #probes: readonly GraphProbe[] | undefined;
  #immense: readonly GraphProbe[] | undefined;

  constructor(context: AttentionContext) {
    this.#context = context;
  }

  /**
   * Lets the probes reach as far as a node of the graph: what comes behind it takes time and says nothing.
   */
  reach(node: NodeProto): void {
    const { graph } = this.#context;
    if (this.#last === undefined || graph.place(node) > graph.place(this.#last)) {
      this.#last = node;
      this.#probes = undefined;
      this.#immense = undefined;
    }
  }

  /** The longest that the model takes, up to 4,096 tokens, first; none where it takes inputs of one size alone. */
  get probes(): readonly GraphProbe[] {
    this.#probes ??= this.#context.second === undefined ? [] : this.#make();
    return this.#probes;
  }

  /** Longer ones still, to be looked at with few queries and few keys; none where the model does not take them. */
  get immense(): readonly GraphProbe[] {
    this.#immense ??=
      this.longest < lengths[0]! ? [] : immense.flatMap((length) => this.#at({ length, batch: 1 }) ?? []);
    return this.#immense;
  }

  /**
   * Inputs longer than a window, and not much longer, if the others are not: with both of its ends, and with a long way
   * between them and the ends of the sequence. None where the model does not take them.
   */
  beyond(width: number): readonly GraphProbe[] {
    if (width + 1 < this.longest) return [];
    return [width + 70, 2 * width + 1].flatMap((length) => {
      return length > largestBeyond ? [] : (this.#at({ length, batch: 1 }) ?? []);
    });
  }

  /** Tokens of the longest of them; 0 if there is none. */
  get longest(): number {
    return this.probes[0]?.sizes.length ?? 0;
  }

  #make(): GraphProbe[] {
    const { first } = this.#context;
    const longest = this.#longest();
    const most = longest[0]?.sizes.length ?? first.sizes.length;
    const rest = [{ length: most - 1, batch: 2 }, ...others.filter(({ length }) => length < most - 1)];
    const found = rest.flatMap((size) => this.#at(size) ?? this.#at({ ...size, batch: 1 }) ?? []);
    const isSingle = longest.length > 0 && found.every(({ sizes }) => sizes.batch === 1);
    return [...longest, ...found, ...(isSingle ? this.#asManyAsHeads() : [])];
  }

  #asManyAsHeads(): GraphProbe[] {
    for (const batch of headCounts) {
      const found = this.#at({ length: 16, batch });
      if (found !== undefined) return [found];
    }
    return [];
  }

  /** Most models that do not take 4,096 tokens say so at once: their position table is looked up first. */
  #longest(): GraphProbe[] {
    for (const length of lengths) {
      const found = this.#at({ length, batch: 1 });
      if (found !== undefined) return [found];
    }
    return [];
  }

  #at({ length, batch }: InputSize): GraphProbe | undefined {
    const { graph, first } = this.#context;
    const last = graph === graph.root ? this.#last : undefined;
    try {
      return graphProbe(graph, probe(graph.root, { ...first.sizes, batch, length }, undefined, last));
    } catch (error) {
      // It does not run at this size, which is no fault of its masks.
      if (error instanceof ShapeConflict || error instanceof EvaluationLimitError) return undefined;
      throw error;
    }
  }
}
