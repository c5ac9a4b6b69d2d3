import type { GraphProto } from "../model/proto.ts";
import type { Graph } from "./graph.ts";
import type { Probe, ProbeSizes } from "./probe.ts";
import type { ShapeInfo } from "./shape-info.ts";

/** The result of a probe for one graph: the model's main graph, or a body of If, Loop or Scan. */
export interface GraphProbe {
  readonly sizes: ProbeSizes;
  readonly info: ReadonlyMap<string, ShapeInfo>;
  /** The same for the bodies of its nodes, and for all others of the model. */
  readonly bodies: ReadonlyMap<GraphProto, ReadonlyMap<string, ShapeInfo>>;
}

/** The part of a model's probe that concerns one of its graphs; undefined for a body that the probe did not run. */
export function graphProbe(graph: Graph, { sizes, info, bodies }: Probe): GraphProbe | undefined {
  const own = graph.outer === undefined ? info : bodies.get(graph.proto);
  return own && { sizes, info: own, bodies };
}
