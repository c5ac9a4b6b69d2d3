// For a bundle that only loads models: bundlers leave out what it does not name, and with it the registration of layers.
import { registerLayers } from "./layers/register.ts";

registerLayers();
