/**
 * A file's whole life with the real program: processes, signals, TLS, database and disk, as a user has them. Every
 * step relies on what the steps before it left.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { createHash, randomBytes } from "node:crypto"
import { createReadStream } from "node:fs"
import { mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { type Finished, run, serve, type ServerProcess } from "../support/Program.ts"

const MIB = 1024 * 1024
const BIG = 256 * MIB
const tree = fileURLToPath(new URL("../../node_modules/effect/dist", import.meta.url))

let folder = ""
let server: ServerProcess
const passwords: Readonly<Record<string, string>> = { alice: "alice's secret", robert: "robert's secret" }

/** Runs shell commands as a user in one connection: the `--json` objects, one for each. */
const as = async (user: string, lines: ReadonlyArray<string>): Promise<Array<Record<string, unknown>>> => {
  const done = await connect(user, ["--json"], lines)
  assert.strictEqual(done.status, 0, `${done.stderr}${done.stdout}`)
  return done.stdout.toString().trim().split("\n").map((line) => JSON.parse(line))
}

const connect = (user: string, flags: ReadonlyArray<string>, lines: ReadonlyArray<string>): Promise<Finished> =>
  run(["connect", "127.0.0.1", String(server.port), "--known-hosts", join(folder, "known_hosts"), ...flags], {
    input: `${lines.join("\n")}\n`,
    env: { FIP_USERNAME: user, FIP_PASSWORD: passwords[user] }
  })

const start = async () => {
  server = await serve(["0", "--data-dir", join(folder, "data")])
}

const sha256 = async (path: string): Promise<string> => {
  const hash = createHash("sha256")
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return hash.digest("hex")
}

/** Hash of every file below `root`, by relative path. */
const hashes = async (root: string): Promise<Map<string, string>> => {
  const files = await readdir(root, { recursive: true, withFileTypes: true })
  const found = new Map<string, string>()
  for (const file of files) {
    if (!file.isFile()) continue
    const path = join(file.parentPath, file.name)
    found.set(relative(root, path), await sha256(path))
  }
  return found
}

describe("a file's whole life", { timeout: 180_000 }, () => {
  const content = { small: randomBytes(300_000) }
  let bigHash = ""

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "fip-life-"))
    const big = await open(join(folder, "big.bin"), "w")
    for (let written = 0; written < BIG; written += 4 * MIB) await big.write(randomBytes(4 * MIB))
    await big.close()
    bigHash = await sha256(join(folder, "big.bin"))
    await writeFile(join(folder, "small.bin"), content.small)
    await start()
  }, 120_000)

  afterAll(async () => {
    await server?.stop("SIGKILL")
    await rm(folder, { recursive: true, force: true })
  })

  it("registers two users", async () => {
    const host = ["connect", "127.0.0.1", String(server.port), "--known-hosts", join(folder, "known_hosts")]
    for (const [user, password] of Object.entries(passwords)) {
      const done = await run([...host, "--", "UNEW", user, password])
      assert.strictEqual(done.status, 0, done.stderr)
    }
  })

  it("takes a tree of more than a thousand files and one of 256 MiB", async () => {
    const [uploaded, big] = await as("alice", [
      `UPLOAD --recursive ${tree} tree`,
      `UPLOAD ${join(folder, "big.bin")} big.bin`
    ])
    assert.isTrue(uploaded?.["ok"])
    assert.deepInclude(big?.["result"], { name: "big.bin", size: BIG, sha256: bigHash })
  })

  it("patches, appends, renames and copies", async () => {
    await as("alice", [
      `UPLOAD ${join(folder, "small.bin")} small.bin`,
      "PATCH small.bin HELLO --position 100000",
      "APPEND small.bin \" and the end\"",
      "RENAME small.bin docs/renamed.bin",
      "COPY docs/renamed.bin docs/copy.bin",
      "PATCH big.bin PATCHED --position 70000000"
    ])
    content.small = Buffer.concat([content.small, Buffer.from(" and the end")])
    content.small.write("HELLO", 100_000)
  })

  it("reads ranges, byte for byte", async () => {
    const done = await connect("alice", [], ["READ docs/renamed.bin --position 99990 --limit 30"])
    assert.isTrue(done.stdout.equals(content.small.subarray(99_990, 100_020)))
  })

  it("lists what is there, and keeps the two users apart", async () => {
    const [all, storage] = await as("alice", ["LIST --recursive", "QUERY storage"])
    const local = await hashes(tree)
    const { files } = (all?.["result"] ?? { files: [] }) as { files: Array<{ name: string; size: number }> }
    assert.strictEqual(files.length, local.size + 3)
    const total = files.reduce((sum, file) => sum + file.size, 0)
    assert.deepInclude(storage?.["result"], { bytes_used: total, files_used: files.length })
    const [others] = await as("robert", ["LIST --recursive"])
    assert.deepInclude(others?.["result"], { files: [] })
    const refused = await connect("robert", ["--json"], ["READ ~alice/big.bin"])
    assert.strictEqual(refused.status, 1)
    assert.include(refused.stdout.toString(), "\"code\":\"2:nf\"")
  })

  it("has everything that was acknowledged after kill -9", async () => {
    const killed = await server.stop("SIGKILL")
    assert.strictEqual(killed.signal, "SIGKILL")
    await start()
    await as("alice", [
      `DOWNLOAD --recursive tree ${join(folder, "back")}`,
      `DOWNLOAD big.bin ${join(folder, "big.back")}`,
      `DOWNLOAD docs/renamed.bin ${join(folder, "renamed.back")}`,
      `DOWNLOAD docs/copy.bin ${join(folder, "copy.back")}`
    ])
    assert.deepStrictEqual(await hashes(join(folder, "back")), await hashes(tree))
    assert.isTrue((await readFile(join(folder, "renamed.back"))).equals(content.small))
    assert.isTrue((await readFile(join(folder, "copy.back"))).equals(content.small))
    const big = await open(join(folder, "big.bin"), "r+")
    await big.write("PATCHED", 70_000_000)
    await big.close()
    assert.strictEqual(await sha256(join(folder, "big.back")), await sha256(join(folder, "big.bin")))
  })

  it("gives back what was deleted, and a user who leaves takes everything along", async () => {
    await as("alice", ["DELETE big.bin", "DELETE docs/copy.bin"])
    const [storage] = await as("alice", ["QUERY storage"])
    const local = await hashes(tree)
    assert.deepInclude(storage?.["result"], { files_used: local.size + 1 })
    await as("alice", [`UDEL alice "${passwords["alice"]}"`])
    const refused = await connect("alice", ["--json"], ["LIST"])
    assert.strictEqual(refused.status, 5)
  })

  it("stops with exit 0 when it is told to", async () => {
    const done = await server.stop("SIGTERM")
    assert.strictEqual(done.status, 0, done.stderr)
  })
})
