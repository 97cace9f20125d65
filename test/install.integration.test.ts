/**
 * The package as people get it: packed, installed by npm into an empty folder outside of the repository, and used there
 * with nothing but Node on the PATH.
 *
 * npm takes what the package needs from its cache, or from the registry; which versions is said by a lock that is made of
 * the repository's own, without what is for development. Without both it fails, and says so.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { lstat, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { run, serve, type ServerProcess } from "./support/Program.ts"
import { TestDatabase } from "./support/TestDatabase.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const execute = promisify(execFile)

interface Locked {
  readonly dev?: boolean
  readonly devOptional?: boolean
}
interface PackageFile {
  readonly name: string
  readonly version: string
  readonly dependencies: Readonly<Record<string, string>>
  readonly scripts: Readonly<Record<string, string>>
  readonly bin: Readonly<Record<string, string>>
}

const json = async <A>(path: string): Promise<A> => JSON.parse(await readFile(path, "utf8"))

/** A program of the repository's PATH, where npm is; `node` there is the one that runs this test. */
const npm = async (args: ReadonlyArray<string>, cwd: string, bin: string): Promise<string> =>
  (await execute("npm", [...args], {
    cwd,
    env: { ...process.env, PATH: `${bin}:${process.env["PATH"]}`, NODE_ENV: "" },
    maxBuffer: 16 * 1024 * 1024
  })).stdout

let folder = ""
let installed = ""
let env: NodeJS.ProcessEnv = {}
let server: ServerProcess

const options = () => ({ program: join(installed, "node_modules/.bin/fip"), cwd: installed, env })

const connect = (...args: ReadonlyArray<string>) =>
  run(["connect", "127.0.0.1", String(server.port), "--json", ...args], options())

const PROGRAM = `
import { Effect, Redacted, Stream } from "effect"
import { FipClient, type Written } from "fip"
import { connect } from "fip/promise"
import { layerTest } from "fip/testing"

const program = Effect.gen(function*() {
  const fip = yield* FipClient
  yield* fip.login("install_user", Redacted.make("an installed password"))
  const written: Written = yield* fip.write("from/library.txt", "typed")
  const text = yield* fip.read("notes.txt").pipe(Stream.decodeText, Stream.mkString)
  return \`\${written.version} \${text}\`
})

const port = Number(process.argv[2])
console.log(await Effect.runPromise(Effect.provide(program, FipClient.layer({ host: "127.0.0.1", port }))))
await using fip = await connect({
  host: "127.0.0.1",
  port,
  username: "install_user",
  password: "an installed password"
})
console.log(await fip.read("from/library.txt").text(), typeof layerTest)
`

describe("an installed package", { timeout: 120_000 }, () => {
  beforeAll(async () => {
    folder = await realpath(await mkdtemp(join(tmpdir(), "fip-install-")))
    installed = join(folder, "app")
    const bin = join(folder, "bin")
    await Promise.all([installed, bin, join(folder, "home"), join(folder, "data")].map((path) => mkdir(path)))
    await symlink(process.execPath, join(bin, "node"))
    env = { PATH: bin, HOME: join(folder, "home"), XDG_STATE_HOME: join(folder, "home/state") }

    const [packed] = JSON.parse(await npm(["pack", "--json", "--silent", "--pack-destination", folder], root, bin)) as [
      { readonly filename: string; readonly integrity: string }
    ]
    const own = await json<PackageFile>(join(root, "package.json"))
    const lock = await json<{ readonly packages: Readonly<Record<string, Locked>> }>(join(root, "package-lock.json"))
    const tarball = `file:../${packed.filename}`
    const needed = Object.entries(lock.packages).filter(([path, { dev, devOptional }]) =>
      path !== "" && dev !== true && devOptional !== true
    )
    const manifest = { name: "app", version: "1.0.0", private: true, type: "module", dependencies: { fip: tarball } }
    await writeFile(join(installed, "package.json"), JSON.stringify(manifest))
    await writeFile(
      join(installed, "package-lock.json"),
      JSON.stringify({
        name: "app",
        version: "1.0.0",
        lockfileVersion: 3,
        requires: true,
        packages: {
          "": manifest,
          "node_modules/fip": {
            version: own.version,
            resolved: tarball,
            integrity: packed.integrity,
            dependencies: own.dependencies,
            bin: own.bin
          },
          ...Object.fromEntries(needed)
        }
      })
    )
    await npm(["ci", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts"], installed, bin)

    await TestDatabase.seedDataDir(join(folder, "data"))
    server = await serve(["0", "--data-dir", join(folder, "data")], options())
  }, 240_000)

  afterAll(async () => {
    await server?.stop()
    await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  })

  it("runs nothing when it is installed, and brings no sources", async () => {
    const own = await json<PackageFile>(join(installed, "node_modules/fip/package.json"))
    for (const script of ["preinstall", "install", "postinstall", "prepare"]) assert.isUndefined(own.scripts[script])
    const files = await readdir(join(installed, "node_modules/fip"), { recursive: true })
    assert.deepStrictEqual(files.filter((name) => /\.map$|(?<!\.d)\.ts$/.test(name)), [])
    const there = await readdir(join(installed, "node_modules"))
    for (const tool of ["typescript", "vitest", "rolldown", "node"]) assert.notInclude(there, tool)
    assert.include(files, "packaging/fip.1")
    assert.include(await readFile(join(installed, "node_modules/fip/packaging/fip.1"), "utf8"), ".TH FIP 1")
    assert.isTrue((await lstat(join(installed, "node_modules/fip"))).isDirectory(), "a copy, not a link to the clone")
  })

  it("is started by its name", async () => {
    const { stdout } = await execute(options().program, ["--version"], { env })
    assert.match(stdout, /\d+\.\d+\.\d+/)
  })

  it("serves, and its shell registers, writes and reads", async () => {
    const password = { ...env, FIP_USERNAME: "install_user", FIP_PASSWORD: "an installed password" }
    const registered = await connect("--", "UNEW", "install_user", "an installed password")
    assert.strictEqual(registered.status, 0, registered.stderr)
    env = password
    const written = await connect("--", "WRITE", "notes.txt", "hello")
    assert.strictEqual(written.status, 0, written.stderr)
    const read = await run(["connect", "127.0.0.1", String(server.port), "--", "READ", "notes.txt"], options())
    assert.strictEqual(read.stdout.toString(), "hello", read.stderr)
  })

  it("is a library with types, which a program of Node imports", async () => {
    await writeFile(join(installed, "program.ts"), PROGRAM)
    await writeFile(
      join(installed, "tsconfig.json"),
      JSON.stringify({
        compilerOptions: { target: "es2024", module: "nodenext", strict: true, types: ["node"], noEmit: true },
        include: ["program.ts"]
      })
    )
    // Types of others are none of ours: those of fip are checked by being imported.
    const compiler = join(root, "node_modules/typescript/bin/tsc")
    const checked = await execute(process.execPath, [compiler, "--skipLibCheck", "-p", "."], { cwd: installed })
    assert.strictEqual(checked.stdout, "")
    const { stdout } = await execute(process.execPath, ["program.ts", String(server.port)], { cwd: installed, env })
    assert.strictEqual(stdout, "1 hello\ntyped object\n")
  })
})
