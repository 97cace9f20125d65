/** Downloads that are interrupted and taken up. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { readdir, readFile, rm, symlink, truncate, utimes, writeFile } from "node:fs/promises"
import { hostname } from "node:os"
import { join } from "node:path"
import { crc32 } from "node:zlib"
import { FipClient } from "../../src/client/FipClient.ts"
import { connect, loggedIn, password } from "../support/ScriptedClient.ts"
import { bytesOf, type FileScript, serve } from "../support/ScriptedFile.ts"
import { temporaryFolder } from "../support/ScriptedServer.ts"

const MiB = 1024 * 1024
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** A server with one file, which a test may change, and clients that share what they note. */
const serving = Effect.fnUntraced(function*(first: FileScript) {
  const place = { file: first, positions: [] as Array<number>, sent: 0 }
  const { folder, server } = yield* loggedIn({
    Read: (request) => {
      place.positions.push(request.body.position ?? 0)
      void serve(request, place.file, (bytes) => place.sent += bytes)
    }
  })
  const target = join(yield* temporaryFolder, "target")
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
  /** Fetches until so much is here, and is then interrupted as by Ctrl-C. */
  const interruptedAt = Effect.fnUntraced(function*(bytes: number) {
    const client = yield* run
    const reached = yield* Deferred.make<void>()
    yield* Effect.raceFirst(
      client.download("f", target, {
        onProgress: (progress) => {
          if (progress.bytes >= bytes) Deferred.doneUnsafe(reached, Effect.void)
        }
      }),
      Deferred.await(reached)
    )
  })
  /** Fetches to the end: where it began, and what it came to. */
  const finished = Effect.gen(function*() {
    place.positions.length = 0
    notices.length = 0
    const result = yield* (yield* run).download("f", target)
    const got = yield* Effect.promise(() => readFile(target))
    assert.strictEqual(result.sha256, sha256(place.file.content))
    assert.isTrue(got.equals(place.file.content))
    // Nothing stays: neither beside the target nor in the notes.
    assert.deepStrictEqual(yield* Effect.promise(() => readdir(join(target, ".."))), ["target"])
    const notes = yield* Effect.promise(() => readdir(join(folder, "state", "transfers")))
    assert.deepStrictEqual(notes.filter((name) => !name.endsWith(".lock")), [])
    return place.positions[0] ?? assert.fail()
  })
  const part = Effect.promise(async () => {
    const name = (await readdir(join(target, ".."))).find((name) => name.endsWith(".part")) ?? ""
    return join(target, "..", name)
  })
  const note = Effect.promise(async () => {
    const state = join(folder, "state", "transfers")
    const name = (await readdir(state)).find((name) => !name.endsWith(".lock")) ?? ""
    return join(state, name)
  })
  return { finished, folder, interruptedAt, note, notices, part, place, run, target }
})

describe("an interrupted download", () => {
  it.live("is taken up behind what is here, again and again", () =>
    Effect.gen(function*() {
      const content = bytesOf(20 * MiB + 77)
      const { finished, interruptedAt, notices, place } = yield* serving({ content })
      yield* interruptedAt(3 * MiB)
      yield* interruptedAt(9 * MiB)
      const before = place.positions.at(-2) ?? 0
      assert.isAtLeast(before, 2 * MiB)
      assert.isAtLeast(yield* finished, 8 * MiB)
      assert.match(notices.join("\n"), /going on with the download of f: \d+ of 21 MiB are here/)
    }))

  it.live("begins anew when the file is another, also one of the same version and size", () =>
    Effect.gen(function*() {
      const { finished, interruptedAt, notices, place } = yield* serving({ content: bytesOf(6 * MiB) })
      for (const content of [bytesOf(6 * MiB + 1).subarray(1), bytesOf(2 * MiB), bytesOf(10)]) {
        yield* interruptedAt(3 * MiB)
        place.file = { content }
        yield* finished
        assert.match(notices.join("\n"), /f changed since its download was interrupted/)
        place.file = { content: bytesOf(6 * MiB) }
      }
    }))

  it.live("publishes the right bytes whatever has become of what was here", () =>
    Effect.gen(function*() {
      const content = bytesOf(4 * MiB)
      const { finished, folder, interruptedAt, note, notices, part } = yield* serving({ content })
      const damages: ReadonlyArray<(part: string, note: string) => Promise<unknown>> = [
        async (part) => writeFile(part, "x", { flag: "r+" }),
        (part) => truncate(part, 1000),
        (part) => truncate(part, 5 * MiB),
        async (part) => {
          await writeFile(join(folder, "elsewhere"), "untouched")
          await rm(part)
          await symlink(join(folder, "elsewhere"), part)
        },
        (_, note) => truncate(note, 10),
        (_, note) => writeFile(note, Buffer.alloc(300)),
        (_, note) => utimes(note, 0, 0)
      ]
      for (const damage of damages) {
        yield* interruptedAt(3 * MiB)
        const [partPath, notePath] = [yield* part, yield* note]
        yield* Effect.promise(() => damage(partPath, notePath))
        yield* finished
        if (damage === damages[0]) assert.match(notices.join("\n"), /what was here of f was damaged/)
      }
      assert.strictEqual(
        yield* Effect.promise(() => readFile(join(folder, "elsewhere"), "utf8")),
        "untouched"
      )
    }))

  it.live("trusts after a loss of power only what was synced", () =>
    Effect.gen(function*() {
      const content = bytesOf(12 * MiB)
      const { finished, interruptedAt, note: noted } = yield* serving({ content })
      yield* interruptedAt(10 * MiB)
      const path = yield* noted
      const boot = (yield* Effect.promise(() => readFile("/proc/sys/kernel/random/boot_id", "utf8"))).trim()
      // As it would have been written before the machine was started again.
      const [head = ""] = (yield* Effect.promise(() => readFile(path, "utf8"))).split("\n")
      assert.include(head, boot)
      const lines = [head.slice(9).replace(boot, "another"), `{"synced":1000000}`, `{"synced":5000000}`]
      const note = lines.map((line) => `${crc32(line).toString(16).padStart(8, "0")} ${line}\n`).join("")
      yield* Effect.promise(() => writeFile(path, note))
      assert.strictEqual(yield* finished, 5_000_000)
    }))

  it.live("leaves no temporary file of a process that was killed, and touches none of another's", () =>
    Effect.gen(function*() {
      const { place, run, target } = yield* serving({ content: bytesOf(10) })
      const folder = join(target, "..")
      // A process that has ended, one that runs, and one on another machine.
      const { pid = 0 } = spawnSync(process.execPath, ["--version"])
      const here = sha256(Buffer.from(hostname())).slice(0, 8)
      const [ended, runs, elsewhere] = [
        `.fip-${here}-${pid}-00000000.tmp`,
        `.fip-${here}-${process.pid}-00000000.tmp`,
        `.fip-${here === "00000000" ? "1" : "0"}0000000-${pid}-00000000.tmp`
      ]
      for (const name of [ended, runs, elsewhere]) yield* Effect.promise(() => writeFile(join(folder, name), "x"))
      yield* (yield* run).download("f", target)
      const names = yield* Effect.promise(() => readdir(folder))
      assert.deepStrictEqual(names.toSorted(), [elsewhere, runs, "target"].toSorted())
      assert.strictEqual(place.positions.length, 1)
    }))

  it.live("is not taken up by another that fetches the same at the same time", () =>
    Effect.gen(function*() {
      const content = bytesOf(12 * MiB)
      const { interruptedAt, run, target } = yield* serving({ content })
      yield* interruptedAt(4 * MiB)
      const clients: ReadonlyArray<FipClient["Service"]> = [yield* run, yield* run, yield* run]
      yield* Effect.forEach(clients, (client) => client.download("f", target), { concurrency: "unbounded" })
      assert.isTrue((yield* Effect.promise(() => readFile(target))).equals(content))
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(join(target, ".."))), ["target"])
    }))

  it.live("leaves nothing when the file is gone, or has another hash than it should", () =>
    Effect.gen(function*() {
      const { interruptedAt, place, run, target } = yield* serving({ content: bytesOf(4 * MiB) })
      yield* interruptedAt(2 * MiB)
      place.file = { content: bytesOf(4 * MiB), hash: "wrong" }
      const client = yield* run
      assert.strictEqual((yield* Effect.flip(client.download("f", target)))._tag, "IntegrityError")
      assert.deepStrictEqual(yield* Effect.promise(() => readdir(join(target, ".."))), [])
    }))
})
