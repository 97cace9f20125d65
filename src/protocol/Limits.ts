/**
 * The wire's fixed sizes and caps (docs/protocol.md, section 2.3).
 *
 * A cap is checked against the size a header announces, before a byte of that component is buffered.
 */

/** Protocol version spoken by this build (semver; the major number must match the peer's). */
export const PROTOCOL_VERSION = "1.0.0"

/** Version of this package, as in package.json (a test compares the two). */
export const VERSION = "0.1.0"

/** ALPN name, offered by the client and required by the server. */
export const ALPN = "fip/1"

export const DEFAULT_PORT = 6090

/** A header is exactly this many bytes. */
export const HEADER_BYTES = 256

/** Largest auth component, always. */
export const MAX_AUTH_BYTES = 4096

/** Largest body of a request that carries no valid access token. */
export const MAX_GUEST_BODY_BYTES = 4096

/** Largest body of a request. */
export const MAX_BODY_BYTES = 64 * 1024

/** Largest data component of one message. */
export const MAX_DATA_BYTES = 1024 * 1024

/** Largest content of one request whose data is spread over several messages (`more`). */
export const MAX_INLINE_BYTES = 8 * 1024 * 1024

/** Largest body of a reply. */
export const MAX_REPLY_BODY_BYTES = 4 * 1024 * 1024

/**
 * A refused message up to this size (body plus data) is read to its end and dropped, and the connection lives on.
 * A larger one is answered and the connection closed.
 */
export const MAX_SKIP_BYTES = 64 * 1024 * 1024

/** Requests in flight per connection. */
export const MAX_IN_FLIGHT = 64

/** Names in one page of a listing. */
export const MAX_PAGE = 1000

/** Steps from a pinned key to the live one that a client follows. */
export const MAX_CONTINUITY_RECORDS = 4096

/** Files in one WriteMany or ReadMany. */
export const MAX_BATCH_FILES = 256

/** For how long a lock of a file can be asked for. */
export const MAX_LOCK_MS = 7 * 86_400_000
