/**
 * Makes a folder on the server like one of this machine, or the other way round.
 *
 * What is planned is shown before, and no more than that is done: a file on the server is replaced or deleted only while
 * it has the version that was seen, and one here is deleted only while it is what it was. What was interrupted is planned
 * anew by the next run, which finds what has arrived, and goes on in what was begun.
 */
import { Effect } from "effect"
import { lstat, rmdir, unlink } from "node:fs/promises"
import path from "node:path"
import { FipClient } from "../../client/FipClient.ts"
import { setAttributes } from "../../client/Sink.ts"
import { type FileName, parseFileName } from "../../protocol/FileName.ts"
import { refuse } from "../../protocol/Refusal.ts"
import type { FileInfo } from "../../protocol/Request.ts"
import { UsageError } from "./Failure.ts"
import { makeFilter } from "./Filter.ts"
import { formatBytes, formatCount, formatTable } from "./format.ts"
import { localHashes } from "./localHashes.ts"
import { attempt, kindOf, makeFolders, makeRoot, pathBelow, syncFolders, walk } from "./localTree.ts"
import { type Direction, inTheWay, type MirrorPlan, type Pair, pairUp, planMirror, unsure } from "./MirrorPlan.ts"
import { type Move, moveAll } from "./moves.ts"
import { formatPlace, type Place } from "./places.ts"
import { Progress, withProgress } from "./Progress.ts"
import { Questions } from "./Questions.ts"
import { filesUnder } from "./remoteTree.ts"
import { deleteAll } from "./removal.ts"
import { note, type Outcome } from "./Report.ts"
import { isSame, localFacts } from "./treeNotes.ts"

export interface MirrorOptions {
  readonly direction: Direction
  readonly local: string
  readonly place: Place
  /** Removes what the other side has not got. */
  readonly deletes: boolean
  readonly dryRun: boolean
  /** Asks nobody. */
  readonly yes: boolean
  /** Compares contents also where sizes and times are equal. */
  readonly checksum: boolean
  readonly exclude: ReadonlyArray<string>
  readonly include: ReadonlyArray<string>
}

/** More files that are replaced than this are asked about. */
const MANY = 10

const sizeOf = (direction: Direction, { local, remote }: Pair): number =>
  (direction === "up" ? local?.facts.size : remote?.size) ?? 0

const isOnBoth = ({ local, remote }: Pair): boolean => local !== undefined && remote !== undefined

/** The files of the server below the folder, by their names in it: a server can send any. */
const remoteFiles = Effect.fnUntraced(function*(place: Place, root: string, keeps: (name: string) => boolean) {
  const found: Array<readonly [FileName, FileInfo]> = []
  for (const file of yield* filesUnder(place)) {
    const name = file.name.startsWith(place.prefix) ? file.name.slice(place.prefix.length) : ""
    yield* pathBelow(root, name)
    const parsed = parseFileName(name)
    if (parsed._tag === "Success" && keeps(name)) found.push([parsed.success, file])
  }
  return found
})

const plan = Effect.fnUntraced(function*({ checksum, direction, local: root, place, ...options }: MirrorOptions) {
  const client = yield* FipClient
  const filter = makeFilter(options)
  const kind = yield* kindOf(root)
  if (kind === "file") return yield* new UsageError({ message: `${root} is a file: MIRROR is for folders` })
  const here = kind === "none" && direction === "down"
    ? { files: [], skipped: 0 }
    // All of it or nothing, also with --keep-going: what cannot be read must not look as if it were not there.
    : yield* walk(root, filter)
  if (here.skipped > 0) yield* note(`left out ${here.skipped} under ${root}: links and devices are not mirrored`)
  const there = yield* remoteFiles(place, root, filter.keeps)
  if (direction === "down" && there.length === 0 && !options.yes) {
    return yield* refuse("2:nf", `there are no files under ${formatPlace({ ...place, file: undefined })}`)
  }
  const pairs = pairUp(here.files, there)
  const toHash = unsure(pairs, checksum)
  const progress = new Progress(toHash.reduce((sum, file) => sum + file.facts.size, 0), undefined, "comparing")
  const key = ["mirror", place.owner ?? "", place.prefix, path.resolve(root)]
  const hashes = yield* withProgress(
    progress,
    localHashes(client, key, toHash, (bytes) => {
      progress.bytes += bytes
    })
  )
  return planMirror(direction, pairs, hashes, checksum)
}, Effect.scoped)

/** One sentence about what is to be done. */
const describe = (plan: MirrorPlan, { deletes, direction }: MirrorOptions): string => {
  const bytes = plan.moves.reduce((sum, pair) => sum + sizeOf(direction, pair), 0)
  const replaced = plan.moves.filter(isOnBoth).length
  const parts = [
    `${formatCount(plan.moves.length, "file")} to ${direction === "up" ? "send" : "fetch"} (${formatBytes(bytes)}${
      replaced === 0 ? "" : `, ${replaced} replaced`
    })`
  ]
  if (plan.touched.length > 0) parts.push(`${plan.touched.length} to get another time or executable bit`)
  const { length } = plan.extra
  if (length > 0) parts.push(deletes ? `${length} to delete` : `${length} only there (--delete removes them)`)
  parts.push(`${plan.same} the same`)
  return parts.join(", ")
}

const actions = (plan: MirrorPlan, { deletes, direction }: MirrorOptions) => [
  ...plan.moves.map((pair) => ({
    action: isOnBoth(pair) ? "replace" as const : "create" as const,
    name: pair.name,
    size: sizeOf(direction, pair)
  })),
  ...plan.touched.map(({ name }) => ({ action: "touch" as const, name })),
  ...(deletes ? plan.extra.map(({ name }) => ({ action: "delete" as const, name })) : [])
]

/** Asks about what would be lost, where somebody is there to answer. */
const isAgreed = Effect.fnUntraced(function*(plan: MirrorPlan, options: MirrorOptions) {
  const questions = yield* Questions
  const deleted = options.deletes ? plan.extra.length : 0
  const replaced = plan.moves.filter(isOnBoth).length
  if (options.yes || !questions.attended || (deleted === 0 && replaced <= MANY)) return true
  const where = options.direction === "up" ? "on the server" : "here"
  const losses = [
    ...(deleted === 0 ? [] : [`delete ${formatCount(deleted, "file")}`]),
    ...(replaced === 0 ? [] : [`replace ${formatCount(replaced, "file")}`])
  ]
  return yield* questions.confirm(`${losses.join(" and ")} ${where}?`)
})

/** Nothing to copy, and everything to delete: rather a wrong folder than a wish. */
const refuseEmpty = (plan: MirrorPlan, { deletes, direction, local, place, yes }: MirrorOptions) =>
  deletes && !yes && plan.extra.length > 0 && plan.moves.length + plan.touched.length + plan.same === 0
    ? Effect.fail(
      new UsageError({
        message: `${
          direction === "up" ? local : formatPlace({ ...place, file: undefined })
        } has no files, so --delete would remove all ${plan.extra.length} of the other side: say --yes if that is meant`
      })
    )
    : Effect.void

const deleteLocal = Effect.fnUntraced(function*(root: string, pairs: ReadonlyArray<Pair>) {
  const folders = new Set<string>()
  for (const { local } of pairs) {
    if (local === undefined) continue
    const now = yield* localFacts(local.path)
    if (now === undefined) continue
    if (!isSame(local.facts, now)) {
      return yield* new UsageError({ message: `${local.path} was changed meanwhile and stays: MIRROR again` })
    }
    yield* attempt(local.path, "cannot delete", () => unlink(local.path))
    folders.add(path.dirname(local.path))
  }
  // Folders that are empty now, the inner ones first.
  const top = path.resolve(root)
  for (const folder of [...folders].sort((a, b) => b.length - a.length)) {
    for (let at = path.resolve(folder); at !== top && at.startsWith(top); at = path.dirname(at)) {
      const isGone = yield* Effect.promise(() => rmdir(at).then(() => true, () => false))
      if (!isGone) break
    }
  }
})

const up = Effect.fnUntraced(function*(plan: MirrorPlan, options: MirrorOptions) {
  const { place } = options
  const moves = plan.moves.flatMap(({ local, name, remote }): ReadonlyArray<Move> => {
    const full = parseFileName(place.prefix + name)
    return local === undefined || full._tag === "Failure" ? [] : [{
      file: { owner: place.owner, name: full.success },
      local: local.path,
      size: local.facts.size,
      mode: remote === undefined ? "create" : "write",
      expectedVersion: remote?.version
    }]
  })
  const moved = yield* moveAll(moves, { direction: "up" })
  if (options.deletes) yield* deleteAll(plan.extra.flatMap(({ remote }) => remote === undefined ? [] : [remote]))
  return moved
})

const down = Effect.fnUntraced(function*(plan: MirrorPlan, options: MirrorOptions) {
  const { deletes, local: root } = options
  const first = deletes ? inTheWay(plan.extra, plan.moves) : new Set<Pair>()
  yield* deleteLocal(root, [...first])
  yield* makeRoot(root)
  const folders = makeFolders(root)
  const moves: Array<Move> = []
  for (const { local, name, remote } of plan.moves) {
    if (remote === undefined) continue
    const target = local?.path ?? path.join(root, ...name.split("/"))
    yield* folders(path.relative(root, path.dirname(target)).split(path.sep).filter((part) => part !== ""))
    moves.push({ file: { owner: remote.owner, name: remote.name }, local: target, size: remote.size })
  }
  const moved = yield* Effect.onExit(
    moveAll(moves, { direction: "down" }),
    () => Effect.ignore(syncFolders(root, moves.map((move) => path.dirname(move.local))))
  )
  for (const { attributes, local } of plan.touched) {
    if (local !== undefined) {
      yield* attempt(local.path, "cannot change", async () => {
        const { mode } = await lstat(local.path)
        await setAttributes(local.path, mode & 0o777, attributes)
      })
    }
  }
  if (deletes) yield* deleteLocal(root, plan.extra.filter((pair) => !first.has(pair)))
  return moved
})

/** A remote file whose name is that of a folder, too, has no place here. */
const refuseBoth = Effect.fnUntraced(function*({ moves }: MirrorPlan) {
  const names = new Set<string>(moves.map(({ name }) => name))
  for (const { name } of moves) {
    const parts = name.split("/")
    const folder = parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("/")).find((one) => names.has(one))
    if (folder !== undefined) {
      return yield* new UsageError({
        message: `${folder} is a file and a folder on the server, which it cannot be here: leave one out with --exclude`
      })
    }
  }
})

/** Does what MIRROR says. */
export const mirror = Effect.fnUntraced(function*(options: MirrorOptions) {
  const { deletes, direction, dryRun, local, place } = options
  const planned = yield* plan(options)
  if (direction === "down") yield* refuseBoth(planned)
  const folder = formatPlace({ ...place, file: undefined })
  const [from, to] = direction === "up" ? [local, folder] : [folder, local]
  const sentence = `${from} to ${to}: ${describe(planned, options)}`
  const code = direction === "up" ? "1:amnd" : "1:read"
  const totals = {
    files: planned.moves.length,
    bytes: planned.moves.reduce((sum, pair) => sum + sizeOf(direction, pair), 0),
    touched: planned.touched.length,
    deleted: deletes ? planned.extra.length : 0,
    same: planned.same,
    extra: deletes ? 0 : planned.extra.length
  }
  if (dryRun) {
    const planned_ = actions(planned, options)
    const outcome: Outcome = {
      code: "local:ok",
      message: `would mirror ${sentence}`,
      result: { direction, dry_run: true, actions: planned_, totals },
      text: [
        ...(planned_.length === 0 ? [] : [formatTable(
          [{ title: "" }, { title: "" }, { title: "", right: true }],
          planned_.map((one) => [one.action, one.name, "size" in one ? formatBytes(one.size) : ""])
        )]),
        `would mirror ${sentence}`
      ].join("\n")
    }
    return outcome
  }
  yield* refuseEmpty(planned, options)
  const isIdle = totals.files + totals.touched + totals.deleted === 0
  if (!isIdle) yield* note(sentence)
  if (!(yield* isAgreed(planned, options))) return yield* new UsageError({ message: "nothing was done" })
  const files = direction === "up" ? yield* up(planned, options) : yield* down(planned, options)
  const outcome: Outcome = {
    code,
    message: isIdle ? `${sentence}: nothing to do` : `mirrored ${from} to ${to}`,
    result: { direction, files, deleted: deletes ? planned.extra.map(({ name }) => name) : [], totals }
  }
  return outcome
})
