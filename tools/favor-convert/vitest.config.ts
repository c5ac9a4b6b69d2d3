import { favorProject } from "../../vitest.shared.ts";

export default favorProject("favor-convert", { timeout: 60_000 });
