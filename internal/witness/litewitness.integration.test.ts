import { LitewitnessUnderTest } from "../../deploy/local/litewitness.fixture.ts";
import { witnessContract } from "./witness.contract.ts";

// What ours does, somebody else's does, too: the two ends of the protocol were not only made for each other.
witnessContract("litewitness", (logKey) => LitewitnessUnderTest.start([logKey]));
