import { ModelFormatError } from "./errors.ts";
import type { ModelProto } from "./proto.ts";
import { newestIrVersion } from "./schema.ts";
import { checkTensor } from "./tensor-shape.ts";
import { modelTensors } from "./walk.ts";

/**
 * Checks what every model must have besides well-formed protobuf: a graph, a known IR version, one version per operator
 * set, and tensors whose data fits their shape and type. Reads no values.
 *
 * Throws ModelFormatError ("truncated", "unsupported-version", "malformed") or TensorError.
 */
export function checkModel(model: ModelProto): void {
  // A decoder leaves null where the file has no graph.
  if ((model.graph as unknown) === null) throw incomplete("graph");
  if (model.irVersion.lessThan(1)) throw incomplete("`ir_version`");
  if (model.irVersion.greaterThan(newestIrVersion)) {
    throw new ModelFormatError(
      "unsupported-version",
      `The model has IR version ${model.irVersion}; this version of Favor supports IR versions 1 to ${newestIrVersion}. ` +
        "Update Favor, or export the model for an older ONNX.",
      0,
    );
  }
  // IR versions 1 and 2 had no operator sets.
  if (model.opsetImport.length === 0 && model.irVersion.greaterThan(2)) throw incomplete("`opset_import`");

  const versions = new Map<string, string>();
  for (const opset of model.opsetImport) {
    const domain = opset.domain === "" ? "ai.onnx" : opset.domain;
    const version = opset.version.toString();
    const earlier = versions.get(domain);
    if (earlier !== undefined && earlier !== version) {
      throw new ModelFormatError(
        "malformed",
        `The model imports operator set ${JSON.stringify(domain)} twice, in version ${earlier} and in version ` +
          `${version}, so the meaning of its operators is ambiguous. Export it again.`,
        0,
      );
    }
    versions.set(domain, version);
  }
  for (const tensor of modelTensors(model)) checkTensor(tensor);
}

function incomplete(what: string): ModelFormatError {
  return new ModelFormatError(
    "truncated",
    `The model has no ${what}. Either this is not an ONNX model, or its end is missing. Download or export it again.`,
    0,
  );
}
