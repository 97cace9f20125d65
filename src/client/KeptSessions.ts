/**
 * Sessions that outlive the process, so that one login serves many commands: for each server and user one file, 0600 in
 * a folder 0700, `$XDG_STATE_HOME/fip/sessions/user@host:port.json`. It holds the last tokens and never a password.
 *
 * A refresh digest is good once, so it is used under a lock between processes, and what it brings is on the disk before
 * the lock is free: of two that want to renew at the same moment, the second finds the first one's tokens. A session is
 * of the device that logged in, and is left alone by any other.
 */
import { Clock, Effect, Fiber, Option, Result, Schema } from "effect"
import { createHash } from "node:crypto"
import { readdir, readFile, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { syncFolder, writeAtomically } from "../platform/AtomicFile.ts"
import { acquire } from "../platform/FileLock.ts"
import { makeFolder } from "../platform/makeFolder.ts"
import { systemErrorCode, systemErrorReason } from "../platform/systemError.ts"
import { AccessToken, type DeviceId, RefreshDigest, SessionId, Username } from "../protocol/Identity.ts"
import type { SessionGrant } from "../protocol/Request.ts"
import { LocalFileError } from "./ClientError.ts"
import { formatHostPort, type HostPort } from "./HostPort.ts"
import { defaultFolder as transfersFolder } from "./Journal.ts"
import type { Session } from "./Session.ts"

const Instant = Schema.Number.check(Schema.isInt())

/** What a file holds. Instants are milliseconds since 1970, by this machine's clock. */
const Kept = Schema.Struct({
  server: Schema.String,
  username: Username,
  session_id: SessionId,
  token: AccessToken,
  refresh_digest: RefreshDigest,
  /** When the tokens came, and until when they are good. */
  received_at: Instant,
  token_expires_at: Instant,
  refresh_expires_at: Instant,
  logged_in_at: Instant,
  /** SHA-256 of the device's name at this server. */
  device: Schema.String
})
export type Kept = typeof Kept.Type

const decodeKept = Schema.decodeUnknownOption(Schema.fromJsonString(Kept))

/** `$XDG_STATE_HOME/fip/sessions`, or where the client was told to keep its state. */
export const sessionsFolder = (stateFolder?: string): string =>
  join(stateFolder ?? dirname(transfersFolder()), "sessions")

/** What holds one session while this process uses it. */
export interface Keeper {
  /** Writes down a session that has begun at `receivedAt`. */
  readonly keep: (grant: SessionGrant, receivedAt: number) => Effect.Effect<void, LocalFileError>
  /**
   * What follows the tokens `seen`: another process's, if one has renewed the session meanwhile, else what `request`
   * brings for the digest. `kept` is false when that could not be written down. `undefined`: it is kept no more.
   */
  readonly renew: <E>(
    seen: SessionGrant,
    request: (digest: RefreshDigest) => Effect.Effect<SessionGrant, E>
  ) => Effect.Effect<{ readonly grant: SessionGrant; readonly kept: boolean } | undefined, E | LocalFileError>
  /** Removes the file, if it still holds this session. */
  readonly forget: (sessionId: SessionId) => Effect.Effect<void>
}

const SUFFIX = ".json"

const fileOf = (folder: string, server: string, username: string): string =>
  join(folder, `${username.toLowerCase()}@${encodeURIComponent(server).replaceAll("%3A", ":")}${SUFFIX}`)

const hashOf = (device: DeviceId): string => createHash("sha256").update(device).digest("base64url")

const failedTo = (what: string, path: string) => (cause: unknown) =>
  new LocalFileError({ path, message: `cannot ${what} ${path}: ${systemErrorReason(cause)}`, cause })

const read = (path: string): Effect.Effect<Kept | undefined, LocalFileError> =>
  Effect.tryPromise({
    try: () =>
      readFile(path, "utf8").catch((cause: unknown) => {
        if (systemErrorCode(cause) === "ENOENT") return undefined
        throw cause
      }),
    catch: failedTo("read", path)
  }).pipe(
    Effect.flatMap((text) =>
      text === undefined
        ? Effect.undefined
        : Effect.mapError(
          Effect.fromOption(decodeKept(text)),
          () => new LocalFileError({ path, message: `${path} holds no session of this fip: fip login makes a new one` })
        )
    )
  )

/** Every session that is kept, the one that logged in last first. */
export const listKept = Effect.fnUntraced(function*(folder: string) {
  const names = yield* Effect.tryPromise({
    try: () =>
      readdir(folder).catch((cause: unknown) => {
        if (systemErrorCode(cause) === "ENOENT") return []
        throw cause
      }),
    catch: failedTo("read", folder)
  })
  const all = yield* Effect.forEach(
    names.filter((name) => name.endsWith(SUFFIX) && !name.startsWith(".")),
    (name) => read(join(folder, name))
  )
  return all.filter((kept) => kept !== undefined).sort((a, b) => b.logged_in_at - a.logged_in_at)
})

/** The session that is kept of a user at a server; of the user who logged in there last, if none is named. */
export const findKept = Effect.fnUntraced(
  function*(folder: string, address: HostPort, username: string | undefined) {
    const server = formatHostPort(address)
    if (username !== undefined) return yield* read(fileOf(folder, server, username))
    return (yield* listKept(folder)).find((kept) => kept.server === server)
  }
)

/** True when this device began the session: any other that used its digest would end it. */
export const isOf = (kept: Kept, device: DeviceId): boolean => kept.device === hashOf(device)

/** What is left of kept tokens. Those that come from the future are taken for old: a clock was set. */
export const grantOf = (kept: Kept): Effect.Effect<SessionGrant> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    const left = (until: number) => now < kept.received_at ? 0 : Math.max(0, until - now)
    return {
      username: kept.username,
      session_id: kept.session_id,
      token: kept.token,
      token_expires_in_ms: left(kept.token_expires_at),
      refresh_digest: kept.refresh_digest,
      refresh_expires_in_ms: left(kept.refresh_expires_at)
    }
  })

/** How long one waits while another process renews the session. */
const LOCK_WAIT = "30 seconds"

/** How long somebody who does not want to wait any more still waits for tokens that are on their way. */
const ANSWER_PATIENCE = "3 seconds"

/** Runs an effect that ends what it has begun: interrupted, it has a little more time. */
const finishing = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.forkDetach(effect, { startImmediately: true }),
      (fiber) =>
        Effect.onInterrupt(restore(Fiber.join(fiber)), () =>
          Fiber.await(fiber).pipe(
            Effect.interruptible,
            Effect.timeoutOption(ANSWER_PATIENCE),
            Effect.andThen(Fiber.interrupt(fiber))
          ))
    )
  )

/** Where a client keeps its sessions at one server. */
export interface Keeping {
  readonly folder: string
  readonly address: HostPort
  readonly device: DeviceId
}

/** Keeps the sessions of one user at one server. */
export const makeKeeper = (options: Keeping, username: Username): Keeper => {
  const { folder } = options
  const server = formatHostPort(options.address)
  const path = fileOf(folder, server, username)

  const exclusively = <A, E>(use: Effect.Effect<A, E>): Effect.Effect<A, E | LocalFileError> =>
    Effect.tryPromise({ try: () => makeFolder(folder, 0o700), catch: failedTo("make", folder) }).pipe(
      Effect.andThen(
        Effect.mapError(
          acquire(path.replace(/\.json$/, ".lock"), { wait: LOCK_WAIT }),
          ({ message, path }) => new LocalFileError({ path, message })
        )
      ),
      Effect.andThen(use),
      Effect.scoped
    )

  const write = (grant: SessionGrant, receivedAt: number, loggedInAt: number) => {
    const kept: Kept = {
      server,
      username: grant.username,
      session_id: grant.session_id,
      token: grant.token,
      refresh_digest: grant.refresh_digest,
      received_at: receivedAt,
      token_expires_at: receivedAt + grant.token_expires_in_ms,
      refresh_expires_at: receivedAt + grant.refresh_expires_in_ms,
      logged_in_at: loggedInAt,
      device: hashOf(options.device)
    }
    return Effect.mapError(
      writeAtomically(path, `${JSON.stringify(kept, undefined, 2)}\n`),
      ({ message }) => new LocalFileError({ path, message })
    )
  }

  const remove = Effect.ignore(Effect.tryPromise(async () => {
    await rm(path, { force: true })
    await syncFolder(folder)
  }))

  const renew: Keeper["renew"] = (seen, request) =>
    exclusively(Effect.gen(function*() {
      const kept = yield* read(path)
      if (kept === undefined || !isOf(kept, options.device)) return undefined
      const grant = yield* grantOf(kept)
      if (grant.token !== seen.token && grant.token_expires_in_ms > 0) return { grant, kept: true }
      return yield* finishing(Effect.gen(function*() {
        const renewed = yield* request(kept.refresh_digest)
        const written = yield* Effect.result(
          write(renewed, yield* Clock.currentTimeMillis, kept.logged_in_at)
        )
        // A digest that has been used is worse than none: it would end the session.
        if (Result.isFailure(written)) yield* remove
        return { grant: renewed, kept: Result.isSuccess(written) }
      }))
    }))

  return {
    renew,
    keep: (grant, receivedAt) =>
      exclusively(Effect.uninterruptible(
        Effect.flatMap(Clock.currentTimeMillis, (now) => write(grant, receivedAt, now))
      )),
    forget: (sessionId) =>
      Effect.ignore(
        exclusively(Effect.flatMap(Effect.option(read(path)), (kept) =>
          Option.isSome(kept) && kept.value?.session_id === sessionId ? remove : Effect.void))
      )
  }
}

/** Begins with the session that is kept, if there is one of this device. */
export const takeUp = Effect.fnUntraced(function*(
  session: Session,
  keeping: Keeping,
  username: string | undefined,
  onNotice: (message: string) => void
) {
  const kept = yield* findKept(keeping.folder, keeping.address, username)
  if (kept === undefined || !isOf(kept, keeping.device)) return
  yield* session.takeUp(yield* grantOf(kept), makeKeeper(keeping, kept.username))
  // Renews tokens that have ended. Where nobody answers now, the first request says so.
  yield* Effect.ignore(session.active)
  if (Option.isSome(yield* session.identity)) return
  onNotice(`the session of ${kept.username} that was kept here has ended: log in again`)
})
