import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { fdatasyncSync } from "node:fs"
import { join } from "node:path"
import { backendOf } from "../../../src/server/database/Backend.ts"
import { openEmbedded } from "../../../src/server/database/Embedded.ts"
import { EngineHub } from "../../../src/server/database/EngineHub.ts"
import { openReopening } from "../../../src/server/database/reopening.ts"
import { temporaryFolder } from "../../support/temporaryFolder.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"

const query = (text: string): Buffer => {
  const bytes = Buffer.alloc(6 + text.length)
  bytes.write("Q")
  bytes.writeInt32BE(bytes.length - 1, 1)
  bytes.write(text, 5)
  return bytes
}

const startup = (): Buffer => {
  const parameters = "user\0postgres\0database\0postgres\0\0"
  const bytes = Buffer.alloc(8 + parameters.length)
  bytes.writeInt32BE(bytes.length)
  bytes.writeInt32BE(196_608, 4)
  bytes.write(parameters, 8)
  return bytes
}

/** An embedded database whose disk fails while `disk.fails`. */
const start = Effect.gen(function*() {
  const dataDir = yield* temporaryFolder
  yield* Effect.promise(() => TestDatabase.seedDataDir(dataDir))
  const disk = { fails: false }
  const said: Array<string> = []
  const sync = (file: number) => {
    if (disk.fails) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" })
    fdatasyncSync(file)
  }
  const backend = yield* Effect.acquireRelease(
    Effect.promise(() =>
      openReopening(async () => backendOf(await openEmbedded(join(dataDir, "database"), "full", sync)), {
        onStopped: () => said.push("stopped"),
        onReopened: () => said.push("reopened"),
        pauseMillis: 0
      })
    ),
    (backend) => Effect.promise(() => backend.close().catch(() => undefined))
  )
  const ask = (message: Buffer) =>
    Effect.map(Effect.tryPromise(() => backend.answer(message)), (bytes) => Buffer.from(bytes).toString("latin1"))
  return { ask, backend, disk, said }
})

it.live(
  "an engine that stopped is opened again for whoever connects next, with all that was committed",
  () =>
    Effect.gen(function*() {
      const { ask, disk, said } = yield* start
      yield* ask(startup())
      yield* ask(query("create table kept (id int)"))
      yield* ask(query("insert into kept values (42)"))
      disk.fails = true
      yield* Effect.flip(ask(query("insert into kept values (43)")))
      yield* Effect.flip(ask(query("select 1")))
      // The disk is still full.
      yield* Effect.flip(ask(startup()))
      disk.fails = false
      // Who was connected before stays cut off.
      yield* Effect.flip(ask(query("select 1")))
      yield* ask(startup())
      assert.include(yield* ask(query("select id from kept where id = 42")), "42")
      yield* ask(query("insert into kept values (44)"))
      assert.deepStrictEqual(said, ["stopped", "reopened"])
    }).pipe(Effect.scoped),
  60_000
)

it.live(
  "clients of a hub are cut off when it stops, in a transaction or not, and those that come next are served",
  () =>
    Effect.gen(function*() {
      const { backend, disk } = yield* start
      const hub = yield* Effect.promise(() => EngineHub.open(backend))
      const connect = () => {
        let text = ""
        let notify: (() => void) | undefined
        let isOver = false
        const client = hub.connect({
          onBytes: (bytes) => {
            text += Buffer.from(bytes).toString("latin1")
            notify?.()
          },
          onEnd: () => {
            isOver = true
            notify?.()
          }
        })
        client.write(startup())
        const until = (done: () => boolean) =>
          Effect.callback<void>((resume) => {
            notify = () => {
              if (done()) resume(Effect.void)
            }
            notify()
          })
        return {
          write: (sql: string) => client.write(query(sql)),
          has: (part: string) => until(() => text.includes(part)),
          over: until(() => isOver)
        }
      }
      const [first, second] = [connect(), connect()]
      first.write("create table kept (id int)")
      yield* first.has("CREATE TABLE")
      first.write("begin")
      yield* first.has("BEGIN")
      disk.fails = true
      first.write("insert into kept values (1)")
      first.write("commit")
      yield* first.over
      yield* second.over
      disk.fails = false
      const third = connect()
      third.write("insert into kept values (2)")
      yield* third.has("INSERT 0 1")
    }).pipe(Effect.scoped),
  60_000
)
