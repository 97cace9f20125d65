/**
 * An exclusive lock between processes, on a file that holds nothing. The kernel releases it when the process ends,
 * however it ends, so there are no stale locks and the file is never removed.
 *
 * The lock is SQLite's, through `node:sqlite`: an exclusive transaction that is never committed holds fcntl locks, which
 * Node itself cannot take. Two rules come with them. A process that opens and closes the file by any other way drops
 * its own lock, so the path must be used for nothing else. And on a network file system they are as good as its lock
 * service. Within one process SQLite keeps its own books: a second acquisition there is refused too.
 */
import { Data, Duration, Effect, Option, Predicate, Schedule, type Scope } from "effect"
import { closeSync, openSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { systemErrorCode, systemErrorReason } from "./systemError.ts"

export class FileLockError extends Data.TaggedError("FileLockError")<{
  readonly path: string
  /** `held`: somebody has it; `failed`: the file cannot be made or locked. */
  readonly reason: "held" | "failed"
  readonly message: string
}> {}

const SQLITE_BUSY = 5

export const failed = (path: string, cause: unknown): FileLockError =>
  Predicate.hasProperty(cause, "errcode") && cause.errcode === SQLITE_BUSY
    ? new FileLockError({ path, reason: "held", message: `${path} is locked by another process` })
    : new FileLockError({ path, reason: "failed", message: `cannot lock ${path}: ${systemErrorReason(cause)}` })

/** Makes the file with its mode. Exclusive, because opening one that exists could drop a lock of this process. */
const ensure = (path: string): void => {
  try {
    closeSync(openSync(path, "wx", 0o600))
  } catch (cause) {
    if (systemErrorCode(cause) !== "EEXIST") throw cause
  }
}

const lockUnsafe = (path: string): DatabaseSync => {
  ensure(path)
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    database.exec("PRAGMA journal_mode = OFF; BEGIN EXCLUSIVE")
    return database
  } catch (cause) {
    database.close()
    throw cause
  }
}

const RETRY_EVERY = Duration.millis(20)

/**
 * Takes the lock until the scope closes. Held by somebody else, it fails at once, or with `wait` after trying for so
 * long.
 */
export const acquire = (
  path: string,
  options?: { readonly wait?: Duration.Input }
): Effect.Effect<void, FileLockError, Scope.Scope> => {
  const once = Effect.acquireRelease(
    Effect.try({ try: () => lockUnsafe(path), catch: (cause) => failed(path, cause) }),
    (database) => Effect.sync(() => database.close())
  )
  const wait = Option.fromUndefinedOr(options?.wait)
  return Effect.asVoid(
    Option.isNone(wait) ? once : Effect.retry(once, {
      // Nothing tells a process that another one's lock has gone: it has to ask.
      schedule: Schedule.spaced(RETRY_EVERY).pipe(Schedule.upTo({ duration: wait.value })),
      while: (error) => error.reason === "held"
    })
  )
}
