import { basename, dirname, join, resolve } from "node:path";
import { openModel, writeModel } from "@favor/onnx/node";
import { convertAttention, type ConvertOptions } from "@favor/rewriter";
import { modernBert } from "./modernbert-model.ts";
import { encoder, noise } from "./size-model.ts";

const lengths = [16, 64, 128, 256, 512, 1024, 2048, 4096, 8192];

/** A form in which a model is measured. */
export interface Variant {
  readonly name: string;
  /** Undefined for the model as it is. */
  readonly options?: ConvertOptions;
  /** Whether memory grows with the square of the length. */
  readonly isQuadratic: boolean;
}

const variants: readonly Variant[] = [
  { name: "export", isQuadratic: true },
  { name: "exact, standard", options: { features: "exact" }, isQuadratic: false },
  { name: "exact, onnxruntime", options: { features: "exact", target: "onnxruntime" }, isQuadratic: false },
];

/** Of a model with windows. */
const windowVariants: readonly Variant[] = [
  { name: "export", isQuadratic: true },
  { name: "windows, rest exact", options: { features: "exact" }, isQuadratic: false },
  { name: "windows, rest 256 positive features", options: { features: "positive", count: 256 }, isQuadratic: false },
];

/** A model to measure, and in which forms. */
export interface Subject {
  readonly title: string;
  readonly path: string;
  readonly variants: readonly Variant[];
  readonly lengths: readonly number[];
}

async function encoderOfModernBert(path: string): Promise<Subject> {
  await writeModel(modernBert(), path);
  const title = "encoder of ModernBERT-base's shape, random weights";
  return { title, path, variants: windowVariants, lengths: [128, 512, 2048, 8192] };
}

async function encoderOfBertBase(path: string, layers: number): Promise<string> {
  const size = { layers, hidden: 768, heads: 12, vocabulary: 30_522 };
  await writeModel(
    encoder(size, (bytes) => ({ source: { field: "rawData", range: noise(bytes) } })),
    path,
  );
  return path;
}

/**
 * Writes one form of a model.
 *
 * @param longest the length to which position tables grow, in tokens
 */
export async function writeVariant(
  source: string,
  path: string,
  { options }: Variant,
  longest: number,
): Promise<string> {
  const opened = await openModel(source);
  try {
    const isGrown = opened.model.graph.input.length > 2;
    const { model } = convertAttention(opened.model, {
      ...(options ?? { keep: Array.from({ length: 1000 }, (_, layer) => layer) }),
      ...(isGrown && { maxLength: longest }),
    });
    await writeModel(model, path);
  } finally {
    opened.close();
  }
  return path;
}

/** The file's name after its folder's. */
const titleOf = (path: string): string => `${basename(dirname(resolve(path)))}/${basename(path)}`;

/** The models to measure: those given, or else one that is made. */
export interface SubjectOptions {
  readonly given: readonly string[];
  /** Makes an encoder of ModernBERT-base's shape rather than BERT-base's. */
  readonly isModern?: boolean;
  /** Layers of BERT-base's shape: default 12. */
  readonly layers?: number;
  /** Where it is written. */
  readonly folder: string;
}

export async function subjects({ given, isModern = false, layers = 12, folder }: SubjectOptions): Promise<Subject[]> {
  if (isModern) return [await encoderOfModernBert(join(folder, "modernbert.onnx"))];
  if (given.length > 0) return given.map((path) => ({ title: titleOf(path), path, variants, lengths }));
  const path = await encoderOfBertBase(join(folder, "base.onnx"), layers);
  const count = layers === 12 ? "" : `, ${layers} ${layers === 1 ? "layer" : "layers"}`;
  return [{ title: `BERT-base encoder${count}, random weights`, path, variants, lengths }];
}
