// Causal linear attention of float32 rows, in the memory of tfjs' wasm backend: addresses in bytes, sizes in numbers.
// The module has no data of its own, for that memory belongs to another program.
//
// State S `[features, width]` lies in panels of 4 columns, `[panels, features, 4]`. Four rows at a time meet a panel:
// 4 accumulators, 4 rows of values, 1 vector of S and its products fit x86-64's registers, and S is read and written once
// for four rows. Blocks of rows, so that queries and keys stay in the first-level cache while all panels pass.

const BLOCK: usize = 32;

/**
 * One sequence: for t = 0, 1 ...: S = gates[t] S + k_t v_t^T, y_t = S^T q_t, the rows taken from the last to the first if
 * `reversed` (gates are in the order taken). y and v `[length, width]`, q and k `[length, features]`; state holds
 * features x (width rounded up to 4) numbers. Row t's result does not depend on rows after it.
 */
export function causalLinearAttention(
  y: usize,
  q: usize,
  k: usize,
  v: usize,
  gates: usize,
  state: usize,
  length: usize,
  features: usize,
  width: usize,
  reversed: bool,
): void {
  const panels = (width + 3) >> 2;
  memory.fill(state, 0, panels * features * 16);
  let featureStep: usize = features * 4;
  let widthStep: usize = width * 4;
  if (reversed && length > 0) {
    q += (length - 1) * featureStep;
    k += (length - 1) * featureStep;
    v += (length - 1) * widthStep;
    y += (length - 1) * widthStep;
    featureStep = 0 - featureStep;
    widthStep = 0 - widthStep;
  }
  for (let first: usize = 0; first < length; first += BLOCK) {
    const end = min(length, first + BLOCK);
    for (let panel: usize = 0; panel < panels; panel++) {
      const columns = min<usize>(4, width - panel * 4);
      const s = state + panel * features * 16;
      let t = first;
      while (t < end) {
        const featureRow = t * featureStep;
        const valueRow = t * widthStep + panel * 16;
        if (t + 4 <= end && isOne(gates + t * 4)) {
          fourRows(
            y + valueRow,
            q + featureRow,
            k + featureRow,
            v + valueRow,
            s,
            features,
            featureStep,
            widthStep,
            columns,
          );
          t += 4;
        } else {
          oneRow(y + valueRow, q + featureRow, k + featureRow, v + valueRow, gates + t * 4, s, features, columns);
          t += 1;
        }
      }
    }
  }
}

function isOne(gates: usize): bool {
  return i32x4.all_true(f32x4.eq(v128.load(gates), f32x4.splat(1)));
}

/** The operations of {@link oneRow} with a gate of 1, in the same order: the same bits. */
function fourRows(
  y: usize,
  q: usize,
  k: usize,
  v: usize,
  state: usize,
  features: usize,
  featureStep: usize,
  widthStep: usize,
  columns: usize,
): void {
  const v0 = loadColumns(v, columns);
  const v1 = loadColumns(v + widthStep, columns);
  const v2 = loadColumns(v + 2 * widthStep, columns);
  const v3 = loadColumns(v + 3 * widthStep, columns);
  let q1 = q + featureStep;
  let q2 = q1 + featureStep;
  let q3 = q2 + featureStep;
  let k1 = k + featureStep;
  let k2 = k1 + featureStep;
  let k3 = k2 + featureStep;
  let y0 = f32x4.splat(0);
  let y1 = y0;
  let y2 = y0;
  let y3 = y0;
  const end = state + features * 16;
  while (state < end) {
    let s = f32x4.add(v128.load(state), f32x4.mul(v128.load32_splat(k), v0));
    y0 = f32x4.add(y0, f32x4.mul(v128.load32_splat(q), s));
    s = f32x4.add(s, f32x4.mul(v128.load32_splat(k1), v1));
    y1 = f32x4.add(y1, f32x4.mul(v128.load32_splat(q1), s));
    s = f32x4.add(s, f32x4.mul(v128.load32_splat(k2), v2));
    y2 = f32x4.add(y2, f32x4.mul(v128.load32_splat(q2), s));
    s = f32x4.add(s, f32x4.mul(v128.load32_splat(k3), v3));
    y3 = f32x4.add(y3, f32x4.mul(v128.load32_splat(q3), s));
    v128.store(state, s);
    state += 16;
    q += 4;
    q1 += 4;
    q2 += 4;
    q3 += 4;
    k += 4;
    k1 += 4;
    k2 += 4;
    k3 += 4;
  }
  storeColumns(y, y0, columns);
  storeColumns(y + widthStep, y1, columns);
  storeColumns(y + 2 * widthStep, y2, columns);
  storeColumns(y + 3 * widthStep, y3, columns);
}

function oneRow(
  y: usize,
  q: usize,
  k: usize,
  v: usize,
  gate: usize,
  state: usize,
  features: usize,
  columns: usize,
): void {
  const decay = v128.load32_splat(gate);
  const value = loadColumns(v, columns);
  let sum = f32x4.splat(0);
  const end = state + features * 16;
  while (state < end) {
    const s = f32x4.add(f32x4.mul(v128.load(state), decay), f32x4.mul(v128.load32_splat(k), value));
    sum = f32x4.add(sum, f32x4.mul(v128.load32_splat(q), s));
    v128.store(state, s);
    state += 16;
    q += 4;
    k += 4;
  }
  storeColumns(y, sum, columns);
}

/** The first `columns` of 4 numbers; reads no further. */
function loadColumns(from: usize, columns: usize): v128 {
  if (columns == 4) return v128.load(from);
  let x = v128.load32_zero(from);
  if (columns > 1) x = v128.load_lane<f32>(from + 4, x, 1);
  if (columns > 2) x = v128.load_lane<f32>(from + 8, x, 2);
  return x;
}

/** The first `columns` of 4 numbers; writes no further. */
function storeColumns(to: usize, x: v128, columns: usize): void {
  if (columns == 4) {
    v128.store(to, x);
    return;
  }
  v128.store_lane<f32>(to, x, 0);
  if (columns > 1) v128.store_lane<f32>(to + 4, x, 1);
  if (columns > 2) v128.store_lane<f32>(to + 8, x, 2);
}
