/** What a signal does to a real server with clients on it. */
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import { randomBytes } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { serve, type ServerProcess } from "../support/Program.ts"
import { RawClient, type RawReply } from "../support/RawClient.ts"
import { TestDatabase } from "../support/TestDatabase.ts"

const MIB = 1024 * 1024
const user = { identity: "alice", password: "alice's secret" }

/** Replies up to the end of the connection. */
const rest = async (client: RawClient): Promise<Array<RawReply>> => {
  const replies: Array<RawReply> = []
  for (let reply = await client.next(); reply !== undefined; reply = await client.next()) replies.push(reply)
  return replies
}

describe("a server that is told to stop", { timeout: 60_000 }, () => {
  let folder = ""
  let server: ServerProcess
  const start = async () => {
    server = await serve(["0", "--data-dir", folder, "--log-level", "warn"])
  }

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "fip-shutdown-"))
    await TestDatabase.seedDataDir(folder)
    await start()
  })

  afterEach(async () => {
    await server.stop("SIGKILL")
    await rm(folder, { recursive: true, force: true })
  })

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`by ${signal} tells an idle and an uploading client, keeps what was acknowledged, and exits with 0`, async () => {
      const [idle, busy] = [await RawClient.open(server.port), await RawClient.open(server.port)]
      const token = await busy.login(user.identity, user.password)
      const auth = { token }
      const small = randomBytes(70_000)
      const written = await busy.ask("Create", { id: 1, auth, body: { name: "small.bin" }, data: small })
      assert.strictEqual(written.header.code, "1:fnew")
      const begun = await busy.ask("UploadBegin", { id: 2, auth, body: { name: "big.bin", mode: "write" } })
      const upload_id = begun.body["upload_id"]
      const part = randomBytes(MIB)
      for (let offset = 0; offset < 8 * MIB; offset += MIB) {
        busy.send("UploadPart", { id: 3 + offset / MIB, auth, body: { upload_id, offset }, data: part })
      }
      const first = await busy.next()
      assert.strictEqual(first?.header.code, "1:upart")

      const stopped = server.stop(signal)
      const [toIdle, toBusy] = await Promise.all([rest(idle), rest(busy)])
      assert.deepStrictEqual(toIdle.map((reply) => reply.header.code), ["3:s"])
      assert.include(toBusy.map((reply) => reply.header.code), "3:s")
      const { status, stderr } = await stopped
      assert.strictEqual(status, 0, stderr)

      await start()
      const again = await RawClient.open(server.port)
      const read = await again.ask("Read", { id: 1, auth, body: { name: "small.bin" } })
      assert.isTrue(read.data.equals(small))
      const acknowledged = toBusy.filter((reply) => reply.header.code === "1:upart").length + 1
      const state = await again.ask("UploadStatus", { id: 2, auth, body: { upload_id } })
      const [received] = (state.body["received"] ?? []) as Array<[number, number]>
      assert.isAtLeast(received?.[1] ?? 0, acknowledged * MIB)
      const listed = await again.ask("List", { id: 3, auth, body: {} })
      assert.deepStrictEqual((listed.body["files"] as Array<{ name: string }>).map(({ name }) => name), ["small.bin"])
      again.close()
    })
  }

  it("a second time exits at once", async () => {
    const client = await RawClient.open(server.port)
    const token = await client.login(user.identity, user.password)
    const data = Buffer.alloc(8 * MIB)
    for (const name of ["a", "b", "c", "d"]) {
      const last = data.length - MIB
      for (let at = 0; at <= last; at += MIB) {
        const first = at === 0 ? { auth: { token }, body: { name } } : {}
        client.send("Write", { id: 1, ...first, data: data.subarray(at, at + MIB), more: at < last })
      }
      await client.next()
    }
    // A reader that does not read keeps the server from finishing.
    client.socket.pause()
    for (let id = 0; id < 16; id++) client.send("Read", { id, auth: { token }, body: { name: "a" } })
    const other = await RawClient.open(server.port)
    await other.ask("Heartbeat", { id: 1 })
    server.child.kill("SIGTERM")
    assert.strictEqual((await other.next())?.header.code, "3:s")
    const { status } = await server.stop("SIGTERM")
    assert.strictEqual(status, 130)
    client.close()
  })
})
