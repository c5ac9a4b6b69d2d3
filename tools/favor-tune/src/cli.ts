import { runProcess } from "@favor/command-line";

import { main } from "./main.ts";

await runProcess(main);
