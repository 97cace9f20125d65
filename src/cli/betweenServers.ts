/**
 * `fip cp work:a.txt home:b.txt`: files of one server for another, by way of this machine and not of its disk.
 *
 * What comes in goes out, no faster than the slower of the two takes it. It is hashed on its way: the first server's hash
 * is right before the content ends, and the second stores nothing whose hash is another. What is interrupted leaves
 * nothing behind and begins anew.
 */
import { Context, Effect, Result, type Scope, Stream } from "effect"
import { Argument, Command } from "effect/cli"
import { IntegrityError } from "../client/ClientError.ts"
import { FipClient, type FipClientShape } from "../client/FipClient.ts"
import { formatHostPort } from "../client/HostPort.ts"
import { type FileRef, formatFileRef, parseFileName } from "../protocol/FileName.ts"
import type { FileInfo, Written } from "../protocol/Request.ts"
import { type Access, runOnServer, shellOptions } from "./onServer.ts"
import type { Server } from "./ServerName.ts"
import { type CommandError, TransferFailed, UsageError } from "./shell/Failure.ts"
import { filterFlags, makeFilter } from "./shell/Filter.ts"
import { formatBytes, formatCount } from "./shell/format.ts"
import { dryRun, recursive } from "./shell/inputs.ts"
import { anotherClient } from "./shell/openShell.ts"
import type { Output } from "./shell/Output.ts"
import { makeOverwrite, overwriteFlag, timeOf } from "./shell/overwrite.ts"
import { parsePlace, type Place } from "./shell/places.ts"
import { Progress, withProgress } from "./shell/Progress.ts"
import type { Questions } from "./shell/Questions.ts"
import type { Outcome } from "./shell/Report.ts"
import { lineTree } from "./shell/Shell.ts"
import { shellCommand } from "./shell/ShellCommand.ts"
import { isRemotePattern, type Named, remoteSources, sourceOf } from "./shell/sources.ts"
import type { Word } from "./shell/Tokenizer.ts"

/** Files at once. */
const AT_ONCE = 4

/** Connects to the server that files come from; the shell's own is the one that they go to. */
const From = Context.Reference<
  Effect.Effect<FipClientShape, CommandError, Output | Questions | Scope.Scope>
>("fip/cli/From", { defaultValue: () => Effect.die("nobody said where files come from") })

const placeOf = (text: string): Effect.Effect<Place, UsageError> =>
  Effect.mapError(
    Effect.fromResult(parsePlace(text)),
    (fault) => new UsageError({ message: `"${text}": ${fault}` })
  )

/** One file that is to be copied. */
interface Copy {
  readonly from: FileInfo
  readonly to: FileRef
  /** What is there already, as it was seen; only that is replaced. */
  readonly replaces: FileInfo | undefined
  /** Nobody has looked. */
  readonly blindly: boolean
}

/** What there is of the words, and where each goes. */
const targetsOf = Effect.fnUntraced(function*(
  files: ReadonlyArray<Named<FileInfo>>,
  target: Place,
  options: { readonly several: boolean; readonly strips: boolean }
) {
  const targets: Array<{ readonly from: FileInfo; readonly to: FileRef }> = []
  for (const { file, name } of files) {
    if (!options.several && target.file !== undefined) {
      targets.push({ from: file, to: target.file })
      continue
    }
    // One folder becomes the other; several things go into it.
    const below = options.strips ? name.slice(name.indexOf("/") + 1) : name
    const full = parseFileName(target.prefix + below)
    if (Result.isFailure(full)) return yield* new UsageError({ message: `${file.name}: ${full.failure}` })
    targets.push({ from: file, to: { owner: target.owner, name: full.success } })
  }
  return targets
})

/** One file, from its first byte to the proof. */
const copyOne = Effect.fnUntraced(function*(
  source: FipClientShape,
  target: FipClientShape,
  { blindly, from, replaces, to }: Copy,
  onBytes: (count: number) => void
) {
  const { name, owner } = from
  // Nobody knows it after PATCH and APPEND; asked for, the server computes it, and what is read is compared to it.
  const known = from.sha256 === undefined ? yield* source.queryFile({ owner, name }, { hash: true }) : from
  const { content, head } = yield* source.open({ owner, name }, { version: known.version })
  const counted = Stream.tap(content, (chunk) => Effect.sync(() => onBytes(chunk.length)))
  const { attributes } = known
  const written: Written = yield* blindly
    ? target.write(to, counted, { attributes })
    : replaces === undefined
    ? target.create(to, counted, { attributes })
    : target.write(to, counted, { attributes, expectedVersion: replaces.version })
  const sha256 = head.sha256 ?? known.sha256
  if (sha256 !== undefined && written.sha256 !== undefined && written.sha256 !== sha256) {
    return yield* new IntegrityError({ message: `${written.name} did not arrive as it was sent. Copy it again` })
  }
  return { ...written, ...(sha256 === undefined ? {} : { sha256 }) }
})

const copy = shellCommand({
  name: "COPY",
  summary: "Copy files from one server to another",
  examples: [],
  json: "as of UPLOAD",
  kind: "transfer",
  input: {
    paths: Argument.String("file").pipe(Argument.variadic({ min: 2 })),
    recursive: recursive("folders and every file under them"),
    ...filterFlags,
    overwrite: overwriteFlag,
    dryRun
  },
  run: Effect.fnUntraced(function*({ dryRun, overwrite, paths, recursive, ...options }) {
    const target = yield* FipClient
    const source = yield* yield* From
    const [there, here] = [source, target].map((client) => formatHostPort(client))
    const sources = yield* Effect.forEach(paths.slice(0, -1), sourceOf)
    const [first] = sources
    const place = yield* placeOf(paths.at(-1) ?? "")
    const isPattern = first !== undefined && (yield* Effect.provideService(isRemotePattern(first), FipClient, source))
    const isOne = sources.length === 1 && !isPattern
    if (!isOne && !recursive && place.file !== undefined) {
      return yield* new UsageError({ message: `several files go into a folder: write ${formatFileRef(place.file)}/` })
    }
    const files = yield* Effect.provideService(
      remoteSources(sources, makeFilter(options), recursive),
      FipClient,
      source
    )
    const named = isOne && first !== undefined ? yield* placeOf(first.text) : undefined
    // With --recursive, too, what is named may turn out to be a file.
    const several = !isOne || (recursive && files[0]?.file.name !== named?.file?.name)
    const strips = several && isOne && named?.prefix !== ""
    const replaces = yield* makeOverwrite(overwrite)
    const copies: Array<Copy> = []
    let kept = 0
    for (const { from, to } of yield* targetsOf(files, place, { several, strips })) {
      const found = overwrite === "always" ? undefined : yield* target.queryFile(to).pipe(
        Effect.map((file): FileInfo | undefined => file),
        Effect.catchIf((error) => error._tag === "Refusal" && error.code === "2:nf", () => Effect.undefined)
      )
      const isKept = found !== undefined &&
        !(yield* replaces({ target: formatFileRef(to), sourceTime: timeOf(from), targetTime: timeOf(found) }))
      if (isKept) kept++
      else copies.push({ from, to, replaces: found, blindly: overwrite === "always" })
    }
    const bytes = copies.reduce((sum, { from }) => sum + from.size, 0)
    const totals = { files: copies.length, bytes, ...(kept === 0 ? {} : { kept }) }
    const where = `${formatCount(copies.length, "file")} (${formatBytes(bytes)}) from ${there} to ${here}${
      kept === 0 ? "" : `, kept ${kept} that were there`
    }`
    const shown = ({ from, to }: Copy): string =>
      `${formatFileRef({ owner: from.owner, name: from.name })}  to  ${formatFileRef(to)}`
    if (dryRun) {
      const message = `would copy ${where}`
      const outcome: Outcome = {
        code: "local:ok",
        message,
        result: { dry_run: true, files: copies.map(({ from, to }) => ({ ...to, size: from.size })), totals },
        text: [...copies.map(shown), message].join("\n")
      }
      return outcome
    }
    const progress = new Progress(bytes, several ? copies.length : undefined)
    const written = yield* withProgress(
      progress,
      Effect.forEach(copies, (one) =>
        copyOne(source, target, one, (count) => {
          progress.bytes += count
        }).pipe(
          Effect.tap(() => Effect.sync(() => progress.fileDone())),
          Effect.mapError((cause) =>
            new TransferFailed({
              file: `${there}:${formatFileRef({ owner: one.from.owner, name: one.from.name })}`,
              moved: progress.moved,
              goesOn: false,
              cause
            })
          )
        ), { concurrency: AT_ONCE })
    )
    const [only] = written
    const outcome: Outcome = {
      code: "1:amnd",
      message: `copied ${where}`,
      result: several || only === undefined ? { files: written, totals } : only
    }
    return outcome
  }, Effect.scoped)
})

const tree = lineTree(Command.make("fip").pipe(Command.withSubcommands([copy])))

/** Runs the line on the server that files go to. */
export const copyBetween = Effect.fnUntraced(function*(
  access: Omit<Access, "server"> & { readonly from: Server; readonly to: Server },
  name: string,
  line: ReadonlyArray<Word>
) {
  const input = { _tag: "Lines", name, lines: [line], tree } as const
  const other = yield* shellOptions({ ...access, server: access.from }, input)
  return yield* Effect.provideService(
    runOnServer({ ...access, server: access.to }, input, FipClient.layer),
    From,
    anotherClient(other, FipClient.layer)
  )
})
