/** The shell as a user has it: real processes, a real server, and a real terminal (by util-linux `script`). */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { once } from "node:events"
import { readFile, truncate, writeFile } from "node:fs/promises"
import path from "node:path"
import { type Home, makeHome, removeHome } from "../support/Home.ts"
import { type Finished, run, serve, type ServerProcess, spawnProgram } from "../support/Program.ts"
import { hasTerminal, Terminal } from "../support/Terminal.ts"

const credentials = { FIP_USERNAME: "foobar_user", FIP_PASSWORD: "foobar_password" }

let home: Home
let folder = ""
let server: ServerProcess
let environment: NodeJS.ProcessEnv = {}

const connect = (words: ReadonlyArray<string>, options: { readonly input?: string } = {}): Promise<Finished> =>
  run(["connect", "localhost", String(server.port), ...words], {
    ...options,
    cwd: folder,
    env: { ...environment, ...credentials }
  })

beforeAll(async () => {
  home = await makeHome()
  ;({ environment, folder } = home)
  server = await serve(["0", "--data-dir", home.dataDir])
  const registered = await run(
    ["connect", "localhost", String(server.port), "--", "UNEW", "foobar_user", "foobar_password", "-bye"],
    { env: environment }
  )
  assert.strictEqual(registered.status, 0, registered.stderr)
})

afterAll(async () => {
  await server.stop("SIGKILL")
  await removeHome(home)
})

describe("fip connect, one command", { timeout: 60_000 }, () => {
  it("does the seed's lines as they are written", async () => {
    const created = await connect(["--", "CREATE", "myfile.txt", "-bye"])
    assert.strictEqual(created.status, 0, created.stderr)
    await run(["connect", "localhost", String(server.port), "--", "UNEW", "bob_jones", "bob-password"], {
      env: environment
    })
    const granted = await connect(["--", "GRANT", "bob_jones", "myfile.txt", "READ", "-bye"])
    assert.strictEqual(granted.status, 0, granted.stderr)
    assert.strictEqual(granted.stdout.length, 0)
  })

  it("writes the bytes of a file and nothing else to stdout", async () => {
    const bytes = Uint8Array.from({ length: 100_000 }, (_, index) => (index * 7) % 256)
    await writeFile(path.join(folder, "bytes.bin"), bytes)
    const uploaded = await connect(["--json", "--", "UPLOAD", "bytes.bin"])
    assert.strictEqual(JSON.parse(uploaded.stdout.toString()).result.size, bytes.length)
    const read = await connect(["--", "READ", "bytes.bin"])
    assert.isTrue(read.stdout.equals(bytes))
    assert.strictEqual(read.stderr, "")
  })

  it("sends an empty file (original.md, defect 36)", async () => {
    await writeFile(path.join(folder, "empty"), "")
    assert.strictEqual((await connect(["--", "UPLOAD", "empty"])).status, 0)
    assert.strictEqual((await connect(["--", "DOWNLOAD", "empty", "empty-again"])).status, 0)
    assert.strictEqual((await readFile(path.join(folder, "empty-again"))).length, 0)
  })

  it("ends with the status that tells the truth", async () => {
    const { port } = server
    const status = async (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = credentials) =>
      (await run(["connect", ...args], { cwd: folder, env: { ...environment, ...env } })).status
    const at = ["localhost", String(port)]
    const statuses = await Promise.all([
      status([...at, "--", "LIST"]),
      status([...at, "--", "READ", "nothing-here"]),
      status([...at, "--", "UPLOAD", "nothing-here"]),
      status(["localhost", "99999", "--", "LIST"]),
      status([...at, "extra", "--", "LIST"]),
      status(["localhost", "1", "--", "LIST"]),
      status([...at, "--", "LIST"], { ...credentials, FIP_PASSWORD: "wrong-password" }),
      status([...at, "--", "LIST"], {})
    ])
    assert.deepStrictEqual(statuses, [0, 1, 2, 2, 2, 3, 5, 5])
  })

  it("refuses a server whose key is not the one that was pinned, with status 4", async () => {
    const knownHosts = path.join(folder, "other_hosts")
    const pinned = await connect(["--known-hosts", knownHosts, "--", "LIST"])
    assert.strictEqual(pinned.status, 0)
    const text = await readFile(knownHosts, "utf8")
    await writeFile(knownHosts, text.replaceAll(/SHA256:[A-Za-z0-9+/]{43}/g, `SHA256:${"A".repeat(43)}`))
    const refused = await connect(["--known-hosts", knownHosts, "--json", "--", "LIST"])
    assert.strictEqual(refused.status, 4)
    assert.strictEqual(JSON.parse(refused.stdout.toString()).code, "local:trust")
    const blind = await connect(["--known-hosts", knownHosts, "--blind-trust", "--", "LIST"])
    assert.strictEqual(blind.status, 0)
  })

  it("takes a password on the command line and warns", async () => {
    const args = ["--username", "foobar_user", "--password", "foobar_password", "--", "QUERY", "storage"]
    const given = await run(["connect", "localhost", String(server.port), ...args], { env: environment })
    assert.strictEqual(given.status, 0)
    assert.include(given.stderr, "FIP_PASSWORD is safer")
    assert.notInclude(given.stderr, "foobar_password")
  })

  it("ends quietly when nobody reads on (READ big | head -c 10)", async () => {
    await writeFile(path.join(folder, "big.bin"), Buffer.alloc(20 * 1024 * 1024, 7))
    await connect(["--", "UPLOAD", "big.bin"])
    const { child, end } = spawnProgram(["connect", "localhost", String(server.port), "--", "READ", "big.bin"], {
      env: { ...environment, ...credentials }
    })
    child.stdout?.once("data", () => child.stdout?.destroy())
    const { status, stderr } = await end
    assert.strictEqual(status, 0)
    assert.strictEqual(stderr, "")
  })
})

describe("fip connect, a script", { timeout: 60_000 }, () => {
  it("answers each line when it comes, and ends at BYE although stdin stays open", async () => {
    const { child, end } = spawnProgram(["connect", "localhost", String(server.port), "--json"], {
      env: { ...environment, ...credentials }
    })
    child.stdin?.write("CREATE from-a-script\n")
    await once(child.stdout ?? child, "data")
    child.stdin?.write("BYE\n")
    const { status, stdout } = await end
    assert.strictEqual(status, 0)
    assert.deepStrictEqual(stdout.toString().trimEnd().split("\n").map((line) => JSON.parse(line).command), [
      "CREATE",
      "BYE"
    ])
  })

  it("ends when stdin is closed (original.md, defect of the endless loop)", async () => {
    assert.strictEqual((await connect([], { input: "" })).status, 0)
  })

  it("stops at the first failure", async () => {
    const script = await connect([], { input: "CREATE stop-1\nREAD nothing-here\nCREATE stop-2\n" })
    assert.strictEqual(script.status, 1)
    assert.notInclude((await connect(["--", "LIST"])).stdout.toString(), "stop-2")
  })
})

// --- a terminal -----------------------------------------------------------------------------------------------------

describe.skipIf(!hasTerminal)("fip connect at a terminal", { timeout: 60_000 }, () => {
  it("asks for trust and password, cancels a transfer with Ctrl-C, and leaves with Ctrl-D", async () => {
    await writeFile(path.join(folder, "zeros"), "")
    await truncate(path.join(folder, "zeros"), 2 * 1024 ** 3)
    const prompt = `foobar_user@localhost:${server.port}> `
    const terminal = new Terminal(["connect", "localhost", String(server.port)], {
      cwd: folder,
      env: { XDG_CONFIG_HOME: path.join(folder, "fresh"), XDG_STATE_HOME: path.join(folder, "state") }
    })
    await terminal.sees(`is new here. Its key is ${server.fingerprint}`)
    await terminal.sees("[y/N] ")
    terminal.type("y\r")
    await terminal.sees(`localhost:${server.port}> `)
    terminal.type("auth foobar_user\r")
    await terminal.sees("Password: ")
    terminal.type("foobar_password\r")
    await terminal.sees(prompt)
    terminal.type("APPENDFROM zeros myfile.txt\r")
    await terminal.sees("MiB/s")
    terminal.type("\u0003")
    await terminal.sees("cancelled")
    await terminal.sees(prompt)
    terminal.type("query file myfile.txt\r")
    await terminal.sees("0 B (0 bytes)")
    await terminal.sees(prompt)
    terminal.type("\u0004")
    assert.strictEqual(await terminal.end, 0)
    assert.notInclude(terminal.text, "foobar_password")
  })
})

// Last, because it takes the server away.
describe("a server that is gone", { timeout: 60_000 }, () => {
  it("in mid-transfer is status 6, and 3 for the next command", async () => {
    const { child, end } = spawnProgram(["connect", "localhost", String(server.port), "--", "READ", "big.bin"], {
      env: { ...environment, ...credentials }
    })
    // The pipe is full and the file half read when the server is killed.
    await once(child.stdout ?? child, "readable")
    await server.stop("SIGKILL")
    child.stdout?.resume()
    assert.strictEqual((await end).status, 6)
    assert.strictEqual((await connect(["--", "LIST"])).status, 3)
  })
})
