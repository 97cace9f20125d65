/** Every valid request of docs/protocol.md, as the document shows it, to be mutated. */
import { examples } from "../protocol/examples.ts"

export interface Seed {
  readonly header: { readonly [field: string]: unknown }
  readonly auth: string
  readonly body: string
  readonly data: Buffer
}

/** What ends the session that the others of a run need. */
const ENDS_SESSION = new Set(["Logout"])

/** The requests with the token of the document; with `token`, where there is one, they come ten times as often. */
export const corpus = (token?: string): readonly [Seed, ...ReadonlyArray<Seed>] => {
  const seeds: Array<Seed> = []
  for (const { messages, name } of examples) {
    for (const { auth, body, data, from, header } of messages) {
      if (from !== "client") continue
      const seed = {
        header: JSON.parse(header),
        auth,
        // A feed is not waited for: what waits holds one of the places of its connection.
        body: body.replace(/"wait_ms":\d+/, "\"wait_ms\":5"),
        data: Buffer.from(data)
      }
      seeds.push(seed)
      if (token === undefined || !auth.includes("\"token\"") || ENDS_SESSION.has(name)) continue
      const own = { ...seed, auth: JSON.stringify({ token }) }
      for (let count = 0; count < 10; count++) seeds.push(own)
    }
  }
  const [first, ...rest] = seeds
  if (first === undefined) throw new Error("the protocol's document has no examples")
  return [first, ...rest]
}
