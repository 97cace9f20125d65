/**
 * The client library for programs without Effect.
 *
 * **When to use**
 *
 * Where promises and `for await` are what the rest of the program has. It is {@link Fip}, method for method what
 * `FipClient` gives to Effect programs.
 *
 * **Details**
 *
 * What fails throws: a `Refusal` with the server's `code` (`2:nf`, `2:perm`, …), or one of the other errors below. Each
 * is an `Error` with a `_tag`, and its `message` is a sentence that a person can act on.
 *
 * **Gotchas**
 *
 * A connection is open until `close`; with `await using` that is the end of the block. `for await` over `read` or `watch`
 * may be left at any time by `break`. An `AbortSignal` ends what runs in the middle and throws the signal's `reason`:
 * given to `connect` it is for all that is done, and `fip.until(signal)` for some of it.
 *
 * **Example** (Writing and reading a file)
 *
 * ```ts
 * import { connect, Refusal } from "fip/promise"
 *
 * await using fip = await connect({ host: "localhost", username: "foobar_user", password: "foobar_password" })
 * await fip.write("notes.txt", "hello")
 * console.log(await fip.read("notes.txt").text()) // hello
 * try {
 *   await fip.read("none.txt").text()
 * } catch (error) {
 *   if (!(error instanceof Refusal && error.code === "2:nf")) throw error
 *   console.log("there is no such file")
 * }
 * ```
 */
export {
  ConnectError,
  ConnectionLost,
  IntegrityError,
  LocalFileError,
  NotLoggedIn,
  ProtocolError,
  TrustError
} from "./client/ClientError.ts"
export { FileFailed } from "./client/fileSetTypes.ts"
export { connect, type ConnectOptions, type Content, type Fip, type Notes, type Sendable } from "./client/Promised.ts"
export { type RefusalCode } from "./protocol/Code.ts"
export { Refusal } from "./protocol/Refusal.ts"
