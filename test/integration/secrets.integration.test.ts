/**
 * Secrets stay where they belong: after a run of real processes with every log level on, none of them is in what server
 * or client printed, in the server's command line, or anywhere in its data folder.
 */
import { assert, it } from "@effect/vitest"
import { Cause, Effect, Layer, Logger, References } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { readFileSync, statSync } from "node:fs"
import { mkdir, readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { inspect } from "node:util"
import { Password } from "../../src/protocol/Identity.ts"
import { authOf, device, newName, newUser, peer, start } from "../server/users/accounts.ts"
import { type Finished, run, serve } from "../support/Program.ts"
import { RawClient } from "../support/RawClient.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import { temporaryFolder } from "../support/TestServer.ts"

const first = "first-Passw0rd-Qx7"
const second = "second-Passw0rd-Zk3"
const mistyped = "mistyped-Passw0rd-Vb9"

/** Every file below a folder. */
const filesBelow = async (folder: string): Promise<ReadonlyArray<string>> =>
  (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))

it.live("passwords, tokens, digests and codes appear in no output, no log and no file", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const dataDir = join(folder, "data")
    yield* Effect.promise(() => mkdir(dataDir))
    yield* Effect.promise(() => TestDatabase.seedDataDir(dataDir))
    yield* Effect.promise(async () => {
      const server = await serve(["0", "--data-dir", dataDir, "--registration", "invite", "--log-level", "all"])
      const outputs: Array<Finished> = []
      const env = { XDG_CONFIG_HOME: folder }
      const admin = async (...args: ReadonlyArray<string>): Promise<string> => {
        const { status, stderr, stdout } = await run(["admin", ...args, "--data-dir", dataDir], { env })
        assert.strictEqual(status, 0, stderr)
        return stdout.toString().trim()
      }
      const shell = async (status: number, ...lines: ReadonlyArray<string>) => {
        const done = await run(["connect", "127.0.0.1", String(server.port), "--json"], {
          env,
          input: lines.join("\n")
        })
        assert.strictEqual(done.status, status, done.stderr + done.stdout.toString())
        outputs.push(done)
      }
      const secrets = [first, second, mistyped]

      const invite = await admin("invite")
      secrets.push(invite, invite.replaceAll("-", ""))
      await shell(1, `UNEW secretive ${first} --invite AAAAA-AAAAA-AAAAA-AAAAA`)
      await shell(0, `UNEW secretive ${first} --invite ${invite}`, `AUTH secretive ${first}`, "SREF", "QUERY sessions")
      await shell(5, `AUTH secretive ${mistyped}`)
      await shell(2, `AUTH secretive ${mistyped} one-word-too-many`)
      const code = await admin("users", "reset-password", "secretive")
      secrets.push(code, code.replaceAll("-", ""))
      await shell(0, `UPASS ${code} ${second} --user secretive`)
      await shell(5, `UPASS ${code} ${mistyped} --user secretive`)

      const raw = await RawClient.open(server.port)
      const auth = { identity: "secretive", password: second }
      const grant = await raw.ask("Login", { id: 1, auth, body: { device: "secret-device-Wn5" } })
      const [token, digest] = [String(grant.body["token"]), String(grant.body["refresh_digest"])]
      secrets.push(token, digest)
      await raw.ask("QueryStorage", { id: 2, auth: { token: `${token}A` } })
      await raw.ask("Login", { id: 3, auth: { identity: "secretive", passwords: second } })
      await raw.ask("Login", { id: 4, auth: { ...auth, identity: "!" }, body: { device: "secret-device-Wn5" } })
      // Replayed from another device: the session ends, and that is logged.
      await raw.ask("Refresh", { id: 5, auth: { refresh_digest: digest, device: "secret-device-Wn5" } })
      await raw.ask("Refresh", { id: 6, auth: { refresh_digest: digest, device: "other-device-Wn5" } })
      raw.close()

      const commandLine = readFileSync(`/proc/${server.child.pid}/cmdline`, "utf8")
      const { stderr, stdout } = await server.stop()
      assert.include(stderr, "admin command")
      assert.include(stderr, "login refused")
      assert.include(stderr, "suspicious")
      const said = [
        commandLine,
        stderr,
        stdout.toString(),
        ...outputs.flatMap((one) => [one.stderr, String(one.stdout)])
      ]
      for (const secret of secrets) {
        for (const text of said) assert.notInclude(text, secret)
      }
      for (const path of await filesBelow(dataDir)) {
        const content = await readFile(path)
        for (const secret of secrets) assert.isFalse(content.includes(secret), `${secret} in ${path}`)
      }
    })
  }), 60_000)

it.live("what the program keeps of itself, compiled, nobody else can change", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    const { status } = yield* Effect.promise(() => run(["--version"], { env: { XDG_CACHE_HOME: folder } }))
    assert.strictEqual(status, 0)
    assert.strictEqual(statSync(join(folder, "fip/compiled")).mode & 0o777, 0o700)
  }))

it.layer(TestDatabase.pglite)("a database that fails", (it) => {
  it.effect("leaves no secret, nor a hash of one, in what is refused and logged", () => {
    const lines: Array<string> = []
    const everything = Logger.layer([
      Logger.make(({ cause, message }) => lines.push(inspect([message, Cause.pretty(cause), cause], { depth: 20 })))
    ])
    return Effect.gen(function*() {
      const sql = yield* SqlClient
      const users = yield* start()
      const auth = yield* newUser(users)
      yield* sql`alter table users rename to users_gone`
      const next = Password.make(second)
      const attempts = [
        users.login(auth, device, peer),
        users.register(authOf(newName(), next), peer),
        users.changePassword(auth, next, peer)
      ]
      for (const attempt of attempts) {
        const refusal = yield* Effect.flip<unknown, { readonly code: string }, never>(attempt)
        assert.strictEqual(refusal.code, "3:db")
        yield* Effect.logError("request failed", Cause.fail(refusal))
        lines.push(inspect(refusal, { depth: 20 }))
      }
      yield* sql`alter table users_gone rename to users`
      yield* sql`alter table users add check (password_hash = '')  not valid`
      const refusal = yield* Effect.flip(users.register(authOf(newName(), next), peer))
      assert.strictEqual(refusal.code, "3:db")
      lines.push(inspect(refusal, { depth: 20 }))
      assert.isNotEmpty(lines)
      for (const line of lines) {
        assert.notInclude(line, auth.password)
        assert.notInclude(line, second)
        assert.notInclude(line, "$argon2id$")
      }
    }).pipe(Effect.provide(Layer.merge(everything, Layer.succeed(References.MinimumLogLevel, "All"))))
  })
})
