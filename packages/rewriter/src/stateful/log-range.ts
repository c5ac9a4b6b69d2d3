/** Log weight of masked keys in the search for the largest: far below any other, yet finite. */
export const maskedLog = -1e30;

/** Lies between masked and real log weights. Relative to this or more, a masked key weighs exactly 0. */
export const leastLog = -1e29;

/** Turns 0 / 0 into 0 for a row without keys. Any real normaliser is far larger. */
export const leastNormaliser = 1e-30;
