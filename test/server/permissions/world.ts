/** People and files for tests of sharing: rows, without passwords and content. */
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { randomBytes, randomUUID } from "node:crypto"
import { FileName } from "../../../src/protocol/FileName.ts"
import { SessionId, Username } from "../../../src/protocol/Identity.ts"
import type { Role } from "../../../src/protocol/Permission.ts"
import { FileLookup } from "../../../src/server/caches/FileLookup.ts"
import type { Caller } from "../../../src/server/Caller.ts"
import { Permissions } from "../../../src/server/Permissions.ts"
import { defaults, ServerConfig } from "../../../src/server/ServerConfig.ts"

/** The services under test, on a database. */
export const layer = Layer.mergeAll(Permissions.layer, FileLookup.layer).pipe(
  Layer.provide(Layer.succeed(ServerConfig, { ...defaults, dataDir: "" }))
)

export const nameOf = (name: string): FileName => FileName.make(name)

/** Somebody with an account of a name that no other test has. Limits are the server's unless given. */
export const newPerson = Effect.fnUntraced(function*(
  limits: { readonly bytes?: number; readonly files?: number } = {}
) {
  const sql = yield* SqlClient
  const username = Username.make(`User-${randomBytes(6).toString("hex")}`)
  const [row] = yield* sql<{ readonly user_id: number }>`
    insert into users (username, username_key, password_hash, bytes_limit, files_limit, created_at)
    values (${username}, ${username.toLowerCase()}, '', ${limits.bytes ?? null}, ${limits.files ?? null}, now())
    returning user_id`
  const caller: Caller = {
    userId: row?.user_id ?? 0,
    username,
    sessionId: SessionId.make(randomUUID()),
    expiresAt: Number.MAX_SAFE_INTEGER,
    address: "192.0.2.7"
  }
  return caller
})

/** A file without content that counts as `size` bytes. */
export const newFile = Effect.fnUntraced(function*(owner: Caller, name: FileName, size = 0) {
  const sql = yield* SqlClient
  yield* sql`
    insert into files (owner_id, name, size, version, created_at, modified_at)
    values (${owner.userId}::bigint, ${name}, ${size}::bigint, 1, now(), now())`
  yield* sql`
    update users set bytes_used = bytes_used + ${size}::bigint, files_used = files_used + 1
    where user_id = ${owner.userId}::bigint`
})

/** What somebody is to a file, as every request that reads or writes it sees it; `undefined`: nobody, or no file. */
export const roleOn = (
  caller: Caller,
  owner: Caller,
  name: FileName
): Effect.Effect<Role | undefined, never, FileLookup> =>
  FileLookup.pipe(
    Effect.flatMap((files) => files.locate({ callerId: caller.userId, owner: owner.username, name })),
    Effect.map((located) => located?.file === undefined ? undefined : located.role),
    Effect.orDie
  )

export const usageOf = Effect.fnUntraced(function*(person: Caller) {
  const sql = yield* SqlClient
  const [row] = yield* sql<{ readonly bytes: number; readonly files: number }>`
    select bytes_used as bytes, files_used as files from users where user_id = ${person.userId}::bigint`
  return row
})
