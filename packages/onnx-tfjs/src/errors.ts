import { FavorError } from "@favor/core";
import type { NodeProto } from "@favor/onnx";
import { describeNode, nodeFacts } from "@favor/onnx/semantics";

/** A node of an operator, or of a form of it, that does not run on tfjs. */
export class UnsupportedOperatorError extends FavorError<"unsupported-operator"> {
  /** @param supported `domain:opType` of what does run, for programs */
  constructor(node: NodeProto, reason: string, supported: readonly string[] = []) {
    super(
      `${describeNode(node)}: ${reason}. @favor/onnx-tfjs runs what attention models use, listed by supportedOperators(): ` +
        "run this model in onnxruntime, or feed the value that the node would give.",
      {
        code: "unsupported-operator",
        details: { ...nodeFacts(node), reason, supported },
      },
    );
  }
}

/** A node breaks its operator's specification, or its inputs do, or tfjs failed in it: see `cause`. */
export class OperatorError extends FavorError<"operator-failed"> {
  constructor(node: NodeProto, found: string, cause?: unknown) {
    super(`${describeNode(node)}: ${found}. Check the model, and the inputs that it is given.`, {
      code: "operator-failed",
      details: { ...nodeFacts(node), found },
      cause,
    });
  }
}

/** A fed value does not fit the model. */
export class FeedError extends FavorError<"invalid-feed"> {
  constructor(name: string, expected: string, found: string) {
    super(`Feed "${name}": expected ${expected}, found ${found}. See the model's \`inputs\`.`, {
      code: "invalid-feed",
      details: { name, expected, found },
    });
  }
}

/** A weight that cannot be assigned or written: no such variable, another shape, or the model was disposed of. */
export class VariableError extends FavorError<"invalid-variable"> {
  constructor(name: string, found: string, cause?: unknown) {
    super(`Variable "${name}": ${found}. \`variables()\` lists the model's variables.`, {
      code: "invalid-variable",
      details: { name, found },
      cause,
    });
  }
}
