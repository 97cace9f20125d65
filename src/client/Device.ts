/**
 * What this machine calls itself when it logs in: the same name for one server every time, so that the server knows the
 * device again, and another one for each server, so that none can use it at the next.
 *
 * It is derived from a secret of 32 bytes beside the known-hosts file (0600). Where that cannot be kept, the name is
 * made for this run: all that is lost is being known.
 */
import { Effect } from "effect"
import { createHmac, randomBytes } from "node:crypto"
import { readFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { writeAtomically } from "../platform/AtomicFile.ts"
import { makeFolder } from "../platform/makeFolder.ts"
import { DeviceId } from "../protocol/Identity.ts"
import { formatHostPort, type HostPort } from "./HostPort.ts"

const SECRET_BYTES = 32

const stored = (path: string): Effect.Effect<Uint8Array | undefined> =>
  Effect.tryPromise(() => readFile(path)).pipe(
    Effect.map((bytes) => bytes.length === SECRET_BYTES ? bytes : undefined),
    Effect.orElseSucceed(() => undefined)
  )

const make = (path: string): Effect.Effect<Uint8Array> => {
  const secret = randomBytes(SECRET_BYTES)
  return Effect.tryPromise(() => makeFolder(dirname(path), 0o700)).pipe(
    Effect.andThen(writeAtomically(path, secret)),
    // Of two programs that make it at once, both end with what is kept.
    Effect.andThen(stored(path)),
    Effect.map((kept) => kept ?? secret),
    Effect.orElseSucceed(() => secret)
  )
}

/** The name of this machine for a server. */
export const deviceFor = Effect.fnUntraced(function*(server: HostPort, knownHosts: string) {
  const path = join(dirname(knownHosts), "device")
  const secret = (yield* stored(path)) ?? (yield* make(path))
  return DeviceId.make(createHmac("sha256", secret).update(`fip device ${formatHostPort(server)}`).digest("base64url"))
})
