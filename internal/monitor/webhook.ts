import { messageOf } from "../core/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import type { Alert } from "./alert.ts";

export interface WebhookOptions {
  readonly url: string;
  readonly logger: Logger;
}

const TIMEOUT_MS = 10_000;

/** Tells a URL of alerts as they come and go: a POST of `{"log","alerts":[…]}`, with no alerts once all is well again. */
export class Webhook {
  readonly #options: WebhookOptions;
  /** What it was told last, and has taken. */
  #told = "[]";

  constructor(options: WebhookOptions) {
    this.#options = options;
  }

  /** Never rejects: what could not be told now is told with the next look. */
  async tell(log: string, alerts: readonly Alert[]): Promise<void> {
    const { url, logger } = this.#options;
    // A message may count seconds; what is wrong, and where, says whether it is news.
    const news = JSON.stringify(alerts.map(({ kind, object }) => [kind, object]));
    if (news === this.#told) return;
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ log, alerts }),
        redirect: "manual",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      await response.body?.cancel();
      if (!response.ok) throw new Error(`it answers with HTTP status ${response.status}`);
      this.#told = news;
    } catch (error) {
      // Never the URL, which may well be a secret. fetch() wraps what happened: "fetch failed".
      const reason = messageOf(error instanceof Error && error.cause ? error.cause : error);
      logger.error({ reason }, "the webhook could not be told");
    }
  }
}
