/** The programs under examples/, as a user runs them: processes against a server of their own. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { serve, type ServerProcess } from "./support/Program.ts"
import { TestDatabase } from "./support/TestDatabase.ts"

let folder = ""
let server: ServerProcess

/** Its standard output. `fip-source` makes `import … from "fip"` mean src/index.ts, where users have the built one. */
const example = async (name: string, ...args: ReadonlyArray<string>): Promise<string> => {
  const path = fileURLToPath(new URL(`../examples/${name}`, import.meta.url))
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=fip-source", path, "127.0.0.1", String(server.port), ...args],
    {
      env: {
        PATH: process.env["PATH"],
        XDG_CONFIG_HOME: join(folder, "config"),
        FIP_USERNAME: "example_user",
        FIP_PASSWORD: "example password"
      }
    }
  )
  return stdout
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
})
