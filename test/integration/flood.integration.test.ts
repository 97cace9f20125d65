/**
 * A flood of wrong passwords against one account, from many addresses of the loopback network, on a real server: its
 * owner and everybody else log in meanwhile as if nothing happened.
 */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { serve } from "../support/Program.ts"
import { RawClient } from "../support/RawClient.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import { temporaryFolder } from "../support/TestServer.ts"

const ADDRESSES = 24
const IN_FLIGHT = 16
const MILLIS = 2500

interface Flood {
  readonly codes: Map<string, number>
  readonly stop: () => Promise<void>
}

/** Keeps `IN_FLIGHT` wrong logins under way from each address until it is stopped. */
const flood = async (port: number, identity: string): Promise<Flood> => {
  const codes = new Map<string, number>()
  let going = true
  const clients = await Promise.all(
    Array.from({ length: ADDRESSES }, (_, index) => RawClient.open(port, { localAddress: `127.0.7.${index + 1}` }))
  )
  const running = clients.map(async (client, index) => {
    const auth = { identity, password: "not the password" }
    let id = 0
    const send = () => client.send("Login", { id: ++id, auth, body: { device: `stranger-${index}-${id}` } })
    for (let i = 0; i < IN_FLIGHT; i++) send()
    for (let open = IN_FLIGHT; open > 0; open--) {
      const code = (await client.next())?.header.code ?? "closed"
      codes.set(code, (codes.get(code) ?? 0) + 1)
      if (going) {
        send()
        open++
      }
    }
    client.close()
  })
  return {
    codes,
    stop: async () => {
      going = false
      await Promise.all(running)
    }
  }
}

it.live("a flood of wrong passwords keeps neither the owner out nor anybody else", () =>
  Effect.gen(function*() {
    const folder = yield* temporaryFolder
    yield* Effect.promise(async () => {
      const dataDir = join(folder, "data")
      await mkdir(dataDir)
      await TestDatabase.seedDataDir(dataDir)
      const server = await serve(["0", "--data-dir", dataDir, "--log-level", "warn"])
      const client = await RawClient.open(server.port)
      const login = async (identity: string, device: string) => {
        const started = performance.now()
        const auth = { identity, password: `password of ${identity}` }
        const { header } = await client.ask("Login", { id: 1, auth, body: { device } })
        return { code: header.code, millis: performance.now() - started }
      }
      for (const identity of ["victim", "bystander", "newcomer"]) {
        await client.ask("Register", { id: 1, auth: { identity, password: `password of ${identity}` } })
      }
      await login("victim", "device-of-victim")
      await login("bystander", "device-of-bystander")

      const attack = await flood(server.port, "victim")
      const logins: Array<Awaited<ReturnType<typeof login>>> = []
      const until = performance.now() + MILLIS
      while (performance.now() < until) {
        logins.push(await login("victim", "device-of-victim"), await login("bystander", "device-of-bystander"))
      }
      logins.push(await login("newcomer", "a-device-never-seen"))
      const strange = await login("victim", "a-device-never-seen")
      await attack.stop()

      assert.deepStrictEqual(logins.filter(({ code }) => code !== "1:auth"), [])
      assert.strictEqual(strange.code, "2:auth", "the account was under attack, and a stranger had to wait")
      const slowest = Math.max(...logins.map(({ millis }) => millis))
      assert.isBelow(slowest, 3000, "milliseconds of the slowest login")
      const [wrong = 0, all = 0] = [attack.codes.get("2:auth"), [...attack.codes.values()].reduce((a, b) => a + b)]
      assert.isAbove(wrong, 1000)
      assert.strictEqual(wrong, all, `only this is answered: ${[...attack.codes].join(" ")}`)
      client.close()
      const { stderr } = await server.stop()
      assert.isBelow(stderr.length, 10_000, "bytes of log")
    })
  }), 60_000)
