/** Files that cannot be moved, among others that can: each one sentence, and with --keep-going the others arrive. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { mkdir, readdir, writeFile } from "node:fs/promises"
import path from "node:path"
import { LocalFileError } from "../../src/client/ClientError.ts"
import { type FipClientShape } from "../../src/client/FipClient.ts"
import { refuse } from "../../src/protocol/Refusal.ts"
import { RemoteFiles } from "../support/RemoteFiles.ts"
import { runCommand } from "../support/ShellHarness.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

const NAMES = ["a.txt", "b.txt", "c.txt", "d.txt"]

const unreadable = (file: string) =>
  new LocalFileError({ path: file, message: `cannot read ${path.basename(file)}: permission denied` })

/** Files here and there, of which one kind cannot be read here and another is refused there. */
const setUp = Effect.gen(function*() {
  const folder = yield* temporaryFolder
  const remote = new RemoteFiles()
  const here = path.join(folder, "in")
  yield* Effect.promise(() => mkdir(here))
  for (const name of NAMES) {
    yield* Effect.promise(() => writeFile(path.join(here, name), name))
    remote.put(`docs/${name}`, name)
  }
  const answers: Partial<FipClientShape> = {
    ...remote.answers,
    upload: (local, file, options) =>
      local.endsWith("b.txt")
        ? Effect.fail(unreadable(local))
        : local.endsWith("c.txt")
        ? Effect.fail(refuse("2:lock", "c.txt is locked"))
        : remote.answers.upload(local, file, options),
    download: (file, local) =>
      local.endsWith("b.txt") ? Effect.fail(unreadable(local)) : remote.answers.download(file, local)
  }
  return {
    folder,
    here,
    there: () => [...remote.files.keys()].filter((name) => name.startsWith("x/")),
    run: (words: ReadonlyArray<string>, keepGoing: boolean) => runCommand(words, { answers, keepGoing })
  }
})

describe("a file that cannot be moved", () => {
  it.effect("ends an upload of several, unless it is to keep going", () =>
    Effect.gen(function*() {
      const { here, run, there } = yield* setUp
      const stopped = yield* run(["UPLOAD", here, "x", "-r"], false)
      assert.strictEqual(stopped.status, 2)
      assert.match(stopped.stderr, /^UPLOAD: x\/b\.txt: cannot read b\.txt: permission denied\n$/)
      const going = yield* run(["UPLOAD", here, "x", "-r"], true)
      assert.strictEqual(going.status, 2)
      assert.include(going.stderr, "x/b.txt: cannot read b.txt: permission denied\n")
      assert.include(going.stderr, "x/c.txt: c.txt is locked\n")
      assert.include(going.stderr, "UPLOAD: 2 files left out: see above\n")
      assert.deepStrictEqual(there().sort(), ["x/a.txt", "x/d.txt"])
    }))

  it.effect("is one of several words that are not there", () =>
    Effect.gen(function*() {
      const { here, run, there } = yield* setUp
      const [a, none] = [path.join(here, "a.txt"), path.join(here, "none.txt")]
      const stopped = yield* run(["UPLOAD", none, a, "x/"], false)
      assert.strictEqual(stopped.status, 2)
      assert.deepStrictEqual(there(), [])
      const going = yield* run(["UPLOAD", none, a, "x/"], true)
      assert.strictEqual(going.status, 2)
      assert.match(going.stderr, /cannot read .*none\.txt: no such file/)
      assert.deepStrictEqual(there(), ["x/a.txt"])
    }))

  it.effect("ends a download of several, unless it is to keep going", () =>
    Effect.gen(function*() {
      const { folder, run } = yield* setUp
      const out = path.join(folder, "out")
      const stopped = yield* run(["DOWNLOAD", "docs", out, "-r"], false)
      assert.strictEqual(stopped.status, 2)
      assert.match(stopped.stderr, /^DOWNLOAD: ~alice_smith\/docs\/b\.txt: cannot read b\.txt: permission denied\n$/)
      const going = yield* run(["DOWNLOAD", "docs", out, "-r"], true)
      assert.strictEqual(going.status, 2)
      assert.include(going.stderr, "DOWNLOAD: 1 file left out: see above")
      assert.deepStrictEqual((yield* Effect.promise(() => readdir(out))).sort(), ["a.txt", "c.txt", "d.txt"])
    }))
})
