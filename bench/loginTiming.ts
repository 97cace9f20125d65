/**
 * `npx node bench/loginTiming.ts [attempts]`: how long the four kinds of refused logins take, on a real server.
 *
 * Unknown user, wrong password, banned and locked out are asked in turns over one connection each. Prints quantiles, and
 * for each kind the Kolmogorov-Smirnov distance of its distribution from that of wrong passwords, with the distance that
 * two samples of one distribution exceed once in a hundred times.
 */
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { ask } from "../src/cli/admin/AdminClient.ts"
import { Username } from "../src/protocol/Identity.ts"
import { RawClient } from "../test/support/RawClient.ts"

/** The share of `values` that are at most `x`. */
const below = (values: ReadonlyArray<number>, x: number) => values.filter((value) => value <= x).length / values.length

const program = fileURLToPath(new URL("../bin/fip.js", import.meta.url))
const attempts = Number(process.argv[2] ?? 200)
/** Wrong guesses at one account before it is locked. */
const FREE = 5
const PASSWORD = "the right password"

const folder = await mkdtemp(join(tmpdir(), "fip-bench-"))
const dataDir = join(folder, "data")
const server = spawn(process.execPath, [program, "serve", "0", "--data-dir", dataDir, "--log-level", "error"], {
  stdio: ["ignore", "pipe", "inherit"],
  env: {
    ...process.env,
    FIP_ACCOUNT_GUESSES: String(FREE),
    FIP_ADDRESS_GUESSES: "1000000000",
    FIP_ADDRESS_REGISTRATIONS: "1000000000",
    FIP_GUESS_DELAY: "1 day",
    FIP_GUESS_DELAY_MAX: "1 day",
    // One connection asks all of it, and nobody ever logs in.
    FIP_LOGIN_TIMEOUT: "1 day",
    FIP_GUEST_REQUESTS: "1000000000"
  }
})
const port = await new Promise<number>((resolve, reject) => {
  let text = ""
  server.stdout.on("data", (chunk) => {
    const found = /^listening on \S+:(\d+) /m.exec(text += chunk)
    if (found !== null) resolve(Number(found[1]))
  })
  server.on("close", (code) => reject(new Error(`fip serve ended with ${code}`)))
})

const client = await RawClient.open(port)
const login = async (identity: string, password: string): Promise<number> => {
  const started = performance.now()
  const { header } = await client.ask("Login", {
    id: 1,
    auth: { identity, password },
    body: { device: "never-seen-before" }
  })
  const millis = performance.now() - started
  if (header.code !== "2:auth") throw new Error(`${identity}: ${header.code} instead of a refusal`)
  return millis
}
const register = async (identity: string): Promise<string> => {
  await client.ask("Register", { id: 1, auth: { identity, password: PASSWORD } })
  return identity
}

try {
  // Enough accounts that none is locked by what is measured.
  const accounts = Math.ceil(attempts / (FREE - 1))
  const names = async (kind: string): Promise<ReadonlyArray<string>> => {
    const made: Array<string> = []
    for (let i = 0; i < accounts; i++) made.push(await register(`${kind}-${i}`))
    return made
  }
  const [known, banned] = [await names("known"), await names("banned")]
  for (const name of banned) {
    await Effect.runPromise(
      ask(dataDir, "ban", { username: Username.make(name), reason: "", lasts_ms: null })
    )
  }
  await register("locked")
  for (let i = 0; i < FREE; i++) await login("locked", "wrong password")

  const kinds: Readonly<Record<string, (round: number) => Promise<number>>> = {
    "wrong password": (round) => login(known[round % accounts] ?? "", "wrong password"),
    "unknown user": (round) => login(`unknown-${round}`, PASSWORD),
    banned: (round) => login(banned[round % accounts] ?? "", PASSWORD),
    "locked out": () => login("locked", PASSWORD)
  }
  const millis = new Map<string, Array<number>>(Object.keys(kinds).map((name) => [name, []]))
  for (let round = 0; round < attempts; round++) {
    for (const [name, attempt] of Object.entries(kinds)) millis.get(name)?.push(await attempt(round))
  }

  const sorted = (name: string) => (millis.get(name) ?? []).toSorted((a, b) => a - b)
  const reference = sorted("wrong password")
  const distance = (values: ReadonlyArray<number>) =>
    Math.max(...[...values, ...reference].map((x) => Math.abs(below(values, x) - below(reference, x))))
  const critical = 1.628 * Math.sqrt(2 / attempts)

  const lines = ["| refused | 5 % | median | 95 % | distance |", "| --- | --- | --- | --- | --- |"]
  for (const name of Object.keys(kinds)) {
    const values = sorted(name)
    const at = (q: number) => `${values[Math.floor((values.length - 1) * q)]?.toFixed(1)} ms`
    lines.push(`| ${name} | ${at(0.05)} | ${at(0.5)} | ${at(0.95)} | ${distance(values).toFixed(3)} |`)
  }
  lines.push("", `${attempts} of each, in turns; a distance above ${critical.toFixed(3)} would be a difference.`, "")
  process.stdout.write(lines.join("\n"))
} finally {
  client.close()
  server.removeAllListeners("close")
  await new Promise((resolve) => {
    server.on("close", resolve)
    server.kill("SIGTERM")
  })
  await rm(folder, { recursive: true, force: true })
}
