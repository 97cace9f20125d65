/**
 * A new key and a certificate for it. The only module that loads the X.509 library, and only when it makes one: that
 * takes as long as all the rest of a start.
 */
import { webcrypto } from "node:crypto"

export interface KeyAndCertificate {
  /** PKCS #8, as PEM. */
  readonly key: string
  readonly certificate: string
}

const ECDSA_P256 = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" }

/** RFC 5280's "no well-defined expiration": clients pin the key, and nobody reads the certificate's dates. */
const NEVER = new Date("9999-12-31T23:59:59Z")

/** A peer's clock may be behind. */
const ONE_DAY = 86_400_000

const pem = (label: string, der: ArrayBuffer): string =>
  `-----BEGIN ${label}-----\n${Buffer.from(der).toString("base64").replace(/.{1,64}/g, "$&\n")}-----END ${label}-----\n`

/** A key on P-256 and a certificate that it signs itself. */
export const makeSelfSigned = async (now: number): Promise<KeyAndCertificate> => {
  await import("reflect-metadata")
  const { X509CertificateGenerator } = await import("@peculiar/x509")
  const keys = await webcrypto.subtle.generateKey(ECDSA_P256, true, ["sign", "verify"])
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: "CN=FIP server",
    notBefore: new Date(now - ONE_DAY),
    notAfter: NEVER,
    signingAlgorithm: ECDSA_P256,
    keys
  }, webcrypto)
  return {
    key: pem("PRIVATE KEY", await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)),
    certificate: pem("CERTIFICATE", certificate.rawData)
  }
}
