/**
 * READ: a file's bytes to standard output, as they are and nothing else. To a terminal, text is shown without its
 * control characters, and what is not text only after a question. With `--json`, content is bounded (see MAX_JSON).
 */
import { Effect, Option, Stream } from "effect"
import { Flag } from "effect/cli"
import { FipClient, type ReadOptions } from "../../../client/FipClient.ts"
import { type FileRef, formatFileRef } from "../../../protocol/FileName.ts"
import type { FileInfo, ReadHead } from "../../../protocol/Request.ts"
import { TransferFailed, UsageError } from "../Failure.ts"
import { formatBytes, formatCount } from "../format.ts"
import { limit, position, target, targetOf, version } from "../inputs.ts"
import { Output } from "../Output.ts"
import { printable } from "../printable.ts"
import { Questions } from "../Questions.ts"
import { JsonMode, type Outcome } from "../Report.ts"
import { shellCommand } from "../ShellCommand.ts"
import { isRemotePattern, ownedBy, remoteFiles, sourceOf } from "../sources.ts"

type Content = Stream.Stream<Uint8Array, TransferFailed>

/** Content in one JSON object is held in memory on both sides of the pipe. */
const MAX_JSON = 1024 * 1024

const fitsInJson = (bytes: number): Effect.Effect<void, UsageError> =>
  bytes <= MAX_JSON ? Effect.void : Effect.fail(
    new UsageError({
      message: `--json holds at most ${formatBytes(MAX_JSON)} and this is ${formatBytes(bytes)}: ` +
        "use --limit, or DOWNLOAD"
    })
  )

const toJson = Effect.fnUntraced(function*(head: ReadHead, content: Content) {
  const chunks: Array<Uint8Array> = []
  yield* Stream.runForEach(content, (chunk) =>
    Effect.map(fitsInJson(head.length), () => {
      chunks.push(chunk)
    }))
  const bytes = Buffer.concat(chunks)
  const text = asText(bytes)
  return text === undefined ? { ...head, base64: bytes.toString("base64") } : { ...head, text }
})

const asText = (bytes: Uint8Array): string | undefined => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

// Control characters that no text has: all but tab, newline, form feed, return and escape.
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const NOT_TEXT = /[\u0000-\u0008\u000b\u000e-\u001a\u001c-\u001f]/

const looksBinary = (chunk: Uint8Array): boolean => {
  try {
    // The chunk may end in the middle of a character.
    return NOT_TEXT.test(new TextDecoder("utf-8", { fatal: true }).decode(chunk, { stream: true }))
  } catch {
    return true
  }
}

const toTerminal = Effect.fnUntraced(function*(head: ReadHead, content: Content) {
  const output = yield* Output
  const questions = yield* Questions
  const decoder = new TextDecoder()
  let binary: boolean | undefined
  let held = ""
  let endsLine = true
  yield* Stream.runForEach(
    content,
    Effect.fnUntraced(function*(chunk) {
      if (binary === undefined) {
        binary = looksBinary(chunk)
        const question = `${head.name} is not text (${formatBytes(head.length)}): show it all the same?`
        if (binary && !(yield* questions.confirm(question))) {
          return yield* new UsageError({
            message: `${head.name} is not text: send standard output to a file, or use DOWNLOAD`
          })
        }
      }
      if (binary) return yield* output.write(chunk)
      const text = held + decoder.decode(chunk, { stream: true })
      // A \r at the end may be half of a line's end.
      held = text.endsWith("\r") ? "\r" : ""
      const shown = printable(held === "" ? text : text.slice(0, -1))
      if (shown !== "") endsLine = shown.endsWith("\n")
      yield* output.write(shown)
    })
  )
  // The prompt that follows would overwrite an unfinished line.
  yield* output.write(printable(held + decoder.decode()))
  if (!endsLine || held !== "") yield* output.write("\n")
})

const opened = Effect.fnUntraced(function*(file: FileRef, options: ReadOptions) {
  const client = yield* FipClient
  const { content, head } = yield* client.open(file, options)
  // The server has answered: whatever ends the content before its end interrupts it.
  return {
    head,
    content: Stream.mapError(content, (cause) => new TransferFailed({ moved: true, goesOn: false, cause }))
  }
})

const show = Effect.fnUntraced(function*(head: ReadHead, content: Content) {
  const output = yield* Output
  if (output.stdoutIsTerminal) yield* toTerminal(head, content)
  else yield* Stream.runForEach(content, output.write)
})

/** One after the other, in the versions that were seen. */
const readSeveral = Effect.fnUntraced(function*(files: ReadonlyArray<FileInfo>, isJson: boolean) {
  const bytes = files.reduce((sum, { size }) => sum + size, 0)
  if (isJson) yield* fitsInJson(bytes)
  const heads: Array<object> = []
  for (const { name, owner, version } of files) {
    const { content, head } = yield* opened({ owner, name }, { version })
    if (isJson) heads.push(yield* toJson(head, content))
    else yield* show(head, content)
  }
  const outcome: Outcome = {
    code: "1:read",
    message: `read ${formatBytes(bytes)} of ${formatCount(files.length, "file")}`,
    result: { files: heads },
    text: ""
  }
  return outcome
})

const read = shellCommand({
  name: "READ",
  summary: "Write the content of a file, or of a part of it, to standard output",
  examples: [
    { command: "READ notes.txt" },
    { command: "READ logs/*.txt", description: "one after the other; a name in quotes is no pattern" },
    { command: "READ log.txt --position 1000000 --limit 4096" },
    { command: "READ notes.txt --version 3", description: "as it was then" }
  ],
  json: "`owner`, `name`, `size`, `version`, `position`, `length`, `sha256` where it is known, and the content as " +
    "`text` if it is UTF-8, else as `base64`; at most 1 MiB of it, more is refused with `local:usage`; of a pattern, " +
    "`files` (an array of these)",
  kind: "transfer",
  background: false,
  input: {
    ...target,
    position: position.pipe(Flag.optional),
    limit,
    version: version.pipe(Flag.optional)
  },
  run: Effect.fnUntraced(function*(input) {
    const isJson = yield* JsonMode
    const file = yield* targetOf(input)
    const options: ReadOptions = {
      position: Option.getOrUndefined(input.position),
      limit: Option.getOrUndefined(input.limit),
      version: Option.getOrUndefined(input.version)
    }
    const word = yield* sourceOf(input.file.text)
    const source = Option.match(input.owner, { onNone: () => word, onSome: (owner) => ownedBy(word, owner) })
    if (yield* isRemotePattern(source)) {
      if (Object.values(options).some((value) => value !== undefined)) {
        return yield* new UsageError({ message: "--position, --limit and --version are for one file" })
      }
      return yield* readSeveral(yield* remoteFiles([source], false), isJson)
    }
    const { content, head } = yield* opened(file, options)
    const done = { code: "1:read", message: `read ${formatBytes(head.length)} of ${formatFileRef(file)}`, text: "" }
    if (isJson) return { ...done, result: yield* toJson(head, content) }
    yield* show(head, content)
    return { ...done, result: head }
  })
})

const checksum = shellCommand({
  name: "CHECKSUM",
  summary: "The SHA-256 of a file, computed by the server where nobody knows it yet",
  examples: [{ command: "CHECKSUM notes.txt" }, { command: "CHECKSUM ~alice/photos.tar" }],
  json: "`sha256`, `owner`, `name`, `size`, `version`",
  input: target,
  run: Effect.fnUntraced(function*(input) {
    const client = yield* FipClient
    const file = yield* targetOf(input)
    const { name, owner, sha256, size, version } = yield* client.queryFile(file, { hash: true })
    return {
      code: "1:qa",
      message: `the SHA-256 of ${formatFileRef(file)}`,
      result: { sha256, owner, name, size, version },
      // As sha256sum writes it, to be compared line by line.
      text: `${sha256}  ${formatFileRef(file)}`
    }
  })
})

export const readCommands = [read, checksum] as const
