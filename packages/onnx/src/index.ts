import { version } from "@favor/core";
export const v: string = version;
