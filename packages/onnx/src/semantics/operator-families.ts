// Operators by what they do, in the standard domain and in onnxruntime's. An operator that onnxruntime's optimizers or
// quantisers write belongs to the family of the operators that it replaces.

/** Operator types. Their names have one meaning in all domains that matter here. */
export type OperatorFamily = ReadonlySet<string>;

function family(names: string, ...others: readonly OperatorFamily[]): OperatorFamily {
  return new Set([...others.flatMap((other) => [...other]), ...names.split(" ")]);
}

/** Products of two batches of matrices, numpy's matmul. */
export const matrixProducts: OperatorFamily = family("MatMul FusedMatMul TransposeMatMul");

/** The same products, of integers that stand for numbers. */
export const quantisedMatrixProducts: OperatorFamily = family("MatMulInteger MatMulIntegerToFloat QLinearMatMul");

/** Linear in their first input, on numbers that are not quantised; the other factor is weights or data. */
export const floatProducts: OperatorFamily = family(
  "Gemm FusedGemm Einsum Conv FusedConv NhwcConv NhwcFusedConv MatMulNBits MatMulBnb4",
  matrixProducts,
);

/** Linear in their first input up to rounding: the data are quantised, earlier or by the operator itself. */
export const quantisedProducts: OperatorFamily = family(
  "DynamicQuantizeMatMul QGemm ConvInteger QLinearConv",
  quantisedMatrixProducts,
);

/** All operators that multiply and sum, with weights or with other data. */
export const allProducts: OperatorFamily = new Set([...floatProducts, ...quantisedProducts]);

/** Attention in one operator. */
export const fusedAttention: OperatorFamily = family(
  "Attention QAttention MultiHeadAttention GroupQueryAttention SparseAttention LongformerAttention " +
    "PackedAttention PackedMultiHeadAttention LinearAttention DecoderMaskedMultiHeadAttention",
);

/**
 * The sources of activations: a value that depends on one of these depends on the content of the input.
 * EmbedLayerNormalization is left out, because one of its outputs counts the tokens that the mask keeps.
 */
export const contentOperators: OperatorFamily = family(
  "LayerNormalization SkipLayerNormalization RMSNormalization SimplifiedLayerNormalization " +
    "SkipSimplifiedLayerNormalization LSTM GRU RNN",
  allProducts,
  fusedAttention,
);

/** Compute each element from those at its place, with numpy's broadcasting; CastLike takes only a type from its second input. */
export const elementwiseOperators: OperatorFamily = family(
  "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil " +
    "Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN " +
    "LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink " +
    "Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor",
);

/** Give the same elements another shape, or the axes another order. */
export const layoutOperators: OperatorFamily = family("Reshape Transpose Squeeze Unsqueeze Flatten Identity");

/** Move elements of the first input, or select some of them, and do nothing else. */
export const movingOperators: OperatorFamily = family("Slice Split Gather", layoutOperators);

/** Move, repeat or join elements of their inputs. */
export const copyingOperators: OperatorFamily = family("Expand Tile Concat", movingOperators);

/** Convert between numbers and the integers that stand for them. */
export const quantisation: OperatorFamily = family("QuantizeLinear DynamicQuantizeLinear DequantizeLinear");

/** Compare which of two numbers is larger. */
export const orderComparisons: OperatorFamily = family("Less LessOrEqual Greater GreaterOrEqual");

/** Compare two numbers. */
export const comparisons: OperatorFamily = family("Equal", orderComparisons);
