import { ArgumentError } from "@favor/core";
import * as tf from "@tensorflow/tfjs";

/** As tfjs' own layers take it: an initializer, its name (`glorotUniform`), or what `getConfig` wrote of it. */
export type InitializerArgument = Initializer | string | tf.serialization.ConfigDict;

type Initializer = ReturnType<typeof tf.initializers.zeros>;

/** The initializer that `argument` names, from tfjs' own registry. Throws ArgumentError for a name it does not know. */
export function findInitializer(name: string, argument: InitializerArgument): Initializer {
  if (typeof argument === "object" && "apply" in argument) return argument as Initializer;
  const { className, config } =
    typeof argument === "string"
      ? { className: argument.charAt(0).toUpperCase() + argument.slice(1), config: {} }
      : (argument as { className: string; config: tf.serialization.ConfigDict });
  const known = tf.serialization.SerializationMap.getMap().classNameMap[className];
  if (known === undefined) throw new ArgumentError(name, "an initializer of tfjs, or its name", className);
  const [found, fromConfig] = known;
  return fromConfig(found, config) as Initializer;
}

/** What `getConfig` writes of an initializer. */
export function initializerConfig(initializer: Initializer): tf.serialization.ConfigDict {
  return { className: initializer.getClassName(), config: initializer.getConfig() };
}
