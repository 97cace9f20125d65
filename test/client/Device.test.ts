import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { mkdir, readFile, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { deviceFor } from "../../src/client/Device.ts"
import { temporaryFolder } from "../support/TestServer.ts"

const here = { host: "files.example.org", port: 6090 }

it.effect("a device has one name for one server, at every start, and another for each other server", () =>
  Effect.gen(function*() {
    const knownHosts = join(yield* temporaryFolder, "fip", "known_hosts")
    const name = yield* deviceFor(here, knownHosts)
    assert.match(name, /^[A-Za-z0-9_-]{43}$/)
    assert.strictEqual(yield* deviceFor(here, knownHosts), name)
    assert.notStrictEqual(yield* deviceFor({ ...here, port: 6091 }, knownHosts), name)
    assert.notStrictEqual(yield* deviceFor({ ...here, host: "other.example.org" }, knownHosts), name)
    const path = join(knownHosts, "../device")
    const { mode, secret } = yield* Effect.promise(async () => ({
      mode: (await stat(path)).mode & 0o777,
      secret: await readFile(path)
    }))
    assert.strictEqual(mode, 0o600)
    assert.lengthOf(secret, 32)
  }))

it.effect("programs that start at once settle on one name", () =>
  Effect.gen(function*() {
    const knownHosts = join(yield* temporaryFolder, "known_hosts")
    yield* Effect.forEach(Array.from({ length: 8 }), () => deviceFor(here, knownHosts), { concurrency: "unbounded" })
    assert.strictEqual(yield* deviceFor(here, knownHosts), yield* deviceFor(here, knownHosts))
  }))

it.effect("where nothing can be kept, or what is kept is damaged, there is a name all the same", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    yield* Effect.promise(async () => {
      await writeFile(join(folder, "file"), "")
      await mkdir(join(folder, "damaged"))
      await writeFile(join(folder, "damaged", "device"), "short")
    })
    assert.match(yield* deviceFor(here, join(folder, "file", "known_hosts")), /^[A-Za-z0-9_-]{43}$/)
    const repaired = yield* deviceFor(here, join(folder, "damaged", "known_hosts"))
    assert.strictEqual(yield* deviceFor(here, join(folder, "damaged", "known_hosts")), repaired)
  }))
