/**
 * The whole program under force: clients in processes of their own work on a real server, which is killed at random
 * moments and started again, as are clients and PostgreSQL. After each of these points everything is looked at.
 *
 * What is done follows from the seed; when exactly a process dies is up to the machine.
 */
import { Data, Effect } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { cp, mkdir, readdir, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { Database } from "../../src/server/Database.ts"
import { defaults, ServerConfig } from "../../src/server/ServerConfig.ts"
import { serve, type ServerProcess } from "../support/Program.ts"
import { Random } from "../support/Random.ts"
import { complaints } from "../support/tableInvariants.ts"
import { temporaryFolder } from "../support/temporaryFolder.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import * as TestPostgres from "../support/TestPostgres.ts"
import { Crew } from "./Crew.ts"
import { User } from "./User.ts"

const USERS = 16
const CREWS = 2

/** The tables of an embedded database are looked at so often, in a copy: that costs as much as a start. */
const TABLES_EVERY = 10

export interface TortureOptions {
  readonly points: number
  readonly seed: number
  readonly database: "embedded" | "postgres"
  /** Told of each point that was passed. */
  readonly onPoint: (point: number) => void
}

export interface Figures {
  readonly points: number
  readonly serverKills: number
  readonly clientKills: number
  readonly databaseKills: number
  /** Changes that were acknowledged; all of them are there. */
  readonly acknowledged: number
  /** Changes that were not answered; how many of them were carried out all the same, whole. */
  readonly unanswered: number
  readonly carriedOut: number
  /** Bytes in segments at the end, and those of them that a version of a file is made of. */
  readonly storedBytes: number
  readonly usedBytes: number
}

/** The length of every segment. */
const segmentsIn = async (dataDir: string): Promise<ReadonlyMap<string, number>> => {
  const root = join(dataDir, "segments")
  const found = new Map<string, number>()
  for (const entry of await readdir(root, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) found.set(entry.name, (await stat(join(entry.parentPath, entry.name))).size)
  }
  return found
}

const usedBytes = Effect.gen(function*() {
  const sql = yield* SqlClient
  const [row] = yield* sql<{ readonly bytes: number }>`
    select coalesce(sum(upper(r) - lower(r)), 0)::bigint as bytes from (
      select unnest(range_agg(int8range(segment_offset, segment_offset + length))) as r from extents group by segment_id
    ) ranges`
  return row?.bytes ?? 0
})

class Torture {
  private readonly options: TortureOptions
  private readonly folder: string
  private readonly postgres: TestPostgres.Server | undefined
  private readonly random: Random
  private server: ServerProcess | undefined
  private port = 0
  private users: ReadonlyArray<User> = []
  private readonly crews: Array<Crew> = []
  private readonly kills = { server: 0, client: 0, database: 0 }

  constructor(options: TortureOptions, folder: string, postgres: TestPostgres.Server | undefined) {
    this.options = options
    this.folder = folder
    this.postgres = postgres
    this.random = new Random(options.seed)
  }

  private get dataDir(): string {
    return join(this.folder, "data")
  }

  private get knownHosts(): string {
    return join(this.folder, "known_hosts")
  }

  private async startServer(): Promise<void> {
    const database = this.postgres === undefined ? [] : ["--database-url", this.postgres.url]
    this.server = await serve(
      [String(this.port), "--data-dir", this.dataDir, "--log-level", "fatal", ...database],
      // Saves what Node would compile anew at each start.
      { env: { NODE_COMPILE_CACHE: join(this.folder, "compiled") } }
    )
    this.port = this.server.port
  }

  private async startCrew(index: number): Promise<void> {
    const users = this.users.filter((_, at) => at % CREWS === index).map((user) => user.name)
    this.crews[index] = await Crew.start(this.port, this.knownHosts, this.folder, users)
  }

  private async prepare(): Promise<void> {
    await mkdir(this.dataDir)
    if (this.postgres === undefined) await TestDatabase.seedDataDir(this.dataDir)
    await this.startServer()
    this.users = Array.from(
      { length: USERS },
      (_, at) => new User(`user${at}`, this.random.split(), this.port, this.knownHosts)
    )
    for (const user of this.users) await user.register()
    await Promise.all(Array.from({ length: CREWS }, (_, index) => this.startCrew(index)))
  }

  /** Everybody works, until something is killed and nobody is left whose changes are acknowledged. */
  private async work(): Promise<void> {
    const { random } = this
    const { kill, victims } = this.choose()
    let left = 1 + random.below(60)
    const crewDies = random.chance(0.25) ? { index: random.below(CREWS), at: random.below(left) } : undefined
    let killing: Promise<unknown> | undefined
    const isOver = () => killing !== undefined
    const passed = () => {
      left--
      if (crewDies?.at === left) {
        this.kills.client++
        void this.crews[crewDies.index]?.kill()
      }
      // Not as an answer arrives only, but also in the middle of things.
      const patience = random.below(25)
      if (left <= 0) {
        killing ??= new Promise((resolve) => {
          setTimeout(resolve, patience)
        }).then(kill)
        // Its failure is told to whoever waits for it, below.
        killing.catch(() => {})
      }
    }
    await Promise.all(this.users.map(async (user, at) => {
      const crew = this.crews[at % CREWS]
      while (!isOver() && await this.act(user, crew)) passed()
    }))
    // Everybody may have stopped with a crew that died, or with PostgreSQL: then it is time.
    await (killing ?? kill())
    if (victims.server) await this.startServer()
  }

  /** One change; false when it was not answered. */
  private async act(user: User, crew: Crew | undefined): Promise<boolean> {
    if (crew?.isAlive !== true) return false
    const change = user.next()
    return user.take(change, await crew.do(user.name, change))
  }

  /** What is killed this time, the server most of the time. */
  private choose() {
    const { postgres, random } = this
    const victims = postgres === undefined
      ? { server: true, database: false }
      : random.pick([{ server: true, database: false }, { server: true, database: true }, {
        server: false,
        database: true
      }])
    const kill = async () => {
      await Promise.all([
        victims.server ? this.killServer() : undefined,
        victims.database ? this.killDatabase() : undefined
      ])
      if (victims.database) await postgres?.start()
    }
    return { victims, kill }
  }

  private async killServer(): Promise<void> {
    this.kills.server++
    await this.server?.stop("SIGKILL")
    this.server = undefined
  }

  private async killDatabase(): Promise<void> {
    this.kills.database++
    await this.postgres?.kill()
  }

  private async verify(): Promise<void> {
    for (const [index, crew] of this.crews.entries()) {
      if (!crew.isAlive) await this.startCrew(index)
    }
    for (const user of this.users) await user.verify()
  }

  /** Looks at the tables, in a copy where the server has them to itself; gives the bytes that are in use. */
  private async verifyTables(): Promise<number> {
    const copy = join(this.folder, "copy")
    if (this.postgres === undefined) {
      // Nothing changes meanwhile: nobody works.
      await mkdir(copy)
      await cp(join(this.dataDir, "database"), join(copy, "database"), { recursive: true })
    }
    const segments = await segmentsIn(this.dataDir)
    const look = Effect.all([complaints(segments), usedBytes]).pipe(
      Effect.provide(Database.layer),
      Effect.provideService(ServerConfig, { ...defaults, dataDir: copy, databaseUrl: this.postgres?.url }),
      Effect.scoped
    )
    const [found, used] = await Effect.runPromise(look)
    await rm(copy, { recursive: true, force: true })
    if (found.length > 0) throw new Error(found.join("\n"))
    return used
  }

  async run(): Promise<Figures> {
    const { onPoint, points } = this.options
    await this.prepare()
    for (let point = 1; point <= points; point++) {
      await this.work()
      await this.verify()
      if (this.postgres !== undefined || point % TABLES_EVERY === 0) await this.verifyTables()
      onPoint(point)
    }
    const used = await this.verifyTables()
    const sum = (of: (user: User) => number) => this.users.reduce((total, user) => total + of(user), 0)
    return {
      points,
      serverKills: this.kills.server,
      clientKills: this.kills.client,
      databaseKills: this.kills.database,
      acknowledged: sum((user) => user.acknowledged),
      unanswered: sum((user) => user.open),
      carriedOut: sum((user) => user.carriedOut),
      storedBytes: [...(await segmentsIn(this.dataDir)).values()].reduce((total, bytes) => total + bytes, 0),
      usedBytes: used
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.crews.map((crew) => crew.kill()))
    await Promise.all(this.users.map((user) => user.close()))
    await this.server?.stop("SIGKILL")
  }
}

/** Something that the server promises was not so. */
export class PromiseBroken extends Data.TaggedError("PromiseBroken")<{
  readonly message: string
  readonly cause: unknown
}> {}

/** Fails with what was not as it must be. */
export const torture = Effect.fnUntraced(function*(options: TortureOptions) {
  const folder = yield* temporaryFolder
  const postgres = options.database === "postgres" ? yield* TestPostgres.restartable : undefined
  const subject = yield* Effect.acquireRelease(
    Effect.sync(() => new Torture(options, folder, postgres)),
    (subject) => Effect.promise(() => subject.end())
  )
  return yield* Effect.tryPromise({
    try: () => subject.run(),
    catch: (cause) => new PromiseBroken({ message: String(cause), cause })
  })
}, Effect.scoped)
