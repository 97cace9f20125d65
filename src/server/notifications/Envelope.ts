/**
 * Messages as PostgreSQL carries them: a line that says which topic they are on, who sent them and the number that the
 * sender gave them, and a line for each message. A notification holds less than 8000 bytes; what does not fit goes into
 * several.
 */

export interface Envelope {
  readonly topic: string
  readonly sender: string
  readonly number: number
}

const MAX_BYTES = 7900

const HEAD = /^([a-z]+) ([0-9a-f-]{1,36}) ([0-9]{1,15})$/

/** Messages, which have no line breaks, as notifications with numbers that `next` gives. */
export const encode = (
  topic: string,
  sender: string,
  next: () => number,
  messages: ReadonlyArray<string>
): ReadonlyArray<{ readonly number: number; readonly payload: string }> => {
  const envelopes: Array<{ readonly number: number; payload: string }> = []
  let bytes = 0
  for (const message of messages) {
    const length = Buffer.byteLength(message) + 1
    let envelope = envelopes.at(-1)
    if (envelope === undefined || bytes + length > MAX_BYTES) {
      const number = next()
      envelope = { number, payload: `${topic} ${sender} ${number}` }
      envelopes.push(envelope)
      bytes = envelope.payload.length
    }
    envelope.payload += `\n${message}`
    bytes += length
  }
  return envelopes
}

/** `undefined` when it is none of ours. */
export const decode = (payload: string): Envelope & { readonly messages: ReadonlyArray<string> } | undefined => {
  const [head = "", ...messages] = payload.split("\n")
  const [, topic, sender, number] = HEAD.exec(head) ?? []
  if (topic === undefined || sender === undefined) return undefined
  return { topic, sender, number: Number(number), messages }
}

/** Numbers remembered of what was heard one way and not yet the other. */
const REMEMBERED = 10_000

/**
 * What this server said itself reaches it twice: when its commit returns, and as a notification. The first to come
 * counts: the answer to a commit may be lost, and the notification with the connection that listens.
 */
export class OwnMessages {
  private last = 0
  private readonly once = new Set<number>()

  readonly next = (): number => ++this.last

  /** Its commit returned. True when it was not heard of before. */
  committed(number: number): boolean {
    return !this.isSecond(number)
  }

  /** It came as a notification. True when it was heard of before. */
  heard(number: number): boolean {
    return this.isSecond(number)
  }

  /** Of what was said before, no more will be heard. */
  forget(): void {
    this.once.clear()
  }

  private isSecond(number: number): boolean {
    if (this.once.delete(number)) return true
    // Of one that was heard twice as often as it came, the third time would count again: which does no harm.
    if (this.once.size >= REMEMBERED) this.once.clear()
    this.once.add(number)
    return false
  }
}
