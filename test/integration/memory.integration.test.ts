/**
 * Files of any size through little memory: server and client are real processes whose heap of V8 holds a quarter of the
 * large file at most; and all that a process holds (buffers are outside of that heap) is no more with a large file than
 * with one of an eighth of its size.
 */
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import { mkdir, mkdtemp, open, readFile, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { serve, type ServerProcess, spawnProgram } from "../support/Program.ts"
import { TestDatabase } from "../support/TestDatabase.ts"

const MIB = 1024 * 1024
const SMALL = 64 * MIB
const LARGE = 512 * MIB

/** In MiB. The program from its sources needs most of it before anything is moved. */
const node = ["--max-old-space-size=128"]

/** What one run differs from another, whatever it moves. */
const SLACK_KIB = 64 * 1024

const login = { FIP_USERNAME: "alice", FIP_PASSWORD: "correct horse" }

let folder = ""
let server: ServerProcess

/** The most that a process has held so far; nothing when it is gone. */
const peakKiB = async (pid: number | undefined): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "")
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0)
}

const client = (...words: ReadonlyArray<string>) =>
  spawnProgram(
    ["connect", "127.0.0.1", String(server.port), "--known-hosts", join(folder, "known_hosts"), "--", ...words],
    { node, env: { ...login, XDG_STATE_HOME: join(folder, "state") } }
  )

/** Runs a command to its end; the most that it has held. */
const peakOf = async (...words: ReadonlyArray<string>): Promise<number> => {
  const { child, end } = client(...words)
  let peak = 0
  // Its last look is the one that counts, and a process that has ended cannot be looked at.
  const looking = setInterval(() => void peakKiB(child.pid).then((now) => peak = Math.max(peak, now)), 20)
  const { status, stderr } = await end
  clearInterval(looking)
  assert.strictEqual(status, 0, stderr)
  return peak
}

/** Sends a file of this size and fetches it; the most that each process has held. */
const move = async (size: number) => {
  const source = join(folder, "source")
  const target = join(folder, "target")
  // A file of holes: reading it costs little, and what it is sent as is as long as any.
  const file = await open(source, "w")
  await file.truncate(size)
  await file.close()
  const up = await peakOf("UPLOAD", source, "f")
  const down = await peakOf("DOWNLOAD", "f", target)
  assert.strictEqual((await stat(target)).size, size)
  return { up, down, server: await peakKiB(server.child.pid) }
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "fip-memory-"))
  await mkdir(join(folder, "data"), { mode: 0o700 })
  await TestDatabase.seedDataDir(join(folder, "data"))
  server = await serve(["0", "--data-dir", join(folder, "data"), "--log-level", "error"], { node })
  const { status, stderr } = await client("UNEW", login.FIP_USERNAME, login.FIP_PASSWORD).end
  assert.strictEqual(status, 0, stderr)
}, 60_000)

afterAll(async () => {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
})

it.skipIf(process.platform !== "linux")(
  "a file of 512 MiB needs no more memory than one of 64 MiB, on either side, either way",
  { timeout: 240_000 },
  async () => {
    const small = await move(SMALL)
    const large = await move(LARGE)
    for (const side of ["up", "down", "server"] as const) {
      assert.isAbove(small[side], 0)
      assert.isBelow(large[side], small[side] + SLACK_KIB, `${side}, KiB`)
    }
  }
)
