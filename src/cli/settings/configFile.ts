/** A config file: its values, and the line that each is on, so that what is said of a value says where it is. */
import { Data, Effect } from "effect"
import { readFile } from "node:fs/promises"
import { parse as parseToml, TomlError } from "smol-toml"
import { didYouMean } from "../../platform/nearest.ts"
import { systemErrorReason } from "../../platform/systemError.ts"

/** A setting that cannot be used; `message` names it and says what is wrong. */
export class SettingsError extends Data.TaggedError("SettingsError")<{ readonly message: string }> {}

export interface ConfigFile {
  readonly path: string
  readonly values: Readonly<Record<string, unknown>>
  readonly lineOf: (key: string) => number
}

/** `key = …`, `"key" = …`, or a table `[key]`. */
const KEY = /^\s*\[{0,2}\s*(?:"([^"]*)"|'([^']*)'|([\w-]+))/

const linesOf = (text: string): ReadonlyMap<string, number> => {
  const lines = new Map<string, number>()
  for (const [index, line] of text.split("\n").entries()) {
    const found = KEY.exec(line)
    const key = found?.[1] ?? found?.[2] ?? found?.[3]
    if (key !== undefined && !lines.has(key)) lines.set(key, index + 1)
  }
  return lines
}

/** Reads a file that may have these keys and no others. */
export const readConfigFile = Effect.fnUntraced(
  function*(path: string, keys: ReadonlySet<string>): Effect.fn.Return<ConfigFile, SettingsError> {
    const text = yield* Effect.tryPromise({
      try: () => readFile(path, "utf8"),
      catch: (error) =>
        new SettingsError({ message: `cannot read the config file ${path}: ${systemErrorReason(error)}` })
    })
    const values = yield* Effect.try({
      try: () => parseToml(text),
      catch: (error) =>
        new SettingsError({
          message: error instanceof TomlError
            ? `${path}, line ${error.line}, column ${error.column}: ${error.message.split("\n")[0]}`
            : `${path} is not TOML`
        })
    })
    const lines = linesOf(text)
    for (const key of Object.keys(values)) {
      if (!keys.has(key)) {
        return yield* new SettingsError({
          message: `${path}, line ${lines.get(key) ?? 1}: there is no setting "${key}"${didYouMean(key, keys)}`
        })
      }
    }
    return { path, values, lineOf: (key) => lines.get(key) ?? 1 }
  }
)
