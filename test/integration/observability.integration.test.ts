/** What a server tells those who watch it: numbers, health, traces, and one id for what went wrong, everywhere. */
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { once } from "node:events"
import { mkdir, open, readdir } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import { join } from "node:path"
import { run, serve } from "../support/Program.ts"
import { RawClient } from "../support/RawClient.ts"
import { TestDatabase } from "../support/TestDatabase.ts"
import { temporaryFolder } from "../support/TestServer.ts"

interface Span {
  readonly name: string
  readonly parentSpanId?: string
  readonly spanId: string
  readonly attributes: ReadonlyArray<{ readonly key: string; readonly value: { readonly stringValue?: string } }>
}

/** The id of the request that a span is of. */
const idOf = ({ attributes }: Span): string | undefined =>
  attributes.find(({ key }) => key === "fip.request_id")?.value.stringValue

const portOf = (server: Server): number => {
  const address = server.address()
  return address !== null && typeof address === "object" ? address.port : 0
}

/** A port that nobody listens on just now. */
const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const port = portOf(server)
  server.close()
  return port
}

/** Takes what an exporter of traces sends. */
const collector = async () => {
  const spans: Array<Span> = []
  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString())
      for (const { scopeSpans } of resourceSpans) for (const { spans: some } of scopeSpans) spans.push(...some)
      response.end("{}")
    })
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return { server, spans, url: `http://127.0.0.1:${portOf(server)}` }
}

const get = async (url: string) => {
  const response = await fetch(url)
  return { status: response.status, text: await response.text() }
}

/** Spoils all that is stored. */
const damage = async (dataDir: string): Promise<void> => {
  const segments = join(dataDir, "segments")
  for (const path of await readdir(segments, { recursive: true })) {
    if (!/[0-9a-f-]{36}$/.test(path)) continue
    const file = await open(join(segments, path), "r+")
    await file.write(Buffer.from("damage"), 0, 6, 1000)
    await file.close()
  }
}

it.live(
  "metrics, health and traces tell what was done, and a failure has one id in message, log and trace",
  () =>
    Effect.gen(function*() {
      const folder = yield* temporaryFolder
      const dataDir = join(folder, "data")
      yield* Effect.promise(async () => {
        await mkdir(dataDir)
        await TestDatabase.seedDataDir(dataDir)
        const { server: otlp, spans, url } = await collector()
        const env = {
          XDG_CONFIG_HOME: folder,
          FIP_DATA_DIR: dataDir,
          OTEL_EXPORTER_OTLP_ENDPOINT: url,
          OTEL_BSP_SCHEDULE_DELAY: "100"
        }
        const port = await freePort()
        const server = await serve(["0", "--metrics-port", String(port), "--log-format", "json"], { env })
        let log = ""
        server.child.stderr?.on("data", (chunk) => {
          log += chunk
        })
        const client = await RawClient.open(server.port)
        const auth = { token: await client.login("alice_smith", "alice's secret") }
        const data = Buffer.alloc(300_000, "a")
        await client.ask("Create", { id: 1, auth, body: { name: "a" }, data })
        await client.ask("Read", { id: 2, auth, body: { name: "a", limit: 1000 } })
        await client.ask("Read", { id: 3, auth, body: { name: "a", limit: 1000 } })
        await client.ask("Read", { id: 4, auth, body: { name: "missing" } })
        await damage(dataDir)
        const shell = await run(
          ["connect", "127.0.0.1", String(server.port), "--username", "alice_smith", "--json", "--", "READ", "a"],
          { env: { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: "", FIP_PASSWORD: "alice's secret" } }
        )
        assert.strictEqual(shell.status, 1, shell.stderr)
        const { code, request_id } = JSON.parse(shell.stdout.toString().trim().split("\n").at(-1) ?? "")
        assert.strictEqual(code, "3:bad")
        assert.match(request_id, /^[0-9a-f]{6}-\w+-\d+$/)
        const people = await run(
          ["connect", "127.0.0.1", String(server.port), "--username", "alice_smith", "--", "DOWNLOAD", "a", "b"],
          { cwd: folder, env: { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: "", FIP_PASSWORD: "alice's secret" } }
        )
        const shown = /are damaged on the server.*\(3:bad, request (\S+)\)/.exec(people.stderr)?.[1]
        assert.isString(shown, people.stderr)
        assert.include(log, `"request_id":"${request_id}"`)
        assert.include(log, `"request_id":"${shown}"`)
        for (const id of [request_id, shown]) {
          const lines = log.split("\n").filter((line) => line.includes(`"request_id":"${id}"`))
          assert.isTrue(lines.some((line) => line.includes(`"suspicious":true`)), lines.join("\n"))
        }
        const remembered = await run(["admin", "log", "--suspicious", "--json"], { env })
        assert.match(remembered.stdout.toString(), /"action":"Read","code":"3:bad"/, remembered.stderr)

        const at = (path: string) => get(`http://127.0.0.1:${port}${path}`)
        assert.deepStrictEqual(await at("/healthz"), { status: 200, text: "ok\n" })
        assert.deepStrictEqual(await at("/readyz"), { status: 200, text: "ready\n" })
        assert.strictEqual((await at("/secrets")).status, 404)
        const { text } = await at("/metrics")
        const value = (series: string) => {
          const line = text.split("\n").find((line) => line.startsWith(`${series} `))
          return line === undefined ? undefined : Number(line.slice(series.length + 1))
        }
        assert.strictEqual(value(`fip_requests_total{request="Create",code="1:fnew"}`), 1, text)
        assert.strictEqual(value(`fip_requests_total{request="Read",code="2:nf"}`), 1)
        assert.isAtLeast(value(`fip_requests_total{request="Read",code="3:bad"}`) ?? 0, 2)
        assert.isAtLeast(value(`fip_request_duration_seconds_count{request="Read"}`) ?? 0, 5)
        assert.strictEqual(value(`fip_content_bytes_total{direction="in"}`), data.length)
        assert.isAtLeast(value(`fip_block_cache_hits_total`) ?? 0, 1)
        assert.isAtLeast(value(`fip_lookup_cache_hits_total{cache="files"}`) ?? 0, 1)
        assert.strictEqual(value("fip_lookup_cache_trusted"), 1)
        assert.strictEqual(value("fip_commit_changes_total"), 1)
        assert.strictEqual(value("fip_connections"), 1)
        for (const name of ["waiting", "written_total", "dropped_total", "poisoned_total", "retries_total"]) {
          assert.isDefined(value(`fip_flusher_${name}{records="the activity log"}`), name)
        }
        for (
          const name of [
            "fip_segments",
            "fip_segment_bytes",
            "fip_current_bytes",
            "fip_dead_bytes",
            "fip_event_loop_delay_seconds"
          ]
        ) {
          assert.isDefined(value(name), name)
        }

        client.close()
        const stopped = await server.stop()
        assert.strictEqual(stopped.status, 0, stopped.stderr)
        assert.isTrue(spans.some(({ name }) => name === "Create"))
        const login = spans.find(({ name }) => name === "Login")
        assert.isTrue(spans.some(({ parentSpanId }) => parentSpanId === login?.spanId), "its statements")
        assert.include(spans.map(idOf), request_id)
        assert.lengthOf(spans.filter((span) => span.name === "Read" && idOf(span) === request_id), 1, "none per chunk")
        otlp.close()
      })
    }),
  90_000
)
