import { FavorError } from "@favor/core";

/** What is wrong with the bytes, the tensors or the files of a model. Stable. */
export type OnnxErrorCode =
  /** The model file has 0 bytes. */
  | "empty-file"
  /** The file is a git-LFS pointer instead of the model. */
  | "git-lfs-pointer"
  /** The file is a web page, such as an error or login page. */
  | "html-page"
  /** The file is JSON: an error message of a server, or a configuration. */
  | "json-page"
  /** The file has another format: ZIP, gzip, HDF5, GGUF, safetensors. */
  | "other-format"
  /** The file ends too early. */
  | "truncated"
  /** The bytes are not well-formed protobuf, or contradict the ONNX schema. */
  | "malformed"
  /** Parsing would exceed the limits, or writing would exceed 2 GiB. */
  | "limit-exceeded"
  /** The IR version is unknown. */
  | "unsupported-version"
  /** A tensor's shape, element type and data contradict each other. */
  | "bad-tensor"
  /** External data is refused or cannot be read. */
  | "external-data"
  /** The file or folder does not exist. */
  | "not-found"
  /** The path is a folder, a FIFO or a device. */
  | "not-a-file"
  /** The permissions do not allow it. */
  | "permission-denied"
  /** The file system is read-only. */
  | "read-only"
  /** The disk is full, or a quota or size limit is reached. */
  | "no-space"
  /** The output file is a model that is open for reading. */
  | "would-overwrite"
  /** The file changed while it was being read. */
  | "file-changed"
  /** Any other failure of reading or writing. */
  | "io-failed";

/** The base of the errors of this package's model input and output. */
export class OnnxError extends FavorError<OnnxErrorCode> {}

/** The bytes are not an ONNX model, or not a whole one. `details.offset` is the byte where reading stopped. */
export class ModelFormatError extends OnnxError {
  readonly offset: number;

  constructor(code: OnnxErrorCode, message: string, offset: number, cause?: unknown) {
    super(message, { code, details: { offset }, cause });
    this.offset = offset;
  }
}

/** A tensor's shape, element type and data contradict each other. `details.tensor` is its name. */
export class TensorError extends OnnxError {
  readonly tensor: string;

  constructor(tensor: string, message: string, cause?: unknown) {
    super(`Tensor ${JSON.stringify(tensor)}: ${message}`, { code: "bad-tensor", details: { tensor }, cause });
    this.tensor = tensor;
  }
}

/** External data is refused or cannot be read. `details` has the name of the tensor and the location in the model. */
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

/** A file or folder cannot be read or written. `details.path` is its path. */
export class ModelFileError extends OnnxError {
  readonly path: string;

  constructor(code: OnnxErrorCode, path: string, message: string, cause?: unknown) {
    super(message, { code, details: { path }, cause });
    this.path = path;
  }
}
