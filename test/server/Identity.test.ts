import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { createHash, X509Certificate } from "node:crypto"
import { once } from "node:events"
import { chmod, readdir, readFile, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { connect, createServer } from "node:tls"
import { ServerIdentity } from "../../src/server/Identity.ts"
import { defaults, ServerConfig } from "../../src/server/ServerConfig.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"

const identityIn = (dataDir: string) =>
  Layer.build(ServerIdentity.layer).pipe(
    Effect.flatMap((context) => Context.get(context, ServerIdentity).live),
    Effect.provideService(ServerConfig, { ...defaults, dataDir }),
    Effect.scoped
  )

const pathIn = (dataDir: string): string => join(dataDir, "identity/current.pem")
const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777

it.live("is made once, private to its owner, and found again", () =>
  Effect.gen(function*() {
    const dataDir = join(yield* temporaryFolder, "not", "there")
    const made = yield* identityIn(dataDir)
    assert.match(made.fingerprint, /^SHA256:[A-Za-z0-9+/]{43}$/)
    assert.strictEqual(yield* Effect.promise(() => modeOf(pathIn(dataDir))), 0o600)
    assert.strictEqual(yield* Effect.promise(() => modeOf(join(dataDir, "identity"))), 0o700)
    assert.deepStrictEqual((yield* Effect.promise(() => readdir(join(dataDir, "identity")))).toSorted(), [
      "current.pem",
      "lock"
    ])

    const found = yield* identityIn(dataDir)
    assert.strictEqual(found.fingerprint, made.fingerprint)
    assert.strictEqual(found.certificate, made.certificate)
    assert.strictEqual(Redacted.value(found.key), Redacted.value(made.key))
  }).pipe(Effect.scoped))

it.live("is the same for servers that start at once on one folder", () =>
  Effect.gen(function*() {
    const dataDir = yield* temporaryFolder
    const identities = yield* Effect.all(Array.from({ length: 4 }, () => identityIn(dataDir)), {
      concurrency: "unbounded"
    })
    assert.lengthOf(new Set(identities.map((identity) => identity.fingerprint)), 1)
  }).pipe(Effect.scoped))

it.live("is a key on P-256 that a TLS 1.3 client sees with the same fingerprint", () =>
  Effect.gen(function*() {
    const identity = yield* identityIn(yield* temporaryFolder)
    const server = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const server = createServer({ key: Redacted.value(identity.key), cert: identity.certificate }, (socket) =>
          socket.end())
        await once(server.listen(0, "127.0.0.1"), "listening")
        return server
      }),
      (server) =>
        Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
    )
    const address = server.address()
    assert(address !== null && typeof address === "object")
    const seen = yield* Effect.promise(async () => {
      const socket = connect({
        port: address.port,
        host: "127.0.0.1",
        rejectUnauthorized: false,
        minVersion: "TLSv1.3"
      })
      await once(socket, "secureConnect")
      const certificate = socket.getPeerX509Certificate()
      socket.destroy()
      return certificate
    })
    assert.isDefined(seen)
    assert.strictEqual(seen?.publicKey.asymmetricKeyDetails?.namedCurve, "prime256v1")
    const spki = seen?.publicKey.export({ type: "spki", format: "der" }) ?? ""
    const digest = createHash("sha256").update(spki).digest("base64").replaceAll("=", "")
    assert.strictEqual(identity.fingerprint, `SHA256:${digest}`)
    assert.isTrue(new X509Certificate(identity.certificate).verify(new X509Certificate(identity.certificate).publicKey))
  }).pipe(Effect.scoped))

it.live("is never replaced: what is damaged, mixed up or open to others is refused by a sentence", () =>
  Effect.gen(function*() {
    const dataDir = yield* temporaryFolder
    const path = pathIn(dataDir)
    const { certificate, key } = yield* identityIn(dataDir)
    const other = yield* identityIn(yield* temporaryFolder)
    const contents = {
      "": "it does not hold a key and a certificate",
      [certificate]: "it does not hold a key and a certificate",
      [Redacted.value(key) + other.certificate]: "its key and its certificate do not belong together",
      [(Redacted.value(key) + certificate).replace("MI", "??")]: "it is damaged"
    }
    for (const [content, reason] of Object.entries(contents)) {
      yield* Effect.promise(() => writeFile(path, content))
      const error = yield* Effect.flip(identityIn(dataDir))
      assert.include(error.message, `cannot use the server's identity in ${path}: `)
      assert.include(error.message, reason)
      assert.strictEqual(yield* Effect.promise(() => readFile(path, "utf8")), content)
    }

    yield* Effect.promise(() => writeFile(path, Redacted.value(key) + certificate))
    yield* Effect.promise(() => chmod(path, 0o640))
    assert.include((yield* Effect.flip(identityIn(dataDir))).message, "chmod 600")
  }).pipe(Effect.scoped))

it.live("says why its folder cannot be made", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    yield* Effect.promise(() => writeFile(join(folder, "file"), ""))
    const error = yield* Effect.flip(identityIn(join(folder, "file")))
    assert.include(error.message, "not a directory")
  }).pipe(Effect.scoped))
