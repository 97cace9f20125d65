/**
 * The known-hosts file: which key each server had when it was first met.
 *
 * One pin a line, `host:port SHA256:…`, then fields `name=value` that are kept as they are (`pinned_at` is written);
 * empty lines and lines that begin with `#` are kept too. A line that cannot be read is an error that names it, never
 * skipped and never overwritten: a pin that is silently lost would be trust on first use again. The file is 0600 in a
 * 0700 folder, changed under a lock and replaced atomically.
 */
import { DateTime, Effect, Option, Schema } from "effect"
import { readFile } from "node:fs/promises"
import { homedir } from "node:os"
import { dirname, isAbsolute, join } from "node:path"
import { writeAtomically } from "../platform/AtomicFile.ts"
import { acquire } from "../platform/FileLock.ts"
import { makeFolder } from "../platform/makeFolder.ts"
import { systemErrorCode, systemErrorReason } from "../platform/systemError.ts"
import { Fingerprint } from "../protocol/Identity.ts"
import { LocalFileError } from "./ClientError.ts"
import { formatHostPort, type HostPort } from "./HostPort.ts"

/** `$XDG_CONFIG_HOME/fip/known_hosts`, with `~/.config` where that is not set. */
export const defaultPath = (): string => {
  const base = process.env["XDG_CONFIG_HOME"]
  // The XDG specification has a path that is not absolute ignored.
  return join(base !== undefined && isAbsolute(base) ? base : join(homedir(), ".config"), "fip", "known_hosts")
}

const Pin = Schema.Struct({
  at: Schema.String.check(Schema.isPattern(/^\S+:\d{1,5}$/)),
  fingerprint: Fingerprint,
  fields: Schema.Array(Schema.String.check(Schema.isPattern(/^[a-z_]+=\S+$/)))
})

const decodePin = Schema.decodeUnknownOption(Pin)

interface Contents {
  readonly text: string
  readonly pins: ReadonlyMap<string, Fingerprint>
}

const parse = Effect.fnUntraced(function*(path: string, text: string): Effect.fn.Return<Contents, LocalFileError> {
  const pins = new Map<string, Fingerprint>()
  for (const [index, line] of text.split("\n").entries()) {
    const [at, fingerprint, ...fields] = line.split(/\s+/).filter((word) => word !== "")
    if (at === undefined || at.startsWith("#")) continue
    const pin = decodePin({ at, fingerprint, fields })
    const fault = Option.isNone(pin)
      ? `is no pin: it should read "host:port SHA256:…"`
      : pins.has(at)
      ? `pins ${at} a second time`
      : undefined
    if (fault !== undefined) {
      return yield* new LocalFileError({
        path,
        message: `${path}: line ${index + 1} ${fault}. Mend it or remove it; nothing was sent to the server`
      })
    }
    if (Option.isSome(pin)) pins.set(pin.value.at, pin.value.fingerprint)
  }
  return { text, pins }
})

const read = (path: string): Effect.Effect<Contents, LocalFileError> =>
  Effect.tryPromise({
    try: () =>
      readFile(path, "utf8").catch((cause: unknown) => {
        if (systemErrorCode(cause) === "ENOENT") return ""
        throw cause
      }),
    catch: (cause) => new LocalFileError({ path, message: `cannot read ${path}: ${systemErrorReason(cause)}`, cause })
  }).pipe(Effect.flatMap((text) => parse(path, text)))

/** The key that is pinned for a server; `undefined` when it has not been met. */
export const findPin = (
  path: string,
  address: HostPort
): Effect.Effect<Fingerprint | undefined, LocalFileError> =>
  Effect.map(read(path), ({ pins }) => pins.get(formatHostPort(address)))

/** Pins a key, unless one is pinned already; gives the one that is pinned now. */
export const pin = Effect.fnUntraced(
  function*(path: string, address: HostPort, fingerprint: Fingerprint) {
    yield* Effect.tryPromise({
      try: () => makeFolder(dirname(path), 0o700),
      catch: (cause) =>
        new LocalFileError({ path, message: `cannot make ${dirname(path)}: ${systemErrorReason(cause)}`, cause })
    })
    yield* acquire(`${path}.lock`, { wait: "10 seconds" })
    const { pins, text } = yield* read(path)
    const at = formatHostPort(address)
    const pinned = pins.get(at)
    if (pinned !== undefined) return pinned
    const now = DateTime.formatIso(yield* DateTime.now)
    const before = text === "" || text.endsWith("\n") ? text : `${text}\n`
    yield* writeAtomically(path, `${before}${at} ${fingerprint} pinned_at=${now}\n`)
    return fingerprint
  },
  Effect.scoped,
  Effect.catchTag(
    ["FileLockError", "AtomicFileError"],
    (error) => new LocalFileError({ path: error.path, message: error.message, cause: error })
  )
)
