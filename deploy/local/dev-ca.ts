import "reflect-metadata"; // @peculiar/x509 needs it to be there first.
import { createPrivateKey, webcrypto, X509Certificate } from "node:crypto";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509CertificateCreateParamsBase,
  X509CertificateGenerator,
} from "@peculiar/x509";

cryptoProvider.set(webcrypto);

const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
const LEAF_DAYS = 90;
/** A certificate with less left than this is issued anew. */
const RENEW_DAYS = 30;

const P256 = { name: "ECDSA", namedCurve: "P-256" };
const CA_NAME = "Psephos development CA";

/** Paths of PEM files: whom to trust, who one is, and the key that proves it. */
export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

interface Subject {
  readonly commonName: string;
  /** The SPIFFE id, if it is to be somebody in the mesh. */
  readonly uri?: string;
  readonly hosts?: readonly string[];
}

/**
 * The certificate authority of one local stack. Its key lies on disk, readable by its owner alone; the stack's own
 * processes trust it, and nothing else may.
 */
export class DevelopmentCa {
  readonly trustDomain: string;
  /** The CA's certificate. */
  readonly caFile: string;
  readonly #folder: string;
  readonly #certificate: X509Certificate;
  readonly #key: webcrypto.CryptoKey;
  readonly #issued = new Map<string, Promise<TlsFiles>>();

  private constructor(folder: string, trustDomain: string, pair: PemPair) {
    this.trustDomain = trustDomain;
    this.caFile = join(folder, "ca.crt");
    this.#folder = folder;
    this.#certificate = new X509Certificate(pair.cert);
    this.#key = createPrivateKey(pair.key).toCryptoKey(P256, false, ["sign"]);
  }

  /** Opens the CA in `folder`, or founds one there. */
  static async open(folder: string, trustDomain = "psephos.local"): Promise<DevelopmentCa> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    let pair = await readPair(folder, "ca");
    if (pair === undefined || !isFresh(new X509Certificate(pair.cert))) {
      pair = await createCa();
      await writePair(folder, "ca", pair);
    }
    return new DevelopmentCa(folder, trustDomain, pair);
  }

  /**
   * Somebody in the mesh, by the path of the SPIFFE id: `service/publisher`, `operator/local`, `client/polling-1`. A
   * service can also be called by the host name it has among containers, which is its own.
   */
  identity(path: string): Promise<TlsFiles> {
    const [kind, name = ""] = path.split("/");
    const hosts = kind === "service" ? [name] : [];
    return this.#issueOnce(path.replaceAll("/", "-"), { commonName: path, uri: this.spiffeId(path), hosts });
  }

  /**
   * A client certificate that Postgres takes for `role`, which is its common name. It holds no SPIFFE id and so is
   * nobody in the mesh, just as an identity of the mesh, whose common name is a path, is nobody in the database.
   */
  databaseRole(role: string): Promise<TlsFiles> {
    return this.#issueOnce(`database-${role}`, { commonName: role });
  }

  spiffeId(path: string): string {
    return `spiffe://${this.trustDomain}/${path}`;
  }

  /** Two callers who ask for one name at a time must not write each other's key. */
  #issueOnce(name: string, subject: Subject): Promise<TlsFiles> {
    const known = this.#issued.get(name);
    if (known !== undefined) return known;
    const files = this.#issue(name, subject);
    this.#issued.set(name, files);
    return files;
  }

  async #issue(name: string, subject: Subject): Promise<TlsFiles> {
    const pair = await readPair(this.#folder, name);
    if (pair === undefined || !this.#isGood(new X509Certificate(pair.cert), subject)) {
      await writePair(this.#folder, name, await this.#createLeaf(subject));
    }
    return {
      ca: this.caFile,
      cert: join(this.#folder, `${name}.crt`),
      key: join(this.#folder, `${name}.key`),
    };
  }

  #isGood(certificate: X509Certificate, { uri }: Subject): boolean {
    const names = certificate.subjectAltName?.split(", ") ?? [];
    return (
      isFresh(certificate) &&
      certificate.verify(this.#certificate.publicKey) &&
      (uri === undefined || names.includes(`URI:${uri}`))
    );
  }

  async #createLeaf({ commonName, uri, hosts = [] }: Subject): Promise<PemPair> {
    const keys = await webcrypto.subtle.generateKey(P256, true, ["sign", "verify"]);
    const names: JsonGeneralNames = [
      ...["localhost", ...hosts].map((value) => ({ type: "dns" as const, value })),
      { type: "ip", value: "127.0.0.1" },
      { type: "ip", value: "::1" },
    ];
    // Exactly one URI, and it is the identity (SPIFFE X509-SVID, section 2).
    if (uri !== undefined) names.push({ type: "url", value: uri });
    const certificate = await X509CertificateGenerator.create({
      ...validity(LEAF_DAYS),
      subject: [{ CN: [commonName] }],
      issuer: [{ CN: [CA_NAME] }],
      publicKey: keys.publicKey,
      signingKey: this.#key,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        // Every service is a server to some and a client to others.
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
        new SubjectAlternativeNameExtension(names),
        await AuthorityKeyIdentifierExtension.create(
          this.#certificate.publicKey.toCryptoKey(P256, true, ["verify"]),
        ),
      ],
    });
    return { cert: certificate.toString("pem"), key: await exportKey(keys.privateKey) };
  }
}

/** A certificate and its private key, PEM. */
interface PemPair {
  readonly cert: string;
  readonly key: string;
}

async function createCa(): Promise<PemPair> {
  const keys = await webcrypto.subtle.generateKey(P256, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...validity(CA_DAYS),
    name: [{ CN: [CA_NAME] }],
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: certificate.toString("pem"), key: await exportKey(keys.privateKey) };
}

/** Valid from an hour ago, for a clock that is set back a little meanwhile. The serial number is the library's: random. */
function validity(days: number): X509CertificateCreateParamsBase {
  const now = Date.now();
  return {
    notBefore: new Date(now - 3_600_000),
    notAfter: new Date(now + days * DAY_MS),
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
  };
}

function isFresh(certificate: X509Certificate): boolean {
  return certificate.validToDate.getTime() - Date.now() > RENEW_DAYS * DAY_MS;
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", key), PemConverter.PrivateKeyTag);
}

/** The pair `name`, or undefined if it is missing or, after a crash between two writes, does not belong together. */
async function readPair(folder: string, name: string): Promise<PemPair | undefined> {
  try {
    const [cert, key] = await Promise.all([
      readFile(join(folder, `${name}.crt`), "utf8"),
      readFile(join(folder, `${name}.key`), "utf8"),
    ]);
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)) ? { cert, key } : undefined;
  } catch {
    return undefined;
  }
}

async function writePair(folder: string, name: string, pair: PemPair): Promise<void> {
  await replaceFile(join(folder, `${name}.key`), pair.key, 0o600);
  await replaceFile(join(folder, `${name}.crt`), pair.cert, 0o644);
}

/** Writes a file as a whole: a process that reads it meanwhile gets the old or the new. */
async function replaceFile(file: string, text: string, mode: number): Promise<void> {
  await writeFile(`${file}.new`, `${text.trimEnd()}\n`, { mode });
  await rename(`${file}.new`, file);
}
