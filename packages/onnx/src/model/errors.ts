import { FavorError } from "@favor/core";

/** What went wrong with the bytes, the tensors or the files of a model. Stable. */
export type OnnxErrorCode =
  | "empty-file"
  | "git-lfs-pointer"
  | "html-page"
  | "json-page"
  | "other-format"
  | "truncated"
  | "malformed"
  | "limit-exceeded"
  | "unsupported-version"
  | "bad-tensor"
  | "external-data"
  | "not-found"
  | "not-a-file"
  | "permission-denied"
  | "read-only"
  | "no-space"
  | "would-overwrite"
  | "file-changed"
  | "io-failed";

/** The base of the errors of this package's model input and output. */
export class OnnxError extends FavorError<OnnxErrorCode> {}

/** The bytes are no ONNX model, or not a whole one. `details.offset` is the byte where reading stopped. */
export class ModelFormatError extends OnnxError {
  readonly offset: number;

  constructor(code: OnnxErrorCode, message: string, offset: number, cause?: unknown) {
    super(message, { code, details: { offset }, cause });
    this.offset = offset;
  }
}

/** A tensor's shape, element type and data do not belong together. `details.tensor` is its name. */
export class TensorError extends OnnxError {
  readonly tensor: string;

  constructor(tensor: string, message: string, cause?: unknown) {
    super(`Tensor ${JSON.stringify(tensor)}: ${message}`, { code: "bad-tensor", details: { tensor }, cause });
    this.tensor = tensor;
  }
}

/** External data is refused or cannot be read. `details` name the tensor and the location that the model gives. */
export class ExternalDataError extends OnnxError {
  readonly tensor: string;

  constructor(tensor: string, location: string, message: string, cause?: unknown) {
    super(`External data ${JSON.stringify(location)} of tensor ${JSON.stringify(tensor)}: ${message}`, {
      code: "external-data",
      details: { tensor, location },
      cause,
    });
    this.tensor = tensor;
  }
}

/** A file or folder could not be read or written. `details.path` is it. */
export class ModelFileError extends OnnxError {
  readonly path: string;

  constructor(code: OnnxErrorCode, path: string, message: string, cause?: unknown) {
    super(message, { code, details: { path }, cause });
    this.path = path;
  }
}
