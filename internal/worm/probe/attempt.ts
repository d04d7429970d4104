import type { Bench } from "./bench.ts";
import type { Judgement } from "./judge.ts";

/** Where an attempt is made, and by whom. */
export interface Scene {
  /** Of the credentials that evidence is written with. They make what is attacked, and look at it afterwards. */
  readonly writer: Bench;
  /** Of the credentials that the attempt is made with. */
  readonly attacker: Bench;
  /** Of the strongest credentials there are: they make what the writer may not, and put back what was changed. */
  readonly strongest: Bench;
  /** The name of an object of its own, which no other attempt has. */
  readonly name: string;
}

export type Attempt = (scene: Scene) => Promise<Judgement>;
