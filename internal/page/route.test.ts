import { expect, test } from "vitest";
import { electionId } from "../core/ids.ts";
import { linkTo, parseRoute, type View } from "./route.ts";

const ELECTION = electionId("vermont-2020");

test.each<View>([
  { view: "overview" },
  { view: "receipt" },
  { view: "explore" },
  { view: "verify" },
  { view: "downloads" },
  { view: "checkpoint", checkpoint: "latest" },
  { view: "checkpoint", checkpoint: 37 },
  { view: "tile", checkpoint: 37, level: 1, index: 0 },
  { view: "entry", checkpoint: "latest", index: 370_969 },
])("the link to $view leads there", (view) => {
  expect(parseRoute(linkTo(ELECTION, view))).toEqual({ ...view, election: ELECTION });
});

test.each(["", "#", "#/"])("%j is where all elections are", (hash) => {
  expect(parseRoute(hash)).toEqual({ view: "elections" });
});

test.each([
  "#/Vermont",
  "#/../x",
  "#/vermont-2020/",
  "#/vermont-2020/nothing",
  "#/vermont-2020/receipt/1",
  "#/vermont-2020/checkpoint",
  "#/vermont-2020/checkpoint/0",
  "#/vermont-2020/checkpoint/01",
  "#/vermont-2020/checkpoint/1/tile/0",
  "#/vermont-2020/checkpoint/1/tile/0/0/0",
  "#/vermont-2020/checkpoint/1/entry/-1",
  "#/vermont-2020/checkpoint/1/entry/1/2",
  "#/vermont-2020/checkpoint/1/entry/9007199254740992",
])("%s is nowhere", (hash) => {
  expect(parseRoute(hash)).toEqual({ view: "unknown" });
});
