/**
 * What a recursive transfer has done, so that the same command goes on after an interruption: a line in a journal for each
 * file that arrived. A file is left out the next time only if nothing has changed since, neither here nor on the server:
 * here by size, inode and times, there by its hash.
 */
import { Effect, Option, Schema, type Scope } from "effect"
import { lstatSync } from "node:fs"
import type { FipClient } from "../../client/FipClient.ts"
import { factsOf, type FileFacts } from "../../client/LocalFile.ts"
import { Sha256 } from "../../protocol/Identity.ts"
import type { FileInfo, Written } from "../../protocol/Request.ts"

export const Facts = Schema.Struct({
  size: Schema.Finite,
  inode: Schema.String,
  modified: Schema.String,
  changed: Schema.String
})

/** A file that arrived: its name on the server, its hash, and what it was here. */
const decodeLine = Schema.decodeUnknownOption(
  Schema.Struct({ name: Schema.String, sha256: Sha256, local: Facts })
)

export const isSame = (a: FileFacts, b: FileFacts): boolean =>
  a.size === b.size && a.inode === b.inode && a.modified === b.modified && a.changed === b.changed

export interface TreeNotes {
  /** How many files an earlier run noted. */
  readonly count: number
  /** True when the file arrived, and is still the same on both sides. */
  readonly has: (remote: FileInfo | undefined, local: FileFacts | undefined) => boolean
  readonly add: (file: Written, local: FileFacts) => void
  /** All files have arrived. */
  readonly remove: Effect.Effect<void>
}

const none: TreeNotes = { count: 0, has: () => false, add: () => {}, remove: Effect.void }

export const openTreeNotes = Effect.fnUntraced(function*(
  client: FipClient["Service"],
  key: ReadonlyArray<string>
): Effect.fn.Return<TreeNotes, never, Scope.Scope> {
  const journal = yield* client.transferNotes(key)
  if (journal === undefined) return none
  const done = new Map(
    journal.found.flatMap((line) => Option.toArray(decodeLine(line))).map((line) => [line.name, line])
  )
  return {
    count: done.size,
    has: (remote, local) => {
      const noted = remote === undefined ? undefined : done.get(remote.name)
      return noted !== undefined && remote !== undefined && local !== undefined && noted.sha256 === remote.sha256 &&
        isSame(noted.local, local)
    },
    add: ({ name, sha256 }, local) => {
      if (sha256 !== undefined) journal.add({ name, sha256, local })
    },
    remove: journal.remove
  }
})

/** What a regular file is here; `undefined` where there is none. Synchronous: of thousands, promises cost the most. */
export const localFacts = (path: string): Effect.Effect<FileFacts | undefined> =>
  Effect.sync(() => {
    try {
      const found = lstatSync(path, { bigint: true, throwIfNoEntry: false })
      return found?.isFile() === true ? factsOf(found) : undefined
    } catch {
      return undefined
    }
  })
