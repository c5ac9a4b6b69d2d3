import { NO_MAXIMUM } from "../rows.ts";
import type { Layout } from "../rows.ts";
import type { FavorWorkspace } from "../workspace.ts";

/** How many sums are added at once; more are added in several steps. */
const BATCH = 16;

/**
 * The sums phi(K)^T [V, 1] of every block of keys, and of every 2, 4, 8, ... blocks that begin at a multiple of as many.
 * Each is held relative to the maxima of its own keys, so that a key outside a sum cannot make it underflow.
 *
 * The sum over any range of blocks is that of at most two of each size. The sum over all but a few blocks is therefore
 * made of O(few log blocks) terms, none of them negative: nothing cancels, as it would if the few were subtracted from
 * the total. A sum holds keys of its range only, which in causal attention are past.
 */
export class BlockSums {
  readonly #workspace: FavorWorkspace;
  /** The index of the first node of each level, and at last the number of nodes. */
  readonly #levels: readonly number[];
  readonly #nodes: number;
  readonly #gradients: number;
  readonly #batch: number;
  readonly #factors: number;
  /** Numbers per node: S `[count, valueDim]`, z `[count]`, maxima `[count]`. */
  readonly #size: number;
  readonly #sumsSize: number;

  /**
   * Takes the memory for nodes from `layout`, and for their gradients if `differentiated`; `countWidth` and `valueWidth`
   * are the workspace's.
   */
  static layOut(
    layout: Layout,
    blocks: number,
    { countWidth, valueWidth }: { readonly countWidth: number; readonly valueWidth: number },
    differentiated: boolean,
  ): BlockSumsLayout {
    const size = countWidth * (valueWidth + 2);
    const levels = levelStarts(blocks);
    const nodes = levels.at(-1)!;
    return {
      levels,
      nodes: layout.take(nodes, size),
      gradients: differentiated ? layout.take(nodes, size) : 0,
      batch: layout.take(BATCH, countWidth * (valueWidth + 1)),
      factors: layout.take(1, countWidth),
    };
  }

  constructor(workspace: FavorWorkspace, at: BlockSumsLayout) {
    const { countWidth, valueWidth } = workspace;
    this.#workspace = workspace;
    this.#levels = at.levels;
    this.#nodes = at.nodes;
    this.#gradients = at.gradients;
    this.#batch = at.batch;
    this.#factors = at.factors;
    this.#sumsSize = countWidth * valueWidth;
    this.#size = countWidth * (valueWidth + 2);
  }

  /** Empties the workspace's sums and maxima. */
  clear(): void {
    const { heap, at, countWidth } = this.#workspace;
    heap.fill(0, at.sums, at.sums + this.#sumsSize);
    heap.fill(0, at.normaliser, at.normaliser + countWidth);
    heap.fill(NO_MAXIMUM, at.maximum, at.maximum + countWidth);
  }

  /** Keeps the workspace's sums and maxima as those of a block. */
  keep(block: number): void {
    this.#store(block);
  }

  /** The workspace's maxima become those of a block. */
  loadMaximum(block: number): void {
    const { heap, at, countWidth } = this.#workspace;
    const from = this.#node(block) + this.#sumsSize + countWidth;
    heap.copyWithin(at.maximum, from, from + countWidth);
  }

  /** Sums all larger ranges, when every block has been kept. */
  build(): void {
    for (let level = 1; level < this.#levels.length - 1; level++) {
      const [below, start, end] = [this.#levels[level - 1]!, this.#levels[level]!, this.#levels[level + 1]!];
      for (let node = start; node < end; node++) {
        const child = below + 2 * (node - start);
        this.load([child, child + 1]);
        this.#store(node);
      }
    }
  }

  /** The nodes whose sum is that over the blocks 0 to `end` - 1 without those in `excluded`, ascending. */
  nodesWithout(excluded: readonly number[], end: number): number[] {
    const nodes: number[] = [];
    let from = 0;
    for (const each of [...excluded, end]) {
      this.#addRange(from, Math.min(each, end), nodes);
      from = each + 1;
    }
    return nodes;
  }

  #addRange(from: number, to: number, nodes: number[]): void {
    for (let block = from; block < to;) {
      let level = 0;
      while (level + 2 < this.#levels.length && (block >> level) % 2 === 0 && block + (2 << level) <= to) level++;
      nodes.push(this.#levels[level]! + (block >> level));
      block += 1 << level;
    }
  }

  /** Clears what {@link addGradient} adds to. */
  clearGradients(): void {
    const nodes = this.#levels.at(-1)!;
    this.#workspace.heap.fill(0, this.#gradients, this.#gradients + nodes * this.#size);
  }

  /** Adds the gradient with respect to the sums over some nodes, relative to the workspace's maxima, to that of each. */
  addGradient(nodes: readonly number[], sums: number, normaliser: number): void {
    const { kernels, heap, at, countWidth, valueWidth } = this.#workspace;
    for (const node of nodes) {
      const isScaled = this.#loadFactors(this.#node(node), at.maximum, this.#factors);
      heap.copyWithin(this.#batch, sums, sums + this.#sumsSize);
      heap.copyWithin(this.#batch + this.#sumsSize, normaliser, normaliser + countWidth);
      if (isScaled) {
        kernels.scaleRows(this.#batch, this.#factors, countWidth, valueWidth);
        kernels.multiply(this.#batch + this.#sumsSize, this.#factors, 1, countWidth);
      }
      kernels.columnSums(this.#gradient(node), this.#batch, 1, this.#sumsSize + countWidth);
    }
  }

  /** Carries the gradients of all ranges down to the blocks. */
  spreadGradients(): void {
    const { heap, at, countWidth } = this.#workspace;
    for (let level = this.#levels.length - 2; level > 0; level--) {
      const [below, start, end] = [this.#levels[level - 1]!, this.#levels[level]!, this.#levels[level + 1]!];
      for (let node = start; node < end; node++) {
        const maximum = this.#node(node) + this.#sumsSize + countWidth;
        heap.copyWithin(at.maximum, maximum, maximum + countWidth);
        const child = below + 2 * (node - start);
        const gradient = this.#gradient(node);
        this.addGradient([child, child + 1], gradient, gradient + this.#sumsSize);
      }
    }
  }

  /** Copies the gradient with respect to a block's sums to `sums` and `normaliser`. */
  loadGradient(block: number, sums: number, normaliser: number): void {
    const { heap, countWidth } = this.#workspace;
    const start = this.#gradient(block);
    heap.copyWithin(sums, start, start + this.#sumsSize);
    heap.copyWithin(normaliser, start + this.#sumsSize, start + this.#sumsSize + countWidth);
  }

  #gradient(index: number): number {
    return this.#gradients + index * this.#size;
  }

  #node(index: number): number {
    return this.#nodes + index * this.#size;
  }

  #store(index: number): void {
    const { heap, at, countWidth } = this.#workspace;
    const start = this.#node(index);
    heap.copyWithin(start, at.sums, at.sums + this.#sumsSize);
    heap.copyWithin(start + this.#sumsSize, at.normaliser, at.normaliser + countWidth);
    heap.copyWithin(start + this.#sumsSize + countWidth, at.maximum, at.maximum + countWidth);
  }

  /** `factors` = exp(a node's maxima - the maxima at `maximum`); whether one is not 1. */
  #loadFactors(node: number, maximum: number, factors: number): boolean {
    const { heap, countWidth } = this.#workspace;
    const own = node + this.#sumsSize + countWidth;
    let isScaled = false;
    for (let m = 0; m < countWidth; m++) {
      const difference = heap[own + m]! - heap[maximum + m]!;
      heap[factors + m] = difference === 0 ? 1 : Math.exp(difference);
      isScaled ||= difference !== 0;
    }
    return isScaled;
  }

  /** The workspace's sums and maxima become those over some nodes. */
  load(nodes: readonly number[]): void {
    const { kernels, heap, at, countWidth, valueWidth } = this.#workspace;
    this.clear();
    for (const node of nodes) {
      const maximum = this.#node(node) + this.#sumsSize + countWidth;
      for (let m = 0; m < countWidth; m++) {
        if (heap[maximum + m]! > heap[at.maximum + m]!) heap[at.maximum + m] = heap[maximum + m]!;
      }
    }
    const size = this.#sumsSize + countWidth;
    for (let first = 0; first < nodes.length; first += BATCH) {
      const count = Math.min(BATCH, nodes.length - first);
      for (let index = 0; index < count; index++) {
        const start = this.#node(nodes[first + index]!);
        const target = this.#batch + index * this.#sumsSize;
        const rest = this.#batch + BATCH * this.#sumsSize + index * countWidth;
        heap.copyWithin(target, start, start + this.#sumsSize);
        heap.copyWithin(rest, start + this.#sumsSize, start + size);
        if (!this.#loadFactors(start, at.maximum, this.#factors)) continue;
        kernels.scaleRows(target, this.#factors, countWidth, valueWidth);
        kernels.multiply(rest, this.#factors, 1, countWidth);
      }
      kernels.columnSums(at.sums, this.#batch, count, this.#sumsSize);
      kernels.columnSums(at.normaliser, this.#batch + BATCH * this.#sumsSize, count, countWidth);
    }
  }
}

/** Where {@link BlockSums} lie in the heap. */
export interface BlockSumsLayout {
  /** The index of the first node of each level, and at last the number of nodes. */
  readonly levels: readonly number[];
  readonly nodes: number;
  readonly gradients: number;
  readonly batch: number;
  readonly factors: number;
}

/** The first node of every level of complete ranges of 1, 2, 4, ... blocks, and the number of all nodes. */
function levelStarts(blocks: number): number[] {
  const starts = [0];
  let total = 0;
  for (let size = 1; size <= blocks; size *= 2) starts.push((total += Math.floor(blocks / size)));
  return starts;
}
