import { favorProject } from "../../vitest.shared.ts";

export default favorProject("@favor/report");
