/**
 * Handlers of the requests that a service answers by itself: its method of that name is given the caller, the body and
 * the data, and the table of requests has the code (`answered` in src/protocol/requests/).
 */
import { Effect } from "effect"
import type { Refusal } from "../../protocol/Refusal.ts"
import { type AnsweredName, answerOf, type BodyOf, requestNames, type ResultOf } from "../../protocol/Request.ts"
import type { Caller } from "../Caller.ts"
import type { Handler } from "../Dispatch.ts"

type Data = ReadonlyArray<Uint8Array>

/** The methods of all services that answer requests by themselves. */
type Answers = {
  readonly [K in AnsweredName as Uncapitalize<K>]: (
    caller: Caller,
    body: BodyOf<K>,
    data: Data
  ) => Effect.Effect<ResultOf<K>, Refusal>
}

interface Incoming {
  readonly caller: unknown
  readonly body: unknown
  readonly data: Data
}

/** One of them, whichever it is: `Answers` and `Handlers` say what belongs together. */
interface Answer {
  method(caller: unknown, body: unknown, data: Data): Effect.Effect<unknown, Refusal>
}

/** Of those requests that these services have methods for. */
export function answers<S extends Partial<Answers>>(
  services: S
): { readonly [K in AnsweredName as Uncapitalize<K> extends keyof S ? K : never]: Handler<K> }
export function answers(services: { readonly [name: string]: Answer["method"] }): object {
  return Object.fromEntries(requestNames.flatMap((name) => {
    const code = answerOf(name)
    const answer = services[name.charAt(0).toLowerCase() + name.slice(1)]
    if (code === undefined || answer === undefined) return []
    return [[
      name,
      ({ body, caller, data }: Incoming) => Effect.map(answer(caller, body, data), (result) => ({ code, result }))
    ]]
  }))
}
