/**
 * A settings file in TOML, and where in it something stands: what is wrong with a setting is said with file, line and
 * column. The parser tells positions of what is no TOML only; that of a key is found by parsing ever more lines.
 */
import { Data, Effect } from "effect"
import { readFile } from "node:fs/promises"
import { parse, TomlError, type TomlTable } from "smol-toml"
import { systemErrorCode, systemErrorReason } from "./systemError.ts"

/** A settings file that cannot be used; `message` names the file and the place in it. */
export class TomlFault extends Data.TaggedError("TomlFault")<{ readonly path: string; readonly message: string }> {}

export interface TomlFile {
  readonly path: string
  readonly text: string
  readonly table: TomlTable
}

const parseOrFault = (text: string): TomlTable | TomlError => {
  try {
    return parse(text)
  } catch (error) {
    if (error instanceof TomlError) return error
    throw error
  }
}

export const parseTomlFile = (path: string, text: string): Effect.Effect<TomlFile, TomlFault> => {
  const table = parseOrFault(text)
  return table instanceof TomlError
    ? Effect.fail(
      new TomlFault({
        path,
        message: `${path}, line ${table.line}, column ${table.column}: ${table.message.split("\n")[0]}`
      })
    )
    : Effect.succeed({ path, text, table })
}

/** The file; `undefined` where there is none. */
export const readTomlFile = (path: string): Effect.Effect<TomlFile | undefined, TomlFault> =>
  Effect.tryPromise({
    try: () =>
      readFile(path, "utf8").catch((cause: unknown) => {
        if (systemErrorCode(cause) === "ENOENT") return undefined
        throw cause
      }),
    catch: (cause) => new TomlFault({ path, message: `cannot read ${path}: ${systemErrorReason(cause)}` })
  }).pipe(
    Effect.flatMap((text) => text === undefined ? Effect.undefined : parseTomlFile(path, text))
  )

const has = (table: TomlTable, keys: ReadonlyArray<string>): boolean => {
  let value: unknown = table
  for (const key of keys) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return false
    value = Object.entries(value).find(([name]) => name === key)?.[1]
  }
  return true
}

/** Where a key stands, both counted from 1: the first line of the statement that sets it. */
export const positionOf = (
  { text }: TomlFile,
  keys: ReadonlyArray<string>
): { readonly line: number; readonly column: number } => {
  const lines = text.split("\n")
  let begin = 0
  for (let end = 1; end <= lines.length; end++) {
    const table = parseOrFault(lines.slice(0, end).join("\n"))
    // Half of a value of several lines: the statement goes on.
    if (table instanceof TomlError) continue
    if (has(table, keys)) {
      const line = lines[begin] ?? ""
      const at = line.indexOf(keys.at(-1) ?? "")
      return { line: begin + 1, column: (at < 0 ? line.search(/\S|$/) : at) + 1 }
    }
    begin = end
  }
  return { line: 1, column: 1 }
}

/** Something is wrong with what a key says, or with the key. */
export const faultAt = (file: TomlFile, keys: ReadonlyArray<string>, message: string): TomlFault => {
  const { column, line } = positionOf(file, keys)
  return new TomlFault({ path: file.path, message: `${file.path}, line ${line}, column ${column}: ${message}` })
}
