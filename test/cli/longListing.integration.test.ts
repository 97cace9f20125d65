/** LIST of many names: written as it comes, by a client that could not hold it. */
import { PgClient } from "@effect/sql-pg"
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { join } from "node:path"
import { FipClient } from "../../src/client/FipClient.ts"
import { Server } from "../../src/server/Server.ts"
import * as Program from "../support/Program.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import * as TestServer from "../support/TestServer.ts"

const FILES = 100_000
/** Of memory for the client's objects: less than a hundred thousand names with all that a listing says of each. */
const HEAP_MIB = 48

it.live("100,000 names are listed in order, once each, in a heap that cannot hold them", () =>
  Effect.gen(function*() {
    const databaseUrl = yield* TestDatabase.postgresUrl
    const server = yield* Layer.build(TestServer.layer({ databaseUrl, registration: "open" }))
    const { port } = yield* Effect.provideContext(Server, server)
    const folder = yield* TestServer.temporaryFolder
    const knownHosts = join(folder, "known_hosts")
    const [username, password] = ["lister", "long-listing-password"]
    yield* Effect.scoped(
      Effect.gen(function*() {
        const client = yield* FipClient
        yield* client.register(username, Redacted.make(password))
      }).pipe(Effect.provide(FipClient.layer({ host: "127.0.0.1", port, knownHosts })))
    )
    yield* Effect.scoped(
      SqlClient.pipe(
        Effect.flatMap((sql) =>
          sql`
            insert into files (owner_id, name, size, version, created_at, modified_at)
            select u.user_id, 'folder-' || n % 7 || '/' || lpad(n::text, 6, '0') || '.txt', n, 1, now(), now()
            from users u, generate_series(1, ${FILES}::int) n where u.username = ${username}`
        ),
        Effect.provide(PgClient.layer({ url: Redacted.make(databaseUrl) }))
      )
    )
    const list = (...flags: ReadonlyArray<string>) =>
      Effect.promise(() =>
        Program.run(
          ["connect", "127.0.0.1", String(port), "--known-hosts", knownHosts, "--", "LIST", "--recursive", ...flags],
          { env: { FIP_USERNAME: username, FIP_PASSWORD: password }, node: [`--max-old-space-size=${HEAP_MIB}`] }
        )
      )
    const long = yield* list("--long")
    assert.strictEqual(long.status, 0, long.stderr.slice(-2000))
    const lines = long.stdout.toString().trimEnd().split("\n")
    assert.match(lines[0] ?? "", /^ROLE +PUBLIC +SIZE +VERSION +MODIFIED +NAME$/)
    assert.match(lines.at(-1) ?? "", /^100000 files, /)
    const names = lines.slice(1, -1).map((line) => line.slice(line.indexOf("folder-")))
    assert.lengthOf(names, FILES)
    assert.isTrue(names.every((name, index) => index === 0 || (names[index - 1] ?? "") < name))
    // The columns do not move from one page to the next.
    assert.lengthOf([...new Set(lines.slice(1, -1).map((line) => line.indexOf("folder-")))], 1)
  }).pipe(Effect.scoped), 120_000)
