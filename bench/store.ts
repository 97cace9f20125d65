/**
 * What requests cost in a store of 1,000 files and in one of 1,000,000 (`--files n`), on the embedded database and on
 * PostgreSQL; and what starts, checks and backups of it take.
 *
 * Both stores are filled through the protocol and served at the same time, each by a server of its own, and asked in
 * turns, so that whatever else the machine does meets both. Files are spread over users and folders of 100; beside them
 * one user has a folder with a tenth as many. The CPU time is that of the server and of its database.
 */
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { RawClient, requestBytes } from "../test/support/RawClient.ts"
import * as TestPostgres from "../test/support/TestPostgres.ts"
import { cpuOf, cpuOfPostgres } from "./cpu.ts"
import { type FipProcess, program, startFip } from "./FipProcess.ts"
import { pump } from "./requests.ts"
import { command, median } from "./Timing.ts"

const FEW = 1000
/** Of the folders of 100; one more has the large folder. */
const USERS = 16
const IN_A_FOLDER = 100
/** Files of a store that have 4 KiB; the others have a few bytes. */
const READABLE = 10_000
const BATCH = 256
const BATCHES_IN_FLIGHT = 4
/** Requests of a kind in one turn. */
const TURN = 1000
const large = Buffer.alloc(4096, "x")
const small = Buffer.from("a few bytes")

interface Database {
  readonly name: string
  readonly flags: ReadonlyArray<string>
  readonly cpu: () => number
}

interface Store {
  readonly files: number
  readonly fip: FipProcess
  readonly client: RawClient
  readonly tokens: ReadonlyArray<string>
  readonly cpu: () => number
}

const userOf = (file: number): number => Math.floor(file / IN_A_FOLDER) % USERS
const nameOf = (file: number): string => `d${Math.floor(file / IN_A_FOLDER)}/f${file}`
/** In the one folder that has a tenth as many as all others together: all of it, no user may have more than 100,000. */
const WIDE = "many/"
const wideName = (file: number): string => `${WIDE}f${String(file).padStart(8, "0")}`
const isReadable = (files: number, file: number): boolean => file % Math.max(1, Math.floor(files / READABLE)) === 0
/** Of the files with 4 KiB, 1,000 different ones for each of ten sets; in a small store always the same. */
const readable = (files: number, set: number, run: number): number =>
  files < READABLE ? run % files : (set % 10 * TURN + run % TURN) * Math.floor(files / READABLE)
/** Anything, and the same in every run. */
const scattered = (run: number, below: number): number => run * 7919 * 104_729 % below

const login = async (client: RawClient): Promise<ReadonlyArray<string>> => {
  const tokens: Array<string> = []
  for (let user = 0; user <= USERS; user++) tokens.push(await client.login(`store${user}`, "bench-password"))
  return tokens
}

const serve = async (folder: string, files: number, database: Database): Promise<Store> => {
  await mkdir(folder, { recursive: true })
  const fip = await startFip(folder, ["--workers", "1", ...database.flags])
  const client = await RawClient.open(fip.port)
  const tokens = await login(client)
  return { files, fip, client, tokens, cpu: () => cpuOf(fip.pid) + database.cpu() }
}

const close = async ({ client, fip }: Store) => {
  client.close()
  await fip.stop()
}

interface Batch {
  readonly user: number
  readonly files: ReadonlyArray<{ readonly name: string; readonly content: Buffer }>
}

/** All files of a store, those of one message from one user. */
const batches = function*(files: number): Generator<Batch> {
  const waiting: Array<Array<Batch["files"][number]>> = Array.from({ length: USERS + 1 }, () => [])
  const wide = files / 10
  for (let file = 0; file < files + wide; file++) {
    const key = file < files ? userOf(file) : USERS
    const one = file < files
      ? { name: nameOf(file), content: isReadable(files, file) ? large : small }
      : { name: wideName(file - files), content: small }
    const own = waiting[key]
    if (own?.push(one) === BATCH) yield { user: key, files: own.splice(0) }
  }
  for (const [key, own] of waiting.entries()) {
    if (own.length > 0) yield { user: key, files: own }
  }
}

const fill = async ({ client, files, tokens }: Store): Promise<void> => {
  const check = async () => {
    const reply = await client.next()
    const refused = Array.isArray(reply?.body["files"]) ? reply.body["files"].find((file) => "code" in file) : reply
    if (refused !== undefined) throw new Error(`refused: ${JSON.stringify(refused)}`)
  }
  let inFlight = 0
  let id = 0
  for (const batch of batches(files)) {
    if (inFlight === BATCHES_IN_FLIGHT) await check()
    else inFlight++
    client.send("WriteMany", {
      id: ++id,
      auth: { token: tokens[batch.user] },
      body: { files: batch.files.map(({ content, name }) => ({ name, size: content.length })) },
      data: Buffer.concat(batch.files.map(({ content }) => content))
    })
  }
  for (; inFlight > 0; inFlight--) await check()
}

/** A request of one kind: the `run`th of a turn. */
interface Kind {
  readonly name: string
  readonly what: "List" | "Read" | "Write"
  readonly of: (files: number, turn: number, run: number) => { readonly user: number; readonly body: object }
}

const ofFile = (file: number) => ({ user: userOf(file), body: { name: nameOf(file) } })

const kinds: ReadonlyArray<Kind> = [
  {
    name: "WRITE of 4 KiB, of a file that is there",
    what: "Write",
    of: (files, turn, run) => ofFile(readable(files, turn, run))
  },
  {
    name: "WRITE of 4 KiB, a new file",
    what: "Write",
    // In folders that are beside the others: those are listed.
    of: (files, turn, run) => {
      const folder = scattered(run, files / IN_A_FOLDER)
      return { user: folder % USERS, body: { name: `d${folder}n/${turn}-${run}` } }
    }
  },
  {
    name: "LIST of a folder of 100",
    what: "List",
    of: (files, turn, run) => {
      const folder = scattered(turn * TURN + run, files / IN_A_FOLDER)
      return { user: folder % USERS, body: { prefix: `d${folder}/` } }
    }
  },
  {
    name: "LIST, a page of 100 of the largest folder",
    what: "List",
    of: () => ({ user: USERS, body: { prefix: WIDE, limit: 100 } })
  },
  // Sets that were not written just now, or everything was.
  {
    name: "READ of 4 KiB, for the first time",
    what: "Read",
    of: (files, turn, run) => ofFile(readable(files, turn + 5, run))
  },
  {
    name: "READ of 4 KiB, again",
    what: "Read",
    of: (files, turn, run) => ofFile(readable(files, turn + 5, run))
  }
]

const measure = async (stores: ReadonlyArray<Store>, rounds: number): Promise<ReadonlyArray<string>> => {
  const taken = kinds.map(() => stores.map(() => ({ wall: new Array<number>(), cpu: 0 })))
  for (let turn = 0; turn <= rounds; turn++) {
    for (const [index, kind] of kinds.entries()) {
      for (const [at, { client, cpu, files, tokens }] of stores.entries()) {
        const [start, used] = [performance.now(), cpu()]
        await pump(client, TURN, (id) => {
          const { body, user } = kind.of(files, turn, id - 1)
          const data = kind.what === "Write" ? { data: large } : {}
          return requestBytes(kind.what, { id, auth: { token: tokens[user] }, body, ...data })
        })
        const cell = taken[index]?.[at]
        if (turn === 0 || cell === undefined) continue
        cell.wall.push((performance.now() - start) / TURN)
        cell.cpu += (cpu() - used) / TURN / rounds * 1e6
      }
    }
  }
  return kinds.map(({ name }, index) => {
    const [few, many] = taken[index] ?? []
    const [before, after] = [median(few?.wall ?? []), median(many?.wall ?? [])]
    const [cpuBefore, cpuAfter] = [few?.cpu ?? 0, many?.cpu ?? 0]
    return `| ${name} | ${cpuBefore.toFixed(0)} µs | ${cpuAfter.toFixed(0)} µs | ${
      (cpuAfter / cpuBefore).toFixed(2)
    } × | ${before.toFixed(2)} ms | ${after.toFixed(2)} ms | ${(after / before).toFixed(2)} × |`
  })
}

const timed = async <A>(work: () => Promise<A>): Promise<readonly [seconds: number, result: A]> => {
  const start = performance.now()
  const result = await work()
  return [(performance.now() - start) / 1000, result]
}

const residentMiB = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024

const diskMiB = async (folder: string): Promise<number> => Number((await command("du", ["-sm", folder])).split("\t")[0])

/** Fills a store; what that took. */
const make = async (folder: string, files: number, database: Database): Promise<readonly [string, string]> => {
  const store = await serve(folder, files, database)
  try {
    const cpu = store.cpu()
    const [seconds] = await timed(() => fill(store))
    return [
      `${(files * 1.1 / seconds).toFixed(0)} files/s, in ${seconds.toFixed(0)} s`,
      `${((store.cpu() - cpu) / (files * 1.1) * 1e6).toFixed(0)} µs`
    ]
  } finally {
    await close(store)
  }
}

const compare = async (folder: string, rounds: number, files: number, databases: readonly [Database, Database]) => {
  const sizes = [FEW, files]
  const folders = databases.map((_, index) => join(folder, String(index)))
  const facts: Array<ReadonlyArray<string>> = []
  const stores: Array<Store> = []
  try {
    const filled: Array<readonly [string, string]> = []
    const starts: Array<string> = []
    for (const [index, database] of databases.entries()) {
      filled.push(await make(folders[index] ?? "", sizes[index] ?? 0, database))
      const [seconds, store] = await timed(() => serve(folders[index] ?? "", sizes[index] ?? 0, database))
      starts.push(`${seconds.toFixed(2)} s`)
      stores.push(store)
    }
    const lines = await measure(stores, rounds)
    // What comes next may take minutes.
    process.stderr.write(`${databases[0].name}\n${lines.join("\n")}\n`)
    const each = (work: (store: Store, folder: string, index: number) => Promise<string>) =>
      stores.reduce<Promise<Array<string>>>(
        async (done, store, index) => [...await done, await work(store, folders[index] ?? "", index)],
        Promise.resolve([])
      )
    const admin = (what: string, ...args: ReadonlyArray<string>) =>
      each(async (_, at) => {
        const line = [program(), "admin", what, ...args.map((arg) => join(at, arg)), "--data-dir", join(at, "data")]
        return `${(await timed(() => command(process.execPath, line)))[0].toFixed(1)} s`
      })
    facts.push(
      ["filling it by messages of 256 files", ...filled.map(([rate]) => rate)],
      ["CPU time of that, for a file", ...filled.map(([, cpu]) => cpu)],
      [`from the start until ${USERS + 1} users have logged in`, ...starts],
      ["resident memory after all this", ...await each(async ({ fip }) => `${residentMiB(fip.pid).toFixed(0)} MiB`)],
      ["on disk, without PostgreSQL", ...await each(async (_, at) => `${await diskMiB(join(at, "data"))} MiB`)],
      ["`fip admin fsck`", ...await admin("fsck")],
      ["`fip admin backup`", ...await admin("backup", "backup")],
      ["end of the server", ...await each(async (store) => `${(await timed(() => close(store)))[0].toFixed(2)} s`)]
    )
    stores.length = 0
    return [
      `### A store of ${FEW} files and one of ${files}, ${databases[0].name}`,
      [
        `| 32 in flight on one connection | CPU time, ${FEW} | ${files} | ratio | time, ${FEW} | ${files} | ratio |`,
        "| --- | --- | --- | --- | --- | --- | --- |",
        ...lines
      ].join("\n"),
      [
        `| | ${FEW} | ${files} |`,
        "| --- | --- | --- |",
        ...facts.map((cells) => `| ${cells.join(" | ")} |`)
      ].join("\n")
    ].join("\n\n")
  } finally {
    for (const store of stores) await close(store)
    await rm(folder, { recursive: true, force: true })
  }
}

const postgres = Effect.map(TestPostgres.newDurableServer, (url): Database => ({
  name: "PostgreSQL",
  flags: ["--database-url", url],
  cpu: () => cpuOfPostgres(url)
}))

const embedded: Database = { name: "embedded database", flags: [], cpu: () => 0 }

export const store = async (folder: string, rounds: number, files: number): Promise<string> =>
  [
    await compare(join(folder, "embedded"), rounds, files, [embedded, embedded]),
    await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
      const databases = [yield* postgres, yield* postgres] as const
      return yield* Effect.promise(() => compare(join(folder, "postgres"), rounds, files, databases))
    })))
  ].join("\n\n")
