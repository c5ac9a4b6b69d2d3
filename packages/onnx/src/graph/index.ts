export { readSmallTensor } from "./constants.ts";
export { parseEinsum } from "./einsum.ts";
export { GraphError } from "./errors.ts";
export type { GraphErrorCode } from "./errors.ts";
export { graphProbe } from "./graph-probe.ts";
export type { GraphProbe } from "./graph-probe.ts";
export { Graph } from "./graph.ts";
export { NodeBuilder } from "./node-builder.ts";
export {
  floatAttribute,
  intAttribute,
  intsAttribute,
  isStandard,
  makeNode,
  operatorName,
  stringAttribute,
} from "./node.ts";
export type { AttributeValue } from "./node.ts";
export { probe, probePair } from "./probe.ts";
export type { Probe, ProbePair, ProbeSizes } from "./probe.ts";
export { ShapeConflict } from "./shape-info.ts";
export type { ShapeInfo } from "./shape-info.ts";
export { bodies, nestedGraphs, reachable, valuesAbove, valuesRead } from "../model/walk.ts";
export { ancestors, dataReaders, madeLast, nodesAlongFirstInput, readsData } from "./walks.ts";
export { describeNode } from "../semantics/node-call.ts";
