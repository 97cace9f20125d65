/**
 * Mutated messages over real TLS to a server of its own process: it never ends, never fails at a request (`3:…`), never
 * leaves a connection out of step or without an answer, and its memory stays where it is.
 *
 * After each batch a Heartbeat is asked with an id of its own, at a place where by the document a message begins: it is
 * answered, or the connection was closed with a word and by the rules.
 */
import { readFileSync } from "node:fs"
import { mkdir, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { MAX_SKIP_BYTES } from "../../src/protocol/Limits.ts"
import { serve } from "../support/Program.ts"
import { Random } from "../support/Random.ts"
import { RawClient, type RawReply, requestBytes } from "../support/RawClient.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import { corpus } from "./corpus.ts"
import { mutate } from "./mutate.ts"
import { readStream } from "./reference.ts"

const CONNECTIONS = 12
const HANG_MILLIS = 120_000
/** What a lying size leaves missing is sent after it up to this; beyond it the peer just goes away. */
const FILL_BYTES = 256 * 1024
const SENTINEL = 2 ** 40
const PASSWORD = "the fuzzer's password"

/** Wide enough that what is tried is the server's work and not the door, and long enough for a machine that is busy. */
const env = {
  FIP_GUEST_TIMEOUT: "60 seconds",
  FIP_MESSAGE_TIMEOUT: "60 seconds",
  FIP_CONNECTION_RATE: "1000000",
  FIP_REQUEST_RATE: "1000000",
  FIP_FILES_PER_USER: "300",
  FIP_BYTES_PER_USER: "32 MiB"
}

export interface ServerFigures {
  readonly messages: number
  readonly replies: number
  readonly connections: number
  readonly codes: { readonly [code: string]: number }
  /** Of the server's process, in MiB: after a tenth of the run, and the most and the last after that. */
  readonly memory: { readonly early: number; readonly most: number; readonly last: number }
}

const within = <A>(promise: Promise<A>, what: string): Promise<A> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(what)), HANG_MILLIS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

const memoryOf = (pid: number): number =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024)

/** Rejects with the seed of the batch that went wrong. */
export const fuzzServer = async (
  { messages, onProgress = () => {}, seed }: {
    readonly messages: number
    readonly seed: number
    readonly onProgress?: (messages: number, memory: number) => void
  }
): Promise<ServerFigures> => {
  const folder = await mkdtemp(join(tmpdir(), "fip-fuzz-"))
  const dataDir = join(folder, "data")
  await mkdir(dataDir)
  await TestDatabase.seedDataDir(dataDir)
  const server = await serve(["0", "--data-dir", dataDir, "--log-level", "error"], { env })
  const codes = new Map<string, number>()
  const figures = { messages: 0, replies: 0, connections: 0 }
  const memory = { early: 0, most: 0, last: 0 }
  let sentinels = SENTINEL

  const note = (reply: RawReply): void => {
    const { code } = reply.header
    figures.replies++
    codes.set(code, (codes.get(code) ?? 0) + 1)
    if (code.startsWith("3:")) throw new Error(`${code}: ${JSON.stringify(reply.body)}`)
  }
  const measure = (): void => {
    memory.last = memoryOf(server.child.pid ?? 0)
    if (memory.early === 0 && figures.messages >= messages / 10) memory.early = memory.last
    memory.most = Math.max(memory.most, memory.last)
  }

  /** One batch; true when the connection can be used for another. */
  const batch = async (
    client: RawClient,
    random: Random,
    seeds: ReturnType<typeof corpus>,
    isGuest: boolean
  ): Promise<boolean> => {
    const count = 1 + random.below(20)
    const stream = Buffer.concat(Array.from({ length: count }, () => mutate(random, seeds)))
    figures.messages += count
    const { end, messages: read } = readStream(stream)
    const missing = typeof end === "object" ? end.missing : 0
    const sentinel = ++sentinels
    const closes = end === "fault" || read.some(({ header: { finish, more } }) => finish && !more)
    const whole = missing > FILL_BYTES
      ? stream
      : Buffer.concat([stream, Buffer.alloc(missing, 0x20), requestBytes("Heartbeat", { id: sentinel })])
    for (let at = 0; at < whole.length;) {
      const length = random.chance(0.7) ? whole.length : 1 + random.below(whole.length)
      client.write(whole.subarray(at, at += length))
    }
    if (missing > FILL_BYTES && !closes) return false
    for (;;) {
      const reply = await within(client.next(), "no answer: it hangs")
      if (reply === undefined) {
        if (closes) return false
        throw new Error("closed without a word", { cause: client.error })
      }
      note(reply)
      if (reply.header.id === sentinel) {
        if (closes) throw new Error("it goes on after what is no header, or the last request")
        return true
      }
      if (reply.header.ended_connection) {
        const { code } = reply.header
        const large = read.some(({ header: { auth_size, body_size, data_size } }) =>
          auth_size + body_size + data_size > MAX_SKIP_BYTES
        )
        // The filled-up header may be none, or announce too much; and a guest may have asked too much, or too long.
        if (closes || large || missing > 0 || code === "2:rlex" || (isGuest && code === "2:unsp")) return false
        throw new Error(`closed with ${code}: ${JSON.stringify(reply.body)}`)
      }
    }
  }

  const worker = async (number: number): Promise<void> => {
    const localAddress = `127.0.11.${number + 1}`
    // Every fourth never logs in.
    const isGuest = number % 4 === 3
    /** What a session ends by is tried too; then there is another. */
    const fresh = async (token?: string): Promise<string> => {
      const own = await within(RawClient.open(server.port, { localAddress }), "no connection")
      try {
        const alive = token !== undefined &&
          (await within(own.ask("QueryStorage", { id: 1, auth: { token } }), "no answer")).header.code === "1:qa"
        return alive ? token : await within(own.login(`fuzzer_${number}`, PASSWORD), "no login")
      } finally {
        own.close()
      }
    }
    let token = isGuest ? undefined : await fresh()
    let seeds = corpus(token)
    let client: RawClient | undefined
    for (let round = 0; figures.messages < messages; round++) {
      if (client === undefined) {
        client = await within(RawClient.open(server.port, { localAddress }), "no connection")
        figures.connections++
      }
      if (!isGuest && round % 20 === 19) {
        const next = await fresh(token)
        if (next !== token) seeds = corpus(token = next)
      }
      const batchSeed = seed + number * 1_000_000 + round
      try {
        if (!(await batch(client, new Random(batchSeed), seeds, isGuest))) {
          client.close()
          client = undefined
        }
      } catch (cause) {
        throw new Error(`seed ${batchSeed}${isGuest ? " of a guest" : ""}: ${String(cause)}`, { cause })
      }
      if (round % 200 === 199) {
        measure()
        onProgress(figures.messages, memory.last)
      }
    }
    client?.close()
  }

  try {
    await Promise.all(Array.from({ length: CONNECTIONS }, (_, number) => worker(number)))
    measure()
    const honest = await RawClient.open(server.port)
    await honest.login("honest_user", PASSWORD)
    honest.close()
    const { status, stderr } = await server.stop()
    if (status !== 0) throw new Error(`the server ended with ${status}: ${stderr}`)
    if (/ERROR|FATAL/.test(stderr)) throw new Error(`the server's log: ${stderr.slice(0, 2000)}`)
    return {
      ...figures,
      codes: Object.fromEntries([...codes].toSorted(([, a], [, b]) => b - a)),
      memory: memory
    }
  } finally {
    server.child.kill("SIGKILL")
    await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}
