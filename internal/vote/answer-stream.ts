/**
 * Answers each request of a stream as soon as its answer is there, so in any order. Ends when the requests have ended
 * and the last answer is taken; fails when the requests do, or when `signal` aborts.
 *
 * At most `limit` requests are between being read and their answer being taken: a client that sends faster than it is
 * served, or does not read its answers, is held back by HTTP/2's flow control instead of by this process's memory.
 *
 * `answer` must not reject: one bad request is an answer like any other, and not the end of the stream.
 */
export async function* answerStream<I, O>(
  requests: AsyncIterable<I>,
  { answer, limit, signal }: { answer: (request: I) => Promise<O>; limit: number; signal: AbortSignal },
): AsyncGenerator<O, void, undefined> {
  const answers: O[] = [];
  const readable = new Wakeup();
  const room = new Wakeup();
  let open = 0;
  let reading = true;
  let stopped = false;

  const read = async () => {
    for await (const request of requests) {
      open++;
      void answer(request).then((result) => {
        answers.push(result);
        readable.wake();
      });
      while (open >= limit && !stopped) await room.wait();
      if (stopped) return;
    }
  };
  let failure: { readonly error: unknown } | undefined;
  void read()
    .catch((error: unknown) => {
      failure = { error };
    })
    .then(() => {
      reading = false;
      readable.wake();
    });
  const abort = () => readable.wake();
  signal.addEventListener("abort", abort);
  try {
    for (;;) {
      for (const result of answers.splice(0)) {
        open--;
        room.wake();
        yield result;
      }
      signal.throwIfAborted();
      if (failure !== undefined) throw failure.error;
      if (!reading && open === 0) return;
      if (answers.length === 0) await readable.wait();
    }
  } finally {
    signal.removeEventListener("abort", abort);
    stopped = true;
    room.wake();
  }
}

/** Lets one waiter go on. A wake-up with nobody waiting is not kept: check the condition before waiting. */
class Wakeup {
  #resolve: (() => void) | undefined;

  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  wake(): void {
    this.#resolve?.();
    this.#resolve = undefined;
  }
}
