/** One message after another, each almost right: what a seed says is what comes out, always. */
import { zstdCompressSync } from "node:zlib"
import { HEADER_BYTES } from "../../src/protocol/Limits.ts"
import type { Random } from "../support/Random.ts"
import type { Seed } from "./corpus.ts"

const NUMBERS = [
  0,
  1,
  -1,
  2,
  63,
  255,
  4096,
  4097,
  65_536,
  65_537,
  1_048_576,
  1_048_577,
  2 ** 26 + 1,
  2 ** 31,
  2 ** 32,
  2 ** 53 - 1,
  2 ** 53,
  1e300,
  0.5,
  -0
] as const

const VALUES: readonly [unknown, ...ReadonlyArray<unknown>] = [
  ...NUMBERS,
  null,
  true,
  false,
  "",
  "a",
  "..",
  "a/../../b",
  "/etc/passwd",
  "nul\u0000",
  "\ud800",
  "\u202e",
  "é".normalize("NFD"),
  "x".repeat(300),
  "y".repeat(5000),
  "~alice/notes.txt",
  "__proto__",
  [],
  {},
  [[[[[[[[]]]]]]]],
  { constructor: { prototype: 1 } },
  "2026-11-22T08:14:00.000Z",
  "00000000-0000-0000-0000-000000000000",
  "1; drop table users"
]

const KEYS = ["name", "owner", "size", "token", "identity", "position", "limit", "version", "__proto__", "x"] as const
const SIZES = ["auth_size", "body_size", "data_size", "raw_size"] as const
const CATEGORIES = [0, 1, 2, 3, 4, 8, 16] as const

/** Text with a field of its JSON object changed, added or taken away; as it is where it is none. */
const mutateJson = (random: Random, text: string): string => {
  let value: unknown
  try {
    value = text === "" ? {} : JSON.parse(text)
  } catch {
    return text
  }
  if (typeof value !== "object" || value === null) return text
  const entries = Object.entries(value)
  const at = random.below(entries.length + 1)
  const entry = entries[at]
  if (entry === undefined) entries.push([random.pick(KEYS), random.pick(VALUES)])
  else if (random.chance(0.2)) entries.splice(at, 1)
  else if (random.chance(0.1)) entries.push([entry[0], random.pick(VALUES)])
  else entries[at] = [entry[0], random.pick(VALUES)]
  // Written by hand, so that a field may be there twice and "__proto__" is one.
  return `{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join(",")}}`
}

const mutateBytes = (random: Random, bytes: Buffer): Buffer => {
  const changed = Buffer.from(bytes)
  for (let count = 1 + random.below(4); count > 0 && changed.length > 0; count--) {
    changed[random.below(changed.length)] = random.below(256)
  }
  return random.chance(0.3) ? changed.subarray(0, random.below(changed.length + 1)) : changed
}

const mutateText = (random: Random, text: string): Buffer => {
  if (random.chance(0.6)) return Buffer.from(mutateJson(random, text))
  return random.chance(0.3) ? random.bytes(random.below(200)) : mutateBytes(random, Buffer.from(text))
}

const mutateHeader = (random: Random, header: { [field: string]: unknown }): void => {
  switch (random.below(9)) {
    case 0:
      header["category"] = random.pick(CATEGORIES)
      break
    case 1:
      header["subcategory"] = random.chance(0.8) ? 2 ** random.below(12) : random.pick(NUMBERS)
      break
    case 2:
      header["id"] = random.chance(0.9) ? random.below(50) : random.pick(NUMBERS)
      break
    case 3:
      header["more"] = true
      break
    case 4:
      header["version"] = random.pick(["1.9.0", "2.0.0", "0.0.0", "99999.0.0"])
      break
    case 5:
      header[random.pick(KEYS)] = random.below(10)
      break
    case 6:
      if (random.chance(0.1)) header["finish"] = true
      break
    case 7:
      // A size that lies: what follows is read as something else.
      if (random.chance(0.15)) header[random.pick(SIZES)] = random.pick(VALUES)
      break
    case 8:
      // Replies, from here on, may be compressed; and so is the data, it says.
      header["zstd"] = random.chance(0.9) ? true : random.pick(VALUES)
      if (random.chance(0.5)) header["raw_size"] = random.chance(0.9) ? random.below(40_000) : random.pick(VALUES)
  }
}

/** The bytes of one message. */
export const mutate = (random: Random, seeds: readonly [Seed, ...ReadonlyArray<Seed>]): Buffer => {
  const seed = random.pick(seeds)
  let auth: Buffer = Buffer.from(seed.auth)
  let body: Buffer = Buffer.from(seed.body)
  let { data } = seed
  const what = random.below(8)
  if (what === 0) auth = mutateText(random, seed.auth)
  else if (what < 5) body = mutateText(random, seed.body)
  else if (what === 5) data = random.bytes(random.below(random.pick([10, 2000, 20_000])))
  const plain = data
  const isCompressed = what >= 5 && random.chance(0.1)
  if (isCompressed) data = zstdCompressSync(plain)
  if (isCompressed && random.chance(0.5)) data = mutateBytes(random, data)
  const header: { [field: string]: unknown } = {
    ...seed.header,
    id: random.below(1000),
    auth_size: auth.length,
    body_size: body.length,
    data_size: data.length
  }
  if (isCompressed) header["raw_size"] = plain.length
  if (what >= 5) mutateHeader(random, header)
  const head = Buffer.from(JSON.stringify(header).padEnd(HEADER_BYTES)).subarray(0, HEADER_BYTES)
  const whole = Buffer.concat([head, auth, body, data])
  // Seldom: each of these is the end of a connection, as a rule.
  return random.chance(0.01) ? mutateBytes(random, whole) : whole
}
