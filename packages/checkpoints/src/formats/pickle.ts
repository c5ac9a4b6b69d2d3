import { util } from "protobufjs/minimal.js";
import { CheckpointError } from "./errors.ts";

/** A global that a pickle may refer to. Without `call`, it cannot be called. */
export interface PickleGlobal {
  readonly name: string;
  /** The value of `name(...args)`. Never runs code from the pickle. */
  readonly call?: (args: readonly unknown[]) => unknown;
}

export interface Unpickling {
  /** All permitted globals, by full name ("collections.OrderedDict"). Others are refused. */
  readonly globals: ReadonlyMap<string, PickleGlobal>;
  /** Resolves a persistent id: in PyTorch's files, a storage. */
  readonly persistent: (id: unknown) => unknown;
}

/** Limits for one pickle. A state dict of 100,000 tensors stays well below them. */
const most = { stack: 20_000, marks: 100, memo: 4_000_000, string: 1 << 16 };

/** Marks the start of a tuple, list or batch of items on the stack. */
interface Frame {
  readonly items: unknown[];
}

/**
 * Reads a pickle of protocol 2 to 5 without executing anything. Only opcodes that build plain data, and the given globals,
 * are known.
 *
 * None, booleans, strings and numbers become themselves (integers beyond 2^53 become bigint), tuples and lists become
 * arrays, dictionaries `Map`, and globals {@link PickleGlobal}.
 *
 * @throws CheckpointError "unsafe-pickle" naming the global or opcode, "malformed", "truncated", "limit-exceeded"
 */
export function unpickle(bytes: Uint8Array, unpickling: Unpickling): unknown {
  return new Unpickler(bytes, unpickling).run();
}

class Unpickler {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #unpickling: Unpickling;
  readonly #frames: Frame[] = [{ items: [] }];
  readonly #memo = new Map<number, unknown>();
  #at = 0;
  #depth = 0;

  constructor(bytes: Uint8Array, unpickling: Unpickling) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#unpickling = unpickling;
  }

  run(): unknown {
    for (;;) {
      const opcode = this.#byte();
      if (opcode === 0x2e /* STOP */) return this.#pop();
      if (!this.#scalar(opcode) && !this.#container(opcode) && !this.#reference(opcode)) throw this.#refused(opcode);
    }
  }

  /** Opcodes that push one value. */
  #scalar(opcode: number): boolean {
    switch (opcode) {
      case 0x80: // PROTO
        this.#protocol(this.#byte());
        return true;
      case 0x95: // FRAME: its length is of use to streams only
        this.#take(8);
        return true;
      case 0x4e: // NONE
        return this.#push(null);
      case 0x88: // NEWTRUE
        return this.#push(true);
      case 0x89: // NEWFALSE
        return this.#push(false);
      case 0x4b: // BININT1
        return this.#push(this.#byte());
      case 0x4d: // BININT2
        return this.#push(this.#view.getUint16(this.#take(2), true));
      case 0x4a: // BININT
        return this.#push(this.#view.getInt32(this.#take(4), true));
      case 0x8a: // LONG1
        return this.#push(this.#long(this.#byte()));
      case 0x47: // BINFLOAT, the only big-endian one
        return this.#push(this.#view.getFloat64(this.#take(8), false));
      case 0x58: // BINUNICODE
        return this.#push(this.#string(this.#uint32()));
      case 0x8c: // SHORT_BINUNICODE
        return this.#push(this.#string(this.#byte()));
      case 0x55: // SHORT_BINSTRING, Python 2's
        return this.#push(this.#string(this.#byte()));
      default:
        return false;
    }
  }

  /** Opcodes that build tuples, lists and dictionaries. */
  #container(opcode: number): boolean {
    switch (opcode) {
      case 0x28: // MARK
        if (this.#frames.length > most.marks) throw this.#tooMuch(`nests more than ${most.marks} containers`);
        this.#frames.push({ items: [] });
        return true;
      case 0x29: // EMPTY_TUPLE
      case 0x5d: // EMPTY_LIST
        return this.#push([]);
      case 0x74: // TUPLE
        return this.#push(this.#popMark());
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        return this.#push(this.#popMany(opcode - 0x84));
      case 0x7d: // EMPTY_DICT
        return this.#push(new Map());
      case 0x61: // APPEND
        return this.#append([this.#pop()]);
      case 0x65: // APPENDS
        return this.#append(this.#popMark());
      case 0x73: // SETITEM
        return this.#setItems(this.#popMany(2));
      case 0x75: // SETITEMS
        return this.#setItems(this.#popMark());
      default:
        return false;
    }
  }

  /** Opcodes that refer to something: the memo, globals, persistent ids. */
  #reference(opcode: number): boolean {
    switch (opcode) {
      case 0x71: // BINPUT
        return this.#remember(this.#byte());
      case 0x72: // LONG_BINPUT
        return this.#remember(this.#uint32());
      case 0x94: // MEMOIZE
        return this.#remember(this.#memo.size);
      case 0x68: // BINGET
        return this.#recall(this.#byte());
      case 0x6a: // LONG_BINGET
        return this.#recall(this.#uint32());
      case 0x63: // GLOBAL
        return this.#global(this.#line(), this.#line());
      case 0x93: {
        // STACK_GLOBAL
        const [module, name] = this.#popMany(2);
        if (typeof module !== "string" || typeof name !== "string")
          throw this.#malformed("names a global by no string");
        return this.#global(module, name);
      }
      case 0x51: // BINPERSID
        return this.#push(this.#unpickling.persistent(this.#pop()));
      case 0x52: // REDUCE
        return this.#call();
      case 0x62: // BUILD
        // torch.save attaches `_metadata` (versions of modules) to the OrderedDict, which is not needed here.
        this.#pop();
        if (!(this.#top() instanceof Map)) throw this.#unsafe("BUILD", "sets the state of an object");
        return true;
      default:
        return false;
    }
  }

  #protocol(version: number): void {
    if (version < 2 || version > 5) throw this.#malformed(`uses protocol ${version}, not 2 to 5`);
  }

  #global(module: string, name: string): boolean {
    const full = `${module}.${name}`;
    const known = this.#unpickling.globals.get(full);
    if (known !== undefined) return this.#push(known);
    throw this.#unsafe(full, `refers to ${full}`);
  }

  #call(): boolean {
    const [callee, args] = this.#popMany(2);
    const known = [...this.#unpickling.globals.values()].find((global) => global === callee);
    if (known === undefined) throw this.#unsafe("REDUCE", "calls what is no function");
    const { name, call } = known;
    if (call === undefined) throw this.#unsafe(name, `calls ${name}`);
    if (!Array.isArray(args)) throw this.#malformed(`calls ${name} with no tuple`);
    return this.#push(call(args));
  }

  #append(items: readonly unknown[]): boolean {
    const list = this.#top();
    if (!Array.isArray(list)) throw this.#malformed("appends to what is no list");
    for (const item of items) list.push(item);
    return true;
  }

  #setItems(items: readonly unknown[]): boolean {
    const map = this.#top();
    if (!(map instanceof Map) || items.length % 2 !== 0) throw this.#malformed("sets items of what is no dictionary");
    for (let index = 0; index < items.length; index += 2) {
      const key = items[index];
      if (typeof key !== "string" && typeof key !== "number") throw this.#malformed("has a key that is no string");
      map.set(key, items[index + 1]);
    }
    return true;
  }

  #remember(index: number): boolean {
    if (this.#memo.size >= most.memo) throw this.#tooMuch(`stores more than ${most.memo} values`);
    this.#memo.set(index, this.#top());
    return true;
  }

  #recall(index: number): boolean {
    if (!this.#memo.has(index)) throw this.#malformed(`recalls value ${index}, which it never stored`);
    return this.#push(this.#memo.get(index));
  }

  #push(value: unknown): boolean {
    if (++this.#depth > most.stack) throw this.#tooMuch(`keeps more than ${most.stack} values open`);
    this.#frames.at(-1)!.items.push(value);
    return true;
  }

  #pop(): unknown {
    return this.#popMany(1)[0];
  }

  #popMany(count: number): unknown[] {
    const { items } = this.#frames.at(-1)!;
    if (items.length < count) throw this.#malformed("takes a value where there is none");
    this.#depth -= count;
    return items.splice(items.length - count);
  }

  #popMark(): unknown[] {
    if (this.#frames.length < 2) throw this.#malformed("closes a container that it did not open");
    const { items } = this.#frames.pop()!;
    this.#depth -= items.length;
    return items;
  }

  #top(): unknown {
    const { items } = this.#frames.at(-1)!;
    if (items.length === 0) throw this.#malformed("takes a value where there is none");
    return items.at(-1);
  }

  #byte(): number {
    return this.#bytes[this.#take(1)]!;
  }

  #uint32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  /** Advances by `length` bytes, and returns where they begin. */
  #take(length: number): number {
    const start = this.#at;
    if (length > this.#bytes.length - start) {
      throw new CheckpointError(
        "truncated",
        `The pickle ends at byte ${start}, too early. Fetch the checkpoint again.`,
      );
    }
    this.#at += length;
    return start;
  }

  #long(length: number): number | bigint {
    if (length > 16) throw this.#tooMuch(`has an integer of ${length} bytes`);
    const start = this.#take(length);
    let value = 0n;
    for (let index = length - 1; index >= 0; index--) value = (value << 8n) | BigInt(this.#bytes[start + index]!);
    value = BigInt.asIntN(8 * length, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  #string(length: number): string {
    if (length > most.string) throw this.#tooMuch(`has a string of ${length} bytes`);
    const start = this.#take(length);
    try {
      return util.utf8.readStrict(this.#bytes, start, start + length);
    } catch (cause) {
      throw this.#malformed("has a string that is not UTF-8", cause);
    }
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    const text = this.#string((end < 0 ? this.#bytes.length : end) - this.#at);
    this.#take(1);
    return text;
  }

  #refused(opcode: number): CheckpointError {
    const name = `0x${opcode.toString(16).padStart(2, "0")}`;
    return this.#unsafe(`opcode ${name}`, `has the opcode ${name}`);
  }

  #unsafe(global: string, what: string): CheckpointError {
    return new CheckpointError(
      "unsafe-pickle",
      `The pickle ${what} (byte ${this.#at}), which no state dict needs; nothing was executed. If you trust its author, ` +
        "load it in PyTorch and save model.state_dict() as safetensors.",
      { global, offset: this.#at },
    );
  }

  #malformed(what: string, cause?: unknown): CheckpointError {
    const message = `The pickle ${what} (byte ${this.#at}): it is damaged, or not a state dict. Fetch the checkpoint again.`;
    return new CheckpointError("malformed", message, { offset: this.#at }, cause);
  }

  #tooMuch(what: string): CheckpointError {
    const message = `The pickle ${what} (byte ${this.#at}): which no state dict does. Do not trust this checkpoint.`;
    return new CheckpointError("limit-exceeded", message, { offset: this.#at });
  }
}
