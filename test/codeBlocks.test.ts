/**
 * What the pages tell one to type is run: every `sh` block, line by line, in a folder with a home of its own, against one
 * server that the first of them starts. Paths of the system become paths below that folder, ports become free ones,
 * addresses loopback, and databases real ones. `nix` blocks are parsed. What cannot run here is named, with the reason.
 */
import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, type Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { readdirSync, readFileSync } from "node:fs"
import { mkdir, readdir, rm, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { ownProgram } from "./support/Program.ts"
import { temporaryFolder } from "./support/temporaryFolder.ts"
import { TestDatabase } from "./support/TestDatabase.ts"
import * as TestPostgres from "./support/TestPostgres.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const PASSWORD = "correct horse"

/** Blocks by their first line, and why they are not run. */
const NOT_HERE = new Map([
  ["npm ci", "it asks the registry: .ci/run begins with it, on a clean clone"],
  ["cp packaging/fip.service /etc/systemd/system/", "it takes root and a running systemd"],
  ["podman build -t fip -f packaging/Containerfile .", "it takes a container engine"],
  [
    "FIP_TEST_POINTS=1000 npx vitest run test/server/files/LostPower.test.ts    # FIP_TEST_SEED=n for another run",
    "it takes hours; the tests run all of it with fewer points"
  ]
])

/** Lines, those that go on in the next put together. */
type Block = ReadonlyArray<string>

const pages = ["README.md", "CONTRIBUTING.md", ...readdirSync(join(root, "docs")).map((name) => `docs/${name}`)]
  .filter((page) => page.endsWith(".md"))

const blocksOf = (language: string): ReadonlyArray<Block> =>
  pages.flatMap((page) =>
    Array.from(
      readFileSync(join(root, page), "utf8").matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "gm")),
      ([, code = ""]) => code.replaceAll("\\\n", " ").trim().split("\n")
    )
  )

const isServe = (line: string): boolean => /(^|\s)fip serve\b/.test(line)

/** Everything a line needs; servers that it starts are told to end when the scope closes. */
interface Place {
  readonly folder: string
  readonly env: Record<string, string>
  readonly databaseUrl: string
}

const asItCanBeHere = (line: string, { databaseUrl, folder }: Place, backup: string | undefined): string =>
  line
    .replaceAll(/(?<=[\s=])\/(?=(?:srv|backup|var\/lib)\/)/g, `${folder}/`)
    .replaceAll(/(fip serve) \d+/g, "$1 0")
    .replaceAll("0.0.0.0", "127.0.0.1")
    .replaceAll(/'?postgres:\/\/[^'\s]*'?/g, `'${databaseUrl}'`)
    .replaceAll("…", `'${PASSWORD}'`)
    .replaceAll(/(?<=--backup )\S+/g, backup ?? "")

const shell = (line: string, { env, folder }: Place): ChildProcess =>
  spawn("bash", ["-c", `set -o pipefail; ${line}`], {
    env,
    cwd: folder,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"]
  })

const textOf = (child: ChildProcess): () => string => {
  let text = ""
  child.stdout?.on("data", (chunk) => text += chunk)
  child.stderr?.on("data", (chunk) => text += chunk)
  return () => text
}

/** Runs a line to its end. */
const runLine = async (line: string, place: Place): Promise<void> => {
  const child = shell(line, place)
  const text = textOf(child)
  const [status] = await once(child, "close")
  assert.strictEqual(status, 0, `${line}\n${text()}`)
}

/** Starts a server and gives its port; it ends, and well, with the scope. */
const startServer = (line: string, place: Place): Effect.Effect<number, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const child = shell(line, place)
        const text = textOf(child)
        const ended = once(child, "close")
        let port: number | undefined
        while (port === undefined) {
          await Promise.race([once(child.stdout ?? child, "data"), ended])
          if (child.exitCode !== null) return assert.fail(`${line}\n${text()}`)
          const [, found] = /^listening on \S+:(\d+) SHA256:/m.exec(text()) ?? []
          if (found !== undefined) port = Number(found)
        }
        return { child, ended, port, text }
      }),
      ({ child, ended, text }) =>
        Effect.promise(async () => {
          // It and the shell that it was typed into.
          if (child.pid !== undefined) process.kill(-child.pid, "SIGTERM")
          await ended
          assert.notInclude(text(), "did not close", line)
        })
    ),
    ({ port }) => port
  )

describe("code for a terminal", () => {
  it.live("does what the pages say, line by line", () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const home = join(folder, "home")
      const programs = join(folder, "programs")
      const server = yield* TestPostgres.newServer
      let databases = 0
      const placeOf = Effect.fnUntraced(function*(ownHome: string) {
        const name = `page_${databases++}`
        yield* SqlClient.pipe(
          Effect.flatMap((sql) => sql`create database ${sql(name)}`),
          Effect.provide(PgClient.layer({ url: Redacted.make(server) })),
          Effect.scoped
        )
        const url = new URL(server)
        url.pathname = `/${name}`
        yield* Effect.promise(() => mkdir(ownHome, { recursive: true }))
        const path = [programs, dirname(process.execPath), process.env["PATH"]].join(":")
        const env = { PATH: path, HOME: ownHome, LANG: "C.UTF-8", NO_COLOR: "1", FIP_PORT: "0", FIP_WORKERS: "1" }
        return { folder, databaseUrl: url.href, env } satisfies Place
      })
      yield* Effect.promise(async () => {
        for (const name of ["srv", "backup", "var/lib", "programs"]) {
          await mkdir(join(folder, name), { recursive: true })
        }
        const program = `#!/bin/sh\nexec '${process.execPath}' '${ownProgram}' "$@"\n`
        await writeFile(join(programs, "fip"), program, { mode: 0o755 })
        await writeFile(join(programs, "npx"), `#!/bin/sh\nexec "$@"\n`, { mode: 0o755 })
        await writeFile(join(folder, "report.pdf"), "%PDF")
        await TestDatabase.seedDataDir(join(home, ".local/share/fip"))
      })
      const first = yield* placeOf(home)
      const blocks = blocksOf("sh")
      const skipped = blocks.filter(([line = ""]) => NOT_HERE.has(line))
      assert.lengthOf(skipped, NOT_HERE.size)
      const run = blocks.filter((block) => !skipped.includes(block))
      assert.isAbove(run.length, 5)

      const runBlock = Effect.fnUntraced(function*(lines: Block) {
        const [line = ""] = lines
        const place = line.includes("DATABASE_URL") ? yield* placeOf(join(folder, `home ${databases}`)) : first
        const exported: Array<string> = []
        for (const written of lines.filter((line) => !line.startsWith("#"))) {
          const [backup] = written.includes("--backup ")
            ? yield* Effect.promise(() => readdir(join(folder, "backup/fip/backups")))
            : []
          const line = asItCanBeHere(written, place, backup)
          if (line.startsWith("export ")) exported.push(line)
          else if (isServe(line)) {
            yield* startServer([...exported, `exec ${line.replace(/^(\w+=\S+) /, "env $1 ")}`].join("; "), place)
          } else {
            // Each of these lines is one of several ways to the same folder.
            if (line.includes("admin restore")) {
              yield* Effect.promise(() => rm(join(folder, "srv/fip"), { recursive: true, force: true }))
            }
            yield* Effect.promise(() => runLine([...exported, line].join("; "), place))
          }
        }
      })

      // The server that the page about running one starts first is everybody's.
      const start = run.find(([line = ""]) => line.startsWith("fip serve "))
      if (start === undefined) return assert.fail("no block starts a server")
      const port = yield* startServer(`exec ${start[0]}`, first)
      yield* Effect.promise(async () => {
        await mkdir(join(home, ".config/fip"), { recursive: true })
        const profile = `[profile.localhost]\nhost = "127.0.0.1"\nport = ${port}\n`
        await writeFile(join(home, ".config/fip/config.toml"), profile, { mode: 0o600 })
        await runLine(`fip connect localhost -- UNEW alice '${PASSWORD}'`, first)
      })
      for (const lines of run) {
        yield* Effect.scoped(runBlock(lines.filter((line) => line !== start[0])))
        for (const name of ["srv", "var/lib"]) {
          yield* Effect.promise(async () => {
            await rm(join(folder, name), { recursive: true })
            await mkdir(join(folder, name))
          })
        }
      }
    }).pipe(Effect.scoped), 300_000)
})

describe("code for Nix", () => {
  const nix = spawnSync("nix-instantiate", ["--version"]).status === 0

  it.skipIf(!nix)("is an expression, in pages as in files", () => {
    const files = ["flake.nix", "packaging/nixos.nix"].map((path) => readFileSync(join(root, path), "utf8"))
    // In a configuration whose flake has this one as an input.
    const written = blocksOf("nix").map((lines) => `{ fip, ... }: ${lines.join("\n")}`)
    assert.isAbove(written.length, 0)
    for (const input of [...files, ...written]) {
      const { status, stderr } = spawnSync("nix-instantiate", ["--parse", "-"], { input, encoding: "utf8" })
      assert.strictEqual(status, 0, `${input}\n${stderr}`)
    }
  })
})
