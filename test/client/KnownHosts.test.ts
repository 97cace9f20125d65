import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import * as fc from "fast-check"
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { formatHostPort, normalise } from "../../src/client/HostPort.ts"
import { advance, findPin, listPins, pin, removePin } from "../../src/client/KnownHosts.ts"
import type { Pin } from "../../src/protocol/ContinuityProof.ts"
import { Fingerprint } from "../../src/protocol/Identity.ts"
import { temporaryFolder } from "../support/ScriptedServer.ts"

const key = (letter: string) => Fingerprint.make(`SHA256:${letter.repeat(43)}`)
const bare = (letter: string): Pin => ({ fingerprint: key(letter), standing: undefined })
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
      assert.deepStrictEqual(yield* pin(path, at("a"), bare("A")), bare("A"))
      assert.strictEqual((yield* findPin(path, at("a")))?.fingerprint, key("A"))
      const modes = yield* Effect.promise(() => Promise.all([stat(path), stat(dirname(path))]))
      assert.deepStrictEqual(modes.map(({ mode }) => mode & 0o777), [0o600, 0o700])
    }))

  it.live("gives everybody the same key when several pin a server at once", () =>
    Effect.gen(function*() {
      const path = join(yield* temporaryFolder, "known_hosts")
      const pins = ["A", "B", "C", "D"].map(bare)
      const pinned = yield* Effect.forEach(pins, (first) => pin(path, at("a"), first), { concurrency: "unbounded" })
      assert.strictEqual(new Set(pinned.map(({ fingerprint }) => fingerprint)).size, 1)
    }))

  it.live("keeps comments and fields that it does not know", () =>
    Effect.gen(function*() {
      const path = join(yield* temporaryFolder, "known_hosts")
      const before = `# mine\n\nb:6090 ${key("B")} sequence=7 note=x`
      yield* Effect.promise(() => writeFile(path, before))
      yield* pin(path, at("a"), bare("A"))
      const after = yield* Effect.promise(() => readFile(path, "utf8"))
      assert.isTrue(after.startsWith(`${before}\na:6090 ${key("A")} pinned_at=`))
      assert.strictEqual((yield* findPin(path, at("b")))?.fingerprint, key("B"))
    }))

  const standing = { serverId: "0f".repeat(16), generation: 1, sequence: 7, recovery: key("R"), next: key("N") }

  it.live("goes on to a key that was proven, and keeps what else its line and the file say", () =>
    Effect.gen(function*() {
      const path = join(yield* temporaryFolder, "known_hosts")
      yield* Effect.promise(() => writeFile(path, `# mine\na:6090 ${key("A")} note=x\nb:6090 ${key("B")}\n`))
      const to = { fingerprint: key("C"), standing }
      assert.deepStrictEqual(yield* advance(path, at("a"), key("A"), to), to)
      const text = yield* Effect.promise(() => readFile(path, "utf8"))
      assert.match(
        text,
        /^# mine\na:6090 SHA256:C+ note=x changed_at=\S+ server=(0f)+ generation=1 sequence=7 recovery=\S+R next=\S+N\nb:/
      )
      const found = yield* findPin(path, at("a"))
      assert.deepStrictEqual(found?.standing, standing)
      assert.deepStrictEqual((yield* listPins(path)).map(({ at }) => at), ["a:6090", "b:6090"])
    }))

  it.live("never goes back: not to a key that others have left, nor to an earlier one", () =>
    Effect.gen(function*() {
      const path = join(yield* temporaryFolder, "known_hosts")
      const known = { fingerprint: key("C"), standing }
      yield* pin(path, at("a"), known)
      const text = yield* Effect.promise(() => readFile(path, "utf8"))
      const others = [
        { from: "A", to: { fingerprint: key("D"), standing: { ...standing, sequence: 8 } } },
        { from: "C", to: { fingerprint: key("D"), standing: { ...standing, sequence: 6 } } },
        { from: "C", to: { fingerprint: key("D"), standing: { ...standing, generation: 0, sequence: 9 } } }
      ]
      for (const { from, to } of others) {
        const now = yield* advance(path, at("a"), key(from), to)
        assert.strictEqual(now?.fingerprint, key("C"))
        assert.strictEqual(yield* Effect.promise(() => readFile(path, "utf8")), text)
      }
      assert.strictEqual(yield* advance(path, at("b"), key("C"), known), undefined)
    }))

  it.live("forgets a server and no other", () =>
    Effect.gen(function*() {
      const path = join(yield* temporaryFolder, "known_hosts")
      yield* pin(path, at("a"), bare("A"))
      const before = yield* Effect.promise(() => readFile(path, "utf8"))
      yield* pin(path, at("b"), bare("B"))
      assert.strictEqual((yield* removePin(path, at("b")))?.fingerprint, key("B"))
      assert.strictEqual(yield* removePin(path, at("b")), undefined)
      assert.strictEqual(yield* Effect.promise(() => readFile(path, "utf8")), before)
    }))

  const good = `b:6090 ${key("B")}`
  for (
    const [what, line] of [
      ["has a key that is none", "a:6090 SHA256:short"],
      ["has no key", "a:6090"],
      ["has no port", `a ${key("A")}`],
      ["has a field that is none", `a:6090 ${key("A")} oops`],
      ["has half a standing", `a:6090 ${key("A")} server=${"0f".repeat(16)} sequence=1`],
      ["pins a server a second time", good]
    ]
  ) {
    it.live(`stops at a line that ${what}, names it, and leaves the file alone`, () =>
      Effect.gen(function*() {
        const path = join(yield* temporaryFolder, "known_hosts")
        const text = `${good}\n# fine\n${line}\n`
        yield* Effect.promise(() => writeFile(path, text))
        const errors = [yield* Effect.flip(findPin(path, at("b"))), yield* Effect.flip(pin(path, at("c"), bare("C")))]
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
            const found = await Effect.runPromise(findPin(path, { host, port }))
            assert.strictEqual(found?.fingerprint, model.get(name))
            if (!model.has(name)) model.set(name, key(letter))
            const pinned = await Effect.runPromise(pin(path, { host, port }, bare(letter)))
            assert.strictEqual(pinned.fingerprint, model.get(name))
          }
          await rm(folder, { recursive: true })
        }
      ),
      { numRuns: 20 }
    ))
})
