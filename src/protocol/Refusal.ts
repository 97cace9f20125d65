/**
 * What a request is refused with, on both ends of the wire (docs/protocol.md, section 5).
 *
 * A server's service fails with a `Refusal`, the connection encodes it as the reply's code and body, and the client's
 * method fails with an equal `Refusal`. `message` is always a sentence that a person can act on.
 */
import { Data, Schema } from "effect"
import { ClientFaultCode, type RefusalCode } from "./Code.ts"
import { Timestamp, Username } from "./Identity.ts"

export const RefusalBody = Schema.Struct({
  message: Schema.String,
  /** The field at fault, as it is named on the wire. */
  field: Schema.optionalKey(Schema.String),
  /** With `2:rlex` and `3:` codes: when it is worth trying again. */
  retry_after_ms: Schema.optionalKey(Schema.Int),
  /** With `2:vcf`: the file's current version. */
  current_version: Schema.optionalKey(Schema.Int),
  /** With `2:lock`: who holds the lock, and until when. */
  locked_by: Schema.optionalKey(Username),
  locked_until: Schema.optionalKey(Timestamp),
  /** With `3:` codes: what the server's log calls this request. */
  request_id: Schema.optionalKey(Schema.String)
})
export type RefusalBody = typeof RefusalBody.Type

export class Refusal extends Data.TaggedError("Refusal")<{
  readonly code: RefusalCode
  readonly message: string
  readonly field?: string
  readonly retry_after_ms?: number
  readonly current_version?: number
  readonly locked_by?: Username
  readonly locked_until?: Timestamp
  readonly request_id?: string
}> {
  /** True when the caller can do better; false when the server is at fault. */
  get isClientFault(): boolean {
    return Schema.is(ClientFaultCode)(this.code)
  }

  /** The reply body that carries this refusal. */
  get body(): RefusalBody {
    return {
      message: this.message,
      ...(this.field === undefined ? {} : { field: this.field }),
      ...(this.retry_after_ms === undefined ? {} : { retry_after_ms: this.retry_after_ms }),
      ...(this.current_version === undefined ? {} : { current_version: this.current_version }),
      ...(this.locked_by === undefined ? {} : { locked_by: this.locked_by }),
      ...(this.locked_until === undefined ? {} : { locked_until: this.locked_until }),
      ...(this.request_id === undefined ? {} : { request_id: this.request_id })
    }
  }
}

/** Shorthand for a refusal that needs no more than a code and a sentence. */
export const refuse = (code: RefusalCode, message: string, field?: string): Refusal =>
  new Refusal(field === undefined ? { code, message } : { code, message, field })
