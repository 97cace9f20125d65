/** What `fip serve` tells systemd. Instead of systemd's own `systemd-notify` there is one that writes down what it is told. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { watch } from "node:fs"
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { serve } from "../support/Program.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import { temporaryFolder } from "../support/TestServer.ts"

it.live("says when it is ready, that it lives, and that it stops", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    yield* Effect.promise(async () => {
      const told = join(folder, "told")
      await Promise.all(["bin", "data"].map((name) => mkdir(join(folder, name))))
      const program = join(folder, "bin/systemd-notify")
      await writeFile(program, "#!/bin/sh\necho \"$*\" >> \"$NOTIFY_SOCKET\"\n")
      await chmod(program, 0o755)
      await writeFile(told, "")
      await TestDatabase.seedDataDir(join(folder, "data"))
      const lines = async () => (await readFile(told, "utf8")).split("\n")
      const alive = new Promise<void>((resolve) => {
        const watcher = watch(told, () =>
          void lines().then((all) => {
            if (all.filter((line) => line === "WATCHDOG=1").length < 3) return
            watcher.close()
            resolve()
          }))
      })
      const server = await serve(["0", "--data-dir", join(folder, "data")], {
        env: { PATH: `${join(folder, "bin")}:${process.env["PATH"]}`, NOTIFY_SOCKET: told, WATCHDOG_USEC: "300000" }
      })
      await alive
      assert.strictEqual((await lines())[0], `READY=1 STATUS=listening on 127.0.0.1:${server.port}`)
      const { status, stderr } = await server.stop()
      assert.strictEqual(status, 0, stderr)
      assert.include(await lines(), "STOPPING=1 STATUS=shutting down")
    })
  }).pipe(Effect.scoped), 120_000)
