import { S3Client } from "@aws-sdk/client-s3";

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  /** A provider is asked again some minutes before. Without it, never. */
  readonly expiration?: Date;
}

export interface S3ClientOptions {
  /** Where S3 is; default, AWS's own address for the region. */
  readonly endpoint?: string | undefined;
  readonly region: string;
  /** PEM certificates to trust for the endpoint instead of the usual ones. */
  readonly ca?: string | undefined;
  /** Default: AWS's chain (environment, profile, container, instance), which renews what it finds. */
  readonly credentials?: S3Credentials | (() => Promise<S3Credentials>) | undefined;
  /** `https://host/bucket/key` rather than `https://bucket.host/key`. Default: true where there is an `endpoint`. */
  readonly pathStyle?: boolean | undefined;
  readonly timeouts?: S3Timeouts | undefined;
}

export interface S3Timeouts {
  /** For a connection. Default 3 s. */
  readonly connectMs?: number | undefined;
  /** From the start of a request to the head of its answer, and between two pieces of the answer. Default 30 s. */
  readonly answerMs?: number | undefined;
}

/** The connections of all calls of one client; those over it wait (see s3-calls.ts). */
export const CONNECTIONS = 64;

/**
 * A client that tries everything once: s3-calls.ts decides what is worth another attempt. Checksums are those we give,
 * SHA-256, not the CRC that the SDK would add to every PUT; what a GET is to be checked with, its caller says.
 */
export function createS3Client(options: S3ClientOptions): S3Client {
  const { endpoint, region, ca, credentials, timeouts = {} } = options;
  const { connectMs = 3_000, answerMs = 30_000 } = timeouts;
  const agent = { keepAlive: true, maxSockets: CONNECTIONS };
  return new S3Client({
    region,
    maxAttempts: 1,
    forcePathStyle: options.pathStyle ?? endpoint !== undefined,
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    // With it the SDK opens a connection of its own for each large PUT.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: connectMs,
      requestTimeout: answerMs,
      throwOnRequestTimeout: true, // It would only log a line otherwise.
      socketTimeout: answerMs,
      httpAgent: agent,
      httpsAgent: ca === undefined ? agent : { ...agent, ca },
    },
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
  });
}
