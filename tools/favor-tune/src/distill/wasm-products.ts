import { repairBackend } from "@favor/tfjs";

/** Products of many small matrices are among the repairs of @favor/tfjs: calls `repairBackend` for the backend in use. */
export function speedUpProducts(): void {
  repairBackend();
}
