/** What a client makes of a server that has, or has not, what it should have of an interrupted upload. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { createHash } from "node:crypto"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { UploadOptions } from "../../src/client/FipClient.ts"
import { checksumsOf } from "../../src/platform/Checksum.ts"
import { connect, fileInfo, loggedIn, password } from "../support/ScriptedClient.ts"
import { bytesOf } from "../support/ScriptedFile.ts"
import type { Received, Reply, Script } from "../support/ScriptedServer.ts"
import { temporaryFolder } from "../support/ScriptedServer.ts"

const MiB = 1024 * 1024
const SIZE = 6 * MiB + 10
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

const first = "00000000-0000-4000-8000-00000000000a"
const second = "00000000-0000-4000-8000-00000000000b"
const expires_at = "2026-11-29T08:00:00.000Z"

const written = (version: number): Reply => ({
  code: "1:amnd",
  body: { owner: "alice", name: "f", size: SIZE, version }
})
const part = ({ body, data }: Received<"UploadPart">): Reply => ({
  code: "1:upart",
  body: { ...body, length: data.length }
})
const begin = (upload_id: string) => (): Reply => ({ code: "1:ubeg", body: { upload_id, received: [], expires_at } })
const state = (received: ReadonlyArray<readonly [number, number]>): Reply => ({
  code: "1:qa",
  body: { upload_id: first, size: SIZE, received, expires_at }
})
const refused = (code: "2:nf" | "2:opcf" | "2:sum" | "3:disk" | "3:db", field?: string): Reply => ({
  code,
  body: { message: "refused", field }
})

/** Uploads until the third part was acknowledged, and once more with another script. */
const takenUp = Effect.fnUntraced(function*(later: Script, options: UploadOptions = {}) {
  let script: Script = { UploadBegin: begin(first), UploadPart: part }
  const byName =
    <K extends "UploadBegin" | "UploadPart" | "UploadStatus" | "UploadCommit" | "UploadAbort" | "QueryFile">(
      name: K
    ) =>
    (request: Received<K>) => script[name]?.(request)
  const { folder, server } = yield* loggedIn({
    UploadBegin: byName("UploadBegin"),
    UploadPart: byName("UploadPart"),
    UploadStatus: byName("UploadStatus"),
    UploadCommit: byName("UploadCommit"),
    UploadAbort: byName("UploadAbort"),
    QueryFile: byName("QueryFile")
  })
  const source = join(yield* temporaryFolder, "source")
  const content = bytesOf(SIZE)
  yield* Effect.promise(() => writeFile(source, content))
  const notices: Array<string> = []
  const run = Effect.gen(function*() {
    const client = yield* connect({
      host: "127.0.0.1",
      port: server.port,
      knownHosts: join(folder, "known_hosts"),
      stateFolder: join(folder, "state"),
      onNotice: (notice) => notices.push(notice)
    })
    yield* client.login("alice", password)
    return client
  })
  const reached = yield* Deferred.make<void>()
  const onProgress: UploadOptions["onProgress"] = ({ bytes }) => {
    if (bytes >= 3 * MiB) Deferred.doneUnsafe(reached, Effect.void)
  }
  const others = server.peers.length
  yield* Effect.scoped(
    Effect.flatMap(
      run,
      (interrupted) =>
        Effect.raceFirst(interrupted.upload(source, "f", { ...options, onProgress }), Deferred.await(reached))
    )
  )
  // What it had sent by then has arrived, or never will.
  for (const peer of server.peers.slice(others)) yield* peer.closed
  script = later
  const before = server.requests.length
  const result = yield* (yield* run).upload(source, "f", options)
  const requests = server.requests.slice(before).filter(({ name }) => name !== "Login")
  const names = requests.map(({ name }) => name)
  const bodies = requests.map(({ body }): object => body)
  const offsets = requests.flatMap(({ body, name }) => name === "UploadPart" && "offset" in body ? [body.offset] : [])
  return { bodies, content, names, notices, offsets, result }
})

/** Of a server that has the first three MiB. */
const three = () => state([[0, 3 * MiB]])

describe("taking up an upload", () => {
  it.live("claims what was sent and is not there, sends the rest, and proves the checksums", () =>
    Effect.gen(function*() {
      const claims: Array<number> = []
      const { bodies, content, offsets } = yield* takenUp({
        UploadStatus: ({ body }) => {
          if (body.claim === undefined) return state([[0, MiB]])
          claims.push(body.claim.offset)
          const sums = checksumsOf([bytesOf(SIZE).subarray(body.claim.offset)], SIZE - body.claim.offset)
          const claimed = Buffer.from(body.claim.checksums, "base64")
          assert.isTrue(Buffer.from(sums).subarray(0, claimed.length).equals(claimed))
          return state([[0, 2 * MiB]])
        },
        UploadPart: part,
        UploadCommit: () => written(1)
      })
      assert.strictEqual(claims[0], MiB)
      assert.deepStrictEqual(offsets, [2, 3, 4, 5, 6].map((mib) => mib * MiB))
      assert.deepStrictEqual(bodies.at(-1), {
        upload_id: first,
        blocks_sha256: sha256(checksumsOf([content], SIZE))
      })
    }))

  it.live("sends again what the server turns out to have lost", () =>
    Effect.gen(function*() {
      let commits = 0
      const { names, offsets } = yield* takenUp({
        UploadStatus: () => commits === 0 ? three() : state([[0, 5 * MiB], [6 * MiB, SIZE]]),
        UploadPart: part,
        UploadCommit: () => ++commits === 1 ? refused("2:opcf") : written(1)
      })
      assert.deepStrictEqual(offsets, [3, 4, 5, 6, 5].map((mib) => mib * MiB))
      assert.strictEqual(names.filter((name) => name === "UploadCommit").length, 2)
    }))

  it.live("does not send twice what was committed while the answer was lost", () =>
    Effect.gen(function*() {
      const committed: Script = {
        UploadStatus: () => refused("2:opcf", "upload_id"),
        UploadCommit: () => written(4),
        QueryFile: () => ({ code: "1:qa", body: { ...fileInfo("f", SIZE), version: 4 } })
      }
      const write = yield* takenUp(committed)
      assert.deepStrictEqual(write.names, ["UploadStatus", "UploadCommit", "QueryFile"])
      assert.strictEqual(write.result.version, 4)
      // The version that it made need not be the last one: what was appended is there.
      const append = yield* takenUp({ ...committed, QueryFile: () => refused("2:nf") }, { mode: "append" })
      assert.deepStrictEqual(append.names, ["UploadStatus", "UploadCommit"])
      // But who wants this content in the file now finds another.
      const replaced = yield* takenUp({
        ...committed,
        QueryFile: () => ({ code: "1:qa", body: { ...fileInfo("f", 3), version: 5 } }),
        UploadBegin: begin(second),
        UploadPart: part
      })
      assert.strictEqual(replaced.offsets.length, 7)
      // Be it one of the same size.
      const alike = yield* takenUp({
        ...committed,
        QueryFile: () => ({ code: "1:qa", body: { ...fileInfo("f", SIZE), version: 5 } }),
        UploadBegin: begin(second),
        UploadPart: part
      })
      assert.strictEqual(alike.offsets.length, 7)
    }))

  it.live("gives up on a server that always turns out to have lost something", () =>
    Effect.gen(function*() {
      let commits = 0
      const error = yield* Effect.flip(takenUp({
        UploadStatus: three,
        UploadPart: part,
        UploadCommit: () => {
          commits++
          return refused("2:opcf")
        }
      }))
      assert.isTrue(error._tag === "Refusal" && error.code === "2:opcf")
      assert.strictEqual(commits, 4)
    }))

  it.live("begins anew when the server has forgotten it, or has something else", () =>
    Effect.gen(function*() {
      const anew: Script = { UploadBegin: begin(second), UploadPart: part, UploadCommit: () => written(1) }
      const forgotten = yield* takenUp({ ...anew, UploadStatus: () => refused("2:nf", "upload_id") })
      assert.strictEqual(forgotten.offsets.length, 7)
      assert.match(forgotten.notices.join(), /does not have the interrupted upload any more/)
      let commits = 0
      const wrong = yield* takenUp({
        ...anew,
        UploadStatus: three,
        UploadCommit: () => ++commits === 1 ? refused("2:sum") : written(1),
        UploadAbort: () => refused("2:nf", "upload_id")
      })
      assert.strictEqual(wrong.offsets.length, 4 + 7)
      assert.deepInclude(wrong.bodies.at(-1), { upload_id: second, sha256: sha256(wrong.content) })
    }))
})

describe("an upload that the server refuses midway", () => {
  for (const [code, expected] of [["3:disk", ["UploadAbort"]], ["3:db", []]] as const) {
    it.live(`with ${code} is ${expected.length > 0 ? "taken back, so that its room is free" : "left to be taken up"}`, () =>
      Effect.gen(function*() {
        const { folder, server } = yield* loggedIn({
          UploadBegin: begin(first),
          UploadPart: (request) => request.body.offset >= 2 * MiB ? refused(code) : part(request),
          UploadAbort: () => ({ code: "1:uabt", body: { upload_id: first } })
        })
        const source = join(yield* temporaryFolder, "source")
        yield* Effect.promise(() => writeFile(source, bytesOf(SIZE)))
        const client = yield* connect({
          host: "127.0.0.1",
          port: server.port,
          knownHosts: join(folder, "known_hosts"),
          stateFolder: join(folder, "state")
        })
        yield* client.login("alice", password)
        const error = yield* Effect.flip(client.upload(source, "f"))
        assert.strictEqual("code" in error && error.code, code)
        assert.deepStrictEqual(server.requests.map(({ name }) => name).filter((name) => name === "UploadAbort"), [
          ...expected
        ])
      }))
  }
})
