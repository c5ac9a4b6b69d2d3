import {
  attachExternalData,
  decodeModel,
  encodeModel,
  encodeModelPieces,
  externalDataFromMemory,
  type ExternalDataFiles,
  ExternalDataError,
  type ExternalDataLoader,
  modelTensors,
  type ModelProto,
} from "@favor/onnx";
import { ArgumentError } from "@favor/core";
import * as tf from "@tensorflow/tfjs-core";
import { FeedError, VariableError } from "./errors.ts";
import { Frame } from "./execution/frame.ts";
import { recomputed } from "./execution/recompute.ts";
import { Program, Run } from "./execution/run.ts";
import { segmentsOf, type Segment } from "./execution/segments.ts";
import { feedValue, valueInfo, type Feed, type ValueInfo } from "./feeds.ts";
import { isDevice, toDevice, type Value } from "./value.ts";
import { Initializers, type Trainable } from "./weights/initializers.ts";
import { externalFile, withVariables } from "./weights/write-back.ts";

export interface LoadOptions {
  /**
   * Which float initializers become variables, by name, shape and the nodes that read them; the others are constants.
   * Default: those of more than one element whose
   * values are all below 10^4 in size (masks hold more), except the frequencies of rotary or sinusoidal positions. Initializers of bodies (If, Loop, Scan) are always constants.
   */
  readonly trainable?: Trainable;
  /**
   * External data, if the model has any and it is not attached yet: the bytes of its file, or each file's bytes by its
   * name in the model, in a Map or a plain object; or a function that gives the file of a name as a range.
   */
  readonly externalData?: ExternalDataFiles | ExternalDataLoader;
}

export interface RunOptions {
  /** Names of the values wanted, of any node. Default: the graph's outputs. */
  readonly outputs?: readonly string[];
  /** Called with values of the main graph as they are computed; what it returns takes the value's place. */
  readonly intercept?: Readonly<Record<string, (value: tf.Tensor) => tf.Tensor>> | undefined;
  /**
   * Takes less memory for gradients, at the price of a second forward pass. The run is divided into so many segments,
   * between layers if it has any, and a gradient tape keeps only what passes between them. Everything inside a segment but the last is
   * computed again in the backward pass, `intercept` included, which must give the same again. Default: 1, all is kept.
   */
  readonly segments?: number | undefined;
}

/** A segment and the variables that its nodes read. */
interface Division {
  readonly segment: Segment;
  readonly variables: ReadonlyMap<string, tf.Variable>;
}

/** An ONNX model on tfjs: it runs differentiably, and its float initializers are variables. */
export class OnnxModel {
  /** Graph inputs that have to be fed: those without an initializer. */
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly #model: ModelProto;
  readonly #loadExternal: ExternalDataLoader | undefined;
  readonly #program: Program;
  readonly #declared: ReadonlyMap<string, ValueInfo>;
  /** The segments of earlier runs, by what was wanted and fed, and by their number. */
  readonly #divisions = new Map<string, readonly Division[]>();
  #disposed = false;

  private constructor(
    model: ModelProto,
    trainable: Trainable | undefined,
    loadExternal: ExternalDataLoader | undefined,
  ) {
    const { graph } = model;
    this.#model = model;
    this.#loadExternal = loadExternal;
    const stored = new Set(graph.initializer.map(({ name }) => name));
    const inputs = graph.input.map(valueInfo);
    this.inputs = inputs.filter(({ name }) => !stored.has(name));
    this.outputs = graph.output.map(valueInfo);
    // Shapes that the file notes for values inside are often those of one export; only their types are relied on.
    const inside = graph.valueInfo.map((proto): ValueInfo => ({ ...valueInfo(proto), shape: undefined }));
    this.#declared = new Map([...inside, ...inputs].map((info) => [info.name, info]));
    const opset = new Map(
      model.opsetImport.map(({ domain, version }) => [domain === "ai.onnx" ? "" : domain, version.toNumber()]),
    );
    this.#program = new Program(new Initializers(model, trainable), opset, model.functions);
  }

  /**
   * Loads a model on the tfjs backend in use: its bytes, or a model of `@favor/onnx`, whose weights may still lie in
   * their file (`openModel`; keep it open as long as constants are read and the model is written). The model is not
   * changed.
   *
   * @throws what `decodeModel` and `attachExternalData` throw (ExternalDataError for a file that was not given);
   *   ArgumentError for anything else, such as a path
   */
  static async load(source: Uint8Array | ModelProto, options: LoadOptions = {}): Promise<OnnxModel> {
    requireSource(source);
    await tf.ready();
    const model = source instanceof Uint8Array ? decodeModel(source) : source;
    const { externalData, trainable } = options;
    const load =
      externalData === undefined || typeof externalData === "function"
        ? externalData
        : externalDataFromMemory(externalData);
    if (load !== undefined) attachExternalData(model, load);
    else requireExternalData(model);
    return new OnnxModel(model, trainable, load);
  }

  /**
   * Runs the graph, synchronously: for `tf.tidy`, `tf.grads` and `tf.variableGrads`. Only the nodes that the outputs
   * depend on run; intermediate tensors are freed as soon as no node needs them. A value that a node computes may be
   * fed as well: then that node does not run.
   *
   * @param feeds by name; floats may be tensors of a gradient tape
   * @returns a tensor for each output that the caller owns (int64 as int32)
   * @throws UnsupportedOperatorError for an operator, or a form of one, that does not run on tfjs
   * @throws OperatorError if a node and its inputs do not fit, MissingValueError if a needed value has no source,
   *   FeedError if a feed does not fit the declaration of its input
   */
  run(feeds: Readonly<Record<string, Feed>>, options: RunOptions = {}): Record<string, tf.Tensor> {
    this.#requireUndisposed();
    const wanted = [...new Set(options.outputs ?? this.outputs.map(({ name }) => name))];
    const intercept = new Map(Object.entries(options.intercept ?? {}));
    const startRun = (): Run => new Run(this.#program, Object.keys(feeds), intercept);
    const run = startRun();
    const kept: tf.Tensor[] = [];
    try {
      return tf.tidy(() => {
        const fed = new Map(
          Object.entries(feeds).map(([name, feed]) => [
            name,
            feedValue(name, feed, this.#declared.get(name), run.upload),
          ]),
        );
        let values: ReadonlyMap<string, Value> = fed;
        for (const { segment, variables } of this.#divided(wanted, Object.keys(feeds), options.segments)) {
          const { alive, kept: more } = recomputed(segment, values, variables, (names, ...given) => {
            const inner = startRun();
            try {
              return this.#execute(inner, names, ...given);
            } finally {
              inner.end();
            }
          });
          kept.push(...more);
          values = new Map([...fed, ...alive]);
        }
        const results: Record<string, tf.Tensor> = {};
        const taken = new Set<tf.Tensor>();
        for (const [i, value] of this.#execute(run, wanted, values).entries()) {
          const tensor = isDevice(value) ? value : toDevice(value);
          results[wanted[i]!] = run.isPinned(tensor) || taken.has(tensor) ? tf.clone(tensor) : tensor;
          taken.add(tensor);
        }
        return results;
      });
    } finally {
      run.end();
      tf.dispose(kept);
    }
  }

  /** The values of `wanted`, from those given and the initializers; `variables` take the place of the model's own. */
  #execute(
    run: Run,
    wanted: readonly string[],
    given: ReadonlyMap<string, Value>,
    variables?: ReadonlyMap<string, tf.Tensor>,
  ): Value[] {
    const { initializers, opset } = this.#program;
    const stored = (name: string): Value | undefined => variables?.get(name) ?? initializers.get(name);
    const frame = new Frame(run, this.#program.planOf(this.#model.graph), opset, stored);
    for (const [name, value] of given) {
      run.pin(value);
      frame.give(name, value);
    }
    return frame.execute(wanted);
  }

  /** The segments that are computed again for gradients: all but the last, whose values the backward pass needs first. */
  #divided(wanted: readonly string[], fed: readonly string[], count: number = 1): readonly Division[] {
    if (count <= 1) return [];
    const key = JSON.stringify([count, wanted, fed]);
    let found = this.#divisions.get(key);
    if (found === undefined) {
      const plan = this.#program.planOf(this.#model.graph);
      const all = this.variables();
      found = segmentsOf(plan, wanted, new Set(fed), new Set(all.keys()), count)
        .slice(0, -1)
        .map((segment) => {
          const names = new Set(segment.initializers);
          return { segment, variables: new Map([...all].filter(([name]) => names.has(name))) };
        });
      this.#divisions.set(key, found);
    }
    return found;
  }

  /** The variables by the names of their initializers, in the file's order; tied initializers share one. */
  variables(): ReadonlyMap<string, tf.Variable> {
    return this.#program.initializers.variables;
  }

  /**
   * Gives a variable new values: a tensor or numbers of its shape.
   *
   * @throws VariableError if there is no such variable, or the shape is another
   */
  assign(name: string, values: tf.Tensor | Float32Array): void {
    this.#requireUndisposed();
    const variable = this.variables().get(name) ?? noVariable(name);
    const size = values instanceof tf.Tensor ? values.size : values.length;
    const fits =
      values instanceof tf.Tensor ? tf.util.arraysEqual(values.shape, variable.shape) : size === variable.size;
    if (!fits) throw new VariableError(name, `its shape is [${variable.shape.join(", ")}], that of the values is not`);
    tf.tidy(() => {
      // A copy of the caller's array: the backend may keep what it is given.
      variable.assign(values instanceof tf.Tensor ? values : tf.tensor(values.slice(), variable.shape));
    });
  }

  /**
   * The model with the variables' values in place of their initializers: same types, same fields, the rest untouched,
   * unchanged weights to the byte. New values of weights that are still in their file (`openModel`) are read when the
   * result is written (`writeModel`, `encodeModelPieces`), one tensor at a time: write before training goes on. Those of
   * others are copied.
   */
  toProto(): ModelProto {
    this.#requireUndisposed();
    return withVariables(this.#model, this.variables());
  }

  /**
   * Reads the variables back from a graphics device, which cannot be done at once everywhere: on webgpu await it before
   * {@link toProto} and what builds on it. Elsewhere there is nothing to wait for.
   */
  async download(): Promise<void> {
    await Promise.all([...this.variables().values()].map((variable) => variable.data()));
  }

  /** The model file, see {@link toProto}. External data is not in it: see {@link encodeExternalData}. */
  encode(): Uint8Array {
    return encodeModel(this.toProto());
  }

  /** The model file in pieces. */
  pieces(): Iterable<Uint8Array> {
    return encodeModelPieces(this.toProto());
  }

  /** The file of external data at `location` with the variables' values in place; all other bytes as they are. */
  encodeExternalData(location: string): Uint8Array {
    const load = this.#loadExternal;
    if (load === undefined) throw new FeedError("externalData", "the files, given to OnnxModel.load", "none");
    return externalFile(load(location, ""), location, this.#model, this.toProto());
  }

  /** Frees the variables and constants. The model cannot be used any more. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#program.initializers.dispose();
  }

  #requireUndisposed(): void {
    if (this.#disposed) throw new VariableError("*", "the model was disposed of");
  }
}

/** @throws ExternalDataError for a tensor whose file is neither given nor open */
function requireExternalData(model: ModelProto): void {
  for (const tensor of modelTensors(model)) {
    if (tensor.dataLocation !== 1 || tensor.source) continue;
    const location = tensor.externalData.find(({ key }) => key === "location")?.value ?? "";
    const advice =
      "its file was not given. Pass the file's bytes as `externalData`: OnnxModel.load(bytes, { externalData }), or open " +
      "the model with `openModel` of @favor/onnx/node.";
    throw new ExternalDataError(tensor.name, location, advice);
  }
}

function noVariable(name: string): never {
  throw new VariableError(name, "the model has no variable of that name");
}

function requireSource(source: Uint8Array | ModelProto): void {
  const given: unknown = source;
  if (given instanceof Uint8Array || (typeof given === "object" && given !== null && "graph" in given)) return;
  const expected = "the bytes of an ONNX file, or a model of @favor/onnx (openModel of @favor/onnx/node opens a file)";
  throw new ArgumentError("source", expected, given);
}
