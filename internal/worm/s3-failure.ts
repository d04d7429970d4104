import { S3ServiceException } from "@aws-sdk/client-s3";
import { ObjectStoreError, type StoreFailure } from "./object-store.ts";

// S3's words: docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html. What other servers say was found by asking them.
const CREDENTIALS = [
  "ExpiredToken",
  "ExpiredTokenException",
  "TokenRefreshRequired",
  "InvalidToken",
  "InvalidAccessKeyId",
  "SignatureDoesNotMatch",
  "CredentialsProviderError",
];
const ACCESS = ["AccessDenied", "AccountProblem", "AllAccessDisabled"];
const THROTTLED = ["SlowDown", "ServiceUnavailable", "Throttling", "RequestLimitExceeded", "TooManyRequests"];

/** Conditional writes of one key crossed: S3 asks for another attempt (S3 User Guide, "conditional writes"). */
const CROSSED = ["ConditionalRequestConflict", "OperationAborted"];

const EXPLANATIONS: Readonly<Record<StoreFailure, string>> = {
  credentials: "it does not take the credentials, or they have expired",
  access: "the credentials do not permit it",
  throttled: "it asks to be called more slowly",
  unreachable: "it cannot be reached",
  failed: "it failed",
  refused: "it refused",
};

/** A failed attempt, sorted. */
export interface Failure {
  readonly kind: StoreFailure;
  readonly code: string;
  /** Whether another attempt right away has a chance. */
  readonly retry: boolean;
  /** What the server said, and other details that hold no secret. */
  readonly detail: string;
}

/** Sorts whatever the SDK has thrown, or what has been sorted where it was noticed. */
export function failureOf(error: unknown): Failure {
  if (error instanceof ObjectStoreError) {
    return {
      kind: error.failure,
      code: error.code,
      retry: error.failure === "failed",
      detail: error.message,
    };
  }
  if (!(error instanceof S3ServiceException)) return localFailure(error);
  const { httpStatusCode: status = 0, requestId } = error.$metadata;
  const code = error.name;
  const about = [`HTTP ${status}`, ...(requestId === undefined ? [] : [`request ${requestId}`])].join(", ");
  const kind = kindOf(code, status);
  // What a server says of credentials is not repeated: it may quote from the request.
  const said = kind === "credentials" ? "" : `: ${printable(error.message)}`;
  const skewed = "clockSkewCorrected" in error.$metadata; // The SDK has seen the server's clock; next time it is right.
  return {
    kind,
    code,
    retry: skewed || kind === "throttled" || kind === "failed" || (status === 409 && CROSSED.includes(code)),
    detail: `${code}, ${about}${said}`,
  };
}

export function asStoreError(
  action: string,
  { kind, code, detail }: Failure,
  cause: unknown,
): ObjectStoreError {
  const message = `S3 did not ${action}: ${EXPLANATIONS[kind]} (${detail})`;
  // The SDK's error carries the whole answer, in which a server may repeat what was signed: it stays here.
  return new ObjectStoreError(
    kind,
    code,
    message,
    cause instanceof S3ServiceException ? undefined : { cause },
  );
}

/** Whether a call ended with one of these words of S3's. */
export function hasS3Code(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof ObjectStoreError && codes.includes(error.code);
}

function kindOf(code: string, status: number): StoreFailure {
  if (CREDENTIALS.includes(code)) return "credentials";
  if (THROTTLED.includes(code) || status === 429 || status === 503) return "throttled";
  if (code === "InvalidObjectState") return "refused"; // 403 all the same: of a storage class, not of a permission.
  // A HEAD has no body, so that of a refusal only the status is known.
  if (ACCESS.includes(code) || status === 401 || status === 403) return "access";
  if (status >= 500 && status !== 501) return "failed";
  return "refused";
}

/** No answer came, or not all of it; or there were no credentials to ask with. */
function localFailure(error: unknown): Failure {
  const name = error instanceof Error ? error.name : "Error";
  const code = error instanceof Error && "code" in error ? String(error.code) : name;
  if (name === "CredentialsProviderError") {
    return { kind: "credentials", code: name, retry: false, detail: "there are none" };
  }
  // An answer that is no XML, such as a proxy's page: the SDK adds what it had of it.
  if (error instanceof Error && "$response" in error && error.$response !== undefined) {
    return { kind: "failed", code, retry: true, detail: "its answer makes no sense" };
  }
  const detail = error instanceof Error ? printable(error.message) : code;
  return { kind: "unreachable", code, retry: true, detail: detail === "" ? code : detail };
}

/** One short line of what a server wrote, without the identity and the account that AWS names when it denies something. */
function printable(text: string): string {
  return (
    text
      .replace(/arn:[\w-]*:(?:iam|sts):[^\s"',;)]*/gi, "(identity)")
      .replace(/(?<!\d)\d{12}(?!\d)/g, "(account)")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
      .replace(/[\u0000-\u001f\u007f]+/g, " ")
      .slice(0, 300)
  );
}
