/**
 * A server with two workers, as processes, on either kind of database: one address, one identity, limits that count for
 * both, and what becomes of it all when one of the processes is killed. Every step relies on what those before it left.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { execFile } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { run, serve, type ServerProcess } from "../support/Program.ts"
import { RawClient } from "../support/RawClient.ts"
import { TestDatabase } from "../support/TestDatabase.ts"

const MIB = 1024 * 1024
const MAX_CONNECTIONS = 12

/** The workers of a server. */
const workersOf = async (server: ServerProcess): Promise<ReadonlyArray<number>> => {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid=,args="])
  return stdout.split("\n").flatMap((line) => {
    const [, pid, parent, args = ""] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? []
    return Number(parent) === server.child.pid && args.includes("serveWorker") ? [Number(pid)] : []
  })
}

/** Asks until the answer is as it should be. */
const until = async <A>(ask: () => Promise<A>, isRight: (answer: A) => boolean): Promise<A> => {
  for (;;) {
    const answer = await ask()
    if (isRight(answer)) return answer
    await new Promise(setImmediate)
  }
}

const freePort = async (): Promise<number> => {
  const listener = createServer()
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve))
  const address = listener.address()
  await new Promise((resolve) => listener.close(resolve))
  return typeof address === "object" && address !== null ? address.port : 0
}

/** How many changes each worker has committed, as the endpoint for numbers says. */
const committedBy = async (port: number): Promise<ReadonlyMap<string, number>> => {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  const found = text.matchAll(/^fip_commit_changes_total\{[^}]*worker="(\d)"[^}]*\} (\d+)$/gm)
  return new Map(Array.from(found, ([, worker = "", count]) => [worker, Number(count)]))
}

const isGone = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return false
  } catch {
    return true
  }
}

const kinds = {
  embedded: (): Effect.Effect<string | undefined, never, Scope.Scope> => Effect.succeed(undefined),
  PostgreSQL: (): Effect.Effect<string | undefined, never, Scope.Scope> => TestDatabase.postgresUrl
}

for (const [kind, databaseUrl] of Object.entries(kinds)) {
  describe(`a server with two workers (${kind})`, { timeout: 60_000 }, () => {
    const scope = Scope.makeUnsafe()
    let folder = ""
    let env: NodeJS.ProcessEnv = {}
    let server: ServerProcess
    let metricsPort = 0
    const open: Array<RawClient> = []

    const configure = (settings: Readonly<Record<string, number | string>>) =>
      writeFile(
        join(folder, "fip.toml"),
        Object.entries(settings).map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`).join("")
      )
    const start = async () => {
      const config = ["--config", join(folder, "fip.toml"), "--log-level", "warn"]
      const metrics = ["--metrics-port", String(metricsPort)]
      server = await serve(["0", "--workers", "2", "--data-dir", join(folder, "data"), ...metrics, ...config], { env })
    }
    const admin = async (...args: ReadonlyArray<string>) => {
      const done = await run(["admin", ...args, "--data-dir", join(folder, "data")])
      assert.strictEqual(done.status, 0, done.stderr)
    }
    /** A connection, as soon as the server has noticed that those before have ended. */
    const enter = async (): Promise<RawClient> => {
      const client = await until(
        () => RawClient.open(server.port).catch(() => undefined),
        (client) => client !== undefined
      )
      if (client === undefined) return assert.fail("nobody is let in")
      open.push(client)
      return client
    }
    /** Two clients, each of a worker of its own: a connection goes to the one that has fewer. */
    const pair = async (identity: string) => {
      const clients = [await enter(), await enter()] as const
      const tokens = [
        await clients[0].login(identity, "correct horse"),
        await clients[1].login(identity, "correct horse")
      ] as const
      return clients.map((client, index) => ({
        client,
        ask: (...[name, request]: Parameters<RawClient["ask"]>) =>
          client.ask(name, { ...request, auth: { token: tokens[index] } })
      }))
    }
    /** The key that a new connection is shown. */
    const key = async () => {
      const client = await enter()
      return client.socket.getPeerX509Certificate()?.publicKey.export({ type: "spki", format: "pem" }).toString()
    }
    const closeAll = async () => {
      const closing = open.splice(0)
      for (const client of closing) client.close()
      await Promise.all(closing.map(({ closed }) => closed))
    }

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "fip-workers-"))
      const url = await Effect.runPromise(Scope.provide(databaseUrl(), scope))
      env = url === undefined ? {} : { FIP_DATABASE_URL: url }
      await configure({ max_connections: MAX_CONNECTIONS })
      metricsPort = await freePort()
      await mkdir(join(folder, "data"), { mode: 0o700 })
      if (url === undefined) await TestDatabase.seedDataDir(join(folder, "data"))
      await start()
    }, 60_000)

    afterAll(async () => {
      await closeAll()
      await server.stop("SIGKILL")
      await Effect.runPromise(Scope.close(scope, Exit.void))
      await rm(folder, { recursive: true, force: true })
    }, 60_000)

    it("says once that it listens, when all of it does, and spreads connections over both", async () => {
      assert.lengthOf(await workersOf(server), 2)
      const [one, two] = await pair("alice")
      const content = randomBytes(3 * MIB)
      const begun = await one?.ask("UploadBegin", { id: 1, body: { name: "big.bin", mode: "write" } })
      const upload_id = begun?.body["upload_id"]
      for (const [index, part] of [one, two, one].entries()) {
        // An upload goes from worker to worker as a client pleases.
        const sent = await part?.ask("UploadPart", {
          id: 2 + index,
          body: { upload_id, offset: index * MIB },
          data: content.subarray(index * MIB, (index + 1) * MIB)
        })
        assert.strictEqual(sent?.header.code, "1:upart", JSON.stringify(sent?.body))
      }
      const done = await two?.ask("UploadCommit", {
        id: 6,
        body: { upload_id, sha256: createHash("sha256").update(content).digest("hex") }
      })
      assert.isTrue(done?.header.code.startsWith("1:"), JSON.stringify(done?.body))
      for (const { ask } of [one, two].flatMap((end) => end ?? [])) {
        const read = await ask("Read", { id: 7, body: { name: "big.bin", position: MIB - 10, limit: 1000 } })
        assert.isTrue(read.data.equals(content.subarray(MIB - 10, MIB + 990)))
      }
      await closeAll()
    })

    it("shows on one worker at once what was acknowledged by the other", async () => {
      const [one, two] = await pair("alice")
      for (let round = 0; round < 20; round++) {
        const [writer, reader] = round % 2 === 0 ? [one, two] : [two, one]
        const data = Buffer.from(`round ${round}`)
        const written = await writer?.ask("Write", { id: 1, body: { name: "turn.txt" }, data })
        assert.isTrue(written?.header.code.startsWith("1:"), JSON.stringify(written?.body))
        const read = await reader?.ask("Read", { id: 2, body: { name: "turn.txt" } })
        assert.strictEqual(read?.data.toString(), `round ${round}`)
      }
      await closeAll()
    })

    it("tells who watches on one worker what was written on the other", async () => {
      const ends = await pair("walter")
      let next = Number((await ends[0]?.ask("Watch", { id: 1, body: {} }))?.body["next"])
      for (const [round, writer] of [...ends, ...ends].entries()) {
        const watched = ends[1 - round % 2]?.ask("Watch", { id: 2, body: { since: next, wait_ms: 30_000 } })
        await writer.ask("Write", { id: 3, body: { name: `seen-${round}` }, data: Buffer.from("x") })
        const { changes, next: behind } = (await watched)?.body ?? {}
        assert.deepInclude(Array.isArray(changes) ? changes.at(-1) : undefined, { name: `seen-${round}` })
        next = Number(behind)
      }
      await closeAll()
    })

    it("has numbers of each worker, by its label", async () => {
      const ends = await pair("walter")
      const before = await committedBy(metricsPort)
      for (const [end, times] of [[ends[0], 3], [ends[1], 2]] as const) {
        for (let index = 0; index < times; index++) {
          await end?.ask("Write", { id: 1, body: { name: "counted" }, data: Buffer.from("x") })
        }
      }
      const after = await committedBy(metricsPort)
      const counts = [...after].map(([worker, count]) => count - (before.get(worker) ?? 0))
      assert.deepStrictEqual(counts.toSorted(), [2, 3])
      await closeAll()
    })

    it("has exactly as many connections as it may, whichever worker has them", async () => {
      for (let count = 0; count < MAX_CONNECTIONS; count++) await enter()
      await RawClient.open(server.port).then(() => assert.fail("there was one too many"), () => {})
      open.pop()?.close()
      await enter()
      await RawClient.open(server.port).then(() => assert.fail("there was one too many"), () => {})
      await closeAll()
    })

    it("shows a new key to everybody who connects once it was rotated", async () => {
      const before = await key()
      await admin("certificate", "rotate")
      const after = [await key(), await key(), await key(), await key()]
      assert.lengthOf(new Set(after), 1)
      assert.notInclude(after, before)
      await closeAll()
    })

    it("changes its settings on both when it is told to read them again", async () => {
      const codeOf = async (identity: string) => {
        const client = await RawClient.open(server.port)
        const { header } = await client.ask("Register", { id: 1, auth: { identity, password: "correct horse" } })
        client.close()
        return header.code
      }
      await configure({ max_connections: MAX_CONNECTIONS, registration: "closed" })
      server.child.kill("SIGHUP")
      let count = 0
      const name = () => `early${count++}`
      await until(() => codeOf(name()), (code) => code === "2:reg")
      await until(() => codeOf(name()), (code) => code === "2:reg")
      await configure({ max_connections: MAX_CONNECTIONS })
      server.child.kill("SIGHUP")
      await until(async () => [await codeOf(name()), await codeOf(name())], (codes) => !codes.includes("2:reg"))
      await closeAll()
    })

    it("bans a user on both", async () => {
      const ends = await pair("robert")
      await admin("ban", "robert")
      for (const { ask } of ends) {
        assert.strictEqual((await ask("QueryUser", { id: 3, body: {} })).header.code, "2:auth")
      }
      await closeAll()
    })

    it("goes on by one worker when the other is killed, and has two again", async () => {
      const ends = await pair("alice")
      const before = await workersOf(server)
      const [victim = 0] = before
      process.kill(victim, "SIGKILL")
      const gone = await Promise.race(ends.map((end) => end.client.closed.then(() => end)))
      const left = ends.find((end) => end !== gone)
      const written = await left?.ask("Write", { id: 4, body: { name: "after.txt" }, data: Buffer.from("still here") })
      assert.isTrue(written?.header.code.startsWith("1:"), JSON.stringify(written?.body))
      const after = await until(() => workersOf(server), (workers) => workers.length === 2)
      assert.notInclude(after, victim)
      const again = await until(
        async () => {
          const [one] = await pair("alice")
          return one?.ask("Read", { id: 5, body: { name: "after.txt" } })
        },
        (reply) => reply?.data.toString() === "still here"
      )
      assert.isDefined(again)
      await closeAll()
    })

    // The same on either database, and each start takes seconds.
    if (kind !== "embedded") return

    it("slows a user down who is too fast on both together", async () => {
      const ends = await pair("rita")
      // A burst is what half a minute allows.
      await configure({ max_connections: MAX_CONNECTIONS, request_rate: 10, registration: "closed" })
      server.child.kill("SIGHUP")
      const refused = async () => {
        const client = await RawClient.open(server.port)
        const { header } = await client.ask("Register", {
          id: 1,
          auth: { identity: "late", password: "correct horse" }
        })
        client.close()
        return header.code === "2:reg"
      }
      await until(async () => await refused() && await refused(), (both) => both)
      const begun = performance.now()
      // Each by itself stays below it.
      await Promise.all(ends.map(async ({ ask }) => {
        for (let index = 0; index < 170; index++) await ask("QueryUser", { id: index, body: {} })
      }))
      assert.isAbove(performance.now() - begun, 1500)
      await configure({ max_connections: MAX_CONNECTIONS })
      server.child.kill("SIGHUP")
      await until(async () => await refused() || await refused(), (any) => !any)
      await closeAll()
    })

    it("keeps what was acknowledged when it is told to stop under load, and exits with 0", async () => {
      const ends = await pair("alice")
      const acknowledged: Array<string> = []
      const busy = ends.map(async ({ client, ask }, end) => {
        for (let index = 0;; index++) {
          const name = `load-${end}-${index}`
          const reply = await ask("Write", { id: index, body: { name }, data: Buffer.from(name) }).catch(() =>
            undefined
          )
          if (reply?.header.code.startsWith("1:") !== true) break
          acknowledged.push(name)
          if (acknowledged.length === 40) server.child.kill("SIGTERM")
        }
        await client.closed
      })
      const { status, stderr } = await server.end
      await Promise.all(busy)
      assert.strictEqual(status, 0, stderr)
      assert.isAtLeast(acknowledged.length, 40)
      open.length = 0
      await start()
      const [one] = await pair("alice")
      for (const name of acknowledged) {
        assert.strictEqual((await one?.ask("Read", { id: 1, body: { name } }))?.data.toString(), name)
      }
      await closeAll()
    })

    it("leaves no worker behind when it is killed", async () => {
      const client = await RawClient.open(server.port)
      const workers = await workersOf(server)
      assert.lengthOf(workers, 2)
      await server.stop("SIGKILL")
      await client.closed
      await until(() => Promise.resolve(workers.every(isGone)), (allGone) => allGone)
      await start()
      const [one] = await pair("alice")
      assert.strictEqual(
        (await one?.ask("Read", { id: 1, body: { name: "after.txt" } }))?.data.toString(),
        "still here"
      )
      await closeAll()
    })
  })
}
