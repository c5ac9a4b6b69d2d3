import { favorProject } from "../../vitest.shared.ts";

export default favorProject("hub-server");
