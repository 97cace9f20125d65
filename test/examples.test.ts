/** The programs under examples/, as a user runs them: processes against a server of their own. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { connect, type Fip, Refusal } from "../src/promise.ts"
import { serve, type ServerProcess } from "./support/Program.ts"
import { TestDatabase } from "./support/TestDatabase.ts"

let folder = ""
let server: ServerProcess

const environment = () => ({
  PATH: process.env["PATH"],
  XDG_CONFIG_HOME: join(folder, "config"),
  XDG_STATE_HOME: join(folder, "state"),
  FIP_USERNAME: "example_user",
  FIP_PASSWORD: "example password"
})

/** `fip-source` makes `import … from "fip"` mean src/index.ts, where users have the built one. */
const argumentsOf = (name: string, args: ReadonlyArray<string>): ReadonlyArray<string> => [
  "--conditions=fip-source",
  fileURLToPath(new URL(`../examples/${name}`, import.meta.url)),
  "127.0.0.1",
  String(server.port),
  ...args
]

/** The standard output of one that ends. */
const example = async (name: string, ...args: ReadonlyArray<string>): Promise<string> =>
  (await promisify(execFile)(process.execPath, argumentsOf(name, args), { env: environment() })).stdout

/** One that runs until it is told to stop. */
const running = (name: string, ...args: ReadonlyArray<string>) => {
  const child = spawn(process.execPath, argumentsOf(name, args), {
    env: environment(),
    stdio: ["ignore", "pipe", "pipe"]
  })
  let output = ""
  let errors = ""
  let look: (() => void) | undefined
  child.stdout.on("data", (chunk) => {
    output += chunk
    look?.()
  })
  child.stderr.on("data", (chunk) => errors += chunk)
  const ended = once(child, "close").then(() => look?.())
  return {
    /** Waits until it has said this, and forgets what it has said up to there. */
    says: (pattern: RegExp): Promise<RegExpExecArray> =>
      new Promise((resolve, reject) => {
        look = () => {
          const found = pattern.exec(output)
          if (found !== null) {
            output = output.slice(found.index + found[0].length)
            resolve(found)
          } else if (child.exitCode !== null) reject(new Error(`${name} ended: ${output} ${errors}`))
        }
        look()
      }),
    stop: async () => {
      child.kill("SIGINT")
      await ended
    }
  }
}

/** A client of the same user, who looks at what the examples do. */
const connected = (port = server.port): Promise<Fip> =>
  connect({
    host: "127.0.0.1",
    port,
    knownHosts: join(folder, "known_hosts"),
    stateFolder: join(folder, "state"),
    username: "example_user",
    password: "example password"
  })

const names = async (fip: Fip): Promise<ReadonlyArray<string>> => {
  const found: Array<string> = []
  for await (const entry of fip.list({ recursive: true })) if (entry._tag === "File") found.push(entry.file.name)
  return found
}

describe("examples", { timeout: 120_000 }, () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "fip-test-"))
    await mkdir(join(folder, "data"))
    await TestDatabase.seedDataDir(join(folder, "data"))
    server = await serve(["0", "--data-dir", join(folder, "data")])
  }, 120_000)

  afterAll(async () => {
    await server?.stop()
    await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  })

  it("put-and-get.ts writes a text and reads it back", async () => {
    assert.strictEqual(await example("put-and-get.ts"), "version 1: Grüße aus FIP\n")
    assert.strictEqual(await example("put-and-get.ts"), "version 2: Grüße aus FIP\n")
  })

  it("backup-folder.ts sends what is new and what has changed, and nothing else", async () => {
    const source = join(folder, "things")
    await mkdir(join(source, "inner"), { recursive: true })
    await Promise.all(["a", "b", "inner/c"].map((name) => writeFile(join(source, name), `content of ${name}`)))
    assert.strictEqual(await example("backup-folder.ts", source), "3 of 3 files sent to backup/things/\n")
    await writeFile(join(source, "inner/c"), "changed")
    await writeFile(join(source, "d"), "new")
    assert.strictEqual(await example("backup-folder.ts", source), "2 of 4 files sent to backup/things/\n")
  })

  it("tail-log.ts sends what is added, goes on where it was, and renames what was rotated", async () => {
    await using fip = await connected()
    const log = join(folder, "app.log")
    await writeFile(log, "one\n")
    const first = running("tail-log.ts", log, "logs/app.log")
    await first.says(/4 bytes, version 1\n/)
    await appendFile(log, "two\n")
    await first.says(/4 bytes, version 2\n/)
    await first.stop()
    await appendFile(log, "three\n")
    const second = running("tail-log.ts", log, "logs/app.log")
    await second.says(/6 bytes, version 3\n/)
    assert.strictEqual(await fip.read("logs/app.log").text(), "one\ntwo\nthree\n")
    await writeFile(log, "new\n")
    const [, old = ""] = await second.says(/the log before is (\S+)\n/)
    await second.says(/version \d+\n/)
    await second.stop()
    assert.strictEqual(await fip.read(old).text(), "one\ntwo\nthree\n")
    assert.strictEqual(await fip.read("logs/app.log").text(), "new\n")
  })

  it("sync-folder.ts takes changes both ways, without echoes, and keeps what was changed on both sides", async () => {
    await using fip = await connected()
    const here = join(folder, "synced")
    await mkdir(join(here, "docs"), { recursive: true })
    await writeFile(join(here, "here.txt"), "from here")
    await fip.write("sync/there.txt", "from there")
    await writeFile(join(here, "both.txt"), "here's")
    await fip.write("sync/both.txt", "there's")
    const sync = running("sync-folder.ts", here, "sync/")
    await sync.says(/both \(conflict\)\.txt: sent\n/)
    await fip.write("sync/late.txt", "late")
    await sync.says(/late\.txt: fetched\n/)
    assert.strictEqual(await fip.read("sync/here.txt").text(), "from here")
    assert.strictEqual(await readFile(join(here, "there.txt"), "utf8"), "from there")
    assert.strictEqual(await readFile(join(here, "both.txt"), "utf8"), "there's")
    assert.strictEqual(await fip.read("sync/both (conflict).txt").text(), "here's")

    await writeFile(join(here, "docs/new.txt"), "new")
    await sync.says(/docs\/new\.txt: sent\n/)
    await rm(join(here, "here.txt"))
    await sync.says(/here\.txt: deleted on the server\n/)
    await fip.delete("sync/there.txt")
    await sync.says(/there\.txt: deleted here\n/)
    await fip.append("sync/late.txt", "r")
    await sync.says(/late\.txt: fetched\n/)
    // By the time that this has come, an echo of what was before would have.
    await fip.write("sync/last.txt", "")
    await sync.says(/last\.txt: fetched\n/)
    await sync.stop()
    assert.deepStrictEqual(
      (await readdir(here)).toSorted(),
      ["both (conflict).txt", "both.txt", "docs", "last.txt", "late.txt"]
    )
    assert.strictEqual(await readFile(join(here, "late.txt"), "utf8"), "later")
    const versions = new Map<string, number>()
    for await (const entry of fip.list({ prefix: "sync/", recursive: true })) {
      if (entry._tag === "File") versions.set(entry.file.name.slice("sync/".length), entry.file.version)
    }
    assert.deepStrictEqual(
      [...versions],
      [["both (conflict).txt", 1], ["both.txt", 1], ["docs/new.txt", 1], ["last.txt", 1], ["late.txt", 2]]
    )
  })

  it("share-report.ts shares a file for a week and takes it back", async () => {
    await using fip = await connected()
    await fip.register("report_reader", "reader password")
    const report = join(folder, "report.txt")
    await writeFile(report, "all is well")
    const name = "~example_user/reports/report.txt"
    const said = await example("share-report.ts", "share", report, "report_reader")
    const [, until = ""] = /^report_reader may read ~example_user\/reports\/report\.txt until (\S+)\n$/.exec(said) ?? []
    assert.approximately(Date.parse(until) - Date.now(), 7 * 24 * 60 * 60 * 1000, 120_000)
    const options = { host: "127.0.0.1", port: server.port, knownHosts: join(folder, "known_hosts") }
    await using reader = await connect({ ...options, username: "report_reader", password: "reader password" })
    assert.strictEqual(await reader.read(name).text(), "all is well")
    const taken = () => example("share-report.ts", "take-back", report, "report_reader")
    assert.strictEqual(await taken(), "report_reader may not read reports/report.txt any more\n")
    const refused: unknown = await reader.read(name).text().catch((error: unknown) => error)
    assert.strictEqual(refused instanceof Refusal ? refused.code : refused, "2:nf")
    assert.match(await taken(), /report_reader/)
  })

  it("serve-http.ts serves files with ranges, and again only what has changed", async () => {
    await using fip = await connected()
    const content = "0123456789".repeat(300_000)
    await fip.write("www/digits.txt", content)
    await fip.write("www/docs/<b> & co.html", "<p>hello")
    const web = running("serve-http.ts", "www/", "0")
    const [, base = ""] = await web.says(/(http:\/\/\S+)\//)
    const get = async (path: string, headers: Readonly<Record<string, string>> = {}, method = "GET") => {
      const response = await fetch(base + path, { headers, method })
      return { status: response.status, headers: response.headers, text: await response.text() }
    }
    const whole = await get("/digits.txt")
    assert.strictEqual(whole.status, 200)
    assert.isTrue(whole.text === content)
    assert.strictEqual(whole.headers.get("content-type"), "text/plain; charset=utf-8")
    const etag = whole.headers.get("etag") ?? ""
    const part = await get("/digits.txt", { Range: "bytes=2000003-2000007" })
    assert.deepStrictEqual([part.status, part.text], [206, "34567"])
    assert.strictEqual(part.headers.get("content-range"), "bytes 2000003-2000007/3000000")
    assert.strictEqual((await get("/digits.txt", { Range: "bytes=-3" })).text, "789")
    assert.strictEqual((await get("/digits.txt", { Range: "bytes=2999998-" })).text, "89")
    const beyond = await get("/digits.txt", { Range: "bytes=3000000-" })
    assert.deepStrictEqual([beyond.status, beyond.headers.get("content-range")], [416, "bytes */3000000"])
    const head = await get("/digits.txt", {}, "HEAD")
    assert.deepStrictEqual([head.status, head.headers.get("content-length"), head.text], [200, "3000000", ""])
    assert.strictEqual((await get("/digits.txt", { "If-None-Match": etag })).status, 304)
    await fip.write("www/digits.txt", "changed")
    assert.strictEqual((await get("/digits.txt", { "If-None-Match": etag })).text, "changed")
    assert.strictEqual((await get("/digits.txt", { "If-Range": etag, Range: "bytes=0-0" })).text, "changed")
    const listing = await get("/docs/")
    assert.include(listing.text, `<a href="%3Cb%3E%20%26%20co.html">&#60;b&#62; &#38; co.html</a>`)
    assert.strictEqual((await get("/docs/%3Cb%3E%20%26%20co.html")).text, "<p>hello")
    assert.deepStrictEqual(
      (await Promise.all([get("/none"), get("/%ff"), get("/%2e%2e/x")])).map(({ status }) => status),
      [
        404,
        404,
        404
      ]
    )
    assert.strictEqual((await get("/digits.txt", {}, "PUT")).status, 405)
    await web.stop()
  })

  it("move-server.ts takes versions and rights along, and can be run again", async () => {
    await using fip = await connected()
    await fip.register("first_friend", "friend password")
    await fip.register("stays_behind", "friend password")
    await fip.write("moved/a.txt", "one")
    await fip.write("moved/a.txt", "two")
    await fip.append("moved/a.txt", ", three")
    await fip.grant("first_friend", "moved/", "EDIT")
    await fip.grant("stays_behind", "moved/a.txt", "READ", { durationMs: 3_600_000 })
    await fip.grant("first_friend", "moved/a.txt", "MANAGE", { durationMs: 3_600_000 })
    await fip.publicise("moved/a.txt")
    const dataDir = join(folder, "data-2")
    await mkdir(dataDir)
    await TestDatabase.seedDataDir(dataDir)
    const other = await serve(["0", "--data-dir", dataDir])
    try {
      const options = { host: "127.0.0.1", port: other.port, knownHosts: join(folder, "known_hosts") }
      await using to = await connect(options)
      await to.register("example_user", "example password")
      await to.register("first_friend", "friend password")
      await to.login("example_user", "example password")
      const said = await example("move-server.ts", "127.0.0.1", String(other.port))
      assert.match(said, /^moved\/a\.txt: .*stays_behind/m)
      assert.match(said, /^\d+ files are on 127\.0\.0\.1:\d+, \d+ versions sent$/m)
      const { versions } = await to.queryVersions("moved/a.txt")
      assert.deepStrictEqual(versions.map(({ size }) => size), [10, 3, 3])
      assert.strictEqual(await to.read("moved/a.txt", { version: 2 }).text(), "two")
      const rights = await to.queryPermission("moved/a.txt")
      assert.isTrue(rights.public)
      assert.sameDeepMembers(
        rights.grants.map(({ expires_at, role, through }) => [role, through, expires_at !== undefined]),
        [["EDIT", "moved/", false], ["MANAGE", undefined, true]]
      )
      assert.deepStrictEqual(await names(to), await names(fip))
      assert.match(await example("move-server.ts", "127.0.0.1", String(other.port)), /, 0 versions sent\n$/)
    } finally {
      await other.stop()
    }
  })
})
