/**
 * A process of its own for the tests: tries to take the lock that it is told, says `locked` or why not, and holds it
 * until its input ends.
 */
import { Effect } from "effect"
import { once } from "node:events"
import { stdin, stdout } from "node:process"
import * as FileLock from "../../src/platform/FileLock.ts"

await FileLock.acquire(process.argv[2] ?? "").pipe(
  Effect.match({ onSuccess: () => "locked", onFailure: (error) => error.reason }),
  Effect.tap((outcome) => Effect.sync(() => stdout.write(outcome))),
  Effect.andThen(Effect.promise(() => once(stdin.resume(), "end"))),
  Effect.scoped,
  Effect.runPromise
)
