/**
 * Who this server is: the key that clients pin, the certificate that carries it through TLS, and the proof that a new
 * key follows from an old one.
 *
 * All of it is in one file, `<identityDir>/current.pem` (0600 in a folder of 0700), which is only ever replaced
 * whole: after a crash at any point the old identity is there or the new one. It is made at the first start; whoever
 * cannot read it must hear of it, because a key without a history is a stranger to every client.
 */
import { Clock, Context, Data, Effect, Layer, Redacted, type Scope, Semaphore } from "effect"
import { readFile, stat } from "node:fs/promises"
import { join } from "node:path"
import { writeAtomically } from "../platform/AtomicFile.ts"
import * as FileLock from "../platform/FileLock.ts"
import { makeFolder } from "../platform/makeFolder.ts"
import { systemErrorCode, systemErrorReason } from "../platform/systemError.ts"
import { encodeRecord, type RecordReason } from "../protocol/Continuity.ts"
import type { Fingerprint } from "../protocol/Identity.ts"
import { type Refusal, refuse } from "../protocol/Refusal.ts"
import type { ResultOf } from "../protocol/Request.ts"
import { formatIdentity, parseIdentity } from "./identity/IdentityFile.ts"
import {
  type IdentityState,
  makeFirst,
  recover,
  recoveryRecord,
  rotate,
  withFreshNext,
  withRecovery
} from "./identity/IdentityState.ts"
import { prove, type ProvenSession } from "./identity/prove.ts"
import { keyPem } from "./identity/selfSigned.ts"
import { identityDirOf, ServerConfig } from "./ServerConfig.ts"

/** The identity cannot be used. `message` is a sentence for the person who starts the server. */
export class IdentityError extends Data.TaggedError("IdentityError")<{ readonly message: string }> {}

/** What TLS needs. */
export interface LiveIdentity {
  /** The private key, as PEM. */
  readonly key: Redacted.Redacted
  /** As PEM. Clients look at its key alone. */
  readonly certificate: string
  readonly fingerprint: Fingerprint
}

const OTHERS = 0o077

const read = async (path: string): Promise<string | undefined> => {
  try {
    const { mode } = await stat(path)
    if (process.platform !== "win32" && (mode & OTHERS) !== 0) {
      throw new Error("others may read it: make it private with chmod 600")
    }
    return await readFile(path, "utf8")
  } catch (cause) {
    if (systemErrorCode(cause) === "ENOENT") return undefined
    throw cause
  }
}

const unusable = (path: string, reason: string): IdentityError =>
  new IdentityError({ message: `cannot use the server's identity in ${path}: ${reason}` })

const said = (error: { readonly message: string }): IdentityError => new IdentityError({ message: error.message })

/** `undefined` when there is no file. */
const load = Effect.fnUntraced(function*(path: string): Effect.fn.Return<
  ReturnType<typeof parseIdentity> | undefined,
  IdentityError
> {
  const text = yield* Effect.tryPromise({
    try: () => read(path),
    catch: (cause) => unusable(path, systemErrorReason(cause))
  })
  if (text === undefined) return undefined
  return yield* Effect.try({
    try: () => parseIdentity(text),
    catch: (cause) => unusable(path, `it is damaged: ${systemErrorReason(cause)}`)
  })
})

/** Runs `use` while no other process changes the identity in `folder`. */
const locked = <A, E>(folder: string, use: Effect.Effect<A, E>): Effect.Effect<A, E | IdentityError> =>
  Effect.scoped(Effect.andThen(
    Effect.mapError(FileLock.acquire(join(folder, "lock"), { wait: "10 seconds" }), said),
    use
  ))

const save = (path: string, state: IdentityState): Effect.Effect<IdentityState, IdentityError> =>
  Effect.as(Effect.mapError(writeAtomically(path, formatIdentity(state)), said), state)

/** The identity in `folder`: what is there, completed where it was made before there were records, or a first one. */
const open = Effect.fnUntraced(function*(folder: string, path: string) {
  yield* Effect.tryPromise({
    try: () => makeFolder(folder, 0o700),
    catch: (cause) => new IdentityError({ message: `cannot make the folder ${folder}: ${systemErrorReason(cause)}` })
  })
  // Two servers may start for the first time on one folder: the second one finds what the first one made.
  return yield* locked(
    folder,
    Effect.gen(function*() {
      const found = yield* load(path)
      if (found?.history !== undefined) return found
      const now = yield* Clock.currentTimeMillis
      return yield* save(path, yield* Effect.promise(() => makeFirst(now, found)))
    })
  )
})

const liveOf = (state: IdentityState): LiveIdentity => ({
  key: Redacted.make(keyPem(state.key)),
  certificate: state.certificate,
  fingerprint: state.fingerprint
})

export class ServerIdentity extends Context.Service<ServerIdentity, {
  /** What new connections are shown. */
  readonly live: Effect.Effect<LiveIdentity>
  /** All of it; the private keys stay in this process. */
  readonly state: Effect.Effect<IdentityState>
  /** Hands over the live identity, at once and whenever it changes, until the scope closes. */
  readonly follow: (use: (live: LiveIdentity) => void) => Effect.Effect<void, never, Scope.Scope>
  /** Is called after each change, whoever made it, until the scope closes. */
  readonly onChange: (use: () => void) => Effect.Effect<void, never, Scope.Scope>
  /** Reads again what another server may have changed. */
  readonly reload: Effect.Effect<void, IdentityError>
  /** Makes the next key the live one. It is on disk before anybody sees it; connections that are open go on. */
  readonly rotate: (reason: Exclude<RecordReason, "first">) => Effect.Effect<IdentityState, IdentityError>
  /** Pins the recovery key (SPKI), once: only it can replace itself. */
  readonly setRecovery: (key: Uint8Array) => Effect.Effect<IdentityState, IdentityError>
  /** The record of a fresh key, for the recovery key to sign. */
  readonly prepareRecovery: Effect.Effect<Uint8Array, IdentityError>
  /** Makes that key the live one, by the signed record. Everything that older keys sign from here on is void. */
  readonly recover: (signed: Uint8Array) => Effect.Effect<IdentityState, IdentityError>
  /** What a client is told that asks by which right the key of its TLS session is this server's. */
  readonly prove: (
    session: ProvenSession,
    pinned: Fingerprint | undefined
  ) => Effect.Effect<ResultOf<"Credentials">, Refusal>
}>()("fip/server/ServerIdentity") {
  static readonly layer = Layer.effect(
    ServerIdentity,
    Effect.gen(function*() {
      const folder = identityDirOf(yield* ServerConfig)
      const path = join(folder, "current.pem")
      let state = yield* open(folder, path)
      // Of the keys that were live before, the last: connections may have been made with it.
      let previous: IdentityState | undefined
      const followers = new Set<(live: LiveIdentity) => void>()
      const observers = new Set<() => void>()
      const turns = yield* Semaphore.make(1)

      const adopt = (next: IdentityState) => {
        const before = state
        state = next
        for (const observer of observers) observer()
        if (next.fingerprint !== before.fingerprint) {
          previous = before
          const live = liveOf(next)
          for (const follower of followers) follower(live)
        }
        return next
      }

      /** One change after the other, from what is on disk, and seen only when it is on disk. */
      const change = (make: (from: IdentityState, now: number) => Effect.Effect<IdentityState, IdentityError>) =>
        Effect.uninterruptible(
          turns.withPermits(1)(locked(
            folder,
            Effect.gen(function*() {
              const found = yield* load(path)
              if (found?.history === undefined) return yield* unusable(path, "it is gone")
              const next = yield* make(found, yield* Clock.currentTimeMillis)
              return adopt(yield* save(path, next))
            })
          ))
        )

      return ServerIdentity.of({
        live: Effect.sync(() => liveOf(state)),
        state: Effect.sync(() => state),
        follow: (use) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              followers.add(use)
              use(liveOf(state))
            }),
            () => Effect.sync(() => followers.delete(use))
          ),
        onChange: (use) =>
          Effect.acquireRelease(Effect.sync(() => observers.add(use)), () => Effect.sync(() => observers.delete(use))),
        reload: Effect.uninterruptible(
          turns.withPermits(1)(locked(
            folder,
            Effect.gen(function*() {
              const found = yield* load(path)
              if (found?.history !== undefined && formatIdentity(found) !== formatIdentity(state)) adopt(found)
            })
          ))
        ),
        rotate: (reason) => change((from, now) => Effect.promise(() => rotate(from, now, reason))),
        setRecovery: (key) =>
          change((from) =>
            from.recovery === undefined
              ? Effect.succeed(withRecovery(from, key))
              : Effect.fail(
                new IdentityError({
                  message: "there is a recovery key already, which clients have pinned: keep using it"
                })
              )
          ),
        prepareRecovery: Effect.gen(function*() {
          const without = new IdentityError({ message: "this server has no recovery key" })
          const prepared = yield* change((from) =>
            from.recovery === undefined ? Effect.fail(without) : Effect.promise(() => withFreshNext(from))
          )
          const record = recoveryRecord(prepared, yield* Clock.currentTimeMillis)
          return record === undefined ? yield* without : encodeRecord(record)
        }),
        recover: (signed) =>
          change(Effect.fnUntraced(function*(from, now) {
            const next = yield* Effect.promise(() => recover(from, signed, now))
            return typeof next === "string" ? yield* new IdentityError({ message: next }) : next
          })),
        prove: Effect.fnUntraced(function*(session, pinned) {
          const known = [state, previous].find((known) => known?.fingerprint === session.fingerprint)
          if (known === undefined) {
            return yield* refuse("2:opcf", "the server's key has changed since this connection was made: connect again")
          }
          return prove(known, session, pinned, yield* Clock.currentTimeMillis)
        })
      })
    })
  )
}
