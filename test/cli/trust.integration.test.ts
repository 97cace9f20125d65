/** The commands about keys, as people type them: on the server's side and on the client's. */
import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { readFile, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { ask } from "../../src/cli/admin/AdminClient.ts"
import { Server } from "../../src/server/Server.ts"
import { ServerConfig } from "../../src/server/ServerConfig.ts"
import { type Finished, run } from "../support/Program.ts"
import * as TestServer from "../support/TestServer.ts"

/** Runs the program; what it printed, without the line's end. */
const fip = (...args: ReadonlyArray<string>) =>
  Effect.map(Effect.promise(() => run(args)), (finished: Finished) => ({
    status: finished.status,
    stdout: finished.stdout.toString().trimEnd(),
    stderr: finished.stderr
  }))

const worked = (...args: ReadonlyArray<string>) =>
  Effect.map(fip(...args), ({ status, stderr, stdout }) => {
    assert.strictEqual(status, 0, `${args.join(" ")}: ${stderr}`)
    return stdout
  })

const scene = Effect.gen(function*() {
  const { dataDir } = yield* ServerConfig
  const { port } = yield* Server
  const folder = yield* TestServer.temporaryFolder
  const knownHosts = join(folder, "known_hosts")
  return {
    folder,
    knownHosts,
    at: `127.0.0.1:${port}`,
    certificate: (...args: ReadonlyArray<string>) => fip("admin", "certificate", ...args, "--data-dir", dataDir),
    connect: fip("connect", "127.0.0.1", String(port), "--known-hosts", knownHosts, "--", "HEARTBEAT"),
    /** What the program told to type, on the server. */
    typed: (line: string) => worked(...line.split(" ").slice(1), "--data-dir", dataDir),
    live: Effect.map(ask(dataDir, "certificate show", {}), ({ live }) => live)
  }
})

describe("keys on the command line", () => {
  layer(TestServer.layer(), { timeout: Duration.seconds(60), excludeTestServices: true })((it) => {
    it.effect("are saved by the recovery key on the day when they were stolen", () =>
      Effect.gen(function*() {
        const { certificate, connect, folder, knownHosts, live, typed } = yield* scene
        const file = join(folder, "recovery.pem")
        yield* typed(yield* worked("admin", "certificate", "recovery", "new", file))
        const { mode } = yield* Effect.promise(() => stat(file))
        assert.strictEqual(mode & 0o777, 0o600)
        // One short connection is enough to hear of it.
        assert.strictEqual((yield* connect).status, 0)
        assert.match(yield* Effect.promise(() => readFile(knownHosts, "utf8")), / recovery=SHA256:/)

        const record = (yield* certificate("recovery", "prepare")).stdout
        yield* typed(yield* worked("admin", "certificate", "recovery", "sign", file, record))
        const client = yield* connect
        assert.strictEqual(client.status, 0, client.stderr)
        assert.match(client.stderr, /has proven that it is the same/)
        const { fingerprint, generation } = yield* live
        assert.strictEqual(generation, 1)
        assert.include(yield* Effect.promise(() => readFile(knownHosts, "utf8")), `${fingerprint} pinned_at=`)
      }))

    it.effect("are listed, shown, replaced by the key that is named, and forgotten", () =>
      Effect.gen(function*() {
        const { at, connect, knownHosts, live } = yield* scene
        const hosts = (...args: ReadonlyArray<string>) => worked("known-hosts", ...args, "--known-hosts", knownHosts)
        assert.match((yield* connect).stderr, /is new: its key/)
        const { fingerprint } = yield* live
        assert.include(yield* hosts("list"), `${at}  ${fingerprint}`)
        const shown = JSON.parse(yield* hosts("show", ...at.split(":"), "--json"))
        assert.deepInclude(shown.result, { host: at, fingerprint })

        // A key that never was this server's is refused, with the command that helps.
        yield* Effect.promise(() => writeFile(knownHosts, `${at} SHA256:${"A".repeat(43)}\n`))
        const refused = yield* connect
        assert.strictEqual(refused.status, 4)
        assert.include(refused.stderr, `fip known-hosts replace ${at} <fingerprint>`)
        // The override names the key that is expected: neither "whatever comes" nor anything that is no fingerprint.
        for (const not of ["yes", `SHA256:${"A".repeat(42)}`]) {
          const misused = yield* fip("known-hosts", "replace", at, not, "--known-hosts", knownHosts)
          assert.strictEqual(misused.status, 2, not)
        }
        const other = yield* fip("known-hosts", "replace", at, `SHA256:${"B".repeat(43)}`, "--known-hosts", knownHosts)
        assert.match(other.stderr, /B is pinned for .* in place of .*A$/m)
        assert.strictEqual((yield* connect).status, 4)
        yield* hosts("replace", at, fingerprint)
        assert.strictEqual((yield* connect).status, 0)
        yield* hosts("remove", at)
        assert.strictEqual(yield* Effect.promise(() => readFile(knownHosts, "utf8")), "")

        // Named before the first meeting, a key is not trusted on first use any more.
        yield* hosts("replace", at, fingerprint)
        const first = yield* connect
        assert.deepStrictEqual([first.status, first.stderr.includes("is new")], [0, false])
      }), 60_000)
  })
})
