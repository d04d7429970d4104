import type { AuditService } from "../../gen/ts/psephos/audit/v1/audit_pb.js";
import type { CallerPolicy } from "../grpc/identity.ts";

const readers = ["client/*", "operator/*", "auditor/*"] as const;

/** Who may call AuditService. Records, although pseudonymised and sealed, are for auditors alone. */
export const auditCallers: CallerPolicy<typeof AuditService> = {
  getHead: readers,
  watchHeads: readers,
  getInclusionProof: readers,
  getConsistencyProof: readers,
  getRecord: ["auditor/*"],
  listRecords: ["auditor/*"],
  getHistory: ["auditor/*"],
  getTurnout: ["operator/*", "auditor/*"],
  listCheckpoints: ["operator/*", "auditor/*"],
};
