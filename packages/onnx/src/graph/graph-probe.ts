import type { Graph } from "./graph.ts";
import type { Probe, ProbeSizes } from "./probe.ts";
import type { ShapeInfo } from "./shape-info.ts";

/** What one probe tells of a graph: the model's main graph, or a body of If, Loop or Scan. */
export interface GraphProbe {
  readonly sizes: ProbeSizes;
  readonly info: ReadonlyMap<string, ShapeInfo>;
}

/** What a probe of the model says of one of its graphs; undefined for a body that it did not run. */
export function graphProbe(graph: Graph, { sizes, info, bodies }: Probe): GraphProbe | undefined {
  const own = graph.outer === undefined ? info : bodies.get(graph.proto);
  return own && { sizes, info: own };
}
