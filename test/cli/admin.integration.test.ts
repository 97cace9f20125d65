/** `fip admin` as processes: what an administrator types, and the exit status. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { lstat, mkdir } from "node:fs/promises"
import { join } from "node:path"
import { type Finished, run, serve } from "../support/Program.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import { temporaryFolder } from "../support/TestServer.ts"

const text = ({ stdout }: Finished): string => stdout.toString()

it.live(
  "fip admin says so when no server runs, survives a kill -9 of the server, and speaks tables and JSON",
  () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const dataDir = join(folder, "data")
      const env = { XDG_CONFIG_HOME: folder, FIP_DATA_DIR: dataDir }
      const admin = (...args: ReadonlyArray<string>) => run(["admin", ...args], { env })
      yield* Effect.promise(async () => {
        await mkdir(dataDir)
        await TestDatabase.seedDataDir(dataDir)
        const nobody = await admin("users", "list")
        assert.strictEqual(nobody.status, 3)
        assert.strictEqual(
          nobody.stderr,
          `users list: no FIP server is running on ${dataDir}: start it, or name its folder with --data-dir\n`
        )

        const killed = await serve(["0"], { env })
        await killed.stop("SIGKILL")
        assert.isTrue((await lstat(join(dataDir, "admin.sock"))).isSocket(), "left behind")
        assert.strictEqual((await admin("users", "list")).status, 3)

        const server = await serve(["0"], { env })
        const registered = await run([
          "connect",
          "127.0.0.1",
          String(server.port),
          "--",
          "UNEW",
          "alice_smith",
          "secret pass"
        ], {
          env
        })
        assert.strictEqual(registered.status, 0, registered.stderr)
        const list = text(await admin("users", "list"))
        assert.match(
          list,
          /^user +since +sessions +files +used +limit +banned\nalice_smith +\d{4}-\d\d-\d\d \d\d:\d\d +0 /
        )

        const banned = await admin("ban", "ALICE_smith", "--for", "7d", "--reason", "spam", "--json")
        assert.strictEqual(banned.status, 0, banned.stderr)
        assert.containSubset(JSON.parse(text(banned)), {
          command: "ban",
          ok: true,
          result: { username: "alice_smith", sessions_ended: 0 }
        })
        assert.match(text(await admin("bans")), /alice_smith .* until \d{4}-\d\d-\d\d \d\d:\d\d +spam\n$/)
        const twice = await admin("unban", "bob_jones", "--json")
        assert.strictEqual(twice.status, 1)
        assert.deepStrictEqual(JSON.parse(text(twice)), {
          command: "unban",
          ok: false,
          code: "2:unf",
          message: "there is no user bob_jones",
          field: "username"
        })
        const unsaid = await admin("users", "delete", "alice_smith")
        assert.strictEqual(unsaid.status, 2)
        assert.match(unsaid.stderr, /add --yes if you mean it/)
        assert.strictEqual((await server.stop()).status, 0)
      })
    }),
  60_000
)
