import { ArgumentError } from "@favor/core";
import * as tf from "@tensorflow/tfjs";

/** Accepted as by tfjs' own layers: an object, its name (`glorotUniform`), or what `getConfig` wrote of it. */
export type InitializerArgument = Initializer | string | tf.serialization.ConfigDict;
/** As {@link InitializerArgument}: `tf.regularizers.l2()`, its name (`l1l2`), or its config. */
export type RegularizerArgument = Regularizer | string | tf.serialization.ConfigDict;

export type Initializer = ReturnType<typeof tf.initializers.zeros>;
export type Regularizer = ReturnType<typeof tf.regularizers.l1l2>;

/**
 * The initializer that `argument` names, from tfjs' own registry.
 *
 * @throws ArgumentError for an unknown name.
 */
export function findInitializer(name: string, argument: InitializerArgument): Initializer {
  return findRegistered(name, "an initializer", argument) as Initializer;
}

/** The regularizer that `argument` names, in the same way; undefined for none. */
export function findRegularizer(name: string, argument: RegularizerArgument | undefined): Regularizer | undefined {
  if (argument === undefined || argument === null) return undefined;
  const named = typeof argument === "string" ? argument.toUpperCase() : argument;
  return findRegistered(name, "a regularizer", named) as Regularizer;
}

function findRegistered(
  name: string,
  what: string,
  argument: Initializer | Regularizer | string | tf.serialization.ConfigDict,
): tf.serialization.Serializable {
  if (typeof argument === "object" && "apply" in argument) return argument as Initializer;
  const { className, config } =
    typeof argument === "string"
      ? { className: argument.charAt(0).toUpperCase() + argument.slice(1), config: {} }
      : (argument as { className: string; config: tf.serialization.ConfigDict });
  const known = tf.serialization.SerializationMap.getMap().classNameMap[className];
  if (known === undefined) throw new ArgumentError(name, `${what} of tfjs, or its name`, className);
  const [found, fromConfig] = known;
  return fromConfig(found, config);
}

/** What `getConfig` writes of an initializer or a regularizer. */
export function objectConfig(object: tf.serialization.Serializable): tf.serialization.ConfigDict {
  return { className: object.getClassName(), config: object.getConfig() };
}
