import { beforeEach, describe, expect, test, vi } from "vitest";
import { evidenceConfig } from "../config/evidence.ts";
import { describePlace, evidencePlace } from "./evidence.ts";
import { UsageError } from "./exit-code.ts";

const ENVIRONMENT = [
  "AWS_ENDPOINT_URL_S3",
  "AWS_ENDPOINT_URL",
  "AWS_REGION",
  "AWS_DEFAULT_REGION",
  "AWS_CA_BUNDLE",
];

beforeEach(() => {
  for (const name of ENVIRONMENT) vi.stubEnv(name, undefined);
  return () => vi.unstubAllEnvs();
});

const folder = { evidence: evidenceConfig.parse({ directory: "/srv/evidence" }) };
const credentials = { access_key_id: "town", secret_access_key_file: "secret" };
const known = { endpoint: "https://s3.example.org", region: "eu-1", ca: "ca.crt", credentials };
const bucket = { evidence: evidenceConfig.parse({ s3: { ...known, bucket: "town", prefix: "2026" } }) };

test("nothing named is the profile's, or nothing", () => {
  expect(evidencePlace({}, bucket)).toBe(bucket.evidence);
  expect(evidencePlace({}, folder)).toBe(folder.evidence);
  expect(evidencePlace({}, {})).toBeUndefined();
  expect(evidencePlace({}, undefined)).toBeUndefined();
});

test("a folder is a folder, whatever the profile has", () => {
  expect(evidencePlace({ evidence: "copy/" }, bucket)).toMatchObject({ directory: "copy/" });
});

describe("a bucket", () => {
  test("in the profile's S3 is reached as the profile's", () => {
    const wanted = { s3: { ...known, bucket: "other", prefix: "a/b" } };
    expect(evidencePlace({ evidence: "s3://other/a/b" }, bucket)).toMatchObject(wanted);
    const named = { evidence: "s3://other/a/b", s3Endpoint: known.endpoint };
    expect(evidencePlace(named, bucket)).toMatchObject(wanted);
    expect(evidencePlace({ evidence: "s3://town" }, bucket)?.s3?.prefix).toBe("");
  });

  test("of the profile, elsewhere, without the profile's credentials", () => {
    const place = evidencePlace({ s3Endpoint: "https://copy.example.org" }, bucket);
    expect(place?.s3).toEqual({
      endpoint: "https://copy.example.org",
      bucket: "town",
      prefix: "2026",
      region: "us-east-1",
      retention: { mode: "COMPLIANCE", days: 3_653 },
    });
  });

  test("of a stranger is reached by what AWS's own tools are told", () => {
    vi.stubEnv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000");
    vi.stubEnv("AWS_REGION", "eu-2");
    vi.stubEnv("AWS_CA_BUNDLE", "bundle.crt");
    const place = evidencePlace({ evidence: "s3://town/2026/" }, folder);
    expect(place?.s3).toMatchObject({ endpoint: "http://127.0.0.1:9000", region: "eu-2", ca: "bundle.crt" });
    const options = { s3Endpoint: "https://s3.example.org", s3Region: "eu-1", s3Ca: "ca.crt" };
    expect(evidencePlace({ evidence: "s3://town", ...options }, undefined)?.s3).toMatchObject({
      endpoint: "https://s3.example.org",
      region: "eu-1",
      ca: "ca.crt",
    });
  });
});

test.each([
  [{ evidence: "folder", s3Endpoint: "https://s3.example.org" }, "--s3-… options are for a bucket"],
  [{ s3Region: "eu-1" }, "name the bucket with --evidence"],
  [{ evidence: "s3://Town" }, "s3.bucket must be the name of a bucket"],
  [{ evidence: "s3://town/../b" }, "s3.prefix must be names"],
])("%j is refused", (options, message) => {
  expect(() => evidencePlace(options, folder)).toThrow(UsageError);
  expect(() => evidencePlace(options, folder)).toThrow(message);
});

test("a place is written as it is read", () => {
  for (const place of ["s3://town", "s3://town/2026/november", "/srv/evidence"]) {
    const named = evidencePlace({ evidence: place }, undefined);
    expect(named && describePlace(named)).toBe(place);
  }
});
