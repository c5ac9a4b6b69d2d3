import { createMessage } from "@favor/onnx";
import type { ModelProto } from "@favor/onnx";
import { OnnxModel } from "@favor/onnx-tfjs";
import type { Feed } from "@favor/onnx-tfjs";
import * as tf from "@tensorflow/tfjs";

import type { NamedTensors } from "../training/stage.ts";
import { layoutOf, toCanonical } from "./attention-layout.ts";
import type { AttentionLayout } from "./attention-layout.ts";
import type { DifferingSite } from "./differing-sites.ts";
import { isSignedEstimate } from "./signed-estimate.ts";
import type { SiteActivations } from "./attention-teacher.ts";

/** The feature maps and linear attention of one site, on tfjs, with its feature initializers as variables. */
export class Student {
  readonly site: DifferingSite;
  /** Whether its attention may be negative: see {@link isSignedEstimate}. */
  readonly isSigned: boolean;
  readonly #model: OnnxModel;
  readonly #layout: AttentionLayout;

  private constructor(site: DifferingSite, model: OnnxModel) {
    this.site = site;
    this.#model = model;
    this.#layout = layoutOf(site);
    this.isSigned = isSignedEstimate(site);
  }

  /** Loads a student on the current tfjs backend. */
  static async load(site: DifferingSite, converted: ModelProto): Promise<Student> {
    const trainable = new Set(site.trainable.map(({ name }) => name));
    const graph = createMessage("GraphProto", {
      name: "favor_student",
      node: [...site.nodes],
      initializer: [...site.trainable, ...site.constants],
      input: site.operands.map((name) => createMessage("ValueInfoProto", { name })),
      output: [createMessage("ValueInfoProto", { name: site.output })],
    });
    const model = { ...converted, graph, metadataProps: [] };
    return new Student(site, await OnnxModel.load(model, { trainable: (name) => trainable.has(name) }));
  }

  /** The trained variables, by initializer. */
  get variables(): ReadonlyMap<string, tf.Variable> {
    return this.#model.variables();
  }

  /** Current values, by initializer. */
  async weights(): Promise<NamedTensors> {
    const read = [...this.variables].map(async ([name, variable]) => {
      return [name, Float32Array.from(await variable.data())] as const;
    });
    return new Map(await Promise.all(read));
  }

  /** Restores {@link Student.weights}. */
  assign(weights: NamedTensors): void {
    for (const [name, values] of weights) this.#model.assign(name, values);
  }

  /**
   * Computes the linear attention and returns it with the teacher's, both [batch, heads, queries, dim]. The caller tidies.
   *
   * @param operands - values of the site's operands.
   * @param target - the teacher's value of the site's output, in the layout of the graph.
   */
  attend(
    operands: Readonly<Record<string, Feed>>,
    target: SiteActivations["target"],
  ): { estimate: tf.Tensor; exact: tf.Tensor } {
    const { canonical, steps } = this.#layout;
    const values = this.#model.run(operands, { outputs: [canonical, ...steps.map((node) => node.output[0]!)] });
    const laidOut = tf.tensor(target.data, [...target.dims]);
    const exact = toCanonical(this.#layout, laidOut, (value) => values[value]!.shape);
    return { estimate: values[canonical]!, exact };
  }

  dispose(): void {
    this.#model.dispose();
  }
}
