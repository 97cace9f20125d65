import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { fileInfo, loggedIn } from "../support/ScriptedClient.ts"

const page = (body: object) => ({ code: "1:qa", body: { folders: [], files: [], ...body } }) as const

describe("list", () => {
  it.live("goes from page to page, and asks for none that is not wanted", () =>
    Effect.gen(function*() {
      const { client, server } = yield* loggedIn({
        List: ({ body }) =>
          body.after === undefined
            ? page({ folders: ["docs/"], files: [fileInfo("a")], next: "1" })
            : body.after === "1"
            ? page({ files: [fileInfo("b")], next: "2" })
            : page({ files: [fileInfo("c")] })
      })
      const names = Stream.map(client.list({ prefix: "x/" }), (entry) =>
        entry._tag === "Folder" ? entry.name : entry.file.name)
      assert.deepStrictEqual((yield* Stream.runCollect(names)).map(String), ["docs/", "a", "b", "c"])
      assert.strictEqual(server.count("List"), 3)
      assert.deepStrictEqual(server.requests.at(-1)?.body, { prefix: "x/", after: "2" })
      yield* Stream.runDrain(Stream.take(names, 1))
      assert.strictEqual(server.count("List"), 4)
    }))

  it.live("ends at a server that would go on for ever, or that names what cannot be a name", () =>
    Effect.gen(function*() {
      let pages = 0
      const lies = [
        () => page({ next: String(++pages) }),
        () => page({ files: [fileInfo("a")], next: "same" }),
        () => page({ folders: ["../"] }),
        () => page({ folders: ["\u001b[2J/"] }),
        () => page({ files: [fileInfo("../etc/passwd")] })
      ]
      for (const lie of lies) {
        const { client } = yield* loggedIn({ List: lie })
        const error = yield* Effect.flip(Stream.runDrain(client.list()))
        assert.strictEqual(error._tag, "ProtocolError")
      }
    }))

  it.live("refuses a folder that cannot be one, before it is asked for", () =>
    Effect.gen(function*() {
      const { client, server } = yield* loggedIn({})
      const error = yield* Effect.flip(Stream.runDrain(client.list({ prefix: "docs" })))
      assert.strictEqual(error.message, "prefix: a folder ends with /")
      assert.strictEqual(server.count("List"), 0)
    }))
})
