/** The session that README.md shows is one: its lines are typed at a real server, and what comes back is compared. */
import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect, Redacted } from "effect"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { FipClient } from "../src/client/FipClient.ts"
import { TEST_PASSWORD, TestServer } from "../src/testing.ts"
import { runLines } from "./support/ShellHarness.ts"

interface Step {
  /** Who is logged in. */
  readonly username: string | undefined
  readonly line: string
  readonly answer: ReadonlyArray<string>
}

/** What is typed behind a prompt, and what stands between it and the next one. Passwords are not echoed. */
const stepsOf = (page: string): ReadonlyArray<Step> =>
  Array.from(page.matchAll(/^```text\n([^]*?)^```$/gm)).flatMap(([, block = ""]) =>
    block.split(/^(?=(?:\w+@)?localhost:6090(?:\/\S*)?> )/m).flatMap((step) => {
      const [, username, line, rest = ""] = /^(?:(\w+)@)?localhost:6090(?:\/\S*)?> (.*)\n([^]*)$/.exec(step) ?? []
      if (line === undefined) return []
      const answer = rest.split("\n").filter((text) => text !== "")
      const said = answer.filter((text) => !text.startsWith("Password"))
      return { username, line: said.length === answer.length ? line : `${line} "${TEST_PASSWORD}"`, answer: said }
    })
  )

/** Without what differs from day to day: numbers, times, and how wide columns are. */
const lasting = (text: string): string =>
  text.replaceAll(/\d+ \w+ ago|just now|\bnow$/gm, "then").replaceAll(/\d[\d.:-]*(?: [KMG]iB| B)?/g, "#").replaceAll(
    / +/g,
    " "
  )
    .trim()

describe("README.md", () => {
  layer(TestServer.layer, { timeout: Duration.seconds(120) })((it) => {
    it.effect("shows a session as it is", () =>
      Effect.gen(function*() {
        const { clientOptions } = yield* TestServer
        const folder = yield* Effect.acquireRelease(
          Effect.promise(() => mkdtemp(join(tmpdir(), "fip-test-"))),
          (folder) => Effect.promise(() => rm(folder, { recursive: true }))
        )
        const steps = stepsOf(yield* Effect.promise(() => readFile("README.md", "utf8")))
        assert.isAbove(steps.length, 15)
        const options = { client: clientOptions, clientLayer: FipClient.layer }
        // The key is asked about further up the page.
        yield* runLines(["HEARTBEAT"], options)
        const wrong: Array<unknown> = []
        for (const { answer, line, username } of steps) {
          if (line === "BYE") continue
          const { stderr, stdout } = yield* runLines([line.replace("/tmp/", `${folder}/`)], {
            ...options,
            username,
            password: username === undefined ? undefined : Redacted.make(TEST_PASSWORD)
          })
          const said = `${stdout}${stderr}`.replaceAll(`${folder}/`, "/tmp/").split("\n").filter((text) => text !== "")
          const [now, shown] = [said.map(lasting), answer.map(lasting)]
          if (now.join("\n") !== shown.join("\n")) wrong.push({ line, now, shown })
        }
        assert.deepStrictEqual(wrong, [])
      }), 120_000)
  })
})
