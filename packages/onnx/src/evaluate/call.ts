import { DataType, type AttributeProto, type GraphProto, type NodeProto } from "../model/proto.ts";
import { NodeCall, shown } from "../semantics/node-call.ts";
import { EvaluationError, EvaluationLimitError, UnsupportedOperatorError } from "./errors.ts";
import {
  decodeTensor,
  elementCount,
  isFloat,
  isSupportedType,
  makeData,
  type Tensor,
  type TensorData,
} from "./tensor.ts";

export { shown };

/** The limits of one evaluation. */
export interface EvaluationLimits {
  /** Elements of all tensors that nodes make, together; feeds and initializers do not count. Default 2^25, at most 256 MB. */
  readonly elements: number;
  /** Multiplications, comparisons and the like, roughly counted. Default 10^9, a few seconds. */
  readonly operations: number;
  /** How deep bodies of If, Loop and Scan and local functions may be nested. Default 16. */
  readonly nesting: number;
}

export const defaultEvaluationLimits: EvaluationLimits = { elements: 2 ** 25, operations: 1e9, nesting: 16 };

/** How much of the limits has been used; an evaluation and all bodies in it share one object. */
export interface EvaluationUse {
  elements: number;
  operations: number;
}

/** The facts that an operator may know besides its node and inputs. */
export interface EvaluationContext {
  /** Version of each operator set, by domain; the standard one is "". */
  readonly opset: ReadonlyMap<string, number>;
  readonly limits: EvaluationLimits;
  readonly use: EvaluationUse;
  /** Values of the attributes of the local function that the node is in. */
  readonly functionAttributes: ReadonlyMap<string, AttributeProto>;
  /** Evaluates the body of an If, Loop or Scan: takes values for its inputs, and returns one tensor per output. */
  readonly runBody: (body: GraphProto, inputs: readonly (Tensor | null)[]) => Tensor[];
}

/** Computes the outputs of one node. */
export type Operator = (call: OperatorCall) => Tensor[];

/** Operators by type, of one domain. */
export type OperatorTable = Readonly<Record<string, Operator>>;

/** The reason why values marked by {@link markInexact} cannot be used. */
export const inexact = "it uses 64-bit integers beyond 2^53, which the evaluator does not hold exactly";

/** One node with its inputs, as an {@link Operator} sees it: typed attributes, and allocation within the limits. */
export class OperatorCall extends NodeCall<Tensor> {
  readonly context: EvaluationContext;

  constructor(node: NodeProto, inputs: readonly (Tensor | null)[], context: EvaluationContext) {
    super(node, inputs, context.opset);
    this.context = context;
  }

  /** In a local function, an attribute may be one of the function's. */
  override attribute(name: string): AttributeProto | undefined {
    const found = super.attribute(name);
    if (found === undefined || found.refAttrName === "") return found;
    return this.context.functionAttributes.get(found.refAttrName);
  }

  tensor(name: string): Tensor | undefined {
    const proto = this.attribute(name)?.t;
    if (proto === undefined || proto === null) return undefined;
    try {
      return this.charge(decodeTensor(proto));
    } catch (error) {
      if (error instanceof EvaluationLimitError) throw error;
      return this.fail(`attribute ${name} cannot be read`, error);
    }
  }

  /** An integer input, as a list: shapes, axes, indices. `undefined` if absent. */
  integers(index: number): number[] | undefined {
    return this.optional(index) === null ? undefined : Array.from(this.exact(index).data);
  }

  /** The input at `index`; fails unless all its integers are known, because the result depends on their values. */
  exact(index: number): Tensor {
    const found = this.input(index);
    if (hasInexact(found)) throw this.unsupported(inexact);
    return found;
  }

  /** The only value of an input. */
  scalar(index: number): number {
    const found = this.exact(index);
    if (found.data.length !== 1) this.fail(`input ${index} must hold one value, its shape is ${shown(found.dims)}`);
    return found.data[0]!;
  }

  /** Array of zeros for a new tensor, counted against the limits before it is made. */
  data(dims: readonly number[], dataType: number): TensorData {
    if (!isSupportedType(dataType)) throw this.unsupported(`data type ${dataType} is not held by the evaluator`);
    for (const dim of dims) {
      if (!(Number.isSafeInteger(dim) && dim >= 0)) this.fail(`its output would have the shape ${shown(dims)}`);
    }
    const count = elementCount(dims);
    this.chargeElements(count);
    this.operations(count);
    return makeData(dataType, count);
  }

  charge(tensor: Tensor): Tensor {
    this.chargeElements(tensor.data.length);
    return tensor;
  }

  /** Counts the elements of scratch space: those outside new tensors that no tensor's size bounds. */
  chargeElements(count: number): void {
    const { use, limits } = this.context;
    const wanted = use.elements + count;
    if (!(wanted <= limits.elements)) throw new EvaluationLimitError("elements", limits.elements, wanted, this.node);
    use.elements = wanted;
  }

  /** Counts work that {@link data} does not count: products, sorts, passes over the input. */
  operations(count: number): void {
    const { use, limits } = this.context;
    const wanted = use.operations + count;
    if (!(wanted <= limits.operations)) {
      throw new EvaluationLimitError("operations", limits.operations, wanted, this.node);
    }
    use.operations = wanted;
  }

  /** Fails unless `tensor` is of a floating-point type. */
  requireFloat(tensor: Tensor): void {
    if (!isFloat(tensor.dataType)) this.fail(`it needs floating-point input, found data type ${tensor.dataType}`);
  }

  fail(found: string, cause?: unknown): never {
    throw new EvaluationError(this.node, found, cause);
  }

  unsupported(reason: string): UnsupportedOperatorError {
    return new UnsupportedOperatorError(this.node, reason);
  }
}

/** Whether integer arithmetic on this type is done in doubles, so that results beyond 2^53 would be rounded. */
export function isWide(dataType: number): boolean {
  return dataType === DataType.INT64 || dataType === DataType.UINT64;
}

/**
 * Marks results of 64-bit integer arithmetic beyond 2^53, where doubles are no longer exact. They become NaN, an integer
 * of unknown value. T5's position buckets, for example, compute such values and then discard them by Where.
 */
export function markInexact(dataType: number, data: TensorData): void {
  if (!isWide(dataType)) return;
  for (let i = 0; i < data.length; i++) if (!(Math.abs(data[i]!) <= Number.MAX_SAFE_INTEGER)) data[i] = NaN;
}

/** Whether a tensor holds integers of unknown value, see {@link markInexact}. */
export function hasInexact(tensor: Tensor): boolean {
  return isWide(tensor.dataType) && tensor.data.some(Number.isNaN);
}
