/**
 * What the original says it can do with sharing, queries and listings, and does in part or not at all: here from the
 * shell to the tables, on a real server. Each test bears the name that the ability has there.
 */
import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect, Redacted } from "effect"
import { join } from "node:path"
import { FipClient } from "../../src/client/FipClient.ts"
import { Server } from "../../src/server/Server.ts"
import { runLines } from "../support/ShellHarness.ts"
import * as TestServer from "../support/TestServer.ts"

const password = "correct horse"

/** Runs lines as somebody, who is registered if need be; what the last one printed, and the status. */
const as = Effect.fnUntraced(function*(username: string, lines: ReadonlyArray<string>, json = false) {
  const { port } = yield* Server
  const folder = yield* TestServer.temporaryFolder
  return yield* runLines(lines, {
    json,
    username,
    password: Redacted.make(password),
    client: { host: "127.0.0.1", port, knownHosts: join(folder, "known_hosts"), stateFolder: folder },
    clientLayer: FipClient.layer
  })
})

const register = Effect.fnUntraced(function*(...usernames: ReadonlyArray<string>) {
  const { port } = yield* Server
  const folder = yield* TestServer.temporaryFolder
  const { status, stderr } = yield* runLines(usernames.map((username) => `UNEW ${username} "${password}"`), {
    client: { host: "127.0.0.1", port, knownHosts: join(folder, "known_hosts"), stateFolder: folder },
    clientLayer: FipClient.layer
  })
  assert.strictEqual(status, 0, stderr)
})

const works = Effect.fnUntraced(function*(username: string, ...lines: ReadonlyArray<string>) {
  const run = yield* as(username, lines)
  assert.strictEqual(run.status, 0, run.stderr)
  return run.stdout
})

const refused = Effect.fnUntraced(function*(code: string, username: string, line: string) {
  const run = yield* as(username, [line])
  assert.include(run.stderr, `(${code})`)
  assert.strictEqual(run.status, 1)
})

/** What a line comes to with --json. */
const resultOf = Effect.fnUntraced(function*(username: string, line: string) {
  const { stdout } = yield* as(username, [line], true)
  const { result }: { readonly result: Record<string, string> } = JSON.parse(stdout)
  return result
})

/** Of the quota, as QUERY storage says it. */
const used = (username: string) =>
  Effect.map(as(username, ["QUERY storage"]), ({ stdout }) => /bytes used +(\S+ \S+)/.exec(stdout)?.[1])

const grantsOf = Effect.fnUntraced(function*(owner: string, file: string) {
  const { stdout } = yield* as(owner, [`QUERY permission ${file}`], true)
  const grants: ReadonlyArray<{ readonly granted_at: string; readonly expires_at: string }> =
    JSON.parse(stdout).result.grants
  return grants
})

describe("the original's", () => {
  layer(TestServer.layer(), { timeout: Duration.seconds(60), excludeTestServices: true })((it) => {
    it.effect("List files: one's own, folders, what is shared and what is public, not by asking about storage", () =>
      Effect.gen(function*() {
        yield* register("list_alice", "list_bobby")
        yield* works(
          "list_alice",
          "WRITE docs/a.txt x",
          "WRITE b.txt yy",
          "GRANT list_bobby docs/ READ",
          "PUBLICISE b.txt"
        )
        assert.strictEqual(yield* works("list_alice", "LIST"), "docs/\nb.txt\n")
        assert.strictEqual(yield* works("list_alice", "LIST docs/"), "docs/a.txt\n")
        assert.strictEqual(yield* works("list_bobby", "LIST --shared"), "~list_alice/docs/a.txt\n")
        assert.strictEqual(yield* works("list_bobby", "LIST ~list_alice --public"), "~list_alice/b.txt\n")
      }))

    it.effect("Grant reader/editor/manager: again and again, in any order, on files and on folders", () =>
      Effect.gen(function*() {
        yield* register("grant_alice", "grant_bobby")
        yield* works("grant_alice", "WRITE a.txt 1", "WRITE docs/b.txt 2")
        for (const role of ["reader", "EDIT", "manager", "Read", "editor"]) {
          yield* works("grant_alice", `GRANT grant_bobby a.txt ${role}`, `GRANT grant_bobby docs/ ${role}`)
        }
        yield* works("grant_bobby", "APPEND ~grant_alice/a.txt x", "WRITE ~grant_alice/docs/new.txt y")
        yield* refused("2:perm", "grant_bobby", "GRANT grant_bobby ~grant_alice/a.txt READ")
        assert.strictEqual(yield* works("grant_alice", "READ docs/new.txt"), "y")
      }))

    it.effect("Timed grants: over at their time by the server's clock, whatever a client says", () =>
      Effect.gen(function*() {
        yield* register("timed_alice", "timed_bobby")
        yield* works("timed_alice", "WRITE a.txt 1")
        const { expires_at = "", granted_at = "" } = yield* resultOf(
          "timed_alice",
          "GRANT timed_bobby a.txt READ --duration 1s"
        )
        assert.strictEqual(Date.parse(expires_at) - Date.parse(granted_at), 1000)
        yield* Effect.sleep(Math.max(0, Date.parse(expires_at) - Date.now()))
        yield* refused("2:nf", "timed_bobby", "READ ~timed_alice/a.txt")
        assert.deepStrictEqual(yield* grantsOf("timed_alice", "a.txt"), [])
      }))

    it.effect("Change/renew a grant: role and time are those of the last GRANT", () =>
      Effect.gen(function*() {
        yield* register("renew_alice", "renew_bobby")
        yield* works("renew_alice", "WRITE a.txt 1")
        for (const time of ["permanent", "1h", "7d", "permanent", "30s"]) {
          yield* works("renew_alice", `GRANT renew_bobby a.txt EDIT --duration ${time}`)
        }
        const [grant, ...others] = yield* grantsOf("renew_alice", "a.txt")
        assert.deepStrictEqual(others, [])
        assert.strictEqual(Date.parse(grant?.expires_at ?? "") - Date.parse(grant?.granted_at ?? ""), 30_000)
        yield* works("renew_alice", "GRANT renew_bobby a.txt READ", "REVOKE renew_bobby a.txt")
        yield* refused("2:opcf", "renew_alice", "REVOKE renew_bobby a.txt")
      }))

    it.effect("Transfer ownership: the new owner owns, the old one manages, and the quota moves", () =>
      Effect.gen(function*() {
        yield* register("give_alice", "give_bobby")
        yield* works("give_alice", "WRITE a.txt 12345", "TRANSFER give_bobby a.txt")
        yield* works("give_bobby", "PUBLICISE a.txt", "HIDE a.txt", "RENAME a.txt b.txt")
        yield* refused("2:perm", "give_alice", "TRANSFER give_alice ~give_bobby/b.txt")
        yield* works("give_alice", "APPEND ~give_bobby/b.txt 6")
        assert.deepStrictEqual([yield* used("give_alice"), yield* used("give_bobby")], ["0 B", "6 B"])
      }))

    it.effect("Write locks and contention: who holds the lock is named, the owner can break it, readers go on", () =>
      Effect.gen(function*() {
        yield* register("lock_alice", "lock_bobby")
        yield* works("lock_alice", "WRITE a.txt 1", "GRANT lock_bobby a.txt EDIT")
        yield* works("lock_bobby", "LOCK ~lock_alice/a.txt --for 10m")
        const { status, stderr } = yield* as("lock_alice", ["WRITE a.txt 2"])
        assert.strictEqual(status, 1)
        assert.match(stderr, /a\.txt is locked by lock_bobby until \S+: .*\(2:lock\)/)
        assert.strictEqual(yield* works("lock_alice", "READ a.txt"), "1")
        assert.match(yield* works("lock_alice", "QUERY file a.txt"), /^locked +by lock_bobby until .*in \d+ minutes/m)
        assert.match(yield* works("lock_alice", "LIST --long"), /a\.txt {2}\(locked by lock_bobby\)/)
        yield* refused("2:lock", "lock_alice", "UNLOCK a.txt")
        yield* works("lock_alice", "UNLOCK a.txt --force", "WRITE a.txt 3")
      }))

    it.effect("FILE_METADATA and PERMISSION_METADATA: a reader asks about the file, a manager who may read it, and why", () =>
      Effect.gen(function*() {
        yield* register("meta_alice", "meta_bobby", "meta_carol")
        yield* works(
          "meta_alice",
          "WRITE docs/a.txt 12345",
          "GRANT meta_bobby docs/ READ",
          "GRANT meta_carol docs/a.txt MANAGE"
        )
        const file = yield* works("meta_bobby", "QUERY file ~meta_alice/docs/a.txt")
        assert.match(file, /^size +5 B \(5 bytes\)$/m)
        assert.match(file, /^modified .*\((just now|\d+ seconds? ago)\)$/m)
        yield* refused("2:perm", "meta_bobby", "QUERY permission ~meta_alice/docs/a.txt")
        const who = yield* works("meta_carol", "QUERY permission ~meta_alice/docs/a.txt")
        assert.match(who, /^meta_bobby +READ +~meta_alice\/docs\/ +for good$/m)
        assert.match(who, /^meta_carol +MANAGE +for good$/m)
      }))

    it.effect("STORAGE_USAGE: verbose says more than without", () =>
      Effect.gen(function*() {
        yield* register("used_alice")
        yield* works("used_alice", "WRITE docs/a.txt 12345", "WRITE b.txt 12")
        const brief = yield* works("used_alice", "QUERY storage")
        const verbose = yield* works("used_alice", "QUERY storage --verbose")
        assert.match(brief, /^bytes used +7 B of 10\.0 GiB \(0 %\)$/m)
        assert.include(verbose, brief.trimEnd())
        assert.match(verbose, /^ *5 B +1 {2}docs\/$/m)
      }))
  })
})
