/**
 * The names that completion offers: files and folders of the server and of this machine, and people.
 *
 * A server is asked in the background. One that is slow or fails makes for an empty answer, never for a prompt that
 * hangs; what it says later is there for the next Tab.
 */
import { Effect, Fiber, Option, Result, type Scope, Stream } from "effect"
import { readdir, stat } from "node:fs/promises"
import { homedir } from "node:os"
import path from "node:path"
import { FipClient, type ListOptions } from "../../client/FipClient.ts"
import type { Names } from "./Completion.ts"
import { Jobs } from "./Jobs.ts"
import { parsePlace } from "./places.ts"
import { ValueKind } from "./ValueKind.ts"
import { inFolder, type WorkspaceState } from "./Workspace.ts"

/** How long Tab may take. */
const PATIENCE = "1 second"
/** How long an answer of the server is good for. */
const FRESH_MILLIS = 5000
const MAX_NAMES = 500

/** Control characters in a name of the server or of this machine would steer the terminal. */
// oxlint-disable-next-line no-control-regex -- control characters are what it looks for
const SAFE = /^[^\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]*$/

/** `docs/re`: what is before its last `/`, and what is behind. */
const split = (text: string): readonly [folder: string, start: string] => {
  const slash = text.lastIndexOf("/") + 1
  return [text.slice(0, slash), text.slice(slash)]
}

/** Names in a folder of this machine. */
const localNames = (text: string, foldersOnly: boolean): Effect.Effect<ReadonlyArray<string>> =>
  Effect.promise(async () => {
    const [folder, start] = split(text)
    const place = folder.replace(/^~(?=\/)/, homedir()) || "."
    const entries = await readdir(place, { withFileTypes: true }).catch(() => [])
    const names: Array<string> = []
    for (const entry of entries) {
      if (!entry.name.startsWith(start) || (start === "" && entry.name.startsWith("."))) continue
      const isFolder = entry.isDirectory() || (entry.isSymbolicLink() &&
        await stat(path.join(place, entry.name)).then((found) => found.isDirectory(), () => false))
      if (isFolder || !foldersOnly) names.push(`${folder}${entry.name}${isFolder ? "/" : ""}`)
    }
    return names.sort()
  })

export const completionNames = Effect.fnUntraced(function*(
  workspace: WorkspaceState,
  known: Effect.Effect<Iterable<string>>
): Effect.fn.Return<Names, never, FipClient | Jobs | Scope.Scope> {
  const client = yield* FipClient
  const jobs = yield* Jobs
  const scope = yield* Effect.scope

  const collect = (options: ListOptions, nameOf: (name: string, owner: string | undefined) => string | undefined) =>
    client.list(options).pipe(
      Stream.filterMap((entry) => {
        const name = entry._tag === "Folder" ? nameOf(entry.name, undefined) : nameOf(entry.file.name, entry.file.owner)
        return name === undefined ? Result.failVoid : Result.succeed(name)
      }),
      Stream.take(MAX_NAMES),
      Stream.runCollect,
      Effect.map((names): ReadonlyArray<string> => [...new Set(names)]),
      Effect.orElseSucceed((): ReadonlyArray<string> => [])
    )

  /** People who share something with this user. */
  const owners = Effect.map(
    Effect.suspend(() => collect({ scope: "shared" }, (_, owner) => owner)),
    (names) => names.toSorted()
  )

  const remoteNames = Effect.fnUntraced(function*(text: string, foldersOnly: boolean) {
    if (/^~[^/]*$/.test(text)) {
      const start = text.slice(1).toLowerCase()
      return (yield* owners).filter((name) => name.toLowerCase().startsWith(start)).map((name) => `~${name}/`)
    }
    const [folder, start] = split(text)
    const place = Result.flatMap(inFolder(workspace.folder, folder === "" ? "." : folder), parsePlace)
    if (Result.isFailure(place)) return []
    const { owner, prefix } = place.success
    const names = yield* collect({ owner, prefix: prefix === "" ? undefined : prefix }, (name, owner) => {
      const rest = name.slice(prefix.length)
      return rest.startsWith(start) && (!foldersOnly || owner === undefined) ? `${folder}${rest}` : undefined
    })
    return names
  })

  const answers = new Map<string, { readonly at: number; readonly fiber: Fiber.Fiber<ReadonlyArray<string>> }>()
  /** The answer to a question of a moment ago, or a new one; at most one of them is under way for each word. */
  const asked = Effect.fnUntraced(function*(key: string, question: Effect.Effect<ReadonlyArray<string>>) {
    const now = performance.now()
    for (const [key, { at, fiber }] of answers) {
      if (now - at > FRESH_MILLIS && fiber.pollUnsafe() !== undefined) answers.delete(key)
    }
    let answer = answers.get(key)
    if (answer === undefined) {
      answer = { at: now, fiber: yield* Effect.forkIn(question, scope) }
      answers.set(key, answer)
    }
    return Option.getOrElse(yield* Effect.timeoutOption(Fiber.join(answer.fiber), PATIENCE), () => [])
  })

  const find = (kind: string, text: string): Effect.Effect<ReadonlyArray<string>> => {
    switch (kind) {
      case ValueKind.FILE:
      case ValueKind.FOLDER: {
        const { owner = "", prefix } = workspace.folder
        return asked(`${kind} ~${owner}/${prefix} ${text}`, remoteNames(text, kind === ValueKind.FOLDER))
      }
      case ValueKind.LOCAL:
      case ValueKind.LOCAL_FOLDER:
        return localNames(text, kind === ValueKind.LOCAL_FOLDER)
      case ValueKind.USER: {
        const begins = (name: string) => name.toLowerCase().startsWith(text.toLowerCase())
        return Effect.map(
          Effect.all([asked(kind, owners), known]),
          ([names, others]) => [...new Set([...names, ...others])].filter(begins).sort()
        )
      }
      case ValueKind.JOB:
        return Effect.map(
          jobs.list,
          (list) => list.filter(({ state }) => state === "running").map(({ number }) => String(number))
        )
      default:
        return Effect.succeed([])
    }
  }
  return (kind, text) =>
    find(kind, text).pipe(
      Effect.map((names) => names.filter((name) => SAFE.test(name))),
      // A defect here is worth no more than a missing name.
      Effect.catchCause(() => Effect.succeed([]))
    )
})
