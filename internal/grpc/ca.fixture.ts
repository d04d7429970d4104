// A certificate authority for tests, with every mistake a certificate can have.
import "reflect-metadata"; // @peculiar/x509 needs it to be there first.
import type { webcrypto } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  BasicConstraintsExtension,
  type JsonGeneralName,
  PemConverter,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import type { TlsFiles } from "./tls.ts";

export const TRUST_DOMAIN = "psephos.test";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DAY_MS = 86_400_000;

export class TestCa implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), "psephos-grpc-"));
  readonly #keys: webcrypto.CryptoKeyPair;
  readonly #certificate: X509Certificate;
  readonly caFile = join(this.#folder, "ca.pem");
  #issued = 0;

  static async create(): Promise<TestCa> {
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name: "CN=test CA",
      keys,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + DAY_MS),
      extensions: [new BasicConstraintsExtension(true, undefined, true)],
    });
    return new TestCa(keys, certificate);
  }

  private constructor(keys: webcrypto.CryptoKeyPair, certificate: X509Certificate) {
    this.#keys = keys;
    this.#certificate = certificate;
    writeFileSync(this.caFile, certificate.toString("pem"));
  }

  /** A certificate for `id`, such as `service/publisher`. */
  issue(id: string): Promise<TlsFiles> {
    return this.issueFor([{ type: "url", value: `spiffe://${TRUST_DOMAIN}/${id}` }]);
  }

  async issueFor(
    names: JsonGeneralName[],
    options: { ca?: boolean; expired?: boolean } = {},
  ): Promise<TlsFiles> {
    const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
    const certificate = await X509CertificateGenerator.create({
      subject: "CN=test",
      issuer: this.#certificate.subject,
      signingKey: this.#keys.privateKey,
      publicKey: keys.publicKey,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(Date.now() - DAY_MS),
      notAfter: new Date(Date.now() + (options.expired ? -1000 : DAY_MS)),
      extensions: [
        new BasicConstraintsExtension(options.ca ?? false, undefined, true),
        ...(names.length > 0 ? [new SubjectAlternativeNameExtension(names)] : []),
      ],
    });
    const key = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
    const prefix = join(this.#folder, String(this.#issued++));
    writeFileSync(`${prefix}.pem`, certificate.toString("pem"));
    writeFileSync(`${prefix}.key`, PemConverter.encode(key, "PRIVATE KEY"));
    return { caFile: this.caFile, certFile: `${prefix}.pem`, keyFile: `${prefix}.key` };
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }
}
