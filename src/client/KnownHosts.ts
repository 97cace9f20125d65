/**
 * The known-hosts file: which key each server had when it was last met, and what is known of its keys to come.
 *
 * One pin a line, `host:port SHA256:…`, then fields `name=value`; fields and lines that mean nothing here, empty lines and
 * lines that begin with `#` are kept as they are. A line that cannot be read is an error that names it, never skipped
 * and never overwritten: a pin that is silently lost would be trust on first use again. The file is 0600 in a 0700
 * folder, changed under a lock and replaced atomically. A pin never goes back behind the key it has reached.
 */
import { DateTime, Effect, Option, Schema } from "effect"
import { readFile } from "node:fs/promises"
import { homedir } from "node:os"
import { dirname, isAbsolute, join } from "node:path"
import { writeAtomically } from "../platform/AtomicFile.ts"
import { acquire } from "../platform/FileLock.ts"
import { makeFolder } from "../platform/makeFolder.ts"
import { systemErrorCode, systemErrorReason } from "../platform/systemError.ts"
import type { Pin, Standing } from "../protocol/ContinuityProof.ts"
import { Fingerprint } from "../protocol/Identity.ts"
import { LocalFileError } from "./ClientError.ts"
import { formatHostPort, type HostPort } from "./HostPort.ts"

/** `$XDG_CONFIG_HOME/fip/known_hosts`, with `~/.config` where that is not set. */
export const defaultPath = (): string => {
  const base = process.env["XDG_CONFIG_HOME"]
  // The XDG specification has a path that is not absolute ignored.
  return join(base !== undefined && isAbsolute(base) ? base : join(homedir(), ".config"), "fip", "known_hosts")
}

/** A line of the file. */
export interface KnownHost extends Pin {
  /** `host:port`. */
  readonly at: string
  readonly fields: ReadonlyMap<string, string>
}

const Count = Schema.NumberFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: 2 ** 53 - 1 }))

const Line = Schema.Struct({
  at: Schema.String.check(Schema.isPattern(/^\S+:\d{1,5}$/)),
  fingerprint: Fingerprint,
  fields: Schema.Array(Schema.String.check(Schema.isPattern(/^[a-z_]+=\S+$/)))
})

/** The fields that are written when a server has proven who it is. */
const StandingFields = Schema.Struct({
  server: Schema.String.check(Schema.isPattern(/^[0-9a-f]{32}$/)),
  generation: Count,
  sequence: Count,
  recovery: Schema.optionalKey(Fingerprint),
  next: Schema.optionalKey(Fingerprint)
})

const decodeLine = Schema.decodeUnknownOption(Line)
const decodeStanding = Schema.decodeUnknownOption(StandingFields)

const parseLine = (words: { readonly at: string; readonly fingerprint: unknown; readonly fields: Array<string> }) =>
  Option.gen(function*() {
    const line = yield* decodeLine(words)
    const fields = new Map(line.fields.map((field) => {
      const equals = field.indexOf("=")
      return [field.slice(0, equals), field.slice(equals + 1)]
    }))
    const host = { at: line.at, fingerprint: line.fingerprint, fields }
    if (!fields.has("server")) return { ...host, standing: undefined }
    const { generation, next, recovery, sequence, server } = yield* decodeStanding(Object.fromEntries(fields))
    return { ...host, standing: { serverId: server, generation, sequence, recovery, next } }
  })

/** The file: its lines, and what they pin. */
interface Contents {
  readonly lines: ReadonlyArray<string>
  readonly hosts: ReadonlyMap<string, KnownHost & { readonly index: number }>
}

const parse = Effect.fnUntraced(function*(path: string, text: string): Effect.fn.Return<Contents, LocalFileError> {
  const lines = text.split("\n")
  const hosts = new Map<string, KnownHost & { readonly index: number }>()
  for (const [index, line] of lines.entries()) {
    const [at, fingerprint, ...fields] = line.split(/\s+/).filter((word) => word !== "")
    if (at === undefined || at.startsWith("#")) continue
    const host = parseLine({ at, fingerprint, fields })
    const fault = Option.isNone(host)
      ? `is no pin: it should read "host:port SHA256:…"`
      : hosts.has(at)
      ? `pins ${at} a second time`
      : undefined
    if (fault !== undefined) {
      return yield* new LocalFileError({
        path,
        message: `${path}: line ${index + 1} ${fault}. Mend it or remove it; nothing was sent to the server`
      })
    }
    if (Option.isSome(host)) hosts.set(at, { ...host.value, index })
  }
  return { lines, hosts }
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

/** All pins, in the order of the file. */
export const listPins = (path: string): Effect.Effect<ReadonlyArray<KnownHost>, LocalFileError> =>
  Effect.map(read(path), ({ hosts }) => [...hosts.values()])

/** What is pinned for a server; `undefined` when it has not been met. */
export const findPin = (path: string, address: HostPort): Effect.Effect<KnownHost | undefined, LocalFileError> =>
  Effect.map(read(path), ({ hosts }) => hosts.get(formatHostPort(address)))

const STANDING: ReadonlySet<string> = new Set(Object.keys(StandingFields.fields))

const standingFields = ({ generation, next, recovery, sequence, serverId }: Standing): ReadonlyArray<string> => [
  `server=${serverId}`,
  `generation=${generation}`,
  `sequence=${sequence}`,
  ...(recovery === undefined ? [] : [`recovery=${recovery}`]),
  ...(next === undefined ? [] : [`next=${next}`])
]

const formatLine = (at: string, pin: Pin, others: Iterable<readonly [string, string]>): string =>
  [
    at,
    pin.fingerprint,
    ...Array.from(others).filter(([name]) => !STANDING.has(name)).map(([name, value]) => `${name}=${value}`),
    ...(pin.standing === undefined ? [] : standingFields(pin.standing))
  ].join(" ")

/** Reads the file, and writes the lines that `edit` gives, while nobody else does. */
const change = <A>(
  path: string,
  edit: (contents: Contents, now: string) => { readonly lines?: ReadonlyArray<string>; readonly result: A }
): Effect.Effect<A, LocalFileError> =>
  Effect.gen(function*() {
    yield* Effect.tryPromise({
      try: () => makeFolder(dirname(path), 0o700),
      catch: (cause) =>
        new LocalFileError({ path, message: `cannot make ${dirname(path)}: ${systemErrorReason(cause)}`, cause })
    })
    yield* acquire(`${path}.lock`, { wait: "10 seconds" })
    const { lines, result } = edit(yield* read(path), DateTime.formatIso(yield* DateTime.now))
    if (lines !== undefined) yield* writeAtomically(path, lines.join("\n"))
    return result
  }).pipe(
    Effect.scoped,
    Effect.catchTag(
      ["FileLockError", "AtomicFileError"],
      (error) => new LocalFileError({ path: error.path, message: error.message, cause: error })
    )
  )

/** Pins a key, unless one is pinned already; gives what is pinned now. */
export const pin = (path: string, address: HostPort, first: Pin): Effect.Effect<Pin, LocalFileError> =>
  change<Pin>(path, ({ hosts, lines }, now) => {
    const at = formatHostPort(address)
    const known = hosts.get(at)
    if (known !== undefined) return { result: known }
    const before = lines.at(-1) === "" ? lines.slice(0, -1) : lines
    return { lines: [...before, formatLine(at, first, [["pinned_at", now]]), ""], result: first }
  })

const isBehind = (next: Standing, known: Standing): boolean =>
  next.generation < known.generation || (next.generation === known.generation && next.sequence < known.sequence)

/**
 * Replaces a pin by one that was proven to follow it, as long as nobody else has gone on meanwhile; gives what is pinned
 * now, `undefined` when nothing is.
 */
export const advance = (
  path: string,
  address: HostPort,
  from: Fingerprint,
  to: Pin & { readonly standing: Standing }
): Effect.Effect<Pin | undefined, LocalFileError> =>
  change<Pin | undefined>(path, ({ hosts, lines }, now) => {
    const at = formatHostPort(address)
    const known = hosts.get(at)
    if (known === undefined || (known.fingerprint !== from && known.fingerprint !== to.fingerprint)) {
      return { result: known }
    }
    if (known.standing !== undefined && isBehind(to.standing, known.standing)) return { result: known }
    const fields = new Map(known.fields)
    if (known.fingerprint !== to.fingerprint) fields.set("changed_at", now)
    return { lines: lines.with(known.index, formatLine(at, to, fields)), result: to }
  })

/**
 * Pins the key that somebody names, whatever was pinned: for a server that has lost its keys, or to meet one knowing its
 * key. What was known of the old key's successors is forgotten with it. Gives what was pinned before.
 */
export const replacePin = (
  path: string,
  address: HostPort,
  fingerprint: Fingerprint
): Effect.Effect<KnownHost | undefined, LocalFileError> =>
  change<KnownHost | undefined>(path, ({ hosts, lines }, now) => {
    const at = formatHostPort(address)
    const known = hosts.get(at)
    const bare: Pin = { fingerprint, standing: undefined }
    if (known === undefined) {
      const before = lines.at(-1) === "" ? lines.slice(0, -1) : lines
      return { lines: [...before, formatLine(at, bare, [["pinned_at", now]]), ""], result: known }
    }
    if (known.fingerprint === fingerprint) return { result: known }
    const fields = new Map(known.fields).set("changed_at", now)
    return { lines: lines.with(known.index, formatLine(at, bare, fields)), result: known }
  })

/** Forgets a server: the next connection is the first one again. Gives what was pinned. */
export const removePin = (path: string, address: HostPort): Effect.Effect<KnownHost | undefined, LocalFileError> =>
  change<KnownHost | undefined>(path, ({ hosts, lines }) => {
    const known = hosts.get(formatHostPort(address))
    return known === undefined ? { result: known } : { lines: lines.toSpliced(known.index, 1), result: known }
  })
