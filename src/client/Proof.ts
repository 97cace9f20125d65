/**
 * Asks a server by which right its key follows from the pinned one (docs/protocol.md, section 7), and judges the answer.
 * What is asked holds nothing secret, and nothing that a server says here is believed without a signature.
 */
import { Data, Effect } from "effect"
import { continuityCrypto, verifyAside } from "../platform/Signature.ts"
import {
  type Check,
  type ContinuityProof,
  followContinuity,
  type Pin,
  type Standing
} from "../protocol/ContinuityProof.ts"
import type { Fingerprint } from "../protocol/Identity.ts"
import { encodeJson } from "../protocol/Json.ts"
import { Requests } from "../protocol/Request.ts"
import { decodeAnswer } from "./Api.ts"
import type { Connection } from "./Connection.ts"
import type { Dialled } from "./Dial.ts"
import { ask } from "./Reply.ts"

/** There is no proof, or none that holds. `message` is half a sentence. */
export class Unproven extends Data.TaggedError("Unproven")<{ readonly message: string }> {}

/** For the answer to arrive whole, however slowly a server sends it. */
const ANSWER_TIMEOUT = "15 seconds"

/** Signatures that wait for the threads of the pool; the first that is wrong ends it. */
const CHECKED_AT_ONCE = 256

const findBroken = async (checks: ReadonlyArray<Check>): Promise<Check | undefined> => {
  const valid = await Promise.all(checks.map(({ key, message, signature }) => verifyAside(key, message, signature)))
  return checks.find((_, index) => valid[index] !== true)
}

const NOTHING = new Uint8Array(0)

const askProof = (connection: Connection, pinned: Fingerprint): Effect.Effect<ContinuityProof, Unproven> =>
  ask(connection, {
    category: Requests.Credentials.category,
    subcategory: Requests.Credentials.subcategory,
    auth: NOTHING,
    body: encodeJson({ pinned }),
    data: NOTHING
  }).pipe(
    Effect.flatMap((answer) => Effect.fromResult(decodeAnswer("Credentials", answer))),
    Effect.catchTags({
      Refusal: () => new Unproven({ message: "it would not prove that it is the same server" }),
      Unanswered: () => new Unproven({ message: "the connection broke before it had proven to be the same server" }),
      ProtocolError: () => new Unproven({ message: "its proof cannot be read" })
    }),
    Effect.timeoutOrElse({
      duration: ANSWER_TIMEOUT,
      orElse: () => new Unproven({ message: "it did not prove in time that it is the same server" })
    })
  )

/** The pin that follows from `pin` on this connection. */
export const proveFrom = Effect.fnUntraced(function*(
  pin: Pin,
  dialled: Dialled,
  connection: Connection
): Effect.fn.Return<Pin & { readonly standing: Standing }, Unproven> {
  const proof = yield* askProof(connection, pin.fingerprint)
  const candidate = yield* Effect.fromResult(followContinuity(continuityCrypto, pin, proof, dialled.session)).pipe(
    Effect.mapError((message) => new Unproven({ message }))
  )
  for (let at = 0; at < candidate.checks.length; at += CHECKED_AT_ONCE) {
    const broken = yield* Effect.promise(() => findBroken(candidate.checks.slice(at, at + CHECKED_AT_ONCE)))
    if (broken !== undefined) return yield* new Unproven({ message: broken.otherwise })
  }
  return candidate.pin
})
