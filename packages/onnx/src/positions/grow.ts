import type { Graph } from "../graph/graph.ts";

export function growPositions(_graph: Graph, _maxLength: number, _growth: "tile" | "interpolate"): string[] {
  return [];
}
