/**
 * The end of a busy server: 50 clients in the middle of something, 10,000 records of the activity log in memory, and a
 * signal. On both databases, by both signals.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { Database } from "../../src/server/Database.ts"
import { defaults, ServerConfig } from "../../src/server/ServerConfig.ts"
import { serve } from "../support/Program.ts"
import { RawClient } from "../support/RawClient.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import { temporaryFolder } from "../support/TestServer.ts"

const CLIENTS = 50
const RECORDS = 10_000
const WINDOW = 60
const PART = Buffer.alloc(16 * 1024, "p")
const SMALL = Buffer.alloc(2000, "s")

/** `shutdown_deadline`, and what the process allows itself beyond it. */
const IN_TIME_MILLIS = 20_000

/** What a client was told before the server was gone. */
interface Told {
  /** Files that were made, or parts that arrived. */
  readonly done: Array<number>
  readonly uploadId: string | undefined
  leaving: boolean
}

/** Sends one after the other, a few at a time, until the server leaves. */
const work = async (
  client: RawClient,
  uploadId: string | undefined,
  send: (id: number) => void,
  onDone: () => void
): Promise<Told> => {
  const told: Told = { done: [], uploadId, leaving: false }
  let next = 1
  for (; next <= 3; next++) send(next)
  for (let reply = await client.next(); reply !== undefined; reply = await client.next()) {
    const { code, id } = reply.header
    if (id === 0) told.leaving = code === "3:s"
    else if (code.startsWith("1:")) {
      told.done.push(id)
      onDone()
    }
    if (!told.leaving) send(next++)
  }
  return told
}

const fileName = (client: number, id: number): string => `file-${client}-${id}`

/** Has so many records made, each its own, and waits until they are. */
const fillLog = async (client: RawClient, auth: { readonly token: string }): Promise<void> => {
  const ask = (id: number) => client.send("Read", { id, auth, body: { owner: "alice_smith", name: `missing-${id}` } })
  for (let id = 1; id <= WINDOW; id++) ask(id)
  for (let answered = 1; answered <= RECORDS; answered++) {
    const reply = await client.next()
    assert.strictEqual(reply?.header.code, "2:nf")
    if (answered + WINDOW <= RECORDS) ask(answered + WINDOW)
  }
}

const leave = (databaseUrl: string | undefined, signal: "SIGTERM" | "SIGINT") =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const dataDir = join(folder, "data")
    const told = yield* Effect.promise(async () => {
      await mkdir(dataDir)
      if (databaseUrl === undefined) await TestDatabase.seedDataDir(dataDir)
      const server = await serve(["0", "--data-dir", dataDir, "--log-level", "warn"], {
        env: {
          ...(databaseUrl === undefined ? {} : { FIP_DATABASE_URL: databaseUrl }),
          // Nothing is written before the end.
          FIP_FLUSH_INTERVAL: "1 hour",
          FIP_FLUSH_COUNT: String(2 * RECORDS),
          FIP_REQUEST_RATE: "1000000",
          FIP_DENIALS_PER_MINUTE: "1000000"
        }
      })
      const [alice, bob] = [await RawClient.open(server.port), await RawClient.open(server.port)]
      const auth = { token: await alice.login("alice_smith", "alice's secret") }
      await fillLog(bob, { token: await bob.login("bob_jones", "bob's secret") })

      const clients = await Promise.all(Array.from({ length: CLIENTS }, () => RawClient.open(server.port)))
      const begun = await Promise.all(clients.map((client, index) =>
        client.ask("UploadBegin", { id: 1_000_000, auth, body: { name: `big-${index}`, mode: "write" } })
      ))
      let stop: (() => void) | undefined
      const busy = new Set(clients.keys())
      const allBusy = new Promise<void>((resolve) => {
        stop = resolve
      })
      const working = clients.map((client, index) => {
        const uploadId = index % 2 === 0 ? String(begun[index]?.body["upload_id"]) : undefined
        return work(
          client,
          uploadId,
          (id) =>
            uploadId === undefined
              ? client.send("Create", { id, auth, body: { name: fileName(index, id) }, data: SMALL })
              : client.send("UploadPart", {
                id,
                auth,
                body: { upload_id: uploadId, offset: (id - 1) * PART.length },
                data: PART
              }),
          () => {
            busy.delete(index)
            if (busy.size === 0) {
              stop?.()
            }
          }
        )
      })
      await allBusy
      const before = performance.now()
      const { status, stderr } = await server.stop(signal)
      const took = performance.now() - before
      assert.strictEqual(status, 0, stderr)
      assert.isBelow(took, IN_TIME_MILLIS)
      assert.notInclude(stderr, "were not written")
      return Promise.all(working)
    })

    assert.deepStrictEqual(
      told.map(({ leaving }) =>
        leaving
      ),
      Array.from({ length: CLIENTS }, () => true)
    )
    yield* Effect.gen(function*() {
      const sql = yield* SqlClient
      const [recorded] = yield* sql<{ readonly count: number; readonly files: number }>`
        select count(*) as count, count(distinct name) as files from activity
        where action = 'Read' and code = '2:nf' and username = 'bob_jones'`
      assert.deepStrictEqual([Number(recorded?.count), Number(recorded?.files)], [RECORDS, RECORDS])
      const files = new Set((yield* sql<{ readonly name: string }>`select name from files`).map(({ name }) => name))
      const arrived = new Map(
        (yield* sql<{ readonly id: string; readonly bytes: number }>`
          select upload_id as id, sum(length)::bigint as bytes from upload_runs group by upload_id`)
          .map(({ bytes, id }) => [id, bytes] as const)
      )
      let made = 0
      for (const [client, { done, uploadId }] of told.entries()) {
        assert.isAbove(done.length, 0)
        if (uploadId !== undefined) assert.isAtLeast(arrived.get(uploadId) ?? 0, done.length * PART.length)
        else {
          made += done.length
          for (const id of done) assert.isTrue(files.has(fileName(client, id)), fileName(client, id))
        }
      }
      const [owner] = yield* sql<{ readonly files_used: number }>`
        select files_used from users where username = 'alice_smith'`
      assert.isAtLeast(owner?.files_used ?? 0, made)
      assert.strictEqual(owner?.files_used, files.size)
    }).pipe(
      Effect.provide(
        Database.layer.pipe(Layer.provide(Layer.succeed(ServerConfig, { ...defaults, dataDir, databaseUrl })))
      )
    )
  })

describe("coordinated shutdown: a busy server that is told to leave", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const ends =
      `by ${signal} tells every client, writes what it has in memory, keeps what it acknowledged, and exits with 0`
    it.live(`with the embedded database ${ends}`, () => leave(undefined, signal), 120_000)
    it.live(
      `with PostgreSQL ${ends}`,
      () => Effect.flatMap(TestDatabase.postgresUrl, (url) => leave(url, signal)),
      120_000
    )
  }
})
