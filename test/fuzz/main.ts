/**
 * `npm run fuzz -- --messages 1000000 --seed 1 [--part parser|server]`: prints the figures, or the seed of what went
 * wrong. The same seed makes the same messages.
 */
import { parseArgs } from "node:util"
import { fuzzParser } from "./parserFuzz.ts"
import { fuzzServer } from "./serverFuzz.ts"

const { values } = parseArgs({
  options: {
    messages: { type: "string", default: "100000" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    part: { type: "string" }
  }
})
const messages = Number(values.messages)
const seed = Number(values.seed)
const begun = performance.now()
const seconds = () => Math.round((performance.now() - begun) / 1000)
const said = { at: 0 }
const onProgress = (done: number, memory?: number) => {
  if (seconds() - said.at < 10) return
  said.at = seconds()
  console.error(`${done} messages, ${seconds()} s${memory === undefined ? "" : `, server ${Math.round(memory)} MiB`}`)
}
if (values.part !== "server") {
  console.log(
    JSON.stringify({ part: "parser", seed, ...fuzzParser({ messages, seed, onProgress }), seconds: seconds() })
  )
}
if (values.part !== "parser") {
  console.log(
    JSON.stringify({ part: "server", seed, ...await fuzzServer({ messages, seed, onProgress }), seconds: seconds() })
  )
}
