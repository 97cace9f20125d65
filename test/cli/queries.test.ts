/** What LIST and QUERY show to people: sizes and times as they say them, tables that fit, and all of it when asked. */
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, DateTime, Effect, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { cut, formatAgo, formatTable } from "../../src/cli/shell/format.ts"
import { Jobs } from "../../src/cli/shell/Jobs.ts"
import { Output } from "../../src/cli/shell/Output.ts"
import { Questions } from "../../src/cli/shell/Questions.ts"
import { runLine } from "../../src/cli/shell/Shell.ts"
import type { FipClientShape } from "../../src/client/FipClient.ts"
import { FipClient } from "../../src/client/FipClient.ts"
import { FileName, FolderPrefix } from "../../src/protocol/FileName.ts"
import { Timestamp, Username } from "../../src/protocol/Identity.ts"
import type { FileInfo } from "../../src/protocol/Request.ts"
import { Capture, info, recordingClient, runLines } from "../support/ShellHarness.ts"

const NOW = Date.parse("2026-11-22T12:00:00.000Z")
const at = (millis: number): Timestamp => Timestamp.make(new Date(NOW + millis).toISOString())
const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** A line with these answers, at noon. */
const show = Effect.fnUntraced(function*(line: string, answers: Partial<FipClientShape>) {
  yield* TestClock.setTime(NOW)
  return yield* runLines([line], { answers })
})

const entry = (name: string, changes: Partial<FileInfo> = {}) => ({
  _tag: "File" as const,
  file: { ...info(name), modified_at: at(-3 * MINUTE), ...changes }
})

/** LIST at a terminal, in an environment. */
const listAtTerminal = Effect.fnUntraced(function*(
  line: string,
  answers: Partial<FipClientShape>,
  environment: Readonly<Record<string, string>>
) {
  const stdout = new Capture(true)
  yield* runLine(line).pipe(
    Effect.provideService(FipClient, recordingClient([], answers)),
    Effect.provide(
      Layer.mergeAll(
        Questions.layerUnattended,
        Output.layerStreams({ stdout, stderr: new Capture() }),
        Jobs.layer,
        NodeServices.layer
      ).pipe(
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(environment)))
      )
    )
  )
  return stdout.text
})

describe("times", () => {
  it("are said as people say them, and as dates when they are far away", () => {
    const zone = DateTime.zoneMakeOffset(0)
    const said = [0, -20, 999, -MINUTE, -3 * MINUTE, -HOUR, -25 * HOUR, -40 * 24 * HOUR, 10 * MINUTE, 7 * 24 * HOUR]
      .map((millis) => formatAgo(at(millis), NOW, zone))
    assert.deepStrictEqual(said, [
      "just now",
      "just now",
      "just now",
      "1 minute ago",
      "3 minutes ago",
      "1 hour ago",
      "1 day ago",
      "2026-10-13 12:00",
      "in 10 minutes",
      "in 7 days"
    ])
    assert.strictEqual(formatAgo("no time", NOW, zone), "no time")
  })
})

describe("a table", () => {
  it("that is wider than the terminal is cut in the middle of what may be cut", () => {
    const rows = [["a/very/long/folder/and/then/the-name.txt", "1 B"], ["b", "2 B"]]
    const lines = formatTable([{ title: "NAME", cuts: true }, { title: "SIZE" }], rows, 30).split("\n")
    assert.deepStrictEqual(lines.map((line) => line.length <= 30), [true, true, true])
    assert.match(lines[1] ?? "", /^a\/very\S*…\S*name\.txt {2}1 B$/)
    assert.strictEqual(formatTable([{ title: "", cuts: true }], [["x".repeat(300)]]).length, 300)
  })

  it("is cut by what a terminal shows", () => {
    assert.strictEqual(cut("日本語日本語日本語", 9), "日本…本語")
    assert.strictEqual(cut("short", 5), "short")
  })
})

/** A folder and two files. */
const list = () =>
  Stream.fromIterable([
    { _tag: "Folder" as const, name: "docs/" },
    entry("a.txt", { size: 5, locked_by: Username.make("bob_jones"), locked_until: at(HOUR) }),
    entry("b.bin", { size: 1_500_000, modified_at: at(-2 * HOUR), public: true })
  ])

describe("LIST", () => {
  it.effect("--long aligns sizes and times, and marks what is locked", () =>
    Effect.gen(function*() {
      const { stdout } = yield* show("LIST --long", { list })
      assert.deepStrictEqual(stdout.split("\n"), [
        "ROLE    PUBLIC      SIZE  VERSION  MODIFIED          NAME",
        "                                                     docs/",
        "OWNER   no           5 B        3  3 minutes ago     a.txt  (locked by bob_jones)",
        "OWNER   yes      1.4 MiB        3  2 hours ago       b.bin",
        "2 files, 1.4 MiB",
        ""
      ])
    }))

  it.effect("--sort puts the largest or the newest first", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* show("LIST --sort size", { list })).stdout, "docs/\nb.bin\na.txt\n")
      assert.strictEqual((yield* show("LIST --sort time", { list })).stdout, "docs/\na.txt\nb.bin\n")
      assert.strictEqual((yield* show("LIST", { list })).stdout, "docs/\na.txt\nb.bin\n")
      assert.strictEqual((yield* show("LIST --sort weight", { list })).status, 2)
    }))

  it.effect("writes each page when it has it", () =>
    Effect.gen(function*() {
      const broken = Stream.concat(Stream.make(entry("first.txt")), Stream.die(new Error("the second page")))
      const { status, stdout } = yield* show("LIST", { list: () => broken })
      assert.deepStrictEqual([stdout, status], ["first.txt\n", 1])
    }))

  it.effect("colours folders at a terminal, unless NO_COLOR says otherwise", () =>
    Effect.gen(function*() {
      const folder = "\u001b[1;34mdocs/\u001b[0m\n"
      assert.include(yield* listAtTerminal("LIST", { list }, {}), folder)
      assert.notInclude(yield* listAtTerminal("LIST", { list }, { NO_COLOR: "1" }), "\u001b")
      assert.notInclude(yield* listAtTerminal("LIST", { list }, { TERM: "dumb" }), "\u001b")
      assert.notInclude((yield* show("LIST", { list })).stdout, "\u001b")
    }))
})

describe("QUERY", () => {
  it.effect("storage --verbose says what is left, and what takes most", () =>
    Effect.gen(function*() {
      const files = [entry("docs/a", { size: 10 }), entry("docs/b/c", { size: 30 }), entry("top", { size: 20 })]
      const { stdout } = yield* show("QUERY storage --verbose", { list: () => Stream.fromIterable(files) })
      assert.include(stdout, "bytes left  10.0 GiB")
      assert.include(stdout, "SIZE  FILES  FOLDER\n40 B      2  docs/\n20 B      1  (none)")
      assert.match(stdout, /LARGEST FILES\n30 B {2}docs\/b\/c\n20 B {2}top\n10 B {2}docs\/a/)
    }))

  it.effect("permission shows for everybody the one role that counts, and with --verbose every grant", () =>
    Effect.gen(function*() {
      const me = Username.make("alice_smith")
      const grant = { granted_by: me, granted_at: at(-HOUR) }
      const [bob, docs] = [Username.make("bob_jones"), FolderPrefix.make("docs/")]
      const queryPermission = () =>
        Effect.succeed({
          owner: me,
          name: FileName.make("docs/a.txt"),
          public: true,
          public_through: docs,
          grants: [
            { ...grant, username: bob, role: "READ" as const },
            { ...grant, username: bob, role: "EDIT" as const, through: docs, expires_at: at(2 * HOUR) }
          ]
        })
      const { stdout } = yield* show("QUERY permission docs/a.txt", { queryPermission })
      assert.deepStrictEqual(stdout.trimEnd().split("\n"), [
        "USER         ROLE   THROUGH  ENDS",
        "alice_smith  OWNER",
        "everybody    READ   docs/",
        "bob_jones    EDIT   docs/    in 2 hours"
      ])
      const all = yield* show("QUERY permission docs/a.txt --verbose", { queryPermission })
      assert.lengthOf(all.stdout.match(/bob_jones/g) ?? [], 2)
      assert.include(all.stdout, "GRANTED BY")
    }))

  it.effect("versions, sessions and user say all there is with --verbose", () =>
    Effect.gen(function*() {
      const sha256 = info("x").sha256
      const versions = [{
        version: 2,
        size: 1536,
        author: Username.make("bob_jones"),
        modified_at: at(-HOUR),
        current: true,
        ...sha256 === undefined ? {} : { sha256 }
      }]
      const queryVersions = () =>
        Effect.succeed({ owner: Username.make("alice_smith"), name: FileName.make("f"), versions })
      assert.include((yield* show("QUERY versions f", { queryVersions })).stdout, "1.5 KiB  bob_jones  1 hour ago")
      assert.include(
        (yield* show("QUERY versions f -v", { queryVersions })).stdout,
        "1536  bob_jones  2026-11-22T11:00"
      )
      assert.include((yield* show("QUERY user --verbose", {})).stdout, "SESSION")
      assert.include((yield* show("QUERY sessions --verbose", {})).stdout, "DEVICE")
      assert.notInclude((yield* show("QUERY sessions", {})).stdout, "DEVICE")
    }))
})
