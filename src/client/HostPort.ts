/** Where a server is. One spelling for each host, so that one server has one pin. */
import { Result } from "effect"
import { isIPv4, isIPv6 } from "node:net"
import { domainToASCII } from "node:url"

export interface HostPort {
  /** A lower-case ASCII name, or an IP address in its shortest form, without brackets. */
  readonly host: string
  readonly port: number
}

const NAME = /^(?!.*\.\.)[a-z0-9_-][a-z0-9_.-]{0,252}$/

const shortestIPv6 = (address: string): string => {
  const [bare = address, zone] = address.split("%")
  const shortest = new URL(`http://[${bare}]/`).hostname.slice(1, -1)
  return zone === undefined ? shortest : `${shortest}%${zone}`
}

/** Checks and normalises a host and a port; the failure is a sentence. */
export const normalise = (host: string, port: number): Result.Result<HostPort, string> => {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    return Result.fail(`${port} is not a port: ports are whole numbers from 1 to 65535`)
  }
  const bare = host.startsWith("[") && host.endsWith("]") ? host.slice(1, -1) : host
  if (isIPv6(bare)) return Result.succeed({ host: shortestIPv6(bare), port })
  if (isIPv4(bare)) return Result.succeed({ host: bare, port })
  // A name with a dot at its end is the same name. What is no part of a name must not reach the URL rules, which would
  // cut it off.
  const name = /[\s/?#@\\:%[\]]/.test(bare) ? "" : domainToASCII(bare).replace(/\.$/, "")
  return NAME.test(name) ? Result.succeed({ host: name, port }) : Result.fail(`"${host}" is not a host name or address`)
}

/** `host:port`, with brackets around an IPv6 address. */
export const formatHostPort = ({ host, port }: HostPort): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`
