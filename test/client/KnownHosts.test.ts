import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as fc from "fast-check"
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { formatHostPort, normalise } from "../../src/client/HostPort.ts"
import { findPin, pin } from "../../src/client/KnownHosts.ts"
import { Fingerprint } from "../../src/protocol/Identity.ts"
import { temporaryFolder } from "../support/ScriptedServer.ts"

const key = (letter: string) => Fingerprint.make(`SHA256:${letter.repeat(43)}`)
const at = (host: string, port = 6090) => ({ host, port })

describe("HostPort", () => {
  it("gives one spelling to every host", () => {
    const spellings: ReadonlyArray<readonly [string, string]> = [
      ["Files.Example.ORG", "files.example.org:6090"],
      ["files.example.org.", "files.example.org:6090"],
      ["bücher.de", "xn--bcher-kva.de:6090"],
      ["127.0.0.1", "127.0.0.1:6090"],
      ["::1", "[::1]:6090"],
      ["[0:0:0:0:0:0:0:1]", "[::1]:6090"],
      ["FE80::A%eth0", "[fe80::a%eth0]:6090"]
    ]
    for (const [host, expected] of spellings) {
      assert.strictEqual(formatHostPort(Result.getOrThrow(normalise(host, 6090))), expected)
    }
  })

  it("refuses what is no host or no port, in a sentence", () => {
    for (const host of ["", "a b", "host:22", "x/y", "..", "a..b", "[::1", "-".repeat(300), "user@host"]) {
      assert.isTrue(Result.isFailure(normalise(host, 6090)), host)
    }
    for (const port of [0, -1, 65_536, 1.5, Number.NaN]) assert.isTrue(Result.isFailure(normalise("a", port)))
  })

  it("normalises what it has normalised to itself", () => {
    fc.assert(fc.property(fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6()), (host) => {
      const once = normalise(host, 1)
      if (Result.isFailure(once)) return
      assert.deepStrictEqual(normalise(once.success.host, 1), once)
    }))
  })
})

describe("KnownHosts", () => {
  it.live("keeps pins in a file of 0600 in a folder of 0700", () =>
    Effect.gen(function*() {
      const path = join(yield* temporaryFolder, "config", "fip", "known_hosts")
      assert.strictEqual(yield* findPin(path, at("a")), undefined)
      assert.strictEqual(yield* pin(path, at("a"), key("A")), key("A"))
      assert.strictEqual(yield* findPin(path, at("a")), key("A"))
      const modes = yield* Effect.promise(() => Promise.all([stat(path), stat(dirname(path))]))
      assert.deepStrictEqual(modes.map(({ mode }) => mode & 0o777), [0o600, 0o700])
    }))

  it.live("gives everybody the same key when several pin a server at once", () =>
    Effect.gen(function*() {
      const path = join(yield* temporaryFolder, "known_hosts")
      const keys = ["A", "B", "C", "D"].map(key)
      const pinned = yield* Effect.forEach(keys, (key) => pin(path, at("a"), key), { concurrency: "unbounded" })
      assert.strictEqual(new Set(pinned).size, 1)
    }))

  it.live("keeps comments and fields that it does not know", () =>
    Effect.gen(function*() {
      const path = join(yield* temporaryFolder, "known_hosts")
      const before = `# mine\n\nb:6090 ${key("B")} sequence=7 note=x`
      yield* Effect.promise(() => writeFile(path, before))
      yield* pin(path, at("a"), key("A"))
      const after = yield* Effect.promise(() => readFile(path, "utf8"))
      assert.isTrue(after.startsWith(`${before}\na:6090 ${key("A")} pinned_at=`))
      assert.strictEqual(yield* findPin(path, at("b")), key("B"))
    }))

  const good = `b:6090 ${key("B")}`
  for (
    const [what, line] of [
      ["has a key that is none", "a:6090 SHA256:short"],
      ["has no key", "a:6090"],
      ["has no port", `a ${key("A")}`],
      ["has a field that is none", `a:6090 ${key("A")} oops`],
      ["pins a server a second time", good]
    ]
  ) {
    it.live(`stops at a line that ${what}, names it, and leaves the file alone`, () =>
      Effect.gen(function*() {
        const path = join(yield* temporaryFolder, "known_hosts")
        const text = `${good}\n# fine\n${line}\n`
        yield* Effect.promise(() => writeFile(path, text))
        const errors = [yield* Effect.flip(findPin(path, at("b"))), yield* Effect.flip(pin(path, at("c"), key("C")))]
        for (const error of errors) {
          assert.strictEqual(error._tag, "LocalFileError")
          assert.include(error.message, `${path}: line 3`)
        }
        assert.strictEqual(yield* Effect.promise(() => readFile(path, "utf8")), text)
      }))
  }

  it("remembers like a map in which the first entry stays", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom("a", "b", "::1"), fc.constantFrom(1, 6090), fc.constantFrom("A", "B")), {
          maxLength: 6
        }),
        async (steps) => {
          const folder = await mkdtemp(join(tmpdir(), "fip-test-"))
          const path = join(folder, "known_hosts")
          const model = new Map<string, Fingerprint>()
          for (const [host, port, letter] of steps) {
            const name = formatHostPort({ host, port })
            assert.strictEqual(await Effect.runPromise(findPin(path, { host, port })), model.get(name))
            if (!model.has(name)) model.set(name, key(letter))
            assert.strictEqual(await Effect.runPromise(pin(path, { host, port }, key(letter))), model.get(name))
          }
          await rm(folder, { recursive: true })
        }
      ),
      { numRuns: 20 }
    ))
})
