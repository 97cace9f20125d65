/**
 * Methods that are one request and nothing else. They are made from the table of requests, which says what each is
 * called (`method` in src/protocol/requests/): an entry there is all that such a method takes, here and for programs
 * without Effect (src/client/Promised.ts).
 *
 * The file that a request is about comes first, and the other fields of its body are options, in camel case. What has
 * neither is an Effect and no function.
 */
import { Effect } from "effect"
import {
  clientMethodOf,
  type MethodName,
  type RequestName,
  requestNames,
  Requests,
  type ResultOf
} from "../../protocol/Request.ts"
import type { Api, InputOf } from "../Api.ts"
import type { RequestError } from "../ClientError.ts"
import { type FileInput, refOf, type ShareableInput, shareableOf } from "./inputs.ts"

type MethodOf<K extends MethodName> = NonNullable<Requests[K]["method"]>

type Camel<S> = S extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : S

type Answer<K extends MethodName> = Effect.Effect<ResultOf<K>, RequestError>

/** The fields of its body, without those that name a file. */
type OptionsOf<K extends MethodName> = {
  readonly [
    P in keyof InputOf<K> as MethodOf<K> extends { readonly about: string } ? P extends "owner" | "name" ? never
      : Camel<P> :
      Camel<P>
  ]: InputOf<K>[P]
}

type About<K extends MethodName, Input> = [keyof OptionsOf<K>] extends [never] ? (file: Input) => Answer<K>
  : {} extends OptionsOf<K> ? (file: Input, options?: OptionsOf<K>) => Answer<K>
  : (file: Input, options: OptionsOf<K>) => Answer<K>

type Alone<K extends MethodName> = [keyof OptionsOf<K>] extends [never] ? Answer<K>
  : {} extends OptionsOf<K> ? (options?: OptionsOf<K>) => Answer<K>
  : (options: OptionsOf<K>) => Answer<K>

type RequestMethod<K extends MethodName> = MethodOf<K> extends { readonly about: "file" } ? About<K, FileInput>
  : MethodOf<K> extends { readonly about: "shareable" } ? About<K, ShareableInput>
  : Alone<K>

/** By the names that the table gives them. */
export type RequestMethods = {
  readonly [K in keyof Requests as K extends MethodName ? MethodOf<K>["name"] : never]: K extends MethodName
    ? RequestMethod<K>
    : never
}

const snake = (key: string): string => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

const bodyOf = (options: object = {}): object =>
  Object.fromEntries(Object.entries(options).map(([key, value]) => [snake(key), value]))

const methodOf = (ask: Api["ask"], request: RequestName, about: "file" | "shareable" | undefined): unknown => {
  if (about === undefined) {
    return Requests[request].fields.length === 0
      ? ask(request, {})
      : (options?: object) => ask(request, bodyOf(options))
  }
  return (file: FileInput & ShareableInput, options?: object) =>
    Effect.flatMap(
      about === "file" ? refOf(file) : shareableOf(file),
      (file) => ask(request, { ...file, ...bodyOf(options) })
    )
}

export function requestMethods(ask: Api["ask"]): RequestMethods
// The table says which there are, and the type above what each takes and gives.
export function requestMethods(ask: Api["ask"]): object {
  return Object.fromEntries(
    requestNames.flatMap((request) => {
      const method = clientMethodOf(request)
      return method === undefined ? [] : [[method.name, methodOf(ask, request, method.about)]]
    })
  )
}
