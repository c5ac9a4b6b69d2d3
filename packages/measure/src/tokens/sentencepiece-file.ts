import protobuf from "protobufjs/minimal.js";

import { InputError, messageOf } from "@favor/checkpoints";

/** What a tokenizer is made from, of a model file of SentencePiece. */
export interface SentencePieceModel {
  readonly pieces: readonly SentencePiece[];
  /** The precompiled character map, in base64; empty if texts are left as they are. */
  readonly charsmap: string;
  /** Whether it is a unigram language model, and not byte pair encoding, words or characters. */
  readonly isUnigram: boolean;
  /** Whether unknown characters become their bytes. */
  readonly hasByteFallback: boolean;
}

interface SentencePiece {
  readonly text: string;
  /** The logarithm of its probability. */
  readonly score: number;
  /** 1: ordinary, 2: unknown, 3: control, 4: given by the user, 5: unused, 6: a byte. */
  readonly type: number;
}

/** The number that a unigram model has for `model_type`, which is also the default. */
const unigramType = 1;

/**
 * Reads `ModelProto` of SentencePiece (sentencepiece_model.proto): pieces, and what of the trainer's and the normaliser's
 * settings matters.
 *
 * @throws {InputError} `tokenizer-malformed`, naming the file.
 */
export function readSentencePiece(bytes: Uint8Array, path: string): SentencePieceModel {
  const pieces: SentencePiece[] = [];
  let charsmap: Uint8Array = new Uint8Array();
  let modelType = unigramType;
  let hasByteFallback = false;
  try {
    eachField(protobuf.Reader.create(bytes), (field, reader) => {
      if (field === 1) return void pieces.push(pieceIn(message(reader)));
      if (field === 2) {
        return eachField(message(reader), (key, settings) => {
          if (key === 3) modelType = settings.int32();
          else if (key === 35) hasByteFallback = settings.bool();
          else return false;
          return undefined;
        });
      }
      if (field !== 3) return false;
      return eachField(message(reader), (key, settings) => {
        if (key !== 2) return false;
        charsmap = settings.bytes();
        return undefined;
      });
    });
  } catch (error) {
    throw malformed(path, messageOf(error), error);
  }
  if (pieces.length === 0) throw malformed(path, "it has no pieces");
  return {
    pieces,
    charsmap: Buffer.from(charsmap).toString("base64"),
    isUnigram: modelType === unigramType,
    hasByteFallback,
  };
}

function pieceIn(reader: protobuf.Reader): SentencePiece {
  const piece = { text: "", score: 0, type: 1 };
  eachField(reader, (field, each) => {
    if (field === 1) piece.text = each.string();
    else if (field === 2) piece.score = each.float();
    else if (field === 3) piece.type = each.int32();
    else return false;
    return undefined;
  });
  return piece;
}

function message(reader: protobuf.Reader): protobuf.Reader {
  return protobuf.Reader.create(reader.bytes());
}

/** Calls `read` for each field; what it leaves unread, by returning `false`, is skipped. */
function eachField(
  reader: protobuf.Reader,
  read: (field: number, reader: protobuf.Reader) => false | undefined | void,
): void {
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (read(tag >>> 3, reader) === false) reader.skipType(tag & 7);
  }
}

function malformed(path: string, reason: string, cause?: unknown): InputError {
  return new InputError(
    `${path} is not a model of SentencePiece (${reason}). Restore the checkpoint's original file.`,
    { code: "tokenizer-malformed", cause, details: { path } },
  );
}
