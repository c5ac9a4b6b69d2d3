// Operators by what they do, of the standard domain and of onnxruntime's: what its optimizers and quantisers write
// belongs to the family of what it stands for.

/** Operator types. Their names have one meaning in all domains that matter here. */
export type OperatorFamily = ReadonlySet<string>;

function family(names: string, ...others: readonly OperatorFamily[]): OperatorFamily {
  return new Set([...others.flatMap((other) => [...other]), ...names.split(" ")]);
}

/** Products of two batches of matrices, numpy's matmul. */
export const matrixProducts: OperatorFamily = family("MatMul FusedMatMul TransposeMatMul");

/** The same of integers that stand for numbers. */
export const quantisedMatrixProducts: OperatorFamily = family("MatMulInteger MatMulIntegerToFloat QLinearMatMul");

/** Linear in their first input, with weights or with other data, on numbers as they are. */
export const floatProducts: OperatorFamily = family(
  "Gemm FusedGemm Einsum Conv FusedConv NhwcConv NhwcFusedConv MatMulNBits MatMulBnb4",
  matrixProducts,
);

/** Linear in their first input up to rounding: their data are quantised, before them or by them. */
export const quantisedProducts: OperatorFamily = family(
  "DynamicQuantizeMatMul QGemm ConvInteger QLinearConv",
  quantisedMatrixProducts,
);

/** All that multiplies and sums, by weights or by other data. */
export const allProducts: OperatorFamily = new Set([...floatProducts, ...quantisedProducts]);

/** Attention in one operator. */
export const fusedAttention: OperatorFamily = family(
  "Attention QAttention MultiHeadAttention GroupQueryAttention SparseAttention LongformerAttention " +
    "PackedAttention PackedMultiHeadAttention LinearAttention DecoderMaskedMultiHeadAttention",
);

/**
 * What activations come from: a value that depends on one of these depends on the content of the input. Not among them
 * is EmbedLayerNormalization, one of whose outputs counts the tokens that the mask keeps.
 */
export const contentOperators: OperatorFamily = family(
  "LayerNormalization SkipLayerNormalization RMSNormalization SimplifiedLayerNormalization " +
    "SkipSimplifiedLayerNormalization LSTM GRU RNN",
  allProducts,
  fusedAttention,
);

/** Another shape for the same elements, or another order of axes. */
export const layoutOperators: OperatorFamily = family("Reshape Transpose Squeeze Unsqueeze Flatten Identity");

/** Elements of the first input in other places, or some of them, and nothing else. */
export const movingOperators: OperatorFamily = family("Slice Split Gather", layoutOperators);

/** Elements of the inputs, moved, repeated or joined. */
export const copyingOperators: OperatorFamily = family("Expand Tile Concat", movingOperators);

/** Between numbers and integers that stand for them. */
export const quantisation: OperatorFamily = family("QuantizeLinear DynamicQuantizeLinear DequantizeLinear");

/** Which of two numbers is larger. */
export const orderComparisons: OperatorFamily = family("Less LessOrEqual Greater GreaterOrEqual");
