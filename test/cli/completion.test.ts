import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Stream } from "effect"
import * as fc from "fast-check"
import { commandTree } from "../../src/cli/shell/commandTree.ts"
import { completion, quoted, wordsOfKind } from "../../src/cli/shell/Completion.ts"
import { completionNames } from "../../src/cli/shell/CompletionNames.ts"
import { Jobs } from "../../src/cli/shell/Jobs.ts"
import { beginning, tokenize } from "../../src/cli/shell/Tokenizer.ts"
import { WorkspaceState } from "../../src/cli/shell/Workspace.ts"
import { FipClient, type FipClientShape, type ListOptions } from "../../src/client/FipClient.ts"
import { info, recordingClient } from "../support/ShellHarness.ts"

/** What completion asks for, and what it makes of an answer. */
const complete = (line: string, answer: ReadonlyArray<string> = [], workspace = new WorkspaceState()) => {
  const asked: Array<string> = []
  return Effect.map(
    completion(commandTree, workspace, line, (kind, text) =>
      Effect.sync(() => {
        asked.push(`${kind} ${text}`)
        return answer
      })),
    ({ candidates, replaced }) => ({ candidates, replaced, asked })
  )
}

const candidates = (line: string) => Effect.map(complete(line), ({ candidates }) => candidates)

const asked = (line: string) => Effect.map(complete(line), ({ asked }) => asked)

describe("Tab", () => {
  it.effect("completes commands in the case of what was typed", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* candidates("gr"), ["grant "])
      assert.deepStrictEqual(yield* candidates("GR"), ["GRANT "])
      assert.deepStrictEqual(yield* candidates("  LI"), ["LIST "])
      assert.deepStrictEqual(yield* candidates("xyzzy"), [])
      assert.includeMembers([...yield* candidates("")], ["READ ", "QUERY ", "CD "])
      assert.deepStrictEqual(yield* candidates("query st"), ["storage "])
      assert.deepStrictEqual(yield* candidates("QUERY f"), ["file "])
      assert.deepStrictEqual(yield* candidates("query V"), ["VERSIONS "])
      assert.deepStrictEqual(yield* candidates("HELP UNL"), ["UNLOCK "])
      assert.deepStrictEqual(yield* candidates("help query act"), ["activity "])
    }))

  it.effect("completes the flags of the command, and the values that a flag has", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* candidates("LIST --re"), ["--recursive "])
      assert.deepStrictEqual(yield* candidates("LIST -re"), ["--recursive "])
      assert.deepStrictEqual(yield* candidates("LIST -b"), ["-bye "])
      assert.deepStrictEqual(yield* candidates("LIST --sort n"), ["name "])
      assert.deepStrictEqual(yield* candidates("list --sort "), ["name ", "size ", "time "])
      assert.deepStrictEqual(yield* complete("LIST --sort=si"), { candidates: ["size "], replaced: "si", asked: [] })
      assert.deepStrictEqual(yield* candidates("WRITE f -- --if"), [])
    }))

  it.effect("asks for what the argument at that place stands for", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* asked("READ do"), ["file do"])
      assert.deepStrictEqual(yield* asked("READ --limit 3 do"), ["file do"])
      assert.deepStrictEqual(yield* asked("READ --limit=3 do"), ["file do"])
      assert.deepStrictEqual(yield* asked("READ --limit "), ["n "])
      assert.deepStrictEqual(yield* asked("READ -- -"), ["file -"])
      assert.deepStrictEqual(yield* asked("READ a.txt b"), ["user b"])
      assert.deepStrictEqual(yield* asked("UPLOAD sr"), ["local sr"])
      assert.deepStrictEqual(yield* asked("UPLOAD src do"), ["file do"])
      assert.deepStrictEqual(yield* asked("CD "), ["folder "])
      assert.deepStrictEqual(yield* asked("LCD "), ["local-folder "])
      assert.deepStrictEqual(yield* asked("grant b"), ["user b"])
      assert.deepStrictEqual(yield* asked("CANCEL "), ["job "])
      assert.deepStrictEqual(yield* candidates("grant bob_jones f "), ["read ", "edit ", "manage "])
      assert.deepStrictEqual(yield* candidates("GRANT bob_jones f M"), ["MANAGE "])
    }))

  it.effect("writes names as they were begun, and ends them with a blank unless they are folders", () =>
    Effect.gen(function*() {
      const names = ["my file.txt", "my docs/"]
      assert.deepStrictEqual((yield* complete("READ my", names)).candidates, ["my\\ file.txt ", "my\\ docs/"])
      assert.deepStrictEqual(yield* complete("READ \"my", names), {
        candidates: ["\"my file.txt\" ", "\"my docs/"],
        replaced: "\"my",
        asked: ["file my"]
      })
      assert.deepStrictEqual((yield* complete("READ 'my", names)).candidates, ["'my file.txt' ", "'my docs/"])
      assert.deepStrictEqual((yield* complete("READ my\\ f", names)).replaced, "my\\ f")
    }))

  it.effect("knows aliases, and what they stand for", () =>
    Effect.gen(function*() {
      const workspace = new WorkspaceState()
      workspace.aliases.set("ll", {
        text: "LIST --long",
        words: [
          { text: "LIST", literal: false },
          { text: "--long", literal: false }
        ]
      })
      assert.deepStrictEqual((yield* complete("l", [], workspace)).candidates.filter((name) => name === "ll "), ["ll "])
      assert.deepStrictEqual((yield* complete("ll do", [], workspace)).asked, ["file do"])
      assert.deepStrictEqual((yield* complete("UNALIAS l", [], workspace)).candidates, ["ll "])
    }))

  it("quotes so that the line means the name", () => {
    const quote = fc.constantFrom("" as const, "'" as const, "\"" as const)
    fc.assert(fc.property(fc.string({ unit: "grapheme", minLength: 1 }), quote, fc.boolean(), (name, quote, isOpen) => {
      const text = quoted(name, quote, isOpen)
      const { open, words: begun } = beginning(`READ ${text}`)
      assert.strictEqual(isOpen ? open.text : begun[1]?.text, name)
      if (isOpen) return
      const words = tokenize(`READ ${text}`)
      assert.deepStrictEqual(words._tag === "Success" ? words.success.map(({ text }) => text) : [], ["READ", name])
    }))
  })

  it.effect("knows the people that earlier lines named, whatever the command", () =>
    Effect.gen(function*() {
      const lines = ["GRANT bob_jones f READ", "READ a.txt carol_doe", "TRANSFER dave_roe f", "LIST x", "not a line '"]
      const people = yield* wordsOfKind(commandTree, lines, "user")
      assert.deepStrictEqual([...people], ["bob_jones", "carol_doe", "dave_roe"])
    }))
})

const names = (answers: Partial<FipClientShape>, workspace = new WorkspaceState()) =>
  completionNames(workspace, Effect.succeed(["carol_doe"])).pipe(
    Effect.provideService(FipClient, recordingClient([], answers)),
    Effect.provide(Jobs.layer)
  )

const list: FipClientShape["list"] = (options: ListOptions = {}) =>
  options.scope === "shared"
    ? Stream.make(
      { _tag: "File", file: info("a", "bob_jones") },
      { _tag: "File", file: info("b", "bob_jones") }
    )
    : Stream.make(
      { _tag: "Folder", name: `${options.prefix ?? ""}deep/` },
      { _tag: "File", file: info(`${options.prefix ?? ""}down.txt`, options.owner) },
      { _tag: "File", file: info(`${options.prefix ?? ""}with\u202eescape`, options.owner) }
    )

describe("names to complete with", () => {
  it.effect("come from the folder that was typed so far", () =>
    Effect.gen(function*() {
      const workspace = new WorkspaceState()
      const find = yield* names({ list }, workspace)
      assert.deepStrictEqual(yield* find("file", "d"), ["deep/", "down.txt"])
      assert.deepStrictEqual(yield* find("folder", "d"), ["deep/"])
      assert.deepStrictEqual(yield* find("file", "docs/de"), ["docs/deep/"])
      assert.deepStrictEqual(yield* find("file", "~bob_jones/do"), ["~bob_jones/down.txt"])
      assert.deepStrictEqual(yield* find("file", "w"), [])
      workspace.folder = { owner: undefined, prefix: "docs/" }
      assert.deepStrictEqual(yield* find("file", "../do"), ["../down.txt"])
      assert.deepStrictEqual(yield* find("file", "../../do"), [])
    }).pipe(Effect.scoped))

  it.effect("are people who share with this user, and those that were named before", () =>
    Effect.gen(function*() {
      const find = yield* names({ list })
      assert.deepStrictEqual(yield* find("user", ""), ["bob_jones", "carol_doe"])
      assert.deepStrictEqual(yield* find("file", "~B"), ["~bob_jones/"])
    }).pipe(Effect.scoped))

  it.live("are none while the server is slow, and there when it has answered", () =>
    Effect.gen(function*() {
      const answered = yield* Deferred.make<void>()
      let asked = 0
      const find = yield* names({
        list: (options) => {
          asked++
          return Stream.unwrap(Effect.as(Deferred.await(answered), list(options)))
        }
      })
      assert.deepStrictEqual(yield* find("file", "d"), [])
      yield* Deferred.succeed(answered, undefined)
      assert.deepStrictEqual(yield* find("file", "d"), ["deep/", "down.txt"])
      assert.strictEqual(asked, 1)
    }).pipe(Effect.scoped))

  it.effect("are none when the server fails, or dies", () =>
    Effect.gen(function*() {
      const find = yield* names({ list: () => Stream.die(new Error("a defect")) })
      assert.deepStrictEqual(yield* find("file", "d"), [])
      assert.deepStrictEqual(yield* find("local", "no/such/folder/x"), [])
      assert.deepStrictEqual(yield* find("local", "package-l"), ["package-lock.json"])
      assert.deepStrictEqual(yield* find("local-folder", "sr"), ["src/"])
    }).pipe(Effect.scoped))
})
