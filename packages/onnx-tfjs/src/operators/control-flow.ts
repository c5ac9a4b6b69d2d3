import { DataType } from "@favor/onnx";
import { tensorOf } from "@favor/onnx/evaluate";
import type { OperatorCall, OperatorTable } from "../operator-call.ts";
import type { Value } from "../value.ts";
import { nothingCollected, stacked } from "./collected.ts";
import { scan } from "./scan.ts";

/** The branch that the condition takes; a condition on the device is read back. */
const conditional = (call: OperatorCall): readonly Value[] =>
  call.context.runBody(call.graph(call.scalar(0) === 0 ? "else_branch" : "then_branch"), []);

/**
 * The body maps (iteration, condition, state...) to (condition, state..., outputs...); outputs of all iterations are
 * stacked. A condition on the device is read back at each iteration.
 */
const loop = (call: OperatorCall): Value[] => {
  const body = call.graph("body");
  const trips = call.has(0) ? call.scalar(0) : Infinity;
  let condition: Value = call.optional(1) ?? tensorOf(DataType.BOOL, [], [1]);
  const stateCount = call.inputs.length - 2;
  let state: (Value | null)[] = call.inputs.slice(2);
  const collected: Value[][] = Array.from({ length: body.output.length - 1 - stateCount }, () => []);
  for (let iteration = 0; iteration < trips && call.onHost(condition).data[0] !== 0; iteration++) {
    const outputs = call.context.runBody(body, [tensorOf(DataType.INT64, [], [iteration]), condition, ...state]);
    condition = outputs[0]!;
    state = outputs.slice(1, 1 + stateCount);
    for (const [i, parts] of collected.entries()) parts.push(outputs[1 + stateCount + i]!);
  }
  return [
    ...state.map((value, i) => value ?? call.fail(`state ${i} is absent`)),
    ...collected.map((parts, i) =>
      parts.length === 0 ? nothingCollected(body, 1 + stateCount + i) : stacked(call, parts, 0),
    ),
  ];
};

/** Operators with bodies. */
export const controlFlowOperators: OperatorTable = { If: conditional, Loop: loop, Scan: scan };
