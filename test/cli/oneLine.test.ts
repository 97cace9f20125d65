/** What one-line forms come to: lines of the shell, and the server that they are for. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { linesOf } from "../../src/cli/oneLine.ts"

const lines = (name: string, ...operands: ReadonlyArray<string>) =>
  Effect.map(linesOf(name, operands), ({ lines }) => lines.map((line) => line.join(" ")))

const refusal = (name: string, ...operands: ReadonlyArray<string>) =>
  Effect.map(Effect.flip(linesOf(name, operands)), ({ message }) => message)

describe("a one-line form", () => {
  const spellings: ReadonlyArray<readonly [line: string, ...expected: ReadonlyArray<string>]> = [
    ["ls host:", "LIST"],
    ["ls", "LIST"],
    ["ls host:docs/", "LIST docs/"],
    ["ls host:/docs/ host:b/", "LIST docs/", "LIST b/"],
    ["ls host:~alice/docs/", "LIST ~alice/docs/"],
    ["ls fip://host/docs/", "LIST docs/"],
    ["ls fip://host:7000", "LIST"],
    ["ls [::1]:7000:docs/", "LIST docs/"],
    ["cat host:a.txt host:b:c.txt", "READ a.txt", "READ b:c.txt"],
    ["cat alice@host:6790:a.txt", "READ a.txt"],
    ["cat :a.txt", "READ a.txt"],
    ["cp a.txt host:b.txt", "UPLOAD a.txt b.txt"],
    ["cp a.txt host:", "UPLOAD a.txt"],
    ["cp x/a.txt y/b.txt host:docs/", "UPLOAD x/a.txt y/b.txt docs/"],
    ["cp a.txt b.txt host:", "UPLOAD a.txt b.txt /"],
    ["cp ./a:b host:", "UPLOAD ./a:b"],
    ["cp host:a.txt b.txt", "DOWNLOAD a.txt b.txt"],
    ["cp host:~bob/a.txt host:b.txt .", "DOWNLOAD ~bob/a.txt b.txt ."],
    ["cp host:a.txt host:b.txt", "COPY a.txt b.txt"],
    ["cp host:x/a.txt host:b.txt host:docs/", "COPY x/a.txt docs/a.txt", "COPY b.txt docs/b.txt"],
    ["cp host:~bob/x/a.txt host:", "COPY ~bob/x/a.txt a.txt"],
    ["put - host:log.txt", "UPLOAD - log.txt"],
    ["get host:a.txt", "DOWNLOAD a.txt"],
    ["get host:a.txt host:b.txt here/", "DOWNLOAD a.txt b.txt here/"],
    ["get host:a.txt host:b.txt", "DOWNLOAD a.txt b.txt ."],
    ["sync src/ host:src/", "MIRROR --up src/ src/"],
    ["sync host: .", "MIRROR --down / ."],
    ["mv host:a.txt host:old/", "RENAME a.txt old/a.txt"],
    ["mv host:a.txt host:b.txt", "RENAME a.txt b.txt"],
    ["rm host:a.txt host:b.txt", "DELETE a.txt", "DELETE b.txt"]
  ]
  for (const [line, ...expected] of spellings) {
    it.effect(`fip ${line} is ${expected.join(", ")}`, () =>
      Effect.gen(function*() {
        const [name = "", ...operands] = line.split(" ")
        assert.deepStrictEqual(yield* lines(name, ...operands), expected)
      }))
  }

  it.effect("names its server, its port and its user where they stand", () =>
    Effect.gen(function*() {
      const { servers } = yield* linesOf("ls", ["alice@work:7000:docs/"])
      assert.deepStrictEqual(servers[0], { name: "work", port: "7000", username: "alice", isUrl: false })
      const url = yield* linesOf("ls", ["fip://bob@[::1]:7000/docs/"])
      assert.deepStrictEqual(url.servers[0], { name: "[::1]", port: "7000", username: "bob", isUrl: true })
      assert.strictEqual((yield* linesOf("ls", [])).servers[0]?.name, "")
    }))

  it.effect("says what is wrong with its operands", () =>
    Effect.gen(function*() {
      assert.include(yield* refusal("cat", "a.txt"), "nothing here stands on a server")
      assert.include(yield* refusal("cat", "host:b.txt", "a.txt"), "a file on a server is host:a.txt")
      assert.include(yield* refusal("cat"), "say which: fip cat")
      assert.include(yield* refusal("cp", "a.txt", "b.txt"), "stands on a server")
      assert.include(yield* refusal("cp", "host:a.txt"), "from where to where")
      assert.include(yield* refusal("cp", "a.txt", "b.txt", "host:c.txt"), "does not end with /")
      assert.include(yield* refusal("put", "host:a.txt", "b/"), "say where to")
      assert.include(yield* refusal("sync", "host:a/", "host:b/"), "one of this machine")
      assert.include(yield* refusal("put", "-", "a.txt", "host:docs/"), "needs a name")
      assert.include(yield* refusal("put", "-", "host:docs/"), "needs a name")
      assert.include(yield* refusal("put", "host:a.txt", "host:b.txt"), "a path of this machine is meant")
      assert.include(yield* refusal("cat", "fip://a@b@c/x"), "names no server")
    }))
})
