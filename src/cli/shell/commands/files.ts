/** Commands that make, change and remove files with what is typed on the line. */
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import type { TransferError } from "../../../client/ClientError.ts"
import type { ContentInput, FileInput, WriteOptions } from "../../../client/FipClient.ts"
import { FipClient } from "../../../client/FipClient.ts"
import type { SuccessCode } from "../../../protocol/Code.ts"
import { type FileRef, formatFileRef } from "../../../protocol/FileName.ts"
import type { Written } from "../../../protocol/Request.ts"
import { formatBytes } from "../format.ts"
import { data, file, ifVersion, newName, newNameOf, position, target, targetOf, version } from "../inputs.ts"
import type { Outcome } from "../Report.ts"
import { shellCommand } from "../ShellCommand.ts"

/** What `result` holds after every command that writes a file. */
export const WRITTEN = "`owner`, `name`, `size`, `version`; `sha256` where it is known"

export const written = (code: SuccessCode, done: string, result: Written): Outcome => ({
  code,
  message: `${done} (${formatBytes(result.size)}, version ${result.version})`,
  result
})

export const expected = (ifVersion: Option.Option<number>): WriteOptions => ({
  expectedVersion: Option.getOrUndefined(ifVersion)
})

/** The wire's code for a file that was written: whether it was made or changed. */
export const writtenCode = ({ version }: Written) => version === 1 ? "1:fnew" : "1:amnd"

const create = shellCommand({
  name: "CREATE",
  summary: "Make an empty file; refused if there is one of that name",
  examples: [{ command: "CREATE notes.txt" }, { command: "CREATE docs/plan.md -bye" }],
  json: WRITTEN,
  input: target,
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const file = yield* targetOf(input)
    return written("1:fnew", `created ${formatFileRef(file)}`, yield* client.create(file))
  })
})

/** WRITE, REPLACE and APPEND differ in the client's method alone. */
const contentCommand = (definition: {
  readonly name: string
  readonly summary: string
  readonly example: string
  readonly done: string
  readonly send: (
    client: FipClient["Service"],
    file: FileInput,
    content: ContentInput,
    options: WriteOptions
  ) => Effect.Effect<Written, TransferError>
}) =>
  shellCommand({
    name: definition.name,
    summary: definition.summary,
    examples: [{ command: definition.example }, { command: `${definition.name} notes.txt -- "- a line with a dash"` }],
    json: WRITTEN,
    input: { file, data, ifVersion },
    run: Effect.fnUntraced(function*({ data, file, ifVersion }) {
      const client = yield* FipClient
      const result = yield* definition.send(client, file, data, expected(ifVersion))
      return written(writtenCode(result), `${definition.done} ${formatFileRef(file)}`, result)
    })
  })

const write = contentCommand({
  name: "WRITE",
  summary: "Store text as the content of a file, which is made if it is not there",
  example: "WRITE notes.txt \"buy milk\"",
  done: "wrote",
  send: (client, file, content, options) => client.write(file, content, options)
})

const replace = contentCommand({
  name: "REPLACE",
  summary: "Replace the whole content of a file that is there",
  example: "REPLACE notes.txt \"buy bread\" --if-version 3",
  done: "replaced",
  send: (client, file, content, options) => client.replace(file, content, options)
})

const append = contentCommand({
  name: "APPEND",
  summary: "Add text to the end of a file",
  example: "APPEND notes.txt \", and butter\"",
  done: "appended to",
  send: (client, file, content, options) => client.append(file, content, options)
})

const patch = shellCommand({
  name: "PATCH",
  summary: "Overwrite bytes from a position on; where they reach past its end, the file grows",
  examples: [{ command: "PATCH notes.txt MILK --position 4" }],
  json: WRITTEN,
  input: { file, data, position, ifVersion },
  run: Effect.fnUntraced(function*({ data, file, ifVersion, position }) {
    const client = yield* FipClient
    const result = yield* client.patch(file, position, data, expected(ifVersion))
    return written("1:amnd", `patched ${formatFileRef(file)}`, result)
  })
})

const renamed = (file: FileRef, name: string): string => `${formatFileRef(file)} to ${name}`

const rename = shellCommand({
  name: "RENAME",
  summary: "Give a file another name, in the same or another folder of its owner",
  examples: [{ command: "RENAME notes.txt docs/notes.txt" }],
  json: WRITTEN,
  input: { file, name: newName("new", "the new name, among the owner's files"), ifVersion },
  run: Effect.fnUntraced(function*({ file, ifVersion, name }) {
    const client = yield* FipClient
    const to = newNameOf(name, file.owner)
    const result = yield* client.rename(file, to, expected(ifVersion))
    return written("1:ren", `renamed ${renamed(file, to)}`, result)
  })
})

const copy = shellCommand({
  name: "COPY",
  summary: "Copy a file, yours or one shared with you, to a file of your own",
  examples: [{ command: "COPY ~alice/report.pdf docs/report.pdf" }],
  json: WRITTEN,
  input: { file, name: newName("new", "the copy's name, among your own files; it must be free"), ifVersion },
  run: Effect.fnUntraced(function*({ file, ifVersion, name }) {
    const client = yield* FipClient
    const to = newNameOf(name, undefined)
    const result = yield* client.copy(file, to, expected(ifVersion))
    return written("1:cpy", `copied ${renamed(file, to)}`, result)
  })
})

const restore = shellCommand({
  name: "RESTORE",
  summary: "Bring back an earlier version of a file as its newest one, or a file of yours that was deleted",
  examples: [
    { command: "RESTORE notes.txt --version 3" },
    { command: "RESTORE notes.txt", description: "the one that was deleted last: LIST --deleted shows them" }
  ],
  json: WRITTEN,
  input: { ...target, version: Flag.optional(version), ifVersion },
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const file = yield* targetOf(input)
    const version = Option.getOrUndefined(input.version)
    const result = yield* client.restore(file, version, expected(input.ifVersion))
    const what = version === undefined ? "" : `version ${version} of `
    return written("1:rst", `restored ${what}${formatFileRef(file)}`, result)
  })
})

export const fileCommands = [create, write, replace, append, patch, rename, copy, restore] as const
