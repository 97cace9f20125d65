/**
 * A newer client with an older server, and the other way round: the programs of both versions, the older one out of the
 * history. Where the history is not there (a source archive, a shallow clone), there is nothing to compare with.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { execFileSync } from "node:child_process"
import { existsSync } from "node:fs"
import { chmod, mkdir, readFile, symlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { run, type RunOptions, serve } from "./support/Program.ts"
import { TestDatabase } from "./support/TestDatabase.ts"
import { temporaryFolder } from "./support/TestServer.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

/** The last commit before requests for many files, times of files, and compression on the wire. */
const OLDER = "a2f7200"

const git = (...args: ReadonlyArray<string>): Buffer =>
  execFileSync("git", ["-C", root, ...args], { maxBuffer: 64 * 1024 * 1024, stdio: ["ignore", "pipe", "ignore"] })

const isThere = (): boolean => {
  try {
    git("cat-file", "-e", `${OLDER}^{commit}`)
    return existsSync(join(root, "node_modules"))
  } catch {
    return false
  }
}

/** What both versions can do. */
const SCRIPT = `WRITE notes.txt first
APPEND notes.txt " and more"
READ notes.txt
UPLOAD tree there --recursive
DOWNLOAD there back --recursive
UPLOAD large.bin
DOWNLOAD large.bin large.back
LOCK notes.txt --for 1h
PUBLICISE notes.txt
QUERY storage
QUERY versions notes.txt
LIST --recursive
DELETE notes.txt
HEARTBEAT
`

/** Works with the shell of one on the server of the other. */
const work = (which: (older: string) => { readonly server: RunOptions; readonly client: RunOptions }) =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const source = join(folder, "older")
    const at = (name: string) => join(folder, name)
    return yield* Effect.promise(async () => {
      await mkdir(source)
      execFileSync("tar", ["-x", "-C", source], { input: git("archive", OLDER) })
      await symlink(join(root, "node_modules"), join(source, "node_modules"))
      await mkdir(at("data"))
      await TestDatabase.seedEmpty(at("data"))
      await mkdir(at("tree/sub"), { recursive: true })
      for (let index = 0; index < 40; index++) {
        await writeFile(at(`tree/sub/${index}.txt`), `file ${index}`.repeat(index))
      }
      await chmod(at("tree/sub/7.txt"), 0o755)
      const large = Buffer.alloc(3_000_000, "a large file that can be compressed; ")
      await writeFile(at("large.bin"), large)

      const { client, server } = which(join(source, "bin/fip.js"))
      const env = { HOME: folder, XDG_CONFIG_HOME: folder, XDG_STATE_HOME: folder, FIP_PASSWORD: "a good password" }
      const serving = await serve(["0", "--data-dir", at("data")], { env, ...server })
      const shell = (args: ReadonlyArray<string>, input = "") =>
        run(["connect", "127.0.0.1", String(serving.port), ...args], { env, cwd: folder, input, ...client })
      const registered = await shell(["--", "UNEW", "alice", "a good password"])
      assert.strictEqual(registered.status, 0, registered.stderr)
      const { status, stderr, stdout } = await shell(["--username", "alice", "--json"], SCRIPT)
      assert.strictEqual(status, 0, stderr + stdout.toString())
      assert.deepStrictEqual(await readFile(at("large.back")), large)
      for (let index = 0; index < 40; index++) {
        assert.strictEqual(await readFile(at(`back/sub/${index}.txt`), "utf8"), `file ${index}`.repeat(index))
      }
      const newest = await shell(["--username", "alice", "--", "QUERY", "uploads"])
      const ended = await serving.stop()
      assert.strictEqual(ended.status, 0, ended.stderr)
      return newest
    })
  }).pipe(Effect.scoped)

describe.skipIf(!isThere())("the version of this commit and an older one", () => {
  it.live(
    "a newer client works with an older server, and says what that cannot do",
    () =>
      Effect.map(work((older) => ({ server: { program: older }, client: {} })), ({ status, stderr }) => {
        assert.strictEqual(status, 1)
        assert.include(stderr, "this server cannot do that, for it runs an older version of fip")
      }),
    120_000
  )

  it.live(
    "an older client works with a newer server",
    () =>
      Effect.map(work((older) => ({ server: {}, client: { program: older } })), ({ status }) => {
        assert.strictEqual(status, 2, "it has no such command")
      }),
    120_000
  )
})
