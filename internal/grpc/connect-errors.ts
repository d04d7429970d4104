// The same errors for the HTTP edge, which Connect serves.
import { ConnectError, type Interceptor } from "@connectrpc/connect";
import { ServiceError } from "../core/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import { codeOf, detailsOf, presentable } from "./status.ts";

/** What Connect puts on the wire for anything thrown. Connect keeps the cause to itself. */
export function toConnectError(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error; // Connect's own finding, such as a body that is not JSON
  const shown = presentable(error);
  return new ConnectError(shown.message, codeOf(shown.kind), undefined, detailsOf(shown), error);
}

/** For a Connect router: turns what handlers throw into ConnectErrors and logs what was not meant to happen. */
export function connectErrors(options: { readonly logger: Logger }): Interceptor {
  const convert = (method: string, error: unknown): ConnectError => {
    if (!(error instanceof ServiceError || error instanceof ConnectError)) {
      options.logger.error({ method, error }, "a handler failed");
    }
    return toConnectError(error);
  };
  return (next) => async (request) => {
    const method = `${request.service.typeName}/${request.method.name}`;
    try {
      const response = await next(request);
      if (!response.stream) return response;
      return { ...response, message: converted(response.message, (error) => convert(method, error)) };
    } catch (error) {
      throw convert(method, error);
    }
  };
}

async function* converted<T>(messages: AsyncIterable<T>, convert: (error: unknown) => ConnectError) {
  try {
    yield* messages;
  } catch (error) {
    throw convert(error);
  }
}
