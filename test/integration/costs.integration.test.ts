/**
 * What a request costs, counted and not timed: statements, operations on segments, records that the server sends, and
 * content that is copied. A change that makes one of them dearer has to say so here.
 */
import { assert, it, vi } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Statement from "effect/sql/Statement"
import { createHash, randomBytes } from "node:crypto"
import { Disk } from "../../src/server/files/Disk.ts"
import { Server } from "../../src/server/Server.ts"
import { RawClient, requestBytes } from "../support/RawClient.ts"
import * as TestServer from "../support/TestServer.ts"

const MIB = 1024 * 1024

/** What a TLS record carries at most. */
const RECORD_BYTES = 16 * 1024

/** `copiedMiB`: content that was copied from one buffer into another, whole MiB; the client of this test copies all once. */
const NOTHING = { statements: 0, opens: 0, reads: 0, writes: 0, syncs: 0, records: 0, copiedMiB: 0 }
type Costs = typeof NOTHING

const counts: Costs = { ...NOTHING }

/** Sees what is copied by hand. What Node and the system copy on the way is theirs. */
const watchCopies = Effect.acquireRelease(
  Effect.sync(() => ({ concat: vi.spyOn(Buffer, "concat"), set: vi.spyOn(Uint8Array.prototype, "set") })),
  ({ concat, set }) =>
    Effect.sync(() => {
      concat.mockRestore()
      set.mockRestore()
    })
)
let copies: Effect.Success<typeof watchCopies> | undefined

const copiedBytes = (): number => {
  let bytes = 0
  for (const { value } of copies?.concat.mock.results ?? []) bytes += value.length
  for (const [source] of copies?.set.mock.calls ?? []) bytes += source.length
  return bytes
}

/** What `work` costs, and nothing of what it does not need. */
const costs = async (work: () => Promise<unknown>): Promise<Partial<Costs>> => {
  Object.assign(counts, NOTHING)
  copies?.concat.mockClear()
  copies?.set.mockClear()
  await work()
  counts.copiedMiB = Math.floor(copiedBytes() / MIB)
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0))
}

/** What is written in the background, in batches of its own. */
const BACKGROUND = /insert into activity|select note_/

const counting = Layer.mergeAll(
  Layer.succeed(Statement.CurrentTransformer, (statement) =>
    Effect.sync(() => {
      if (!BACKGROUND.test(statement.compile()[0])) counts.statements++
      return statement
    })),
  Layer.effect(
    Disk,
    Effect.map(Disk, (disk) => ({
      ...disk,
      open: (path: string, mode: "write" | "read") => {
        counts.opens++
        return disk.open(path, mode)
      },
      read: (file: number, buffers: ReadonlyArray<Uint8Array>, position: number) => {
        counts.reads++
        return disk.read(file, buffers, position)
      },
      write: (file: number, chunks: ReadonlyArray<Uint8Array>, position: number) => {
        counts.writes++
        return disk.write(file, chunks, position)
      },
      sync: (file: number) => {
        counts.syncs++
        return disk.sync(file)
      }
    }))
  )
)

it.layer(TestServer.layer().pipe(Layer.provide(counting)), {
  timeout: 60_000,
  excludeTestServices: true
})("what a request costs", (it) => {
  it.effect("is what it was", () =>
    Effect.gen(function*() {
      const { port } = yield* Server
      copies = yield* watchCopies
      yield* Effect.promise(async () => {
        const client = await RawClient.open(port)
        // Node hands on each TLS record by itself.
        client.socket.on("data", () => counts.records++)
        const token = await client.login("alice", "alice's password")
        let id = 0
        const ask = async (name: Parameters<RawClient["ask"]>[0], body: unknown, data?: Uint8Array) => {
          const reply = await client.ask(name, {
            id: ++id,
            auth: { token },
            body,
            ...data === undefined ? {} : { data }
          })
          assert.match(reply.header.code, /^1:/, JSON.stringify(reply.body))
          return reply
        }
        const small = randomBytes(4096)
        const write = (name: string) => costs(() => ask("Write", { name }, small))
        const read = (name: string) => costs(() => ask("Read", { name }))

        assert.deepStrictEqual(await costs(() => client.ask("Heartbeat", { id: ++id })), { records: 1 })
        // What comes in one piece is answered in one: a record is a call of the system on either side.
        const together = async () => {
          const requests = Array.from({ length: 32 }, () => requestBytes("Heartbeat", { id: ++id }))
          client.write(Buffer.concat(requests))
          for (const _ of requests) await client.next()
        }
        assert.deepStrictEqual(await costs(together), { records: 1 })

        // In the transaction: two for locks, one that changes rows and tells who watches, one that adds some. The owner is
        // looked up once.
        const written: Partial<Costs> = { statements: 4, writes: 1, syncs: 1, records: 1 }
        assert.deepStrictEqual(await write("a"), { ...written, statements: 5, opens: 1 })
        assert.deepStrictEqual(await write("b"), written)
        assert.deepStrictEqual(await write("b"), written)
        assert.deepStrictEqual(await read("a"), { statements: 1, opens: 1, reads: 1, records: 1 })
        assert.deepStrictEqual(await read("a"), { records: 1 })
        assert.deepStrictEqual(await costs(() => ask("List", {})), { statements: 1, records: 1 })
        assert.deepStrictEqual(await costs(() => ask("Delete", { name: "b" })), { statements: 4, records: 1 })

        // A hundred files cost what one does, but for the records of their bytes and of the answer.
        const many = Array.from({ length: 100 }, (_, index) => `many/${index}`)
        const contents = randomBytes(100 * 40)
        const { records: answered = 0, ...batch } = await costs(() =>
          ask("WriteMany", { files: many.map((name) => ({ name, size: 40 })) }, contents)
        )
        assert.deepStrictEqual<Partial<Costs>>({ ...batch, records: 1 }, written)
        assert.isAtMost(answered, 2)
        const { records: sent = 0, ...reading } = await costs(() => ask("ReadMany", { names: many }))
        assert.deepStrictEqual(reading, { statements: 1, reads: 1 })
        assert.isAtMost(sent, 3)

        const large = randomBytes(4 * MIB)
        const patch = (name: string) => costs(() => ask("Patch", { name, position: 5 }, randomBytes(10)))
        const upload = async () => {
          const { body: { upload_id } } = await ask("UploadBegin", {
            name: "large",
            mode: "create",
            size: large.length
          })
          for (let offset = 0; offset < large.length; offset += MIB) {
            await ask("UploadPart", { upload_id, offset }, large.subarray(offset, offset + MIB))
          }
          await ask("UploadCommit", { upload_id, sha256: createHash("sha256").update(large).digest("hex") })
        }
        // Looked up, begun and found; the commit is one like any other, of an upload that is locked. One sync for all parts.
        assert.deepStrictEqual(await costs(upload), {
          statements: 9,
          opens: 1,
          writes: 4,
          syncs: 1,
          records: 6,
          copiedMiB: 4
        })
        let got = 0
        const download = async () => {
          client.send("Read", { id: ++id, auth: { token }, body: { name: "large" } })
          for (let last = false; !last;) {
            const reply = await client.next()
            got += reply?.data.length ?? 0
            last = reply?.header.code !== "0:read"
          }
        }
        const { records = 0, ...rest } = await costs(download)
        assert.strictEqual(got, large.length)
        assert.deepStrictEqual(rest, { statements: 1, opens: 1, reads: 5, copiedMiB: 4 })
        assert.isAtMost(records, Math.ceil(large.length / RECORD_BYTES) + 20)

        // As much in a large file as in a small one.
        const patched = { ...written, statements: 6 }
        assert.deepStrictEqual(await patch("a"), patched)
        assert.deepStrictEqual(await patch("large"), patched)
        client.close()
      })
    }))
})
