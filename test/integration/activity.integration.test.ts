/** Who did what, as users and administrators see it: a real server, the shell and `fip admin` as processes. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { run, serve, spawnProgram } from "../support/Program.ts"
import { RawClient } from "../support/RawClient.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import { temporaryFolder } from "../support/TestServer.ts"

interface Shown {
  readonly action: string
  readonly code: string
  readonly username?: string
  readonly owner?: string
  readonly name?: string
  readonly times: number
  readonly suspicious: boolean
  readonly detail: Readonly<Record<string, unknown>>
}

const resultOf = (line: string): { readonly activities: ReadonlyArray<Shown> } & Shown => JSON.parse(line).result

it.live(
  "the log tells the owner who read the file, and the administrator everything, also as it happens",
  () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const dataDir = join(folder, "data")
      const env = { XDG_CONFIG_HOME: folder, FIP_DATA_DIR: dataDir }
      yield* Effect.promise(async () => {
        await mkdir(dataDir)
        await TestDatabase.seedDataDir(dataDir)
        const server = await serve(["0", "--log-format", "json", "--log-level", "debug"], { env })
        const alice = await RawClient.open(server.port)
        const bob = await RawClient.open(server.port)
        const hers = { token: await alice.login("alice_smith", "alice's secret") }
        const his = { token: await bob.login("bob_jones", "bob's secret") }
        const wrong = await bob.ask("Login", {
          id: 1,
          auth: { identity: "alice_smith", password: "bob's guess" },
          body: { device: "raw-client-device" }
        })
        assert.strictEqual(wrong.header.code, "2:auth")

        const data = Buffer.from("hello")
        const file = { owner: "alice_smith", name: "notes.txt" }
        await alice.ask("Create", { id: 1, auth: hers, body: { name: "notes.txt" }, data })
        await alice.ask("Read", { id: 1, auth: hers, body: { name: "notes.txt" } })
        await bob.ask("Read", { id: 2, auth: his, body: file })
        await alice.ask("Grant", {
          id: 2,
          auth: hers,
          body: { name: "notes.txt", username: "bob_jones", role: "READ" }
        })
        for (const id of [3, 4]) await bob.ask("Read", { id, auth: his, body: file })
        await bob.ask("Append", { id: 5, auth: his, body: file, data })
        await alice.ask("Rename", { id: 3, auth: hers, body: { name: "notes.txt", new_name: "old.txt" } })

        const query = (await alice.ask("QueryActivity", { id: 4, auth: hers, body: { name: "old.txt" } })).body
        const seen = query["activities"] as ReadonlyArray<Shown>
        assert.deepStrictEqual(
          seen.map(({ action, code, name, times, username }) => [action, code, username, name, times]),
          [
            ["Rename", "1:ren", "alice_smith", "old.txt", 1],
            ["Append", "2:perm", "bob_jones", "notes.txt", 1],
            ["Read", "1:read", "bob_jones", "notes.txt", 2],
            ["Grant", "1:gnt", "alice_smith", "notes.txt", 1],
            ["Read", "2:nf", "bob_jones", "notes.txt", 1]
          ]
        )
        const denied = await bob.ask("QueryActivity", { id: 6, auth: his, body: { ...file, name: "old.txt" } })
        assert.strictEqual(denied.header.code, "2:perm")
        const verbose = await alice.ask("QueryFile", { id: 5, auth: hers, body: { name: "old.txt", verbose: true } })
        assert.strictEqual(verbose.body["reads"], 3)
        assert.isString(verbose.body["last_read_at"])

        const shell = await run([
          "connect",
          "127.0.0.1",
          String(server.port),
          "--username",
          "alice_smith",
          "--",
          "QUERY",
          "activity",
          "old.txt"
        ], { env: { ...env, FIP_PASSWORD: "alice's secret" } })
        assert.strictEqual(shell.status, 0, shell.stderr)
        assert.match(shell.stdout.toString(), /bob_jones +127\.0\.0\.1 +Read ×2 +~alice_smith\/notes\.txt +1:read/)

        const log = async (...flags: ReadonlyArray<string>) => {
          const { stdout } = await run(["admin", "log", "--json", ...flags], { env })
          return resultOf(stdout.toString()).activities
        }
        const refused = (await log("--user", "alice_smith", "--since", "1h")).find(({ code }) => code === "2:auth")
        assert.deepInclude(refused, { action: "Login", username: "alice_smith", detail: { reason: "wrong" } })
        assert.deepStrictEqual(await log("--suspicious"), [])

        const follower = spawnProgram(["admin", "log", "--follow", "--json", "--limit", "1"], { env })
        const lines: Array<string> = []
        const shown = (action: string) =>
          new Promise<Shown>((resolve) => {
            const look = () => {
              const found = lines.map(resultOf).find((one) => one.action === action)
              if (found !== undefined) resolve(found)
            }
            follower.child.stdout?.on("data", look)
            look()
          })
        let text = ""
        follower.child.stdout?.on("data", (chunk) => {
          text += chunk
          lines.splice(0, lines.length, ...text.split("\n").slice(0, -1))
        })
        await new Promise((resolve) => follower.child.stdout?.once("data", resolve))
        await run(["admin", "ban", "bob_jones", "--reason", "a\u001b[2Jb", "--for", "1h"], { env })
        assert.deepInclude(await shown("admin ban"), { owner: "bob_jones", code: "1:ok" })
        follower.child.kill("SIGINT")
        await follower.end

        alice.close()
        bob.close()
        const { status, stderr } = await server.stop()
        assert.strictEqual(status, 0)
        // oxlint-disable-next-line no-control-regex -- none of them may be there
        assert.notMatch(stderr.replaceAll("\n", ""), /[\u0000-\u001f\u007f-\u009f]/)
        assert.include(stderr, `"action":"Read","code":"1:read","username":"bob_jones"`)
        assert.include(stderr, `"message":"Append denied"`)
      })
    }),
  60_000
)
