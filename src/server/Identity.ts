/**
 * Who this server is: the key that clients pin, and the certificate that carries it through TLS.
 *
 * Both are in one file, `<dataDir>/identity/current.pem` (0600 in a folder of 0700), which is only ever replaced whole.
 * It is made at the first start and never again: whoever cannot read it must hear of it, because a new key is a
 * stranger to every client.
 */
import { Clock, Context, Data, Effect, Layer, Redacted } from "effect"
import { createHash, createPrivateKey, X509Certificate } from "node:crypto"
import { readFile, stat } from "node:fs/promises"
import { join } from "node:path"
import { writeAtomically } from "../platform/AtomicFile.ts"
import * as FileLock from "../platform/FileLock.ts"
import { makeFolder } from "../platform/makeFolder.ts"
import { systemErrorCode, systemErrorReason } from "../platform/systemError.ts"
import { Fingerprint } from "../protocol/Identity.ts"
import { makeSelfSigned } from "./identity/selfSigned.ts"
import { ServerConfig } from "./ServerConfig.ts"

/** The identity cannot be used. `message` is a sentence for the person who starts the server. */
export class IdentityError extends Data.TaggedError("IdentityError")<{ readonly message: string }> {}

const OTHERS = 0o077
const PEM = /-----BEGIN ([A-Z ]+)-----[\s\S]+?-----END \1-----\n?/g

/** Takes the file apart; throws when it does not hold a key and its certificate. */
const parse = (text: string): ServerIdentity["Service"] => {
  const blocks = new Map(Array.from(text.matchAll(PEM), ([block, label]) => [label, block]))
  const key = blocks.get("PRIVATE KEY")
  const certificate = blocks.get("CERTIFICATE")
  if (key === undefined || certificate === undefined) throw new Error("it does not hold a key and a certificate")
  const parsed = new X509Certificate(certificate)
  if (!parsed.checkPrivateKey(createPrivateKey(key))) {
    throw new Error("its key and its certificate do not belong together")
  }
  const digest = createHash("sha256").update(parsed.publicKey.export({ type: "spki", format: "der" })).digest("base64")
  return {
    key: Redacted.make(key),
    certificate,
    fingerprint: Fingerprint.make(`SHA256:${digest.replace(/=+$/, "")}`)
  }
}

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

/** `undefined` when there is no file. */
const load = Effect.fnUntraced(function*(path: string): Effect.fn.Return<
  ServerIdentity["Service"] | undefined,
  IdentityError
> {
  const text = yield* Effect.tryPromise({
    try: () => read(path),
    catch: (cause) => unusable(path, systemErrorReason(cause))
  })
  if (text === undefined) return undefined
  return yield* Effect.try({
    try: () => parse(text),
    catch: (cause) => unusable(path, `it is damaged: ${systemErrorReason(cause)}`)
  })
})

const create = Effect.fnUntraced(function*(path: string): Effect.fn.Return<ServerIdentity["Service"], IdentityError> {
  const now = yield* Clock.currentTimeMillis
  const { certificate, key } = yield* Effect.promise(() => makeSelfSigned(now))
  yield* writeAtomically(path, key + certificate).pipe(
    Effect.mapError((error) => new IdentityError({ message: error.message }))
  )
  return parse(key + certificate)
})

export class ServerIdentity extends Context.Service<ServerIdentity, {
  /** The private key, as PEM. */
  readonly key: Redacted.Redacted
  /** As PEM. Clients look at its key alone. */
  readonly certificate: string
  readonly fingerprint: Fingerprint
}>()("fip/server/ServerIdentity") {
  static readonly layer = Layer.effect(
    ServerIdentity,
    Effect.gen(function*() {
      const { dataDir } = yield* ServerConfig
      const folder = join(dataDir, "identity")
      const path = join(folder, "current.pem")
      const existing = yield* load(path)
      if (existing !== undefined) return existing
      yield* Effect.tryPromise({
        try: () => makeFolder(folder, 0o700),
        catch: (cause) =>
          new IdentityError({ message: `cannot make the folder ${folder}: ${systemErrorReason(cause)}` })
      })
      // Two servers may start for the first time on one folder: the second one finds what the first one made.
      return yield* Effect.scoped(Effect.gen(function*() {
        yield* FileLock.acquire(join(folder, "lock"), { wait: "10 seconds" }).pipe(
          Effect.mapError((error) => new IdentityError({ message: error.message }))
        )
        return (yield* load(path)) ?? (yield* create(path))
      }))
    })
  )
}
