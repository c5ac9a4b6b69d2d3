/** What log weights of masked keys become before the largest is sought: far below any other, yet finite. */
export const maskedLog = -1e30;

/** Between masked and real log weights: relative to this or more, a masked key weighs exactly 0. */
export const leastLog = -1e29;

/** Keeps 0 / 0 of a row without any key at 0; any real normaliser is far above. */
export const leastNormaliser = 1e-30;
