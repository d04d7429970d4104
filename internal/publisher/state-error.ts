/**
 * What is on disk contradicts itself: our state, our tiles and our published checkpoints do not show one history. Nothing
 * is signed for that election until a human has found out which of them changed.
 */
export class StateError extends Error {
  override readonly name = "StateError";
}
