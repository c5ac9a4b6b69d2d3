import { FavorError } from "@favor/core";
import type { NodeProto } from "../model/proto.ts";
import { describeNode, nodeFacts } from "../semantics/node-call.ts";

/** The evaluator does not know an operator, or not the form of it that a node uses (a data type, an attribute). */
export class UnsupportedOperatorError extends FavorError<"unsupported-operator"> {
  constructor(node: NodeProto, reason: string = "the evaluator does not know this operator") {
    super(`${describeNode(node)}: ${reason}. What depends on it cannot be computed ahead of time.`, {
      code: "unsupported-operator",
      details: { ...nodeFacts(node), reason },
    });
  }
}

/** A node breaks its operator's specification, or its inputs do: shapes that do not fit, an index out of bounds. */
export class EvaluationError extends FavorError<"evaluation-failed"> {
  constructor(node: NodeProto, found: string, cause?: unknown) {
    super(`${describeNode(node)}: ${found}. Check the model, and the inputs that it is given.`, {
      code: "evaluation-failed",
      details: { ...nodeFacts(node), found },
      cause,
    });
  }
}

/** A value that was asked for, or that a needed node reads, has no producer and no initializer, and was not fed. */
export class MissingValueError extends FavorError<"missing-value"> {
  constructor(name: string, reader: NodeProto | null) {
    const where = reader === null ? "asked for" : `read by ${describeNode(reader)}`;
    super(`Value "${name}", ${where}, is neither computed, nor an initializer, nor fed. Feed it.`, {
      code: "missing-value",
      details: { name, ...(reader === null ? {} : nodeFacts(reader)) },
    });
  }
}

/** Evaluation would take more memory or time than {@link EvaluationLimits} allow. */
export class EvaluationLimitError extends FavorError<"evaluation-limit"> {
  constructor(limit: string, allowed: number, wanted: number, node: NodeProto) {
    super(
      `${describeNode(node)}: evaluation needs ${wanted} ${limit}, the limit is ${allowed}. ` +
        `Use smaller inputs, or raise limits.${limit}.`,
      { code: "evaluation-limit", details: { ...nodeFacts(node), limit, allowed, wanted } },
    );
  }
}
