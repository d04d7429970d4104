import type { DescService } from "@bufbuild/protobuf";
import type { MethodImplSpec } from "@connectrpc/connect";
import {
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServerListener,
  status,
} from "@grpc/grpc-js";
import { ServiceError } from "../core/errors.ts";
import type { Logger } from "../telemetry/logger.ts";
import { Admission } from "./admission.ts";
import { type CallMetrics, codeName } from "./call-metrics.ts";
import type { CallerPattern, PeerIdentity } from "./identity.ts";
import { ServerCall, shuttingDown } from "./server-call.ts";
import type { ServerLimits } from "./server-limits.ts";
import { presentable } from "./status.ts";
import { statusObjectOf } from "./trailers.ts";

/** A method that can be called. */
export interface Route {
  readonly callers: readonly CallerPattern[];
  readonly streaming: boolean;
  /** Absent for health and reflection, whose libraries speak to grpc-js themselves. */
  readonly own?: { readonly service: DescService; readonly spec: MethodImplSpec };
}

export interface DispatcherOptions {
  readonly trustDomain: string;
  readonly logger: Logger;
  readonly metrics: CallMetrics | undefined;
  readonly limits: ServerLimits;
}

/** A call in progress, as far as stopping is concerned. */
type ActiveCall = Pick<ServerCall, "drain" | "abort">;

interface Ending {
  readonly code: number;
  readonly peer?: PeerIdentity;
  readonly error?: ServiceError | undefined;
}

/**
 * Where every call comes in: who makes it is checked, how long it may take is settled, then it is served, and what
 * became of it is recorded.
 */
export class Dispatcher {
  readonly #logger: Logger;
  readonly #metrics: CallMetrics | undefined;
  readonly #limits: ServerLimits;
  readonly #admission: Admission;
  readonly #routes = new Map<string, Route>();
  readonly #active = new Set<ActiveCall>();
  #draining = false;

  constructor(options: DispatcherOptions) {
    this.#logger = options.logger;
    this.#metrics = options.metrics;
    this.#limits = options.limits;
    this.#admission = new Admission({ trustDomain: options.trustDomain });
  }

  /** `path` is `/package.Service/Method`. */
  add(path: string, route: Route): void {
    this.#routes.set(path, route);
  }

  /** Takes no more calls, and asks those in progress to finish (`ServerCall.drain`). */
  drain(): void {
    this.#draining = true;
    for (const call of this.#active) call.drain();
  }

  /** Ends the calls in progress, and says how many those were. */
  abort(): number {
    const { size } = this.#active;
    for (const call of this.#active) call.abort(shuttingDown());
    return size;
  }

  /** Runs for each call to a path that grpc-js knows, when its headers are there and nothing else has been read. */
  readonly interceptor: ServerInterceptor = (method, call) => {
    const began = performance.now();
    let ended = false;
    const end = (ending: Ending): void => {
      if (ended) return;
      ended = true;
      this.#record(method.path, performance.now() - began, ending);
    };
    return new ServerInterceptingCall(call, {
      start: (next) => {
        try {
          const route = this.#routes.get(method.path);
          const peer = this.#admission.admit(call, route?.callers ?? []);
          const terms = { peer, ...this.#grantTime(call, route?.streaming ?? false) };
          // Without `next`, grpc-js's own handling of the call never begins, and ServerCall takes its place.
          if (route?.own) this.#serve({ call, ...route.own, ...terms }, end);
          else this.#passOn(call, next, (code) => end({ code, peer }));
        } catch (thrown) {
          const error = presentable(thrown);
          const result = statusObjectOf(error);
          end({ code: result.code, error });
          call.sendStatus(result);
        }
      },
      sendStatus: (result, next) => {
        end({ code: result.code });
        next(result);
      },
    });
  };

  /** The deadline of a call; throws when it cannot be taken on. */
  #grantTime(
    call: ServerInterceptingCallInterface,
    streaming: boolean,
  ): { deadline: number; imposed: boolean } {
    if (this.#draining) throw shuttingDown();
    if (this.#active.size >= this.#limits.maxCalls) {
      throw new ServiceError("resource-exhausted", "too many calls at once", {
        reason: "TOO_MANY_CALLS",
        retryDelayMs: 100,
      });
    }
    const now = Date.now();
    const longest = now + (streaming ? this.#limits.maxStreamMs : this.#limits.maxUnaryMs);
    const asked = Number(call.getDeadline());
    if (asked - now < this.#limits.minTimeMs) {
      throw new ServiceError("deadline-exceeded", "not enough time is left for an answer");
    }
    return { deadline: Math.min(asked, longest), imposed: asked > longest };
  }

  #serve(
    options: Omit<ConstructorParameters<typeof ServerCall>[0], "maxMessageBytes" | "onEnd">,
    end: (ending: Ending) => void,
  ): void {
    const served = new ServerCall({
      ...options,
      maxMessageBytes: this.#limits.maxMessageBytes,
      onEnd: (code, error) => {
        this.#active.delete(served);
        end({ code, error, peer: options.peer });
      },
    });
    this.#active.add(served);
    served.start();
  }

  /** Leaves a call to the library whose method it is, and keeps what stopping needs. */
  #passOn(
    call: ServerInterceptingCallInterface,
    next: (listener: ServerListener) => void,
    end: (code: number) => void,
  ): void {
    const abort = (error: ServiceError) => call.sendStatus(statusObjectOf(error));
    const passed: ActiveCall = { abort, drain: () => abort(shuttingDown()) };
    this.#active.add(passed);
    let begun = false;
    const onReceiveMetadata: ServerListener["onReceiveMetadata"] = (metadata, proceed) => {
      begun = true;
      proceed(metadata);
    };
    const onCancel = () => {
      this.#active.delete(passed);
      end(status.CANCELLED);
    };
    next({ onReceiveMetadata, onCancel });
    if (!begun) onCancel(); // grpc-js is silent about a call that its client reset before this line
  }

  #record(path: string, ms: number, { code, peer, error }: Ending): void {
    const method = path.slice(1);
    this.#metrics?.ended("server", method, code, ms / 1000);
    const fields = { method, code: codeName(code), ms: Math.round(ms * 10) / 10, peer: peer?.uri, error };
    if (code === status.INTERNAL || code === status.DATA_LOSS) this.#logger.error(fields, "a call failed");
    else if (code === status.PERMISSION_DENIED) this.#logger.warn(fields, "a caller was refused");
    else this.#logger.debug(fields, "call");
  }
}
