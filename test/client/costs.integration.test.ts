/**
 * What a small file costs on the client's machine, counted and not timed: calls of the system for it, one way and the
 * other. A change that makes one dearer has to say so here. The server's side is in test/integration/costs.
 */
import { assert, layer } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Redacted } from "effect"
import { randomBytes } from "node:crypto"
import fs from "node:fs"
import { mkdir, writeFile } from "node:fs/promises"
import { syncBuiltinESMExports } from "node:module"
import { join } from "node:path"
import { FipClient } from "../../src/client/FipClient.ts"
import { FileName } from "../../src/protocol/FileName.ts"
import { Server } from "../../src/server/Server.ts"
import * as TestServer from "../support/TestServer.ts"

const FILES = 100
/** Sums of these for files and folders below `folder` only, and none of what the server does in this process. */
const COUNTED = [
  "openSync",
  "fstatSync",
  "statSync",
  "readSync",
  "fsync",
  "fsyncSync",
  "writevSync",
  "fchmodSync",
  "futimesSync",
  "closeSync",
  "renameSync",
  "rmSync"
] as const
type Counts = Partial<Record<(typeof COUNTED)[number], number>>

/** Counts while the scope is open. */
const counting = (folder: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const counts: Counts = {}
      const files = new Set<number>()
      const original = { ...fs }
      for (const name of COUNTED) {
        Reflect.set(fs, name, (first: number | string, ...rest: ReadonlyArray<unknown>) => {
          const isOwn = typeof first === "number" ? files.has(first) : first.startsWith(folder)
          const result: unknown = Reflect.apply(original[name], fs, [first, ...rest])
          if (isOwn) counts[name] = (counts[name] ?? 0) + 1
          if (isOwn && name === "openSync" && typeof result === "number") files.add(result)
          if (name === "closeSync" && typeof first === "number") files.delete(first)
          return result
        })
      }
      syncBuiltinESMExports()
      return { counts, original }
    }),
    ({ original }) =>
      Effect.sync(() => {
        for (const name of COUNTED) Reflect.set(fs, name, original[name])
        syncBuiltinESMExports()
      })
  )

const costs = <E, R>(folder: string, work: Effect.Effect<unknown, E, R>) =>
  Effect.scoped(Effect.flatMap(counting(folder), ({ counts }) => Effect.as(work, counts)))

layer(TestServer.layer(), { excludeTestServices: true, timeout: Duration.minutes(1) })(
  "what a small file costs the client",
  (it) => {
    it.effect("is what it was", () =>
      Effect.gen(function*() {
        const { port } = yield* Server
        const folder = yield* TestServer.temporaryFolder
        const client = Context.get(
          yield* Layer.build(FipClient.layer({
            host: "127.0.0.1",
            port,
            knownHosts: join(folder, "known_hosts"),
            stateFolder: join(folder, "state")
          })),
          FipClient
        )
        yield* client.register("counted", Redacted.make("correct horse"))
        yield* client.login("counted", Redacted.make("correct horse"))
        const [from, to] = [join(folder, "from"), join(folder, "to")]
        const names = Array.from({ length: FILES }, (_, index) => `f${index}`)
        yield* Effect.promise(async () => {
          for (const each of [from, to]) await mkdir(each)
          for (const name of names) await writeFile(join(from, name), randomBytes(1000))
        })
        const files = (local: string) =>
          names.map((name) => ({ local: join(local, name), file: { owner: undefined, name: FileName.make(name) } }))

        // Looked at before and after it is read: nobody has changed it meanwhile.
        assert.deepStrictEqual<Counts>(yield* costs(from, client.uploadMany(files(from))), {
          openSync: FILES,
          fstatSync: 2 * FILES,
          readSync: FILES,
          closeSync: FILES
        })
        // One more look, at the folder. None is synced by itself: that is one process for all of them.
        const down: Counts = {
          openSync: FILES,
          statSync: FILES + 1,
          writevSync: FILES,
          fchmodSync: FILES,
          futimesSync: FILES,
          closeSync: FILES,
          renameSync: FILES
        }
        assert.deepStrictEqual<Counts>(yield* costs(to, client.downloadMany(files(to))), down)
        // The same over what is there.
        assert.deepStrictEqual<Counts>(yield* costs(to, client.downloadMany(files(to))), down)
      }))
  }
)
