/** `fip admin backup` and `restore` as processes, and a server that is killed in the middle of a backup. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import { existsSync } from "node:fs"
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { run, serve, spawnProgram } from "../../support/Program.ts"
import { TestDatabase } from "../../support/TestDatabase.ts"
import { temporaryFolder } from "../../support/TestServer.ts"

it.live(
  "a server that was killed while it made a backup makes it after all, and comes back from it whole",
  () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const dataDir = join(folder, "data")
      const root = join(folder, "backup")
      const env = {
        XDG_CONFIG_HOME: folder,
        FIP_DATA_DIR: dataDir,
        FIP_USERNAME: "alice_smith",
        FIP_PASSWORD: "secret pass"
      }
      yield* Effect.promise(async () => {
        await mkdir(dataDir)
        await TestDatabase.seedDataDir(dataDir)
        const content = randomBytes(40 * 1024 * 1024)
        await writeFile(join(folder, "source"), content)
        const shell = async (port: number, ...lines: ReadonlyArray<string>) => {
          const done = await run(["connect", "127.0.0.1", String(port)], { env, input: `${lines.join("\n")}\n` })
          assert.strictEqual(done.status, 0, done.stderr)
          return done.stdout.toString()
        }

        const first = await serve(["0"], { env })
        await shell(first.port, "UNEW alice_smith \"secret pass\"", `UPLOAD ${join(folder, "source")} large`)
        const interrupted = spawnProgram(["admin", "backup", root], { env })
        while (!existsSync(join(root, "segments"))) await new Promise(setImmediate)
        await first.stop("SIGKILL")
        assert.strictEqual((await interrupted.end).status, 3)
        const nothing = await run(["admin", "restore", root, "--data-dir", join(folder, "no")], { env })
        assert.strictEqual(nothing.status, 1)
        assert.include(nothing.stderr, "there is no finished backup")

        const second = await serve(["0"], { env })
        const made = await run(["admin", "backup", root, "--json"], { env })
        assert.strictEqual(made.status, 0, made.stderr)
        assert.containSubset(JSON.parse(made.stdout.toString()), { ok: true, result: { files: 1, damaged_blocks: 0 } })
        await shell(second.port, "DELETE large")
        await second.stop("SIGKILL")
        assert.lengthOf(await readdir(join(root, "backups")), 1)

        await rm(dataDir, { recursive: true })
        const restored = await run(["admin", "restore", root], { env })
        assert.strictEqual(restored.status, 0, restored.stderr)
        const third = await serve(["0"], { env })
        assert.strictEqual(third.fingerprint, first.fingerprint)
        await shell(third.port, `DOWNLOAD large ${join(folder, "copy")}`)
        assert.isTrue((await readFile(join(folder, "copy"))).equals(content))
        const fsck = await run(["admin", "fsck"], { env })
        assert.strictEqual(fsck.status, 0, fsck.stdout.toString())
        await third.stop()
      })
    }).pipe(Effect.scoped),
  180_000
)
