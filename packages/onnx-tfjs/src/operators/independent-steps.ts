import type { GraphProto } from "@favor/onnx";
import * as tf from "@tensorflow/tfjs-core";
import { gradientsOf, isDeviceFloat, packed, unpacked } from "../packed.ts";
import type { DetachedBody, OperatorCall } from "../operator-call.ts";
import { isDevice, type Value } from "../value.ts";
import { PickedGradients, picksOf, type Pick } from "./picked-gradients.ts";

/** A Scan's body, and what each of its steps is given. */
export interface ScanSteps {
  readonly body: GraphProto;
  /** By step, the slices of the scanned inputs. */
  readonly slices: readonly (readonly Value[])[];
  /** Joins what the steps give for an output. */
  join(parts: readonly Value[], output: number): Value;
  /** What belongs to each step of a tensor as {@link join} makes it. */
  split(joined: tf.Tensor, output: number): tf.Tensor[];
}

/**
 * The outputs of a Scan without state. No step needs what another computes, so each is computed again for its gradient:
 * a pass holds the tensors of one step at a time (Chen et al. 2016, "Training deep nets with sublinear memory cost").
 * What the steps pick by Gather from outside, blocks of keys as a rule, gets its gradient by rows, and not once per step
 * as a whole.
 */
export function independentSteps(call: OperatorCall, steps: ScanSteps): Value[] {
  const body = call.context.detachBody(steps.body);
  const device = [...body.captured].filter((entry): entry is [string, tf.Tensor] => isDeviceTensor(entry[1]));
  const floats = device.filter(([, value]) => isDeviceFloat(value) && !body.isConstant(value));
  const sliced = steps.slices.flat().filter(isDeviceFloat);
  const xs = [...floats.map(([, value]) => value), ...sliced];
  if (xs.length === 0) return outputsOf(call, body, steps);
  let outputs: Value[] = [];
  const forward = tf.customGrad((...parameters) => {
    const save = parameters.pop() as tf.GradSaveFunc;
    outputs = outputsOf(call, body, steps);
    save([...device.map(([, value]) => value), ...sliced]);
    return {
      value: packed(outputs),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const captured = new Map([...body.captured, ...device.map(([name], i) => [name, saved[i]!] as const)]);
        const rest = saved.slice(device.length);
        const slices = steps.slices.map((step) => step.map((value) => (isDeviceFloat(value) ? rest.shift()! : value)));
        const upstream = unpacked(dy, outputs).map((gradient, i) =>
          isDeviceFloat(gradient) ? steps.split(gradient, i) : undefined,
        );
        const names = floats.map(([name]) => name);
        return gradientsOfSteps({ ...body, captured }, { ...steps, slices }, names, upstream);
      },
    };
  })(...xs);
  return unpacked(forward, outputs);
}

function isDeviceTensor(value: Value | null): value is tf.Tensor {
  return value !== null && isDevice(value);
}

/** All steps' outputs, joined; integers and booleans on the host. */
function outputsOf(call: OperatorCall, body: DetachedBody, steps: ScanSteps): Value[] {
  const wanted = steps.body.output.map(({ name }) => name);
  const made = steps.slices.map((_, step) => body.run(valuesOf(body, steps, step), wanted));
  return wanted.map((_, i) => {
    const parts = made.map((outputs) => outputs[i]!);
    return steps.join(
      parts.map((part) => (isDeviceFloat(part) ? part : call.onHost(part))),
      i,
    );
  });
}

function valuesOf({ captured }: DetachedBody, { body, slices }: ScanSteps, step: number): Map<string, Value | null> {
  return new Map([...captured, ...body.input.map(({ name }, i) => [name, slices[step]![i]!] as const)]);
}

/**
 * Gradients of the captured floats `names`, and of the floats among the slices, step by step.
 *
 * @param upstream by output, the gradient of each step; undefined for outputs that are no floats
 */
function gradientsOfSteps(
  body: DetachedBody,
  steps: ScanSteps,
  names: readonly string[],
  upstream: readonly (readonly tf.Tensor[] | undefined)[],
): tf.Tensor[] {
  const { picks, whole } = picksOf(steps.body, new Set(names));
  const totals = new Map<string, tf.Tensor>();
  const add = (name: string, gradient: tf.Tensor): void => {
    const before = totals.get(name);
    totals.set(name, before ? tf.add(before, gradient) : gradient);
    if (before) tf.dispose([before, gradient]);
  };
  const picked = new PickedGradients(add);
  const ofSlices: tf.Tensor[] = [];
  for (const [step, slices] of steps.slices.entries()) {
    const own = slices.filter(isDeviceFloat);
    const dy = upstream.flatMap((gradients) => (gradients ? [gradients[step]!] : []));
    const { gradients, rows } = tf.tidy(() =>
      gradientsOfStep(
        body,
        steps,
        step,
        picks,
        [...own, ...whole.map((name) => body.captured.get(name) as tf.Tensor)],
        dy,
      ),
    );
    ofSlices.push(...gradients.splice(0, own.length));
    for (const name of whole) add(name, gradients.shift()!);
    for (const [i, pick] of picks.entries()) {
      picked.add(pick, (body.captured.get(pick.table) as tf.Tensor).shape, rows[i]!, gradients[i]!);
    }
  }
  picked.finish();
  const ofCaptured = names.map((name) => totals.get(name) ?? tf.zerosLike(body.captured.get(name) as tf.Tensor));
  return [...ofCaptured, ...ofSlices];
}

/** The gradients of one step in `xs` and in what it picks, and the numbers of the rows that it picks. */
function gradientsOfStep(
  body: DetachedBody,
  steps: ScanSteps,
  step: number,
  picks: readonly Pick[],
  xs: readonly tf.Tensor[],
  dy: readonly tf.Tensor[],
): { readonly gradients: tf.Tensor[]; readonly rows: Int32Array[] } {
  const values = valuesOf(body, steps, step);
  const found = body.run(values, [...picks.map(({ output }) => output), ...picks.map(({ indices }) => indices)]);
  const gathered = found.slice(0, picks.length) as tf.Tensor[];
  for (const [i, { output }] of picks.entries()) values.set(output, gathered[i]!);
  const wanted = steps.body.output.map(({ name }) => name);
  const gradients = gradientsOf(() => packed(body.run(values, wanted)), [...xs, ...gathered], packed(dy));
  return {
    gradients,
    rows: found
      .slice(picks.length)
      .map((indices) => Int32Array.from(isDevice(indices) ? indices.dataSync() : indices.data)),
  };
}
