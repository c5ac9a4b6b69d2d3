/**
 * The folder `shared`, which lies next to the repository and holds what is too large for it: the whole zoo, checkpoints,
 * data. Tests that read from it skip visibly if it is missing.
 */
export const shared: URL = new URL("../../../../shared/", import.meta.url);
