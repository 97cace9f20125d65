/**
 * MIRROR between real processes that are killed with SIGKILL in its midst: the next run ends in the right state, in both
 * directions, and the one after it moves nothing.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { chmod, mkdir, readdir, readFile, rm, stat, symlink, utimes, writeFile } from "node:fs/promises"
import { dirname, join, relative } from "node:path"
import { attributesOf } from "../../src/client/LocalFile.ts"
import type { CountingProxy } from "../support/CountingProxy.ts"
import { ProxiedProgram } from "../support/ProxiedProgram.ts"
import { Random } from "../support/Random.ts"

const MiB = 1024 * 1024
const random = new Random(7)

let program: ProxiedProgram
let folder = ""
let proxy: CountingProxy

const mirror = async (...words: ReadonlyArray<string>) =>
  (await program.finish<{ readonly totals: Readonly<Record<string, number>> }>("MIRROR", ...words)).totals

/** Files with their attributes, as what is the same on two machines. */
const read = async (root: string) => {
  const files = new Map<string, unknown>()
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name)
    if (!entry.isFile()) continue
    const attributes = attributesOf(await stat(file, { bigint: true }))
    files.set(relative(root, file), [(await readFile(file)).toString("base64"), attributes])
  }
  return Object.fromEntries([...files].sort())
}

beforeAll(async () => {
  program = await ProxiedProgram.start()
  ;({ folder, proxy } = program)
  const contents: Record<string, Buffer> = {
    empty: Buffer.alloc(0),
    "run me.sh": Buffer.from("#!/bin/sh\n"),
    "تقارير/تقرير نهائي.txt": Buffer.from("تم"),
    "large.bin": random.bytes(16 * MiB)
  }
  for (let index = 0; index < 40; index++) contents[`many/${index % 4}/file ${index}`] = random.bytes(index * 100)
  for (const [name, content] of Object.entries(contents)) {
    const file = join(folder, "here", name)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content)
    await chmod(file, name.endsWith(".sh") ? 0o755 : 0o644)
    await utimes(file, 1_700_000_000.123, 1_700_000_000.123)
  }
  await symlink("/etc/passwd", join(folder, "here", "link"))
}, 60_000)

afterAll(() => program.stop())

describe("MIRROR whose processes are killed", { timeout: 120_000 }, () => {
  it("ends in the right state when it is run again, and then moves nothing", async () => {
    const here = join(folder, "here")
    const there = join(folder, "there")
    for (const [from, to, victim] of [[here, "~me/copy/", "client"], ["~me/copy/", there, "server"]] as const) {
      proxy.up = proxy.down = 0
      const running = program.begin("MIRROR", from, to)
      await proxy.when(() => Math.max(proxy.up, proxy.down) >= 9 * MiB)
      if (victim === "client") running.child.kill("SIGKILL")
      else await program.killServer()
      await running.end
      if (victim === "server") await program.startServer()
      const totals = await mirror(from, to)
      assert.isAtMost(totals["files"] ?? 0, 44)
      proxy.up = proxy.down = 0
      assert.deepInclude(await mirror(from, to), { files: 0, touched: 0, deleted: 0, same: 44, extra: 0 })
      assert.isBelow(proxy.up + proxy.down, 256 * 1024)
    }
    assert.deepStrictEqual(await read(there), await read(here))
    assert.notInclude(await readdir(there), "link")

    // Changed here, deleted here, and the bit alone: the same there in one run up and one down.
    await writeFile(join(here, "empty"), "not any more")
    await rm(join(here, "many/0"), { recursive: true })
    await chmod(join(here, "large.bin"), 0o755)
    assert.deepInclude(await mirror(here, "~me/copy/", "--delete"), { files: 2, deleted: 10 })
    assert.deepInclude(await mirror("~me/copy/", there, "--delete"), { files: 1, touched: 1, deleted: 10 })
    assert.deepStrictEqual(await read(there), await read(here))
    assert.notInclude(await readdir(join(there, "many")), "0")
  })
})
