import type { NodeProto } from "@favor/onnx";
import { readsData, type Graph } from "@favor/onnx/graph";

/**
 * Finds the first node of a kind above given values, in the order of `ancestors`: depth first, the last value first.
 * Each node is looked at once for all questions together, so all attentions of a graph may ask.
 */
export class FirstAbove {
  readonly #graph: Graph;
  readonly #isWanted: (node: NodeProto) => boolean;
  readonly #isEnd: (value: string) => boolean;
  readonly #outer: FirstAbove | undefined;
  /** null: none. */
  readonly #found = new Map<NodeProto, NodeProto | null>();

  /**
   * @param isEnd whether the search ends at a value; the node of such a value is not looked at
   * @param outer the same question to the graph around a body
   */
  constructor(
    graph: Graph,
    isWanted: (node: NodeProto) => boolean,
    isEnd: (value: string) => boolean,
    outer?: FirstAbove,
  ) {
    this.#graph = graph;
    this.#isWanted = isWanted;
    this.#isEnd = isEnd;
    this.#outer = outer;
  }

  /** The first wanted node above the last of the values that has one. */
  of(values: Iterable<string>): NodeProto | undefined {
    const start = [...values];
    for (let value = start.pop(); value !== undefined; value = start.pop()) {
      const found = this.#above(value);
      if (found !== null) return found;
    }
    return undefined;
  }

  #above(value: string): NodeProto | null {
    const known = this.#known(value);
    if (known !== undefined) return known;
    const top = this.#graph.producer(value)!;
    const way: { readonly node: NodeProto; readonly left: string[] }[] = [];
    const enter = (node: NodeProto): void => {
      // Until it has been looked at, a node counts as having none: a graph has no cycles.
      this.#found.set(node, this.#isWanted(node) ? node : null);
      way.push({ node, left: this.#isWanted(node) ? [] : [...readsData(node)] });
    };
    enter(top);
    for (let at = way.at(-1); at !== undefined; at = way.at(-1)) {
      const next = at.left.pop();
      if (next === undefined) {
        way.pop();
        continue;
      }
      const found = this.#known(next);
      if (found === undefined) {
        at.left.push(next);
        enter(this.#graph.producer(next)!);
      } else if (found !== null) {
        this.#found.set(at.node, found);
        at.left.length = 0;
      }
    }
    return this.#found.get(top)!;
  }

  /** The node found above a value, null if none; undefined if the value's node, in this graph, was not looked at yet. */
  #known(value: string): NodeProto | null | undefined {
    if (value === "" || this.#isEnd(value)) return null;
    const node = this.#graph.producer(value);
    if (node !== undefined) return this.#found.get(node);
    const owner = this.#graph.owner(value);
    if (owner === undefined) return null;
    return this.#outer?.of([value]) ?? null;
  }
}
