/**
 * The lines that were typed, kept for the next shell: one a line, the newest last, in `$XDG_STATE_HOME/fip/history`
 * (0600, in a folder 0700).
 *
 * Several shells add to it at once: every change is made under a lock, and a line is added to the end, so none is lost.
 * The file is cut to its newest lines when a shell opens it. What must not be kept (LineReader's `remembers`) never
 * comes here. A history that cannot be kept is said once, and is no failure.
 */
import { type Cause, Effect, Fiber, Queue, type Scope } from "effect"
import { appendFile, chmod, readFile } from "node:fs/promises"
import { homedir } from "node:os"
import path from "node:path"
import { writeAtomically } from "../../platform/AtomicFile.ts"
import { acquire } from "../../platform/FileLock.ts"
import { makeFolder } from "../../platform/makeFolder.ts"
import { systemErrorCode, systemErrorReason } from "../../platform/systemError.ts"
import type { Output } from "./Output.ts"
import { note } from "./Report.ts"

/** So many lines are kept; the file is cut when it has a tenth more. */
export const MAX_LINES = 5000
const CUT_ABOVE = MAX_LINES + MAX_LINES / 10
/** What is longer was pasted, and would not be looked for. */
const MAX_LENGTH = 4096

const PATIENCE = "2 seconds"

export interface History {
  /** All that is known, the newest first, as readline wants them. */
  readonly lines: () => ReadonlyArray<string>
  /** Keeps a line; nobody waits for it, and the scope does not close before it is kept. */
  readonly add: (line: string) => void
}

export const defaultHistory = (): string => {
  const base = process.env["XDG_STATE_HOME"]
  return path.join(
    base !== undefined && path.isAbsolute(base) ? base : path.join(homedir(), ".local", "state"),
    "fip",
    "history"
  )
}

const attempt = <A>(run: () => Promise<A>) =>
  Effect.tryPromise({ try: run, catch: (cause) => ({ message: systemErrorReason(cause) }) })

const read = (file: string) =>
  attempt(() =>
    readFile(file, "utf8").then((text) => text.split("\n").filter((line) => line !== ""), (cause) => {
      if (systemErrorCode(cause) === "ENOENT") return []
      throw cause
    })
  )

const load = Effect.fnUntraced(function*(file: string) {
  yield* attempt(() => makeFolder(path.dirname(file), 0o700))
  yield* acquire(`${file}.lock`, { wait: PATIENCE })
  const lines = yield* read(file)
  if (lines.length > CUT_ABOVE) yield* writeAtomically(file, `${lines.slice(-MAX_LINES).join("\n")}\n`)
  return lines.slice(-MAX_LINES).toReversed()
}, Effect.scoped)

const append = Effect.fnUntraced(function*(file: string, lines: ReadonlyArray<string>) {
  yield* acquire(`${file}.lock`, { wait: PATIENCE })
  yield* attempt(() => appendFile(file, lines.map((line) => `${line}\n`).join(""), { mode: 0o600 }))
  // It may be older than this rule, or restored from a backup.
  yield* attempt(() => chmod(file, 0o600))
}, Effect.scoped)

export const openHistory = Effect.fnUntraced(
  function*(file: string): Effect.fn.Return<History, never, Scope.Scope | Output> {
    let said = false
    const sayWhy = ({ message }: { readonly message: string }) =>
      Effect.suspend(() => {
        const first = !said
        said = true
        return first ? note(`the history of lines is not kept: ${message}`) : Effect.void
      })
    const lines = yield* Effect.catch(load(file), (error) => Effect.as(sayWhy(error), new Array<string>()))
    const added = yield* Queue.unbounded<string, Cause.Done>()
    const writer = yield* Queue.takeAll(added).pipe(
      Effect.flatMap((lines) => Effect.catch(append(file, lines), sayWhy)),
      Effect.forever,
      Effect.ignore,
      Effect.forkScoped
    )
    // After the fork, so that it runs before the fork's own, which would interrupt the last line.
    yield* Effect.addFinalizer(() => Effect.andThen(Queue.end(added), Fiber.await(writer)))
    return {
      lines: () => lines,
      add: (line) => {
        if (line === lines[0] || line.length > MAX_LENGTH) return
        lines.unshift(line)
        Queue.offerUnsafe(added, line)
      }
    }
  }
)
