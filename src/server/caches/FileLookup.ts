/**
 * Files as reads begin with them: from memory when that can be trusted, otherwise from the database.
 *
 * A file that somebody has read before, by the same caller and unchanged, is found without a statement. What is found
 * is as new as anything that any server on the database has acknowledged (Coherence).
 */
import { Clock, Context, Effect, Layer } from "effect"
import type { Username } from "../../protocol/Identity.ts"
import type { Refusal } from "../../protocol/Refusal.ts"
import { FileRepo, type Located, type LocateRequest } from "../files/FileRepo.ts"
import type { Owner } from "../files/Rules.ts"
import { Metrics } from "../metrics/Metrics.ts"
import { Coherence } from "./Coherence.ts"
import { FileMetadata } from "./FileMetadata.ts"
import { contentOf, userOf } from "./tags.ts"

export interface CacheCounters {
  readonly hits: number
  readonly misses: number
  readonly evictions: number
  readonly size: number
  readonly bytes: number
}

export class FileLookup extends Context.Service<FileLookup, {
  /**
   * `undefined`: there is no such owner. What the owner has used, and who holds a lock, may be older than the rest: for
   * what is more than reading there is `FileRepo`.
   */
  readonly locate: (request: LocateRequest) => Effect.Effect<Located | undefined, Refusal>
  /** The same for many, in their order: one statement for those that are not in memory. */
  readonly locateMany: (
    requests: ReadonlyArray<LocateRequest>
  ) => Effect.Effect<ReadonlyArray<Located | undefined>, Refusal>
  /** From the database, always; what it says is kept for those who ask next. */
  readonly locateNow: (request: LocateRequest) => Effect.Effect<Located | undefined, Refusal>
  /**
   * An owner, when they are in memory. For what they have used this is no more than a guess: whoever was refused after
   * it calls `forgetOwner`.
   */
  readonly knownOwner: (owner: Username) => Owner | undefined
  readonly forgetOwner: (ownerId: number) => void
  /** Something about the content of a file was learnt that does not change it. */
  readonly forget: (fileId: number) => void
  readonly counters: () => Readonly<Record<"users" | "files" | "rights", CacheCounters>>
}>()("fip/server/caches/FileLookup") {
  static readonly layerNoDeps = Layer.effect(
    FileLookup,
    Effect.gen(function*() {
      const repo = yield* FileRepo
      const coherence = yield* Coherence
      const clock = yield* Clock.Clock
      const metadata = new FileMetadata()
      yield* coherence.attach({ drop: (tags) => metadata.drop(tags), clear: () => metadata.clear() })

      const { observe } = yield* Metrics
      const kept = { users: metadata.users, files: metadata.files, rights: metadata.rights }
      for (const [cache, counted] of Object.entries(kept)) {
        for (const outcome of ["hits", "misses", "evictions"] as const) {
          yield* observe({
            name: `fip_lookup_cache_${outcome}_total`,
            description: `What reads looked up in memory: ${outcome}`,
            kind: "counter",
            attributes: { cache },
            read: () => counted[outcome]
          })
        }
        yield* observe({
          name: "fip_lookup_cache_bytes",
          description: "What is remembered of the database",
          kind: "gauge",
          attributes: { cache },
          read: () => counted.bytes
        })
      }

      const ask = (request: LocateRequest): Effect.Effect<Located | undefined, Refusal> =>
        Effect.suspend(() => {
          const fill = metadata.begin()
          return Effect.onExit(repo.locate(request), (exit) =>
            Effect.sync(() => {
              const located = exit._tag === "Success" ? exit.value : undefined
              metadata.end(fill, located, clock.currentTimeMillisUnsafe())
            }))
        })

      const askMany = Effect.fnUntraced(function*(
        requests: ReadonlyArray<LocateRequest>
      ): Effect.fn.Return<ReadonlyArray<Located | undefined>, Refusal> {
        const found = requests.map((request) => metadata.find(request, clock.currentTimeMillisUnsafe()))
        const missing = requests.flatMap((request, index) => found[index] === undefined ? [{ index, request }] : [])
        if (missing.length === 0) return found
        const fills = missing.map(() => metadata.begin())
        yield* Effect.onExit(repo.locateMany(missing.map(({ request }) => request)), (exit) =>
          Effect.sync(() => {
            for (const [at, { index }] of missing.entries()) {
              const located = exit._tag === "Success" ? exit.value[at] : undefined
              const fill = fills[at]
              if (fill !== undefined) metadata.end(fill, located, clock.currentTimeMillisUnsafe())
              found[index] = located
            }
          }))
        return found
      })

      return FileLookup.of({
        locateMany: (requests) =>
          Effect.suspend(() => coherence.isTrusted() ? askMany(requests) : repo.locateMany(requests)),
        locate: (request) =>
          Effect.suspend(() => {
            if (!coherence.isTrusted()) return repo.locate(request)
            const found = metadata.find(request, clock.currentTimeMillisUnsafe())
            return found === undefined ? ask(request) : Effect.succeed(found)
          }),
        locateNow: (request) => Effect.suspend(() => coherence.isTrusted() ? ask(request) : repo.locate(request)),
        knownOwner: (owner) =>
          coherence.isTrusted() ? metadata.owner(owner, clock.currentTimeMillisUnsafe()) : undefined,
        forgetOwner: (ownerId) => metadata.drop([userOf(ownerId)]),
        forget: (fileId) => metadata.drop([contentOf(fileId)]),
        counters: () => kept
      })
    })
  )

  static readonly layer = this.layerNoDeps.pipe(Layer.provide([FileRepo.layer, Coherence.layer]))
}
